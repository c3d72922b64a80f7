"""The record that every change of a mailbox leaves: a history id, a notification, and the moment it begins to show.

History ids grow by irregular steps, as Gmail's do. A change takes effect at once in the truth; in what the API shows it
takes effect at once too, unless its notification goes out early: then it, and whatever follows it in that mailbox,
shows only when its time has come.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from infra.local.google.pushes import CAP_SECONDS, Notice, Pushes
from infra.local.google.state import State
from infra.local.simulated.chance import digest
from infra.local.simulated.errors import UnknownThing
from infra.local.simulated.state import joined, split

Entries = dict[str, list[dict[str, Any]]]
"""The typed arrays of a record without their messages, such as ``{"labelsAdded": [{"labelIds": [...]}]}``."""


@dataclass(frozen=True, slots=True)
class Constants:
    """What never changes in a file's life: the seed, and what is added to every history id that anyone sees."""

    seed: int
    history_base: int


class Ledger:
    """One mailbox's records within one transaction. Raises ``UnknownThing`` where there is no such mailbox."""

    def __init__(
        self, state: State, db: sqlite3.Connection, pushes: Pushes, constants: Constants, address: str, now: float
    ):
        self._state = state
        self._db = db
        self._pushes = pushes
        self._address = address
        self.constants = constants
        self.now = now
        find_mailbox(db, address)
        reveal(state, db, address, now)

    def step(self, counter: str, by: int) -> int:
        """Count something of the mailbox further, and answer the new count."""
        row = self._db.execute(
            f"UPDATE mailboxes SET {counter} = {counter} + ? WHERE address = ? RETURNING {counter}", (by, self._address)
        )
        return int(row.fetchone()[0])

    def pass_silently(self) -> int:
        """The history id of a message that was there all along, for which there will be no record."""
        history = self._next_history()
        if self._address not in self._state.hidden_until:
            self._db.execute("UPDATE mailboxes SET shown = ? WHERE address = ?", (history, self._address))
        return history

    def record(self, message_id: str, thread: str, labels: str, entries: Entries) -> None:
        """Write down what happened to a message that now has these labels, and ring."""
        history = self._next_history()
        visible = self.now + self._notify(history, split(labels))
        earlier = self._db.execute(
            "SELECT MAX(visible) FROM history WHERE address = ?"
            " AND id > (SELECT shown FROM mailboxes WHERE address = ?)",
            (self._address, self._address),
        ).fetchone()[0]
        visible = max(visible, earlier or 0.0)
        message: dict[str, Any] = {"id": message_id, "threadId": thread}
        detailed = message | ({"labelIds": split(labels)} if labels else {})
        body: dict[str, Any] = {"messages": [message]}
        body |= {name: [{"message": detailed} | entry for entry in array] for name, array in entries.items()}
        self._db.execute(
            "INSERT INTO history VALUES (?, ?, ?, ?, ?, ?, ?)",
            (self._address, history, message_id, joined(set(entries)), labels, orjson.dumps(body), visible),
        )
        self._db.execute(
            "UPDATE messages SET changed = ?, visible = ? WHERE address = ? AND id = ?",
            (self.now, visible, self._address, message_id),
        )
        if visible <= self.now:
            reveal(self._state, self._db, self._address, self.now, known_due=True)
        else:
            self._state.hidden_until.setdefault(self._address, visible)

    def forget(self) -> None:
        """Every cursor older than now is too old."""
        shown = find_mailbox(self._db, self._address)["shown"]
        self._db.execute("UPDATE mailboxes SET oldest = shown WHERE address = ?", (self._address,))
        self._db.execute("DELETE FROM history WHERE address = ? AND id <= ?", (self._address, shown))

    def _next_history(self) -> int:
        history = find_mailbox(self._db, self._address)["history"]
        return self.step("history", 1 + digest(self.constants.seed, self._address, "gap", history)[0] % 23)

    def _notify(self, history: int, labels: Sequence[str]) -> float:
        """Ring, if anyone listens; answer by how many seconds the change lags behind the ringing."""
        row = find_mailbox(self._db, self._address)
        if row["topic"] is None or row["watch_until"] <= self.now:
            return 0.0
        wanted = set(orjson.loads(row["watch_labels"]))
        if wanted and bool(wanted & set(labels)) == bool(row["watch_exclude"]):
            return 0.0
        if 0 <= self.now - row["last_push"] < CAP_SECONDS:
            self._pushes.throttle()
            return 0.0
        self._db.execute("UPDATE mailboxes SET last_push = ? WHERE address = ?", (self.now, self._address))
        notice = Notice(row["topic"], self._address, self.constants.history_base + history)
        return self._pushes.announce(notice, self.now)


def find_mailbox(db: sqlite3.Connection, address: str) -> sqlite3.Row:
    """Read a mailbox's row. Raises ``UnknownThing``."""
    row: sqlite3.Row | None = db.execute("SELECT * FROM mailboxes WHERE address = ?", (address,)).fetchone()
    if row is None:
        raise UnknownThing(f"There is no mailbox {address!r}.")
    return row


def reveal(state: State, db: sqlite3.Connection, address: str, now: float, known_due: bool = False) -> None:
    """Show the changes whose time has come, in the order of their history ids."""
    if not known_due and state.hidden_until.get(address, now + 1) > now:
        return
    rows = db.execute(
        "SELECT id, message, types, labels, visible FROM history WHERE address = ? AND id >"
        " (SELECT shown FROM mailboxes WHERE address = ?) ORDER BY id",
        (address, address),
    ).fetchall()
    state.hidden_until.pop(address, None)
    for row in rows:
        if row["visible"] > now:
            state.hidden_until[address] = row["visible"]
            break
        deleted = "messagesDeleted" in row["types"]
        db.execute(
            "UPDATE messages SET history = ?, shown = ?, shown_labels = ? WHERE address = ? AND id = ?",
            (row["id"], not deleted, row["labels"], address, row["message"]),
        )
        if deleted:
            db.execute(
                "DELETE FROM bodies WHERE message = (SELECT rowid FROM messages WHERE address = ? AND id = ?)",
                (address, row["message"]),
            )
        db.execute("UPDATE mailboxes SET shown = ? WHERE address = ?", (row["id"], address))

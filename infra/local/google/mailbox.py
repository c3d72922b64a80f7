"""What happens to mailboxes: mail arrives, labels change, mail is deleted; each leaves a history record behind.

History ids grow by irregular steps, as Gmail's do. A change takes effect at once in the truth; in what the API shows it
takes effect at once too, unless its notification goes out early: then it, and whatever follows it in that mailbox,
shows only when its time has come.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from infra.local.google.chance import digest
from infra.local.google.errors import UnknownThing
from infra.local.google.labels import resolve
from infra.local.google.pushes import CAP_SECONDS, Notice, Pushes
from infra.local.google.reading import Mail
from infra.local.google.state import State, joined, split


@dataclass(frozen=True, slots=True)
class Arrival:
    """A mail about to arrive: its labels by id or name, when it was received, how to build it once its id is known."""

    labels: tuple[str, ...]
    received_at: float
    build: Callable[[str], Mail]


class Mailbox:
    """One mailbox within one transaction. Raises ``UnknownThing`` for what does not exist."""

    def __init__(self, state: State, db: sqlite3.Connection, pushes: Pushes, seed: int, address: str, now: float):
        self._state = state
        self._db = db
        self._pushes = pushes
        self._seed = seed
        self._now = now
        self.address = address
        self.row = find_mailbox(db, address)
        reveal(state, db, address, now)

    def add(self, arrival: Arrival, silent: bool) -> str:
        """A mail arrives; ``silent`` means that it was there all along: no history record, no notification."""
        ordinal = self._step("ordinal", 1)
        message_id = digest(self._seed, self.address, "message", ordinal)[:8].hex()
        mail = arrival.build(message_id)
        thread = self._thread(mail.thread_keys, message_id)
        labels = joined(resolve(self._db, self.address, arrival.labels))
        self._db.execute(
            "INSERT INTO messages (address, id, thread, received, history, labels, alive, shown_labels, shown,"
            " mime_type, size, headers, truth) VALUES (?, ?, ?, ?, 0, ?, 1, ?, 0, ?, ?, ?, ?)",
            (
                self.address, message_id, thread, int(arrival.received_at * 1000), labels, labels, mail.mime_type,
                mail.size, orjson.dumps([{"name": name, "value": value} for name, value in mail.headers]),
                orjson.dumps(mail.truth),
            ),
        )  # fmt: skip
        if silent:
            self._show_silently(message_id)
        else:
            self._change(message_id, thread, labels, {"messagesAdded": [{}]})
        return message_id

    def relabel(self, message_id: str, add: Sequence[str], remove: Sequence[str]) -> None:
        """Add and remove labels (by id or name); TRASH and SPAM are labels too. No difference, no change."""
        message = self._message(message_id)
        before = set(split(message["labels"]))
        gone = before & resolve(self._db, self.address, remove)
        new = resolve(self._db, self.address, add) - before
        if not gone and not new:
            return
        after = joined((before - gone) | new)
        self._db.execute(
            "UPDATE messages SET labels = ? WHERE address = ? AND id = ?", (after, self.address, message_id)
        )
        arrays: dict[str, list[dict[str, Any]]] = {}
        if new:
            arrays["labelsAdded"] = [{"labelIds": sorted(new)}]
        if gone:
            arrays["labelsRemoved"] = [{"labelIds": sorted(gone)}]
        self._change(message_id, message["thread"], after, arrays)

    def delete(self, message_id: str) -> None:
        """A mail is gone for good; only its id is remembered."""
        message = self._message(message_id)
        self._db.execute("UPDATE messages SET alive = 0 WHERE address = ? AND id = ?", (self.address, message_id))
        self._change(message_id, message["thread"], message["labels"], {"messagesDeleted": [{}]})

    def refuse(self, message_id: str, status: int) -> None:
        """From now on reading this mail answers an HTTP status; 0 lifts it."""
        self._message(message_id)
        self._db.execute(
            "UPDATE messages SET refused = ? WHERE address = ? AND id = ?", (status, self.address, message_id)
        )

    def forget_history(self) -> None:
        """Every cursor older than now is too old."""
        shown = find_mailbox(self._db, self.address)["shown"]
        self._db.execute("UPDATE mailboxes SET oldest = shown WHERE address = ?", (self.address,))
        self._db.execute("DELETE FROM history WHERE address = ? AND id <= ?", (self.address, shown))

    def _message(self, message_id: str) -> sqlite3.Row:
        row: sqlite3.Row | None = self._db.execute(
            "SELECT thread, labels FROM messages WHERE address = ? AND id = ? AND alive = 1", (self.address, message_id)
        ).fetchone()
        if row is None:
            raise UnknownThing(f"There is no message {message_id!r}.")
        return row

    def _step(self, counter: str, by: int) -> int:
        row = self._db.execute(
            f"UPDATE mailboxes SET {counter} = {counter} + ? WHERE address = ? RETURNING {counter}", (by, self.address)
        )
        return int(row.fetchone()[0])

    def _thread(self, keys: Sequence[str], message_id: str) -> str:
        for key in keys:
            self._db.execute("INSERT OR IGNORE INTO threads VALUES (?, ?, ?)", (self.address, key, message_id))
            row = self._db.execute("SELECT thread FROM threads WHERE address = ? AND key = ?", (self.address, key))
            return str(row.fetchone()[0])
        return message_id

    def _next_history(self) -> int:
        history = find_mailbox(self._db, self.address)["history"]
        return self._step("history", 1 + digest(self._seed, self.address, "gap", history)[0] % 23)

    def _show_silently(self, message_id: str) -> None:
        history = self._next_history()
        self._db.execute(
            "UPDATE messages SET history = ?, shown = 1 WHERE address = ? AND id = ?",
            (history, self.address, message_id),
        )
        if self.address not in self._state.hidden_until:
            self._db.execute("UPDATE mailboxes SET shown = ? WHERE address = ?", (history, self.address))

    def _change(self, message_id: str, thread: str, labels: str, arrays: dict[str, list[dict[str, Any]]]) -> None:
        history = self._next_history()
        visible = self._now + self._notify(history, split(labels))
        earlier = self._db.execute(
            "SELECT MAX(visible) FROM history WHERE address = ?"
            " AND id > (SELECT shown FROM mailboxes WHERE address = ?)",
            (self.address, self.address),
        ).fetchone()[0]
        visible = max(visible, earlier or 0.0)
        message: dict[str, Any] = {"id": message_id, "threadId": thread}
        record: dict[str, Any] = {"id": str(history), "messages": [message]}
        detailed = message | ({"labelIds": split(labels)} if labels else {})
        record |= {name: [{"message": detailed} | entry for entry in entries] for name, entries in arrays.items()}
        self._db.execute(
            "INSERT INTO history VALUES (?, ?, ?, ?, ?, ?, ?)",
            (self.address, history, message_id, joined(set(arrays)), labels, orjson.dumps(record), visible),
        )
        self._db.execute(
            "UPDATE messages SET changed = ?, visible = ? WHERE address = ? AND id = ?",
            (self._now, visible, self.address, message_id),
        )
        if visible <= self._now:
            reveal(self._state, self._db, self.address, self._now, known_due=True)
        else:
            self._state.hidden_until.setdefault(self.address, visible)

    def _notify(self, history: int, labels: Sequence[str]) -> float:
        """Ring, if anyone listens; answer by how many seconds the change lags behind the ringing."""
        row = find_mailbox(self._db, self.address)
        if row["topic"] is None or row["watch_until"] <= self._now:
            return 0.0
        wanted = set(orjson.loads(row["watch_labels"]))
        if wanted and bool(wanted & set(labels)) == bool(row["watch_exclude"]):
            return 0.0
        if 0 <= self._now - row["last_push"] < CAP_SECONDS:
            self._pushes.throttle()
            return 0.0
        self._db.execute("UPDATE mailboxes SET last_push = ? WHERE address = ?", (self._now, self.address))
        return self._pushes.announce(Notice(row["topic"], self.address, history), self._now)


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
        db.execute(
            "UPDATE messages SET history = ?, shown = ?, shown_labels = ? WHERE address = ? AND id = ?",
            (row["id"], "messagesDeleted" not in row["types"], row["labels"], address, row["message"]),
        )
        db.execute("UPDATE mailboxes SET shown = ? WHERE address = ?", (row["id"], address))

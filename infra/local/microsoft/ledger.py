"""The record that every change of a mailbox leaves: a number, a notification, and the moment it begins to show.

A change takes effect at once in the truth; in what the API shows it takes effect at once too, unless it is late: then it,
and whatever follows it in that mailbox, shows only when its time has come, though its notification is on its way.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from infra.local.microsoft.state import State
from infra.local.simulated.errors import UnknownThing

Lag = Callable[[str, int], float]
"""(address, number of a change) -> by how many seconds it lags behind its notification."""


@dataclass(frozen=True, slots=True)
class Notice:
    """A change of a message that a subscriber may want to hear of; ``kind`` is created, updated or deleted."""

    message: str
    mutable: str
    folder: str
    kind: str
    etag: str
    number: int


class Ledger:
    """One mailbox's records within one transaction. Raises ``UnknownThing`` where there is no such mailbox."""

    def __init__(self, state: State, db: sqlite3.Connection, lag: Lag, address: str, now: float) -> None:
        self._state = state
        self._db = db
        self._lag = lag
        self._address = address
        self.now = now
        self.notices: list[Notice] = []
        find_mailbox(db, address)
        reveal(state, db, address, now)

    def step(self, counter: str) -> int:
        """Count something of the mailbox further, and answer the new count."""
        row = self._db.execute(
            f"UPDATE mailboxes SET {counter} = {counter} + 1 WHERE address = ? RETURNING {counter}", (self._address,)
        )
        return int(row.fetchone()[0])

    def catch_up(self) -> None:
        """Let whatever is late show now."""
        self._db.execute("UPDATE journal SET visible = ? WHERE address = ?", (self.now, self._address))
        self._db.execute(
            "UPDATE messages SET visible = ? WHERE address = ? AND visible > ?", (self.now, self._address, self.now)
        )
        reveal(self._state, self._db, self._address, self.now, known_due=True)

    def record(self, message_id: str, state: Mapping[str, Any], kind: str, etag: str) -> None:
        """Write down what became of a message, and ring."""
        number = self.step("change")
        pending = self._db.execute("SELECT MAX(visible) FROM journal WHERE address = ?", (self._address,)).fetchone()[0]
        visible = max(self.now + self._lag(self._address, number), pending or 0.0)
        self._db.execute(
            "INSERT INTO journal VALUES (?, ?, ?, ?, ?)",
            (self._address, number, message_id, None if kind == "deleted" else orjson.dumps(state), visible),
        )
        self._db.execute(
            "UPDATE messages SET changed = ?, visible = ? WHERE address = ? AND id = ?",
            (self.now, visible, self._address, message_id),
        )
        self.notices.append(Notice(message_id, state["mutable"], state["folder"], kind, etag, number))
        if visible <= self.now:
            reveal(self._state, self._db, self._address, self.now, known_due=True)
        else:
            self._state.hidden_until.setdefault(self._address, visible)

    def record_folder(self, folder: str) -> None:
        """Write down that a folder is new, changed or gone, which always shows at once."""
        number = self.step("change")
        self._db.execute("INSERT INTO hierarchy_log VALUES (?, ?, ?)", (self._address, number, folder))


def find_mailbox(db: sqlite3.Connection, address: str) -> sqlite3.Row:
    """Read a mailbox's row. Raises ``UnknownThing``."""
    row: sqlite3.Row | None = db.execute("SELECT * FROM mailboxes WHERE address = ?", (address,)).fetchone()
    if row is None:
        raise UnknownThing(f"There is no mailbox {address!r}.")
    return row


def reveal(state: State, db: sqlite3.Connection, address: str, now: float, known_due: bool = False) -> None:
    """Show the changes whose time has come, in the order of their numbers."""
    if not known_due and state.hidden_until.get(address, now + 1) > now:
        return
    rows = db.execute("SELECT * FROM journal WHERE address = ? ORDER BY change", (address,)).fetchall()
    state.hidden_until.pop(address, None)
    for row in rows:
        if row["visible"] > now:
            state.hidden_until[address] = row["visible"]
            break
        _show(db, address, row)
        db.execute("DELETE FROM journal WHERE address = ? AND change = ?", (address, row["change"]))
        db.execute("UPDATE mailboxes SET shown = ? WHERE address = ?", (row["change"], address))


def _show(db: sqlite3.Connection, address: str, change: sqlite3.Row) -> None:
    """Let one change show, and write it into the log of each folder that it concerns."""
    number, message = change["change"], change["message"]
    before = db.execute(
        "SELECT rowid, shown_folder, shown_mutable FROM messages WHERE address = ? AND id = ?", (address, message)
    ).fetchone()
    after = None if change["state"] is None else orjson.loads(change["state"])
    if before["shown_folder"] is not None and (after is None or after["folder"] != before["shown_folder"]):
        db.execute(
            "INSERT INTO folder_log VALUES (?, ?, ?, ?, ?, ?, 0)",
            (
                address,
                before["shown_folder"],
                number,
                message,
                "changed" if after else "deleted",
                before["shown_mutable"],
            ),
        )
    if after is None:
        db.execute(
            "UPDATE messages SET shown = NULL, shown_folder = NULL, shown_mutable = NULL WHERE rowid = ?",
            (before["rowid"],),
        )
        db.execute("DELETE FROM bodies WHERE message = ?", (before["rowid"],))
        return
    db.execute(
        "UPDATE messages SET shown = ?, shown_folder = ?, shown_mutable = ?, shown_read = ? WHERE rowid = ?",
        (change["state"], after["folder"], after["mutable"], after["isRead"], before["rowid"]),
    )
    db.execute(
        "INSERT INTO folder_log VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            address,
            after["folder"],
            number,
            message,
            "",
            after["mutable"],
            after["folder"] != before["shown_folder"],
        ),
    )

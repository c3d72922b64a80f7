"""The register of subscriptions: which there are, which of them live, and how many lived at once."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Sequence
from typing import Any

from infra.local.microsoft.errors import GraphError
from infra.local.microsoft.identity_accounts import Account
from infra.local.microsoft.notifications import stamp
from infra.local.microsoft.state import State
from infra.local.microsoft.subscriptions_wanted import Wanted
from infra.local.simulated.chance import digest
from shared.ports import Clock

Json = dict[str, Any]
_TABLES = """
CREATE TABLE IF NOT EXISTS subscriptions (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE, address TEXT NOT NULL, resource TEXT NOT NULL,
    folder TEXT NOT NULL, changes TEXT NOT NULL, url TEXT NOT NULL, lifecycle_url TEXT NOT NULL, client_state TEXT,
    expires REAL NOT NULL, immutable INTEGER NOT NULL, reauthorize_by REAL);
CREATE INDEX IF NOT EXISTS subscriptions_by_address ON subscriptions (address, expires);
CREATE TABLE IF NOT EXISTS subscribers (
    address TEXT PRIMARY KEY, most_live INTEGER NOT NULL DEFAULT 0, changes INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
"""
_MOST = 1000


class Register:
    """Reads and writes inside of the transactions of others; a subscription is its row."""

    def __init__(self, state: State, clock: Clock, seed: int) -> None:
        state.create(_TABLES)
        self._clock = clock
        self._seed = seed

    def add(self, db: sqlite3.Connection, address: str, wanted: Wanted, immutable: bool) -> sqlite3.Row:
        """Enter a subscription. Raises ``GraphError`` as ``require_room`` does."""
        self.require_room(db, address, wanted)
        number = db.execute(
            "INSERT INTO subscriptions (address, resource, folder, changes, url, lifecycle_url, client_state, expires,"
            " immutable) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (address, wanted.resource, wanted.folder, wanted.changes, wanted.url, wanted.lifecycle_url,
             wanted.client_state, wanted.expires, immutable),
        ).lastrowid  # fmt: skip
        name = str(uuid.UUID(bytes=digest(self._seed, "subscription", number)[:16], version=4))
        db.execute("UPDATE subscriptions SET id = ? WHERE number = ?", (name, number))
        db.execute("INSERT OR IGNORE INTO subscribers (address) VALUES (?)", (address,))
        db.execute(
            "UPDATE subscribers SET most_live = MAX(most_live, ?) WHERE address = ?",
            (len(self.living(db, address)), address),
        )
        return self.find(db, address, name)

    def require_room(self, db: sqlite3.Connection, address: str, wanted: Wanted) -> None:
        """Raise ``GraphError`` 409 where the same subscription lives already, 403 where there are too many."""
        living = self.living(db, address)
        same = (wanted.resource.lower(), wanted.changes, wanted.url)
        if any((row["resource"].lower(), row["changes"], row["url"]) == same for row in living):
            raise GraphError(409, "Conflict", "Subscription already exists for the requested combination.")
        if len(living) >= _MOST:
            raise GraphError(403, "Forbidden", "The mailbox has reached its limit of subscriptions.")

    def living(self, db: sqlite3.Connection, address: str) -> Sequence[sqlite3.Row]:
        """The live subscriptions of a mailbox, the oldest first."""
        return db.execute(
            "SELECT * FROM subscriptions WHERE address = ? AND expires > ? ORDER BY number",
            (address, self._clock.now()),
        ).fetchall()

    def find(self, db: sqlite3.Connection, address: str, name: str) -> sqlite3.Row:
        """A live subscription of a mailbox. Raises ``GraphError`` 404."""
        for row in self.living(db, address):
            if row["id"] == name:
                return row
        raise GraphError(404, "ResourceNotFound", "The object was not found.")

    def number(self, db: sqlite3.Connection, address: str) -> int:
        """The number of one more change of a mailbox."""
        db.execute("INSERT OR IGNORE INTO subscribers (address) VALUES (?)", (address,))
        row = db.execute(
            "UPDATE subscribers SET changes = changes + 1 WHERE address = ? RETURNING changes", (address,)
        ).fetchone()
        return int(row["changes"])

    def most_live(self, db: sqlite3.Connection) -> dict[str, int]:
        """How many subscriptions of each mailbox were ever live at once."""
        return {row["address"]: row["most_live"] for row in db.execute("SELECT * FROM subscribers")}


def shown(row: sqlite3.Row, account: Account) -> Json:
    """A subscription as Graph shows it; its secret only at its creation, so here it is null."""
    return {
        "@odata.context": "https://graph.microsoft.com/v1.0/$metadata#subscriptions/$entity",
        "id": row["id"],
        "resource": row["resource"],
        "changeType": row["changes"],
        "clientState": None,
        "notificationUrl": row["url"],
        "lifecycleNotificationUrl": row["lifecycle_url"] or None,
        "expirationDateTime": stamp(row["expires"]),
        "creatorId": account.id,
        "includeResourceData": None,
        "latestSupportedTlsVersion": "v1_2",
    }

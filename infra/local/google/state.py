"""The simulator's memory: one SQLite file that a killed process leaves whole and the next one continues.

What happened and what the API already shows are kept apart: ``labels`` and ``alive`` are the truth, ``shown_labels``
and ``shown`` what clients see. They differ only while a change is *early*, that is announced but not queryable yet.
Changes of a mailbox become visible in the order of their history ids, so a client that walks the history misses none.
"""

from __future__ import annotations

from pathlib import Path

from infra.local.simulated import state
from infra.local.simulated.tokens import TABLES

_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS mailboxes (
    address TEXT PRIMARY KEY, ordinal INTEGER NOT NULL, history INTEGER NOT NULL, shown INTEGER NOT NULL,
    oldest INTEGER NOT NULL, topic TEXT, watch_until REAL NOT NULL DEFAULT 0, watch_labels TEXT NOT NULL DEFAULT '[]',
    watch_exclude INTEGER NOT NULL DEFAULT 0, last_push REAL NOT NULL DEFAULT -1,
    tokens INTEGER NOT NULL DEFAULT 0);
{TABLES}
CREATE TABLE IF NOT EXISTS messages (
    address TEXT NOT NULL, id TEXT NOT NULL, thread TEXT NOT NULL, received INTEGER NOT NULL, history INTEGER NOT NULL,
    labels TEXT NOT NULL, alive INTEGER NOT NULL, shown_labels TEXT NOT NULL, shown INTEGER NOT NULL,
    mime_type TEXT NOT NULL, size INTEGER NOT NULL, headers BLOB NOT NULL, truth BLOB NOT NULL,
    refused INTEGER NOT NULL DEFAULT 0, changed REAL, visible REAL);
CREATE UNIQUE INDEX IF NOT EXISTS messages_by_id ON messages (address, id);
CREATE INDEX IF NOT EXISTS messages_by_age ON messages (address, received DESC, id DESC) WHERE shown = 1;
CREATE INDEX IF NOT EXISTS messages_by_thread ON messages (thread, address);
CREATE TABLE IF NOT EXISTS drafts (
    address TEXT NOT NULL, id TEXT NOT NULL, message TEXT NOT NULL, PRIMARY KEY (address, id)) WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS drafts_by_message ON drafts (address, message);
CREATE TABLE IF NOT EXISTS history (
    address TEXT NOT NULL, id INTEGER NOT NULL, message TEXT NOT NULL, types TEXT NOT NULL, labels TEXT NOT NULL,
    body BLOB NOT NULL, visible REAL NOT NULL, PRIMARY KEY (address, id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS labels (
    address TEXT NOT NULL, id TEXT NOT NULL, name TEXT NOT NULL, look BLOB NOT NULL DEFAULT '{{}}',
    gone INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (address, id)) WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS labels_by_name ON labels (address, name) WHERE gone = 0;
"""
_VERSION = 2


class State(state.State):
    """The state file of a simulated Gmail."""

    def __init__(self, path: str | Path) -> None:
        super().__init__(path, _SCHEMA, _VERSION)
        self.hidden_until = self._hidden()

    def rolled_back(self) -> None:
        """What was noted of hidden changes was undone with them."""
        self.hidden_until = self._hidden()

    def _hidden(self) -> dict[str, float]:
        """Mailboxes with changes that are not visible yet, and when the first of them will be."""
        rows = self._db.execute(
            "SELECT h.address, MIN(h.visible) AS visible FROM mailboxes m JOIN history h ON h.address = m.address"
            " AND h.id > m.shown GROUP BY h.address"
        )
        return {row["address"]: row["visible"] for row in rows}

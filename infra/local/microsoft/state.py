"""The state file of a simulated Outlook.

What happened and what the API already shows are kept apart: ``state`` and ``folder`` are the truth, ``shown``,
``shown_folder`` and ``shown_mutable`` what clients see. They differ only while a change is late; ``journal`` holds those.
Changes of a mailbox become visible in the order of their numbers. ``folder_log`` is what deltas of messages are read from (a
message came, changed or left there), ``hierarchy_log`` what those of folders are.
"""

from __future__ import annotations

from pathlib import Path

from infra.local.simulated import state
from infra.local.simulated.tokens import TABLES

_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS mailboxes (
    address TEXT PRIMARY KEY, ordinal INTEGER NOT NULL DEFAULT 0, change INTEGER NOT NULL DEFAULT 0,
    shown INTEGER NOT NULL DEFAULT 0, generation INTEGER NOT NULL DEFAULT 0, tokens INTEGER NOT NULL DEFAULT 0);
{TABLES}
CREATE TABLE IF NOT EXISTS folders (
    number INTEGER PRIMARY KEY AUTOINCREMENT, address TEXT NOT NULL, id TEXT NOT NULL, parent TEXT NOT NULL,
    name TEXT NOT NULL, known TEXT NOT NULL, search INTEGER NOT NULL DEFAULT 0, gone INTEGER NOT NULL DEFAULT 0);
CREATE UNIQUE INDEX IF NOT EXISTS folders_by_id ON folders (address, id);
CREATE TABLE IF NOT EXISTS messages (
    address TEXT NOT NULL, id TEXT NOT NULL, thread TEXT NOT NULL, received INTEGER NOT NULL, folder TEXT NOT NULL,
    state BLOB NOT NULL, labels TEXT NOT NULL, alive INTEGER NOT NULL, shown BLOB, shown_folder TEXT, shown_mutable TEXT,
    shown_read INTEGER, fixed BLOB NOT NULL, truth BLOB NOT NULL, refused INTEGER NOT NULL DEFAULT 0, changed REAL,
    visible REAL);
CREATE UNIQUE INDEX IF NOT EXISTS messages_by_id ON messages (address, id);
CREATE UNIQUE INDEX IF NOT EXISTS messages_by_mutable ON messages (address, shown_mutable) WHERE shown_mutable IS NOT NULL;
CREATE INDEX IF NOT EXISTS messages_by_age ON messages (address, received DESC, id DESC) WHERE shown_folder IS NOT NULL;
CREATE INDEX IF NOT EXISTS messages_by_folder ON messages (address, shown_folder, received DESC, id DESC)
    WHERE shown_folder IS NOT NULL;
CREATE INDEX IF NOT EXISTS messages_in ON messages (address, folder) WHERE alive = 1;
CREATE TABLE IF NOT EXISTS journal (
    address TEXT NOT NULL, change INTEGER NOT NULL, message TEXT NOT NULL, state BLOB, visible REAL NOT NULL,
    PRIMARY KEY (address, change)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS folder_log (
    address TEXT NOT NULL, folder TEXT NOT NULL, change INTEGER NOT NULL, message TEXT NOT NULL, left TEXT NOT NULL,
    mutable TEXT NOT NULL, came INTEGER NOT NULL, PRIMARY KEY (address, folder, change)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS folder_log_of ON folder_log (address, folder, message, change);
CREATE TABLE IF NOT EXISTS hierarchy_log (
    address TEXT NOT NULL, change INTEGER NOT NULL, folder TEXT NOT NULL, PRIMARY KEY (address, change)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS delta_tokens (
    token TEXT PRIMARY KEY, address TEXT NOT NULL, scope TEXT NOT NULL, generation INTEGER NOT NULL, round BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS delta_tokens_by_scope ON delta_tokens (address, scope, generation);
"""
_VERSION = 2


class State(state.State):
    """One file with all mailboxes."""

    def __init__(self, path: str | Path) -> None:
        super().__init__(path, _SCHEMA, _VERSION)
        self.hidden_until = self._hidden()

    def create(self, tables: str) -> None:
        """Create further tables, where they are not there yet."""
        with self.reading() as db:
            db.executescript(tables)

    def rolled_back(self) -> None:
        """What was noted of hidden changes was undone with them."""
        self.hidden_until = self._hidden()

    def _hidden(self) -> dict[str, float]:
        """Mailboxes with changes that are not visible yet, and when the first of them will be."""
        rows = self._db.execute("SELECT address, MIN(visible) AS visible FROM journal GROUP BY address")
        return {row["address"]: row["visible"] for row in rows}

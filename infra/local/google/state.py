"""The simulator's memory: one SQLite file that a killed process leaves whole and the next one continues.

What happened and what the API already shows are kept apart: ``labels`` and ``alive`` are the truth, ``shown_labels``
and ``shown`` what clients see. They differ only while a change is *early*, that is announced but not queryable yet.
Changes of a mailbox become visible in the order of their history ids, so a client that walks the history misses none.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

_SCHEMA = """
CREATE TABLE IF NOT EXISTS mailboxes (
    address TEXT PRIMARY KEY, ordinal INTEGER NOT NULL, history INTEGER NOT NULL, shown INTEGER NOT NULL,
    oldest INTEGER NOT NULL, topic TEXT, watch_until REAL NOT NULL DEFAULT 0, watch_labels TEXT NOT NULL DEFAULT '[]',
    watch_exclude INTEGER NOT NULL DEFAULT 0, last_push REAL NOT NULL DEFAULT -1,
    tokens INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS tokens (
    token TEXT PRIMARY KEY, address TEXT NOT NULL, kind TEXT NOT NULL, expires_at REAL, client TEXT NOT NULL,
    scopes TEXT NOT NULL, code TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS grants (
    address TEXT NOT NULL, client TEXT NOT NULL, scopes TEXT NOT NULL, offline INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (address, client)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS codes (
    number INTEGER PRIMARY KEY AUTOINCREMENT, code TEXT UNIQUE, address TEXT NOT NULL, client TEXT NOT NULL,
    scopes TEXT NOT NULL, asked BLOB NOT NULL, until REAL NOT NULL, used INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS consent_pages (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE, asked BLOB NOT NULL, until REAL NOT NULL);
CREATE TABLE IF NOT EXISTS messages (
    address TEXT NOT NULL, id TEXT NOT NULL, thread TEXT NOT NULL, received INTEGER NOT NULL, history INTEGER NOT NULL,
    labels TEXT NOT NULL, alive INTEGER NOT NULL, shown_labels TEXT NOT NULL, shown INTEGER NOT NULL,
    mime_type TEXT NOT NULL, size INTEGER NOT NULL, headers BLOB NOT NULL, truth BLOB NOT NULL,
    refused INTEGER NOT NULL DEFAULT 0, changed REAL, visible REAL);
CREATE UNIQUE INDEX IF NOT EXISTS messages_by_id ON messages (address, id);
CREATE INDEX IF NOT EXISTS messages_by_age ON messages (address, received DESC, id DESC) WHERE shown = 1;
CREATE INDEX IF NOT EXISTS messages_by_thread ON messages (thread, address);
CREATE TABLE IF NOT EXISTS bodies (message INTEGER PRIMARY KEY, raw BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS drafts (
    address TEXT NOT NULL, id TEXT NOT NULL, message TEXT NOT NULL, PRIMARY KEY (address, id)) WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS drafts_by_message ON drafts (address, message);
CREATE TABLE IF NOT EXISTS history (
    address TEXT NOT NULL, id INTEGER NOT NULL, message TEXT NOT NULL, types TEXT NOT NULL, labels TEXT NOT NULL,
    body BLOB NOT NULL, visible REAL NOT NULL, PRIMARY KEY (address, id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS threads (
    address TEXT NOT NULL, key TEXT NOT NULL, thread TEXT NOT NULL, PRIMARY KEY (address, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS labels (
    address TEXT NOT NULL, id TEXT NOT NULL, name TEXT NOT NULL, look BLOB NOT NULL DEFAULT '{}',
    gone INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (address, id)) WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS labels_by_name ON labels (address, name) WHERE gone = 0;
CREATE TABLE IF NOT EXISTS unreadable (address TEXT NOT NULL, name TEXT NOT NULL, reason TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value BLOB NOT NULL);
"""


_VERSION = 2


class OtherVersion(Exception):
    """The file was made by another version of the simulator."""


class State:
    """One connection and one lock; every use of either goes through ``transaction`` or ``reading``."""

    def __init__(self, path: str | Path) -> None:
        self._lock = threading.RLock()
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA journal_mode=WAL")
        # A killed process loses nothing this way; only a power cut could, and then the laptop's demo starts over.
        self._db.execute("PRAGMA synchronous=OFF")
        self._refuse_other_versions()
        self._db.executescript(f"{_SCHEMA}; PRAGMA user_version = {_VERSION}")
        self.hidden_until = self._hidden()

    def _refuse_other_versions(self) -> None:
        """Refuse a file whose tables are not ours: a wrong column would only be found in the middle of something."""
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version != _VERSION and self._db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]:
            self._db.close()
            raise OtherVersion

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Hold the lock and commit at the end, or roll back on any exception."""
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                self.hidden_until = self._hidden()
                raise
            self._db.execute("COMMIT")

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Hold the lock for some reads that belong together."""
        with self._lock:
            yield self._db

    def setting(self, name: str) -> Any:
        """A remembered value, None where there is none."""
        with self.reading() as db:
            row = db.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
        return None if row is None else orjson.loads(row["value"])

    def remember(self, name: str, value: Any) -> None:
        """Keep a small JSON value."""
        with self.transaction() as db:
            db.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, orjson.dumps(value)))

    def _hidden(self) -> dict[str, float]:
        """Mailboxes with changes that are not visible yet, and when the first of them will be."""
        rows = self._db.execute(
            "SELECT h.address, MIN(h.visible) AS visible FROM mailboxes m JOIN history h ON h.address = m.address"
            " AND h.id > m.shown GROUP BY h.address"
        )
        return {row["address"]: row["visible"] for row in rows}

    def close(self) -> None:
        """Close the file; any later use raises."""
        with self._lock:
            self._db.close()


def joined(labels: set[str] | frozenset[str]) -> str:
    """Labels as they are stored: ``,INBOX,UNREAD,`` (so that ``instr`` finds a whole label), '' for none."""
    return f",{','.join(sorted(labels))}," if labels else ""


def split(labels: str) -> list[str]:
    """The sorted labels of a stored value."""
    return labels.strip(",").split(",") if labels else []

"""A simulator's memory: one SQLite file that a killed process leaves whole and the next one continues."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

_TABLES = """
CREATE TABLE IF NOT EXISTS bodies (message INTEGER PRIMARY KEY, raw BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS threads (
    address TEXT NOT NULL, key TEXT NOT NULL, thread TEXT NOT NULL, PRIMARY KEY (address, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS unreadable (address TEXT NOT NULL, name TEXT NOT NULL, reason TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value BLOB NOT NULL);
"""
"""What every simulator keeps, beside the tables of its own."""


class OtherVersion(Exception):
    """The file was made by another version of the simulator."""


class State:
    """One connection and one lock; every use of either goes through ``transaction`` or ``reading``."""

    def __init__(self, path: str | Path, schema: str, version: int) -> None:
        self._lock = threading.RLock()
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA journal_mode=WAL")
        # A killed process loses nothing this way; only a power cut could, and then the laptop's demo starts over.
        self._db.execute("PRAGMA synchronous=OFF")
        self._refuse_other_versions(version)
        self._db.executescript(f"{schema}; {_TABLES}; PRAGMA user_version = {version}")

    def _refuse_other_versions(self, ours: int) -> None:
        """Refuse a file whose tables are not ours: a wrong column would only be found in the middle of something."""
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version != ours and self._db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]:
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
                self.rolled_back()
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

    def rolled_back(self) -> None:
        """Called after a change was undone, for what a simulator remembers outside of the file."""

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

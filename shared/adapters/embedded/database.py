"""The one SQLite file that store, queue and bus share, its transactions, and what its errors mean.

Each thread has its own connection, closed when the thread ends. Writers queue up at a lock inside the process, because
SQLite's own waiting is a series of naps; between processes SQLite's waiting is what there is.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.errors import ConfigurationError, Retry, StorageFull, Unknown

SCHEMA_VERSION = 1

_COUNTERS = "CREATE TABLE IF NOT EXISTS counter(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID"

_FULL = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE}
_PASSING = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_NOMEM,
}


class Database:
    """One SQLite file in WAL mode; ``synchronous="OFF"`` trades the last commits before a power cut for speed."""

    def __init__(self, path: str | os.PathLike[str], synchronous: str = "FULL", busy_seconds: float = 10.0) -> None:
        if synchronous not in ("FULL", "NORMAL", "OFF"):
            raise ConfigurationError("The synchronous mode must be FULL, NORMAL or OFF.")
        self.path = Path(path)
        self._durable, self._relaxed = synchronous, "OFF" if synchronous == "OFF" else "NORMAL"
        self._busy_seconds = busy_seconds
        self._writing = threading.Lock()
        self._local = threading.local()
        self._open: weakref.WeakSet[_Connection] = weakref.WeakSet()
        self._closed = False
        with _translated():
            _create_private(self.path)
        self.create(_COUNTERS)
        self._stamp()

    def create(self, *statements: str) -> None:
        """Run statements that define tables and indexes, all or none."""
        with self.write() as connection:
            for statement in statements:
                connection.execute(statement)

    @contextmanager
    def write(self, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """A transaction that starts as a writer, committed at the end, rolled back by any exception.

        ``durable=False`` survives the death of the process, but perhaps not a power cut: right for what may be done
        twice. The next durable transaction takes it along to the disk. Raises ``Retry`` and ``StorageFull`` (nothing
        was applied), and ``Unknown`` when the disk fails during the commit itself.
        """
        own = self._own()
        if own.busy:
            raise RuntimeError("A transaction is already open in this thread.")
        if not self._writing.acquire(timeout=self._busy_seconds):
            raise Retry("The database is busy.")
        try:
            own.busy = True
            with _translated():
                own.synchronise(self._durable if durable else self._relaxed)
                own.raw.execute("BEGIN IMMEDIATE")
                try:
                    yield own.raw
                except BaseException:
                    own.rollback()
                    raise
                _commit(own)
        finally:
            own.busy = False
            self._writing.release()

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """One consistent view for several statements. Raises ``Retry``."""
        own = self._own()
        if own.busy:
            raise RuntimeError("A transaction is already open in this thread.")
        try:
            own.busy = True
            with _translated():
                own.raw.execute("BEGIN")
                yield own.raw
        finally:
            own.rollback()
            own.busy = False

    def close(self) -> None:
        """Close every connection; whoever is in the middle of something gets an error, so stop the pumps first."""
        self._closed = True
        for connection in list(self._open):
            connection.close()

    def _own(self) -> _Connection:
        own: _Connection | None = getattr(self._local, "connection", None)
        if self._closed:
            raise RuntimeError("The database is closed.")
        if own is None:
            with _translated():
                own = _Connection(self.path, self._busy_seconds)
            self._local.connection = own
            self._open.add(own)
        return own

    def _stamp(self) -> None:
        with self.write() as connection:
            (found,) = connection.execute("PRAGMA user_version").fetchone()
            if found not in (0, SCHEMA_VERSION):
                raise ConfigurationError("The data folder was written by another version of Brainstem.")
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def increase(connection: sqlite3.Connection, name: str, by: int = 1) -> int:
    """Raise a persistent counter inside the current transaction and answer its new value."""
    row = connection.execute(
        "INSERT INTO counter VALUES (?, ?) ON CONFLICT DO UPDATE SET value = value + excluded.value RETURNING value",
        (name, by),
    ).fetchone()
    return int(row[0])


class _Connection:
    """A thread's connection; collected, and thereby closed, with the thread."""

    def __init__(self, path: Path, busy_seconds: float) -> None:
        # Closing happens in whichever thread ends the database, hence no thread check; use stays with the owner.
        self.raw = sqlite3.connect(
            path, timeout=busy_seconds, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        self.busy = False
        self._synchronous = ""
        try:
            self.raw.execute("PRAGMA journal_mode = WAL").fetchone()
            self.raw.execute("PRAGMA journal_size_limit = 67108864")
            self.raw.execute("PRAGMA temp_store = MEMORY")
            # What is deleted is overwritten: else an erased mailbox could be read out of free pages for years.
            self.raw.execute("PRAGMA secure_delete = ON").fetchone()
        except BaseException:
            self.raw.close()
            raise

    def synchronise(self, mode: str) -> None:
        if mode != self._synchronous:
            self.raw.execute(f"PRAGMA synchronous = {mode}")
            self._synchronous = mode

    def rollback(self) -> None:
        if self.raw.in_transaction:
            self.raw.execute("ROLLBACK")

    def close(self) -> None:
        self.raw.close()

    def __del__(self) -> None:
        if hasattr(self, "raw"):
            self.raw.close()


def _commit(own: _Connection) -> None:
    try:
        own.raw.execute("COMMIT")
    except sqlite3.OperationalError as error:
        own.rollback()
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_IOERR and error.sqlite_errorcode not in _FULL:
            # The log may hold the commit although it could not be forced to the disk.
            raise Unknown("The disk failed during a commit.") from error
        raise


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0)
        if code in _FULL or code & 0xFF in _FULL:
            raise StorageFull from error
        if code & 0xFF in _PASSING:
            raise Retry("The database cannot be used right now.") from error
        raise


def _create_private(path: Path) -> None:
    """Make the file readable by its owner only; SQLite gives its companions the same permissions."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))

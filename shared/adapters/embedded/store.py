"""Documents in one SQLite table, JSON in a column, versions from a counter that every commit raises by one."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import orjson

from shared.adapters import documents
from shared.adapters.documents import Row
from shared.adapters.embedded import queries
from shared.adapters.embedded.database import Database, increase
from shared.errors import Conflict, TooLarge
from shared.ports import MAX_COMMIT_BYTES, Check, Create, Data, Delete, Doc, Put, Query, Shape, Update, Write

_TABLE = (
    "CREATE TABLE IF NOT EXISTS doc(parent TEXT NOT NULL, grp TEXT NOT NULL, key TEXT NOT NULL,"
    " version INTEGER NOT NULL, data TEXT NOT NULL, UNIQUE(parent, grp, key))"
)
_ROW = "parent = ? AND grp = ? AND key = ?"
_GET = f"SELECT version, data FROM doc WHERE {_ROW}"  # noqa: S608 - constants
_CREATE = "INSERT INTO doc(version, parent, grp, key, data) VALUES (?, ?, ?, ?, ?)"
_PUT = f"{_CREATE} ON CONFLICT(parent, grp, key) DO UPDATE SET version = excluded.version, data = excluded.data"
_UPDATE = f"UPDATE doc SET version = ?, data = ? WHERE {_ROW}"  # noqa: S608 - constants
_DELETE = f"DELETE FROM doc WHERE {_ROW}"  # noqa: S608 - constants

_Written: TypeAlias = tuple[str, str, str, str]


class EmbeddedStore:
    """The Store port on a ``Database``; ``shapes`` are the only queries it answers."""

    def __init__(self, database: Database, shapes: Iterable[Shape]) -> None:
        self._database = database
        self._shapes = {queries.normal(shape) for shape in shapes}
        database.create(_TABLE, *queries.indexes(sorted(self._shapes, key=repr)))

    def get(self, refs: Sequence[str]) -> dict[str, Doc]:
        """Read documents in one consistent view; missing ones are absent. Raises ``Retry``."""
        found = {}
        with self._database.read() as connection:
            for ref in refs:
                row = connection.execute(_GET, documents.split(ref)).fetchone()
                if row:
                    found[ref] = Doc(ref, orjson.loads(row[1]), str(row[0]))
        return found

    def query(self, query: Query) -> list[Doc]:
        """Answer a query of a declared shape. Raises ``Retry``; ``ValueError`` for any other shape."""
        if queries.normal(query.shape) not in self._shapes:
            raise ValueError(f"No such shape was declared: {query.shape}.")
        text, values = queries.select(query)
        with self._database.read() as connection:
            rows = connection.execute(text, values).fetchall()
        return [
            Doc(documents.join(parent, query.group, key), orjson.loads(data), str(version))
            for parent, key, version, data in rows
        ]

    def commit(self, writes: Sequence[Write]) -> list[str | None]:
        """Apply all writes or none. Raises ``Conflict``, ``Retry``, ``Unknown``, ``TooLarge``; ``ValueError``."""
        plan = _Plan.of(writes)
        if not writes:
            return []
        with self._database.write() as connection:
            version = increase(connection, "commit")
            plan.apply(connection, version)
        return [_version(write, version) for write in writes]


@dataclass(slots=True)
class _Plan:
    """The writes by kind, checked and encoded before the transaction; no two name one document, so order is free."""

    creates: list[_Written] = field(default_factory=list)
    puts: list[_Written] = field(default_factory=list)
    updates: list[tuple[Row, str, Data]] = field(default_factory=list)
    deletes: list[tuple[Row, str | None]] = field(default_factory=list)
    checks: list[tuple[Row, str]] = field(default_factory=list)

    @classmethod
    def of(cls, writes: Sequence[Write]) -> _Plan:
        if len({write.ref for write in writes}) < len(writes):
            raise ValueError("A reference occurs twice in a commit.")
        plan, weight = cls(), 0
        for write in writes:
            row = documents.split(write.ref)
            match write:
                case Create() | Put():
                    text = documents.encode(write.data)
                    weight += documents.weight(text)
                    (plan.creates if isinstance(write, Create) else plan.puts).append((*row, text))
                case Update():
                    weight += documents.weight(documents.encode(write.data))
                    plan.updates.append((row, write.expect, write.data))
                case Delete():
                    plan.deletes.append((row, write.expect))
                case Check():
                    plan.checks.append((row, write.expect))
        if weight > MAX_COMMIT_BYTES:
            raise TooLarge("A commit is over its limit.")
        return plan

    def apply(self, connection: sqlite3.Connection, version: int) -> None:
        for row, expect in self.checks:
            _expected(connection, row, expect)
        for row, optional in self.deletes:
            if optional is not None:
                _expected(connection, row, optional)
            connection.execute(_DELETE, row)
        for row, expect, data in self.updates:
            merged = {**orjson.loads(_expected(connection, row, expect)), **data}
            connection.execute(_UPDATE, (version, documents.encode(merged), *row))
        try:
            connection.executemany(_CREATE, [(version, *written) for written in self.creates])
        except sqlite3.IntegrityError as error:
            raise Conflict("A document that was to be created exists.") from error
        connection.executemany(_PUT, [(version, *written) for written in self.puts])


def _expected(connection: sqlite3.Connection, row: Row, expect: str) -> str:
    found = connection.execute(_GET, row).fetchone()
    if found is None or str(found[0]) != expect:
        raise Conflict
    return str(found[1])


def _version(write: Write, version: int) -> str | None:
    if isinstance(write, Delete):
        return None
    return write.expect if isinstance(write, Check) else str(version)

"""What the subscriber outside received, kept on disk: a run of hours must not be weighed by its own witness."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import orjson

from infra.local.verify_delivery import Delivery


class Records:
    """A list of deliveries as far as a world needs one; answers those of one person, in order of arrival.

    ``every`` is called at each so many, which is how the work is measured.
    """

    def __init__(self, path: Path, number: int, every: Callable[[], None]) -> None:
        self._left = self._number = number
        self._every = every
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute(
            "CREATE TABLE delivery(number INTEGER PRIMARY KEY, uid TEXT, at REAL, attributes BLOB, data BLOB)"
        )
        self._database.execute("CREATE INDEX of_person ON delivery(uid, number)")

    def append(self, delivery: Delivery) -> None:
        """Keep one."""
        self._left -= 1
        if not self._left:
            self._left = self._number
            self._every()
        attributes = dict(delivery.attributes)
        self._database.execute(
            "INSERT INTO delivery(uid, at, attributes, data) VALUES (?, ?, ?, ?)",
            (attributes.get("user_id", ""), delivery.at, orjson.dumps(attributes), orjson.dumps(delivery.data)),
        )

    def of(self, uid: str) -> list[Delivery]:
        """What concerns one person."""
        rows = self._database.execute("SELECT at, attributes, data FROM delivery WHERE uid = ? ORDER BY number", (uid,))
        return [Delivery(at, orjson.loads(attributes), orjson.loads(data)) for at, attributes, data in rows]

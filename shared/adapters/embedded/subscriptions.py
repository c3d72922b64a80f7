"""Push subscriptions of the embedded bus: what one promises, and the rows that keep it."""

from __future__ import annotations

import re
import sqlite3
from dataclasses import astuple, dataclass

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9._~+%-]{0,254}")

SCHEMA = (
    "CREATE TABLE IF NOT EXISTS subscription(name TEXT PRIMARY KEY, topic TEXT NOT NULL, endpoint TEXT NOT NULL,"
    " ordered INTEGER NOT NULL, ack_deadline REAL NOT NULL, min_backoff REAL NOT NULL, max_backoff REAL NOT NULL,"
    " max_attempts INTEGER NOT NULL, dead_letter_topic TEXT) WITHOUT ROWID",
)
_COLUMNS = "name, topic, endpoint, ordered, ack_deadline, min_backoff, max_backoff, max_attempts, dead_letter_topic"


def short(topic: str) -> str:
    """The short name of a topic: ``projects/P/topics/T`` becomes ``T``. Raises ``ValueError``."""
    name = topic.rpartition("/topics/")[2]
    if not _NAME.fullmatch(name):
        raise ValueError("A topic's name starts with a letter and holds letters, digits and ._~+%- only.")
    return name


@dataclass(frozen=True, slots=True)
class Subscription:
    """Push every message of a topic to an endpoint (a path or a URL), answered within ``ack_deadline`` seconds.

    After ``max_attempts`` failures a message goes to ``dead_letter_topic``, or is kept as a dead letter where there is
    none or nobody subscribes to it.
    """

    name: str
    topic: str
    endpoint: str
    ordered: bool = True
    ack_deadline: float = 60.0
    min_backoff: float = 1.0
    max_backoff: float = 60.0
    max_attempts: int = 20
    dead_letter_topic: str | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError("A subscription's name starts with a letter and holds letters, digits and ._~+%- only.")
        object.__setattr__(self, "topic", short(self.topic))
        if self.dead_letter_topic is not None:
            object.__setattr__(self, "dead_letter_topic", short(self.dead_letter_topic))
            if self.dead_letter_topic == self.topic:
                raise ValueError("A dead letter cannot go back to the topic it came from.")


def of_topic(connection: sqlite3.Connection, topic: str) -> list[Subscription]:
    """The subscriptions of a topic at this moment."""
    rows = connection.execute(f"SELECT {_COLUMNS} FROM subscription WHERE topic = ?", (topic,))  # noqa: S608 - constant
    return [_subscription(row) for row in rows]


def everyone(connection: sqlite3.Connection) -> list[Subscription]:
    """All subscriptions, by name."""
    rows = connection.execute(f"SELECT {_COLUMNS} FROM subscription ORDER BY name")  # noqa: S608 - constant
    return [_subscription(row) for row in rows]


def named(connection: sqlite3.Connection, name: str) -> Subscription | None:
    """The subscription of a name, if there is one."""
    row = connection.execute(f"SELECT {_COLUMNS} FROM subscription WHERE name = ?", (name,)).fetchone()  # noqa: S608 - constant
    return _subscription(row) if row else None


def save(connection: sqlite3.Connection, subscription: Subscription) -> None:
    """Add a subscription or replace the one of its name."""
    connection.execute("INSERT OR REPLACE INTO subscription VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", astuple(subscription))


def _subscription(row: tuple[object, ...]) -> Subscription:
    name, topic, endpoint, ordered, *rest = row
    return Subscription(name, topic, endpoint, bool(ordered), *rest)  # type: ignore[arg-type]

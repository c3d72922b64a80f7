"""Publish and push in the one SQLite file, with the envelope, the acknowledgements and the dead letters of Pub/Sub.

A message is one row per subscription. Of an ordering key only the oldest row has a due time; the others wait with none
until it is acknowledged or dead, so what may be pushed now is one look into an index, however long the queue of a key.

What is out for delivery is known in memory only, so a restart pushes it again. Settlements need not survive a power
cut: what it forgets is pushed once more, still in order. One process pushes; any number may publish.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import orjson

from shared.adapters.embedded import push, subscriptions
from shared.adapters.embedded.database import Database, increase
from shared.adapters.embedded.delivery import KEEP_DEAD_SECONDS, backoff
from shared.adapters.embedded.push import PushDelivery
from shared.adapters.embedded.subscriptions import Subscription, short
from shared.errors import Retry, Unknown
from shared.ports import BusMessage, Clock

ACKNOWLEDGED = frozenset({102, 200, 201, 202, 204})
MAX_KEY_BYTES = 1024
MAX_MESSAGE_BYTES = 10_000_000

_SCHEMA = (
    *subscriptions.SCHEMA,
    "CREATE TABLE IF NOT EXISTS push(id INTEGER PRIMARY KEY AUTOINCREMENT, subscription TEXT NOT NULL,"
    " message INTEGER NOT NULL, key TEXT NOT NULL, due REAL, failures INTEGER NOT NULL DEFAULT 0,"
    " published REAL NOT NULL, attributes TEXT NOT NULL, data BLOB NOT NULL)",
    "CREATE INDEX IF NOT EXISTS push_due ON push(subscription, due, id) WHERE due IS NOT NULL",
    "CREATE INDEX IF NOT EXISTS push_key ON push(subscription, key, id) WHERE key <> ''",
    "CREATE TABLE IF NOT EXISTS push_dead(id INTEGER PRIMARY KEY, subscription TEXT NOT NULL, message INTEGER NOT NULL,"
    " failures INTEGER NOT NULL, status INTEGER NOT NULL, at REAL NOT NULL, attributes TEXT NOT NULL,"
    " data BLOB NOT NULL)",
    "CREATE INDEX IF NOT EXISTS push_dead_of ON push_dead(subscription, id)",
)
_INSERT = "INSERT INTO push(subscription, message, key, due, published, attributes, data) VALUES (?, ?, ?, ?, ?, ?, ?)"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that a subscription gave up."""

    message_id: str
    message: BusMessage
    failures: int
    status: int
    at: float


class EmbeddedBus:
    """The Bus port, its subscriptions, and the delivering side that a pump works off."""

    def __init__(self, database: Database, clock: Clock, per_subscription: int = 16) -> None:
        self._database = database
        self._clock = clock
        self._per_subscription = per_subscription
        self._out: dict[str, set[int]] = {}
        self._lock = threading.Lock()
        self._listeners: list[Callable[[], None]] = []
        database.create(*_SCHEMA)

    def on_work(self, callback: Callable[[], None]) -> None:
        """Call back after every publish, in its thread."""
        self._listeners.append(callback)

    def publish(self, topic: str, messages: Sequence[BusMessage], ordering_key: str = "") -> None:
        """Hand messages to the topic's subscriptions, all or none; durable on return. Raises ``Retry``."""
        name = short(topic)
        batch = [_checked(message, ordering_key) for message in messages]
        if not batch:
            return
        try:
            with self._database.write() as connection:
                _spread(connection, name, batch, ordering_key, self._clock.now())
        except Unknown as error:
            raise Retry("The messages may have been published.") from error
        for listener in self._listeners:
            listener()

    def subscribe(self, subscription: Subscription, replace: bool = False) -> None:
        """Push what is published from now on. The same again changes nothing.

        Raises ``ValueError`` when the name is taken by another configuration, unless ``replace``: then the new one
        takes over the backlog, or drops it when the topic or the ordering changes.
        """
        with self._database.write() as connection:
            known = subscriptions.named(connection, subscription.name)
            if known == subscription:
                return
            if known and not replace:
                raise ValueError(f"The subscription {subscription.name} exists with another configuration.")
            if known and (known.topic, known.ordered) != (subscription.topic, subscription.ordered):
                connection.execute("DELETE FROM push WHERE subscription = ?", (subscription.name,))
            subscriptions.save(connection, subscription)

    def unsubscribe(self, name: str) -> None:
        """Stop pushing and drop the backlog and the dead letters; unknown names are fine."""
        with self._database.write() as connection:
            connection.execute("DELETE FROM subscription WHERE name = ?", (name,))
            connection.execute("DELETE FROM push WHERE subscription = ?", (name,))
            connection.execute("DELETE FROM push_dead WHERE subscription = ?", (name,))

    def subscriptions(self) -> list[Subscription]:
        """All subscriptions, by name."""
        with self._database.read() as connection:
            return subscriptions.everyone(connection)

    def claim(self, limit: int, per_subscription: int | None = None) -> list[PushDelivery]:
        """Take due messages: of a key only the oldest, per subscription at most so many at once. Raises ``Retry``."""
        most = self._per_subscription if per_subscription is None else per_subscription
        taken: list[PushDelivery] = []
        now = self._clock.now()
        with self._lock, self._database.read() as connection:
            # Whoever has least out goes first, so that one slow endpoint cannot take all of the pump.
            everyone = sorted(subscriptions.everyone(connection), key=lambda one: len(self._out.get(one.name, ())))
            for subscription in everyone:
                out = self._out.setdefault(subscription.name, set())
                room = min(most - len(out), limit - len(taken))
                if room <= 0:
                    continue
                rows = connection.execute(
                    "SELECT id, message, key, published, attributes, data FROM push"
                    " WHERE subscription = ? AND due <= ? ORDER BY due, id LIMIT ?",
                    (subscription.name, now, room + len(out)),
                )
                fresh = [push.delivery(subscription, *row) for row in rows if row[0] not in out][:room]
                out.update(delivery.id for delivery in fresh)
                taken += fresh
        return taken

    def settle(self, delivery: PushDelivery, status: int) -> None:
        """Say how one push was answered: 102, 200, 201, 202 and 204 acknowledge, the rest means again later."""
        self.settle_all([(delivery, status)])

    def settle_all(self, outcomes: Sequence[tuple[PushDelivery, int]]) -> None:
        """Settle many pushes in one transaction. Raises ``Retry``; then none is settled."""
        now, letters = self._clock.now(), False
        with self._database.write(durable=False) as connection:
            for delivery, status in outcomes:
                if status in ACKNOWLEDGED:
                    _finish(connection, delivery, now)
                else:
                    letters |= _fail(connection, delivery, status, now)
            connection.execute("DELETE FROM push_dead WHERE at <= ?", (now - KEEP_DEAD_SECONDS,))
        with self._lock:
            for delivery, _ in outcomes:
                self._out.get(delivery.subscription, set()).discard(delivery.id)
        for listener in self._listeners if letters else ():
            listener()

    def next_due(self) -> float | None:
        """When a subscription will have a message to push that is not out already. Raises ``Retry``."""
        moments = []
        with self._lock, self._database.read() as connection:
            for subscription in subscriptions.everyone(connection):
                out = self._out.get(subscription.name, set())
                if len(out) >= self._per_subscription:
                    continue
                rows = connection.execute(
                    "SELECT id, due FROM push WHERE subscription = ? AND due IS NOT NULL ORDER BY due, id LIMIT ?",
                    (subscription.name, len(out) + 1),
                )
                moments += [due for row, due in rows if row not in out][:1]
        return min(moments, default=None)

    def backlog(self, subscription: str) -> int:
        """How many messages a subscription has not acknowledged."""
        with self._database.read() as connection:
            row = connection.execute("SELECT count(*) FROM push WHERE subscription = ?", (subscription,)).fetchone()
        return int(row[0])

    def dead_letters(self, subscription: str, limit: int = 100) -> list[DeadLetter]:
        """What a subscription gave up, oldest first; it stays for 30 days."""
        with self._database.read() as connection:
            rows = connection.execute(
                "SELECT message, failures, status, at, attributes, data FROM push_dead"
                " WHERE subscription = ? ORDER BY id LIMIT ?",
                (subscription, limit),
            ).fetchall()
        return [
            DeadLetter(str(message), BusMessage(data, orjson.loads(attributes)), failures, status, at)
            for message, failures, status, at, attributes, data in rows
        ]


def _checked(message: BusMessage, ordering_key: str) -> tuple[str, bytes]:
    if len(ordering_key.encode()) > MAX_KEY_BYTES or len(message.data) > MAX_MESSAGE_BYTES:
        raise ValueError("A message holds at most 10 MB and an ordering key at most 1024 bytes.")
    attributes = dict(message.attributes)
    if not all(isinstance(text, str) for pair in attributes.items() for text in pair):
        raise ValueError("The attributes of a message are strings.")
    try:
        return orjson.dumps(attributes).decode(), bytes(message.data)
    except orjson.JSONEncodeError as error:
        raise ValueError("The attributes of a message are valid UTF-8.") from error


def _spread(
    connection: sqlite3.Connection, topic: str, batch: Sequence[tuple[str, bytes]], ordering_key: str, now: float
) -> int:
    """Append messages to the backlog of every subscription of a topic; answer how many subscriptions there are."""
    receivers = subscriptions.of_topic(connection, topic)
    if not receivers:
        return 0
    first = increase(connection, "message", len(batch)) - len(batch) + 1
    for receiver in receivers:
        key = ordering_key if receiver.ordered else ""
        waiting = (
            key
            and connection.execute(
                "SELECT 1 FROM push WHERE subscription = ? AND key = ? AND key <> '' LIMIT 1", (receiver.name, key)
            ).fetchone()
        )
        rows = [
            (receiver.name, first + place, key, None if key and (waiting or place) else now, now, attributes, data)
            for place, (attributes, data) in enumerate(batch)
        ]
        connection.executemany(_INSERT, rows)
    return len(receivers)


def _finish(connection: sqlite3.Connection, delivery: PushDelivery, now: float) -> None:
    """Remove a message from its subscription and let the next one of its key go."""
    gone = connection.execute("DELETE FROM push WHERE id = ?", (delivery.id,)).rowcount
    if gone and delivery.key:
        connection.execute(
            "UPDATE push SET due = ? WHERE id = (SELECT min(id) FROM push"
            " WHERE subscription = ? AND key = ? AND key <> '')",
            (now, delivery.subscription, delivery.key),
        )


def _fail(connection: sqlite3.Connection, delivery: PushDelivery, status: int, now: float) -> bool:
    """Push again later, or give up; answers whether a dead letter was published."""
    subscription = subscriptions.named(connection, delivery.subscription)
    row = connection.execute(
        "UPDATE push SET failures = failures + 1 WHERE id = ? RETURNING failures, message, published, attributes, data",
        (delivery.id,),
    ).fetchone()
    if row is None or subscription is None:
        return False
    failures, message, published, attributes, data = row
    if failures < subscription.max_attempts:
        due = now + backoff(failures, subscription.min_backoff, subscription.max_backoff)
        connection.execute("UPDATE push SET due = ? WHERE id = ?", (due, delivery.id))
        return False
    forwarded = 0
    if subscription.dead_letter_topic:
        marked = {**orjson.loads(attributes), **push.provenance(subscription, failures, published)}
        letter = (orjson.dumps(marked).decode(), data)
        forwarded = _spread(connection, subscription.dead_letter_topic, [letter], delivery.key, now)
    if not forwarded:
        connection.execute(
            "INSERT INTO push_dead VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (delivery.id, delivery.subscription, message, failures, status, now, attributes, data),
        )
    _finish(connection, delivery, now)
    return forwarded > 0

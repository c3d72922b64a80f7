"""The task queue in a table of the one SQLite file, with the names and headers of Cloud Tasks.

Tasks in flight are known in memory only, so a restart delivers them again; that they were started is in the file.
Claims and settlements need not survive a power cut: what it forgets is done once more, and a name whose start it forgot
is pending again, truly, because the task will be started again.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from shared.adapters import documents
from shared.adapters.embedded.database import Database
from shared.adapters.embedded.delivery import KEEP_DEAD_SECONDS, NO_ANSWER, Delivery, backoff
from shared.errors import Retry, Unknown
from shared.ports import Clock, Data, Enqueued

NAME_SECONDS = 86400.0
_PURGE = 200

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS task(id INTEGER PRIMARY KEY AUTOINCREMENT, queue TEXT NOT NULL, name TEXT,"
    " path TEXT NOT NULL, body TEXT NOT NULL, due REAL NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,"
    " answers INTEGER NOT NULL DEFAULT 0, failures INTEGER NOT NULL DEFAULT 0, UNIQUE(queue, name))",
    "CREATE INDEX IF NOT EXISTS task_due ON task(queue, due, id)",
    "CREATE TABLE IF NOT EXISTS task_spent(queue TEXT NOT NULL, name TEXT NOT NULL, at REAL NOT NULL,"
    " PRIMARY KEY(queue, name)) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS task_spent_at ON task_spent(at)",
    "CREATE TABLE IF NOT EXISTS task_dead(id INTEGER PRIMARY KEY, queue TEXT NOT NULL, name TEXT, path TEXT NOT NULL,"
    " body TEXT NOT NULL, failures INTEGER NOT NULL, status INTEGER NOT NULL, at REAL NOT NULL)",
)


@dataclass(frozen=True, slots=True)
class QueueConfig:
    """How a queue delivers: at most so many at once, each answered within ``deadline``, retried with backoff."""

    max_concurrent: int = 8
    min_backoff: float = 1.0
    max_backoff: float = 300.0
    max_attempts: int = 100
    deadline: float = 600.0


@dataclass(frozen=True, slots=True)
class TaskDelivery(Delivery):
    """One attempt at a task."""

    queue: str
    name: str | None

    @property
    def path(self) -> str:
        """Where it is POSTed."""
        return self.target


@dataclass(frozen=True, slots=True)
class DeadTask:
    """A task that was given up after its last attempt."""

    id: int
    queue: str
    name: str | None
    path: str
    body: bytes
    failures: int
    status: int
    at: float


class EmbeddedTasks:
    """The Tasks port, and the delivering side that a pump works off."""

    def __init__(self, database: Database, clock: Clock, queues: Mapping[str, QueueConfig]) -> None:
        self._database = database
        self._clock = clock
        self._queues = dict(queues)
        self._flying: dict[str, set[int]] = {queue: set() for queue in queues}
        self._lock = threading.Lock()
        self._listeners: list[Callable[[], None]] = []
        self._forget_at = 0.0
        database.create(*_SCHEMA)

    def on_work(self, callback: Callable[[], None]) -> None:
        """Call back after every enqueue, in its thread."""
        self._listeners.append(callback)

    def enqueue(
        self, queue: str, path: str, body: Data, name: str | None = None, not_before: float | None = None
    ) -> Enqueued:
        """Add a task; durable on return. Raises ``Retry``, ``TooLarge``; ``ValueError`` for what cannot be a task."""
        if queue not in self._queues:
            raise ValueError("There is no such queue.")
        if not path.startswith("/") or name == "":
            raise ValueError("A task has an absolute path, and a name that is not empty or none.")
        text, now = documents.encode(body), self._clock.now()
        try:
            with self._database.write() as connection:
                taken = _taken(connection, queue, name, now) if name is not None else None
                if taken:
                    return taken
                connection.execute(
                    "INSERT INTO task(queue, name, path, body, due) VALUES (?, ?, ?, ?, ?)",
                    (queue, name, path, text, max(now, not_before or now)),
                )
        except Unknown as error:
            raise Retry("The task may have been added.") from error
        for listener in self._listeners:
            listener()
        return Enqueued.CREATED

    def claim(self, limit: int) -> list[TaskDelivery]:
        """Take due tasks, oldest first in each queue, and mark them as started. Raises ``Retry``."""
        now = self._clock.now()
        with self._lock:
            due = self._due(now, limit)
            if not due:
                self._forget(now)
                return []
            with self._database.write(durable=False) as connection:
                connection.executemany(
                    "UPDATE task SET attempts = attempts + 1 WHERE id = ?", [(row[0],) for row in due]
                )
            for row in due:
                self._flying[row[1]].add(row[0])
        return [self._delivery(*row) for row in due]

    def settle(self, delivery: TaskDelivery, status: int) -> None:
        """Say how one delivery was answered: 2xx ends the task, anything else means again later. Raises ``Retry``."""
        self.settle_all([(delivery, status)])

    def settle_all(self, outcomes: Sequence[tuple[TaskDelivery, int]]) -> None:
        """Settle many deliveries in one transaction. Raises ``Retry``; then none is settled."""
        now = self._clock.now()
        with self._database.write(durable=False) as connection:
            for delivery, status in outcomes:
                if 200 <= status < 300:
                    _finish(connection, delivery, now)
                else:
                    self._fail(connection, delivery, status, now)
            _purge(connection, now)
        with self._lock:
            for delivery, _ in outcomes:
                self._flying[delivery.queue].discard(delivery.id)

    def next_due(self) -> float | None:
        """When a queue with room will have a task to claim. Raises ``Retry``."""
        moments = []
        with self._lock, self._database.read() as connection:
            for queue, flying in self._flying.items():
                if len(flying) < self._queues[queue].max_concurrent:
                    rows = connection.execute(
                        "SELECT id, due FROM task WHERE queue = ? ORDER BY due, id LIMIT ?", (queue, len(flying) + 1)
                    )
                    moments += [due for task, due in rows if task not in flying][:1]
        return min(moments, default=None)

    def depth(self) -> int:
        """How many tasks are waiting or in flight."""
        with self._database.read() as connection:
            return int(connection.execute("SELECT count(*) FROM task").fetchone()[0])

    def dead_letters(self, limit: int = 100) -> list[DeadTask]:
        """The tasks that were given up, newest first; they stay for 30 days."""
        with self._database.read() as connection:
            rows = connection.execute(
                "SELECT id, queue, name, path, CAST(body AS BLOB), failures, status, at FROM task_dead"
                " ORDER BY at DESC, id DESC LIMIT ?",
                (limit,),
            ).fetchall()
        return [DeadTask(*row) for row in rows]

    def _due(self, now: float, limit: int) -> list[tuple[int, str, str | None, str, bytes, float, int, int]]:
        rows: list[tuple[int, str, str | None, str, bytes, float, int, int]] = []
        with self._database.read() as connection:
            for queue, flying in self._flying.items():
                room = min(self._queues[queue].max_concurrent - len(flying), limit - len(rows))
                if room > 0:
                    found = connection.execute(
                        "SELECT id, queue, name, path, CAST(body AS BLOB), due, attempts, answers FROM task"
                        " WHERE queue = ? AND due <= ? ORDER BY due, id LIMIT ?",
                        (queue, now, room + len(flying)),
                    )
                    rows += [row for row in found if row[0] not in flying][:room]
        return rows

    def _forget(self, now: float) -> None:
        """Forget names and dead letters in their time however quiet it is; look again when the oldest that is left is due."""
        if now < self._forget_at:
            return
        with self._database.read() as connection:
            kept = (("task_spent", NAME_SECONDS), ("task_dead", KEEP_DEAD_SECONDS))
            oldest = [(connection.execute(f"SELECT min(at) FROM {table}").fetchone()[0], age) for table, age in kept]  # noqa: S608
        self._forget_at = min((at + age for at, age in oldest if at is not None), default=now + NAME_SECONDS)
        if self._forget_at <= now:
            with self._database.write(durable=False) as connection:
                _purge(connection, now)

    def _delivery(
        self, task: int, queue: str, name: str | None, path: str, body: bytes, due: float, attempts: int, answers: int
    ) -> TaskDelivery:
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "Google-Cloud-Tasks",
            "X-CloudTasks-QueueName": queue,
            "X-CloudTasks-TaskName": quote(name, safe=":@|") if name else str(task),
            "X-CloudTasks-TaskRetryCount": str(attempts),
            "X-CloudTasks-TaskExecutionCount": str(answers),
            "X-CloudTasks-TaskETA": f"{due:.6f}",
        }
        return TaskDelivery(task, path, headers, body, self._queues[queue].deadline, queue, name)

    def _fail(self, connection: sqlite3.Connection, delivery: TaskDelivery, status: int, now: float) -> None:
        config = self._queues[delivery.queue]
        row = connection.execute(
            "UPDATE task SET failures = failures + 1, answers = answers + ? WHERE id = ? RETURNING failures",
            (int(status != NO_ANSWER), delivery.id),
        ).fetchone()
        if row is None:
            return
        if row[0] < config.max_attempts:
            due = now + backoff(row[0], config.min_backoff, config.max_backoff)
            connection.execute("UPDATE task SET due = ? WHERE id = ?", (due, delivery.id))
            return
        connection.execute(
            "INSERT INTO task_dead SELECT id, queue, name, path, body, failures, ?, ? FROM task WHERE id = ?",
            (status, now, delivery.id),
        )
        _finish(connection, delivery, now)


def _taken(connection: sqlite3.Connection, queue: str, name: str, now: float) -> Enqueued | None:
    row = connection.execute("SELECT attempts FROM task WHERE queue = ? AND name = ?", (queue, name)).fetchone()
    if row:
        return Enqueued.SPENT if row[0] else Enqueued.PENDING
    spent = connection.execute(
        "SELECT 1 FROM task_spent WHERE queue = ? AND name = ? AND at > ?", (queue, name, now - NAME_SECONDS)
    ).fetchone()
    return Enqueued.SPENT if spent else None


def _finish(connection: sqlite3.Connection, delivery: TaskDelivery, now: float) -> None:
    gone = connection.execute("DELETE FROM task WHERE id = ?", (delivery.id,)).rowcount
    if gone and delivery.name is not None:
        connection.execute("INSERT OR REPLACE INTO task_spent VALUES (?, ?, ?)", (delivery.queue, delivery.name, now))


def _purge(connection: sqlite3.Connection, now: float) -> None:
    """Forget a bounded number of old names and of dead letters.

    More leave with each settlement than can arrive; where nothing is settled, with each look at the queues that finds no work.
    """
    connection.execute(
        "DELETE FROM task_spent WHERE (queue, name) IN (SELECT queue, name FROM task_spent WHERE at <= ? LIMIT ?)",
        (now - NAME_SECONDS, _PURGE),
    )
    connection.execute("DELETE FROM task_dead WHERE at <= ?", (now - KEEP_DEAD_SECONDS,))

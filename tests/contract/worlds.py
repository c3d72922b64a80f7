"""One complete set of adapters per test, behind a face that names no adapter.

A later set (the cloud's, on emulators) adds a class with the same methods and an entry in ``WORLDS``; no test changes.
A world can be reached from another process through its ``address``, a string that ``reach`` understands.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from unittest.mock import patch

import orjson

from shared.adapters.embedded import database
from shared.adapters.embedded.bus import EmbeddedBus
from shared.adapters.embedded.clock import VirtualClock
from shared.adapters.embedded.database import Database
from shared.adapters.embedded.pump import deliver
from shared.adapters.embedded.secrets import EmbeddedSecrets
from shared.adapters.embedded.store import EmbeddedStore
from shared.adapters.embedded.subscriptions import Subscription
from shared.adapters.embedded.tasks import EmbeddedTasks, QueueConfig
from shared.ports import Bus, Clock, Secrets, Shape, Store, Tasks

QUEUES = {
    "wide": QueueConfig(max_concurrent=4, min_backoff=10, max_backoff=60, max_attempts=3),
    "narrow": QueueConfig(max_concurrent=1, min_backoff=10, max_backoff=60, max_attempts=3),
}
"""The queues every world has: retried after 10, 20, ... seconds, given up after the third failure."""


@dataclass(frozen=True)
class Call:
    """A delivery as its endpoint sees it."""

    target: str
    headers: Mapping[str, str]
    body: Any


Answer = Callable[[Call], int]


class World(Protocol):
    bus: Bus
    tasks: Tasks
    secrets: Secrets
    address: str
    reads_are_snapshots: bool  # whether one batched read sees one moment: Firestore's do, its emulator's do not
    gives_up_in_order: bool  # whether ordered subscriptions give up and go on: Pub/Sub's do, its emulator's get stuck

    @property
    def clock(self) -> Clock:
        """The clock that the adapters read."""

    def bus_time(self) -> float:
        """What the bus takes for the time: where it is not ours, it does not follow our clock."""

    def store(self, shapes: Iterable[Shape] = ()) -> Store:
        """The world's one store, answering these shapes."""

    def subscribe(self, name: str, topic: str, *, ordered: bool = True, dead_letter_topic: str | None = None) -> None:
        """Push a topic to ``/name``, by key in order, again after 1, 2, 4, 4, ... seconds, given up after 5 failures."""

    def advance(self, seconds: float) -> None:
        """Let time pass."""

    def turn(self, answer: Answer) -> int:
        """Deliver what is due at this moment, once each, and answer how many calls that took."""

    def together(self) -> list[Call]:
        """What would be in flight at once if no endpoint answered; all of it is answered 200 afterwards."""

    def losing_answers(self) -> AbstractContextManager[None]:
        """Within it commits are applied, and their answers do not arrive."""

    def close(self) -> None: ...


def run(world: World, answer: Answer) -> list[Call]:
    """Deliver until nothing is due at this moment; answer the calls in the order they were made."""
    calls: list[Call] = []

    def noted(call: Call) -> int:
        calls.append(call)
        assert len(calls) < 1000, "the world does not come to rest"
        return answer(call)

    while world.turn(noted):
        pass
    return calls


class EmbeddedWorld:
    reads_are_snapshots = True
    gives_up_in_order = True

    def __init__(self, folder: Path) -> None:
        self.address = str(folder)
        self.clock = VirtualClock()
        self._database = Database(folder / "brainstem.db", synchronous="OFF")
        self._bus = EmbeddedBus(self._database, self.clock)
        self._tasks = EmbeddedTasks(self._database, self.clock, QUEUES)
        self.bus: Bus = self._bus
        self.tasks: Tasks = self._tasks
        self.secrets: Secrets = EmbeddedSecrets(folder / "secrets")

    def bus_time(self) -> float:
        return self.clock.now()

    def store(self, shapes: Iterable[Shape] = ()) -> Store:
        return EmbeddedStore(self._database, shapes)

    def subscribe(self, name: str, topic: str, *, ordered: bool = True, dead_letter_topic: str | None = None) -> None:
        self._bus.subscribe(
            Subscription(
                name,
                topic,
                f"/{name}",
                min_backoff=1,
                max_backoff=4,
                max_attempts=5,
                ordered=ordered,
                dead_letter_topic=dead_letter_topic,
            )
        )

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)

    def turn(self, answer: Answer) -> int:
        def post(target: str, headers: Mapping[str, str], body: bytes, timeout: float) -> int:
            assert timeout > 0
            return answer(Call(target, headers, orjson.loads(body)))

        return deliver(self._tasks, post) + deliver(self._bus, post)

    def together(self) -> list[Call]:
        tasks, pushes = self._tasks.claim(1000), self._bus.claim(1000)
        assert self._tasks.claim(1000) == []
        assert self._bus.claim(1000) == []
        self._tasks.settle_all([(delivery, 200) for delivery in tasks])
        self._bus.settle_all([(delivery, 200) for delivery in pushes])
        return [Call(one.target, one.headers, orjson.loads(one.body)) for one in (*tasks, *pushes)]

    @contextmanager
    def losing_answers(self) -> Iterator[None]:
        commit = database._commit

        def lost(own: Any) -> None:
            own.raw, raw = _Deaf(own.raw), own.raw
            try:
                commit(own)
            finally:
                own.raw = raw

        with patch.object(database, "_commit", lost):
            yield

    def close(self) -> None:
        self._database.close()


class _Deaf:
    """A connection to a disk that fails just after it has written."""

    def __init__(self, raw: sqlite3.Connection) -> None:
        self._raw = raw
        self.in_transaction = False

    def execute(self, statement: str) -> None:
        self._raw.execute(statement)
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
        raise error


def _cloud(folder: Path) -> World:
    from tests.contract.cloud_world import CloudWorld  # Google's libraries, only where they are asked for

    return CloudWorld(folder)


WORLDS: dict[str, Callable[[Path], World]] = {"embedded": EmbeddedWorld, "cloud": _cloud}


def reach(kind: str, address: str) -> World:
    """The same world from another process."""
    return WORLDS[kind](Path(address))

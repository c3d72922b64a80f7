"""Google Cloud's adapters for a bench: store and bus on Google's emulators, the queue on a stand-in in a process of its own.

Nobody delivers there: the world's own queue and bus drive a bench, so what goes to the cloud's goes to them too. That is a
stage of its own, ``ASIDE``, and no cost of a pipeline. Secrets stay where the world has them; the data keys do not.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import grpc

from infra.local.catalogue import load, topics
from infra.local.emulators import Emulators, emulators, end_run, own_run
from infra.local.pubsub_emulator import PubSubEmulator
from shared import queries
from shared.adapters.cloud.bus import CloudBus
from shared.adapters.cloud.connect import plain_channel
from shared.adapters.cloud.store import CloudStore
from shared.adapters.cloud.tasks import CloudTasks
from shared.mail.tasks import QUEUE
from shared.ports import Bus, BusMessage, Data, Enqueued, Tasks
from shared.sets import Ports
from tests.bench.ledger import Ledger
from tests.bench.rig import ASIDE
from tests.bench.stopwatch import Stopwatch
from tests.bench.task_service import task_service

SENT = "document writes sent"
LOCATION = "local"


@dataclass(frozen=True, slots=True)
class Cloud:
    """Where the emulators and the stand-in of the queue listen, as ``host:port``."""

    emulators: Emulators
    queue: str

    @contextmanager
    def project(self, watched: bool = False) -> Iterator[Project]:
        """A project of its own; what is sent is booked if it is ``watched``, which takes a little CPU."""
        with ExitStack() as stack:
            project = f"bench-{secrets.token_hex(4)}"
            pubsub = PubSubEmulator(self.emulators.pubsub, project)
            stack.callback(pubsub.close)
            pubsub.prepare(topics(load()), ())
            yield Project(self, project, watched, stack)


@contextmanager
def found_cloud() -> Iterator[Cloud]:
    """Find or start the emulators, start the stand-in, and end what was started. Raises ``Unavailable``."""
    folder = own_run()
    try:
        where = emulators()
        with task_service() as queue:
            yield Cloud(where, queue)
    finally:
        if folder is not None:
            end_run(folder)


@dataclass(frozen=True, slots=True)
class Project:
    """One project on the cloud; called with the ports of a world, it answers those with the cloud's in their place."""

    cloud: Cloud
    id: str
    watched: bool
    _open: ExitStack

    def __call__(self, local: Ports, watch: Stopwatch, ledger: Ledger) -> Ports:
        firestore, pubsub, queue = (
            self._channel(host, ledger)
            for host in (self.cloud.emulators.firestore, self.cloud.emulators.pubsub, self.cloud.queue)
        )
        bus, tasks = copying(
            CloudBus(self.id, pubsub),
            CloudTasks(self.id, LOCATION, (QUEUE,), channel=queue),
            local.bus,
            local.tasks,
            watch,
        )
        return replace(
            local,
            store=CloudStore(self.id, queries.SHAPES, local.clock, firestore),
            keys=CloudStore(self.id, (), local.clock, firestore, database="keys"),
            bus=bus,
            tasks=tasks,
        )

    def _channel(self, host: str, ledger: Ledger) -> Any:
        channel = plain_channel(host)
        self._open.callback(channel.close)
        return grpc.intercept_channel(channel, _Wire(ledger)) if self.watched else channel


def copying(cloud_bus: Bus, cloud_tasks: Tasks, bus: Bus, tasks: Tasks, watch: Stopwatch) -> tuple[Bus, Tasks]:
    """A bus and a queue that hand on to a driver's own what the cloud's have taken."""
    return _CopyingBus(cloud_bus, bus, watch), _CopyingTasks(cloud_tasks, tasks, watch)


@dataclass(frozen=True, slots=True)
class _CopyingBus:
    cloud: Bus
    local: Bus
    watch: Stopwatch

    def publish(self, topic: str, messages: Sequence[BusMessage], ordering_key: str = "") -> None:
        self.cloud.publish(topic, messages, ordering_key)
        with self.watch.stage(ASIDE):
            self.local.publish(topic, messages, ordering_key)


@dataclass(frozen=True, slots=True)
class _CopyingTasks:
    """The stand-in takes every task; which names are taken, the world's own queue knows."""

    cloud: Tasks
    local: Tasks
    watch: Stopwatch

    def enqueue(
        self, queue: str, path: str, body: Data, name: str | None = None, not_before: float | None = None
    ) -> Enqueued:
        self.cloud.enqueue(queue, path, body, name, not_before)
        with self.watch.stage(ASIDE):
            return self.local.enqueue(queue, path, body, name, not_before)


@dataclass(frozen=True, slots=True)
class _Wire(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):  # type: ignore[misc]
    """Books what leaves this process: requests by method, and the writes in them."""

    ledger: Ledger

    def intercept_unary_unary(self, proceed: Any, details: Any, request: Any) -> Any:
        self._book(details, request)
        return proceed(details, request)

    def intercept_unary_stream(self, proceed: Any, details: Any, request: Any) -> Any:
        self._book(details, request)
        return proceed(details, request)

    def _book(self, details: Any, request: Any) -> None:
        method = details.method.rpartition("/")[2]
        self.ledger.tally.requests[method] += 1
        if method == "Commit":
            self.ledger.tally.requests[SENT] += len(request.writes)

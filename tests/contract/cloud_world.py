"""The cloud's adapters as one world: Firestore and Pub/Sub on Google's emulators, the rest on a gRPC server of ours.

The first to open a folder makes the world and writes down where everything is; whoever opens the same folder later, in
another process, joins it. Each world is a project of its own, so worlds do not see each other on shared emulators.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc

from infra.local.emulators import emulators
from shared.adapters.cloud.bus import CloudBus
from shared.adapters.cloud.connect import plain_channel
from shared.adapters.cloud.secrets import CloudSecrets
from shared.adapters.cloud.store import CloudStore
from shared.adapters.cloud.tasks import CloudTasks
from shared.adapters.embedded.clock import VirtualClock
from shared.ports import Bus, Secrets, Shape, Store, Tasks
from tests.contract.pushes import Pushes
from tests.contract.services import Services
from tests.contract.worlds import QUEUES, Answer, Call

LOCATION = "local"


class _LostAnswer(grpc.RpcError, grpc.Call):  # type: ignore[misc]
    """What a client sees when the connection breaks under a call."""

    def result(self, timeout: float | None = None) -> Any:
        raise self

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNAVAILABLE

    def details(self) -> str:
        return "Socket closed"

    def initial_metadata(self) -> tuple[()]:
        return ()

    trailing_metadata = initial_metadata

    def is_active(self) -> bool:
        return False

    time_remaining = cancel = add_callback = lambda self, *args: None


class _Answers(grpc.UnaryUnaryClientInterceptor):  # type: ignore[misc]
    """Between a store and the network: loses the answers of commits that have been applied, when told to."""

    lost = False

    def intercept_unary_unary(self, proceed: Any, details: Any, request: Any) -> Any:
        call = proceed(details, request)
        if self.lost and details.method.endswith("/Commit"):
            call.result()
            raise _LostAnswer
        return call


class CloudWorld:
    # The emulator (1.19.9) reads document by document, also in a read-only transaction, and reports one read time for all.
    reads_are_snapshots = False
    # That of Pub/Sub (0.8.20) pushes to an ordered subscription as often as it should, then neither forwards nor goes on.
    gives_up_in_order = False

    def __init__(self, folder: Path) -> None:
        self.address = str(folder)
        self.clock = VirtualClock()
        self._places = folder / "world.json"
        self._services: Services | None = None
        self._pushes: Pushes | None = None
        if not self._places.exists():
            self._make()
        places = json.loads(self._places.read_text())
        self._project = places["project"]
        self._answers = _Answers()
        self._channel = plain_channel(places["firestore"])
        services = plain_channel(places["services"])
        self._bus = CloudBus(self._project, plain_channel(places["pubsub"]))
        self._tasks = CloudTasks(self._project, LOCATION, QUEUES, channel=services)
        self._secrets = CloudSecrets(self._project, self.clock, services)
        self.bus: Bus = self._bus
        self.tasks: Tasks = self._tasks
        self.secrets: Secrets = self._secrets
        self._stores: list[CloudStore] = []

    def bus_time(self) -> float:
        return time.time()

    def store(self, shapes: Iterable[Shape] = ()) -> Store:
        return self.store_of(CloudStore, shapes)

    def store_of(self, kind: type[CloudStore], shapes: Iterable[Shape] = ()) -> CloudStore:
        """A store of the adapter itself or of a mutant of it."""
        store = kind(self._project, shapes, self.clock, grpc.intercept_channel(self._channel, self._answers))
        self._stores.append(store)
        return store

    def subscribe(self, name: str, topic: str, *, ordered: bool = True, dead_letter_topic: str | None = None) -> None:
        self._owned.subscribe(name, topic, ordered, dead_letter_topic)

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)

    def turn(self, answer: Answer) -> int:
        assert self._services
        return self._services.turn(answer) + self._owned.turn(answer)

    def together(self) -> list[Call]:
        assert self._services
        return [*self._services.together(), *self._owned.together()]

    @contextmanager
    def losing_answers(self) -> Iterator[None]:
        self._answers.lost = True
        yield
        self._answers.lost = False

    def close(self) -> None:
        for adapter in (*self._stores, self._bus, self._tasks, self._secrets):
            adapter.close()
        self._channel.close()
        if self._pushes:
            self._pushes.close()
        if self._services:
            self._services.close()

    @property
    def _owned(self) -> Pushes:
        """The delivering side, which only the process that made the world has."""
        assert self._pushes
        return self._pushes

    def _make(self) -> None:
        found = emulators()
        project = f"world-{os.getpid()}-{secrets.token_hex(4)}"
        self._services = Services(self.clock)
        self._pushes = Pushes(project, found.pubsub, self.clock)
        places = {
            "project": project,
            "firestore": found.firestore,
            "pubsub": found.pubsub,
            "services": self._services.address,
        }
        self._places.write_text(json.dumps(places))

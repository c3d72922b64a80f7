"""The whole product in one process, with everything that Google Cloud would bill booked call by call.

Unlike ``counted``, which counts what a step does, this counts what a bill says: bytes, requests, and how long they were under
way. It keeps to Gmail's quota, under virtual time, so steps sleep and others go on meanwhile: each call books for itself.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson

from infra.local.quota_demo import LATENCY
from shared.events.publish import SEGMENTS_TOPIC
from shared.ports import Bus, BusMessage, Data, Delete, Doc, Enqueued, Query, Store, Tasks, Write
from shared.wiring import Brainstem
from tests.bench.prices import Sku
from tests.bench.sizes import published, pushed
from tests.world import ADDRESS, InProcess, World

PAGE = 100
GMAIL, DOORBELL, OUTSIDE = "publishing by Gmail", "pushes to our consumer", "pushes to a subscriber outside"
"""Names under which bytes over the bus are booked that no call of a function sends itself, but the project pays for."""

ASIDE = frozenset({GMAIL, DOORBELL, OUTSIDE})


@dataclass(slots=True)
class Billed:
    """One call of a function: amounts, queries that found nothing (each is billed as one read), and what took its time.

    ``trips`` are calls of Firestore, Pub/Sub and Cloud Tasks, one after the other; ``seconds`` went by meanwhile waiting for
    Gmail and its quota.
    """

    what: str
    amounts: Counter[Sku] = field(default_factory=Counter)
    empty: int = 0
    trips: int = 0
    seconds: float = 0.0


class Meter:
    """The calls in the order of their ends; what happens in no call is booked under a name of its own."""

    def __init__(self) -> None:
        self.calls: list[Billed] = []
        self._here = threading.local()

    def during(self, what: str, now: Callable[[], float], call: Callable[[], Any]) -> Any:
        """Make a call of a function and book it; a thread makes one at a time."""
        billed = self._here.billed = Billed(what)
        began = now()
        try:
            return call()
        finally:
            billed.seconds = now() - began
            self._here.billed = None
            self.calls.append(billed)

    def book(self, sku: Sku, amount: int, trips: int = 1, empty: int = 0) -> None:
        """Book an amount for the call that this thread makes."""
        billed: Billed = self._here.billed
        billed.amounts[sku] += amount
        billed.trips += trips
        billed.empty += empty

    def aside(self, what: str, sku: Sku, amount: int) -> None:
        """Book an amount for somebody else."""
        self.calls.append(Billed(what, Counter({sku: amount})))

    def turn_page(self) -> list[Billed]:
        """What was booked since the last time."""
        calls, self.calls = self.calls, []
        return calls


@dataclass(frozen=True, slots=True)
class MeteredStore:
    """A store whose reads, writes and deletes are booked as Firestore bills them; a Check is a write."""

    inner: Store
    meter: Meter
    reads: Sku = Sku.READS
    writes: Sku = Sku.WRITES

    def get(self, refs: Sequence[str]) -> dict[str, Doc]:
        self.meter.book(self.reads, len(refs))
        return self.inner.get(refs)

    def query(self, query: Query) -> list[Doc]:
        found = self.inner.query(query)
        self.meter.book(self.reads, len(found), empty=not found)
        return found

    def commit(self, writes: Sequence[Write]) -> list[str | None]:
        versions = self.inner.commit(writes)
        deletes = sum(isinstance(write, Delete) for write in writes)
        self.meter.book(self.writes, len(writes) - deletes)
        self.meter.book(Sku.DELETES, deletes, trips=0)
        return versions


@dataclass(frozen=True, slots=True)
class MeteredBus:
    """A bus that books the bytes of publishing, and of pushing to our consumer or to a subscriber outside."""

    inner: Bus
    meter: Meter

    def publish(self, topic: str, messages: Sequence[BusMessage], ordering_key: str = "") -> None:
        self.inner.publish(topic, messages, ordering_key)
        self.meter.book(Sku.BUS, published(messages, ordering_key))
        self.meter.aside(DOORBELL if topic == SEGMENTS_TOPIC else OUTSIDE, Sku.BUS, pushed(messages, ordering_key))


@dataclass(frozen=True, slots=True)
class MeteredTasks:
    """A queue that books two operations for every task: its creation and its delivery, or that its name was taken twice.

    A taken name costs the attempt and the look at who has it.
    """

    inner: Tasks
    meter: Meter

    def enqueue(
        self, queue: str, path: str, body: Data, name: str | None = None, not_before: float | None = None
    ) -> Enqueued:
        result = self.inner.enqueue(queue, path, body, name, not_before)
        self.meter.book(Sku.TASKS, 2, trips=1 if result is Enqueued.CREATED else 2)
        return result


class MeteredWorld(World):
    """``World`` under Gmail's quota, whose functions are billed under their names."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, seed=1, page_size=PAGE, gmail_quota="2026")
        self.google.set_faults({"latency": LATENCY})
        self.meter = Meter()
        ports = replace(
            self.ports,
            store=MeteredStore(self.ports.store, self.meter),
            keys=MeteredStore(self.ports.keys, self.meter, Sku.KEY_READS, Sku.KEY_WRITES),
            bus=MeteredBus(self.ports.bus, self.meter),
            tasks=MeteredTasks(self.ports.tasks, self.meter),
        )
        self.product = Brainstem(self.settings, ports, lambda: InProcess(self.website))

    def call(self, function: str, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """One HTTP call of a function, booked."""

        def call() -> tuple[int, Any]:
            return super(MeteredWorld, self).call(function, method, path, body, **headers)

        answer: tuple[int, Any] = self.meter.during(_named(function, body, headers), self.clock.now, call)
        return answer

    def pass_time(self, seconds: float) -> list[Billed]:
        """Let time pass; answer the calls of just that."""
        self.run(seconds)
        return self.meter.turn_page()

    def receive(self, number: int, seconds: float) -> list[Billed]:
        """One mail arrives and is dealt with within so many seconds; answer the calls of just that."""
        mail = {
            "subject": f"Live mail {number}",
            "sender": ["Bob", "bob@example.org"],
            "to": [["Ann", ADDRESS]],
            "labels": ["INBOX", "UNREAD"],
            "body": "Hello.",
        }
        self.google.add_mails(ADDRESS, [mail])
        return self.pass_time(seconds)

    def _publish(self, topic: str, data: bytes) -> None:
        super()._publish(topic, data)
        messages = [BusMessage(data)]
        self.meter.aside(GMAIL, Sku.BUS, published(messages) + pushed(messages))


def _named(function: str, body: Any, headers: dict[str, str]) -> str:
    if function != "sync":
        return function
    kind = orjson.loads(body)["kind"]
    first = headers["X-CloudTasks-TaskName"].partition("|")[0]
    return f"sync {kind} {first}" if first in ("ring", "settle", "poll") else f"sync {kind}"

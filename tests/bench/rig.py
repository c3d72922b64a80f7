"""The product fed from a tape: backfills that can be repeated and timed step by step, on one set of adapters or another."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import orjson

from shared.adapters.embedded.bus import EmbeddedBus
from shared.adapters.embedded.store import EmbeddedStore
from shared.adapters.embedded.subscriptions import Subscription
from shared.adapters.embedded.tasks import EmbeddedTasks
from shared.events import publish
from shared.mail import apply
from shared.providers.gmail import batch, messages, multipart
from shared.providers.gmail.provider import GmailProvider
from shared.providers.http.transport import Transport
from shared.sets import Ports, embedded
from shared.wiring import Brainstem
from tests.bench.counted import Adapters, embedded_alone
from tests.bench.ledger import CountingBus, CountingStore, CountingTasks, Ledger, Tally
from tests.bench.stopwatch import Stopwatch
from tests.bench.tape import PAGE, SEED, SETTLED, Tape
from tests.world import World

Stages: TypeAlias = Mapping[str, tuple[tuple[Any, str], ...]]
"""Attributes of modules and classes, by the stage that they are charged to."""

STEP = "step and function around it"
WORK: Stages = {
    "fetch: list, sort answers": ((GmailProvider, "list_ids"), (GmailProvider, "fetch")),
    "fetch: build batches": ((multipart, "build"),),
    "fetch: send, take apart": ((Transport, "send"), (multipart, "parse")),
    "fetch: parse JSON": ((batch, "_result"),),
    "normalise": ((messages, "normalise"),),
    "fold": ((apply, "fold"),),
    "publish: encode": ((publish, "send"),),
}
"""What no adapter does."""

STAGES: Stages = {
    **WORK,
    "read documents": ((EmbeddedStore, "get"), (EmbeddedStore, "query")),
    "commit": ((EmbeddedStore, "commit"),),
    "publish: bus": ((EmbeddedBus, "publish"),),
    "enqueue successor": ((EmbeddedTasks, "enqueue"),),
}
"""What is charged to which stage on embedded adapters; each without the stages inside it."""

ASIDE = "the driver's own copy"
"""What drives a bench and is no work of a pipeline is charged to this."""


@dataclass(frozen=True, slots=True)
class TimedPage:
    """One backfill step of a whole page: seconds of CPU and wall time, operations, and CPU by stage where stages were timed."""

    cpu: float
    wall: float
    tally: Tally
    stages: dict[str, float]


class Rig(World):
    """``World`` with a Gmail that answers at once and, on embedded adapters, a disk that is waited for."""

    def __init__(
        self, folder: Path, tape: Tape, watch: Stopwatch | None = None, adapters: Adapters = embedded_alone
    ) -> None:
        super().__init__(folder, SEED, page_size=PAGE)
        if adapters is embedded_alone:
            self._wait_for_the_disk(folder / "durable")
        self._ledger, self._watch = Ledger(), watch or Stopwatch()
        ports = adapters(self.ports, self._watch, self._ledger)
        counted = replace(
            ports,
            store=CountingStore(ports.store, self._ledger),
            bus=CountingBus(ports.bus, self._ledger),
            tasks=CountingTasks(ports.tasks, self._ledger),
        )
        self.product = Brainstem(self.settings, counted, lambda: tape)
        self.pages: list[TimedPage] = []
        vars(self.product)["sync"] = self._timed(self.product.sync)

    def backfill(self) -> list[TimedPage]:
        """Connect, backfill, come to rest; answer the steps that took a page: all but the last, which ends the walk."""
        self.connect()
        self.run(SETTLED)
        return self.pages[:-1]

    def call(self, function: str, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """One HTTP call of a function; the backfill's pages are timed."""
        status, answer = super().call(function, method, path, body, **headers)
        assert status < 300, (function, status, answer)
        if function == "sync" and orjson.loads(body)["kind"] == "backfill":
            self.pages.append(self._last)
        return status, answer

    def _wait_for_the_disk(self, folder: Path) -> None:
        """Where others' adapters are measured, ours only drive, and nobody waits for them."""
        self.ports: Ports = embedded(replace(self.settings, data_dir=str(folder)), self.clock)
        bus: Any = self.ports.bus
        bus.subscribe(Subscription("senders", "segments", "/senders"))
        bus.subscribe(Subscription("outside", "events", "/outside"))

    def _timed(self, sync: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def timed(request: Any) -> Any:
            self._watch.take()
            self._ledger.tally = Tally()
            wall, cpu = time.perf_counter(), time.process_time()
            with self._watch.stage(STEP):
                answer = sync(request)
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
            stages = self._watch.take()
            aside = stages.get(ASIDE, 0.0)
            self._last = TimedPage(cpu - aside, wall - aside, self._ledger.tally, stages)
            self._ledger.tally = Tally()
            return answer

        return timed


@contextmanager
def staged(watch: Stopwatch, stages: Stages = STAGES) -> Iterator[None]:
    """Charge everything that happens to its stage for a while."""
    with ExitStack() as stack:
        for name, places in stages.items():
            for owner, attribute in places:
                stack.enter_context(watch.patched(owner, attribute, name))
        yield

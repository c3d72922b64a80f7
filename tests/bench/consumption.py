"""What a mail, an idle mailbox and an idle installation use of Google Cloud, as amounts that ``prices`` has prices for.

Operations and bytes are counted in the product as it runs in one process; they are the same every time. Seconds are not
measured, since a timing would differ every time: what takes time is counted, and how long it takes is assumed
(``ASSUMED``). One mail more costs the difference between two backfills; what is left of the smaller is paid once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.local.catalogue import load
from infra.local.quota_demo import LATENCY
from shared.providers.http.wire import HttpAnswer
from tests.bench import sizes
from tests.bench.counts import AWAIT_STEP, FORGOTTEN
from tests.bench.ledger import Tally
from tests.bench.metered import ASIDE, DOORBELL, GMAIL, OUTSIDE, PAGE, Billed, MeteredWorld
from tests.bench.naive import Naive
from tests.bench.prices import DAYS_PER_MONTH, Sku, Usage, total
from tests.bench.tape import SEED, Tape
from tests.world import ADDRESS, InProcess, World

SMALL, LARGE = 2 * PAGE, 7 * PAGE
LIVE_SAMPLES = 2
TICKS_SECONDS, IDLE_SECONDS, DAY = 900.0, 3 * 3600.0, 86_400.0
CHANNEL = ("sync channel", "gmail_push", "sync live ring", "sync live settle", GMAIL)
"""The calls that renewing a channel makes: Gmail sends a push at once, which is followed up like any other."""


@dataclass(frozen=True, slots=True)
class Assumed:
    """What is not counted. Seconds, but for ``log_bytes`` (of the platform and ours) and ``starts_per_day`` of instances."""

    gmail_seconds: float
    trip_seconds: float
    cpu_per_mail: float
    shared: int
    log_bytes: int
    starts_per_day: int

    def usage(self, calls: Iterable[Billed], shared: int = 1) -> Usage:
        """The amounts of some calls, with their requests, the time of their instances and their logs."""
        booked = list(calls)
        run = [call for call in booked if call.what not in ASIDE]
        seconds = sum(self.billed(call.seconds + call.trips * self.trip_seconds) for call in run)
        return total(
            *((1, call.amounts) for call in booked),
            (1, {Sku.READS: sum(call.empty for call in booked)}),
            (1, self.running(len(run), seconds / shared)),
        )

    def running(self, requests: float, seconds: float) -> Usage:
        """What requests cost that keep instances of the deployed size busy for so many seconds."""
        return {
            Sku.REQUESTS: requests,
            Sku.CPU: seconds,
            Sku.MEMORY: seconds * MEMORY_GIB,
            Sku.LOGS: requests * self.log_bytes,
        }

    @staticmethod
    def billed(seconds: float) -> float:
        """Cloud Run rounds up to the next tenth of a second."""
        return max(1, math.ceil(round(seconds * 10, 6))) / 10


MEMORY_GIB = max(int(function.memory.removesuffix("Mi")) for function in load()) / 1024
ASSUMED = Assumed(
    gmail_seconds=LATENCY, trip_seconds=0.02, cpu_per_mail=0.001, shared=8, log_bytes=1_500, starts_per_day=100
)


@dataclass(frozen=True, slots=True)
class Part:
    """What somebody uses for one backfilled mail, for one live mail, and in a day without mail."""

    backfilled: Usage
    live: Usage
    idle_day: Usage


@dataclass(frozen=True, slots=True)
class Consumption:
    """Everything that is used; the usages of ``stored`` are bytes that stay, by what they are stored for."""

    engine: Part
    consumer: Part
    outside: Part
    naive: Part
    connecting: Usage
    fixed_month: Usage
    stored: dict[str, float]


class _Asked(Tape):
    """The simulated Gmail itself in the place of a tape, asked with a token that it accepts."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._http = InProcess(world.website)
        self._token = world.google.add_mailbox(ADDRESS)["access_token"]

    def request(
        self, uri: str, method: str = "GET", body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[HttpAnswer, bytes]:
        """Ask once."""
        given = {name: value for name, value in (headers or {}).items() if name.lower() != "authorization"}
        return self._http.request(uri, method, body, given | {"Authorization": f"Bearer {self._token}"})


def measure(folder: Path, assumed: Assumed = ASSUMED) -> Consumption:
    """Count it all; the same every time."""
    small, other, _ = _backfilled(folder / "small", SMALL, assumed)
    _close(other)
    large, world, ticks = _backfilled(folder / "large", LARGE, assumed)
    more = LARGE - SMALL
    step = {name: total((1 / more, large[name]), (-1 / more, small[name])) for name in small}
    stored = sizes.documents(world.database)
    live = _live(world)
    grown = sizes.documents(world.database)
    grown.subtract(stored)
    idle = world.pass_time(IDLE_SECONDS)
    renewal = assumed.usage(_of(ticks, lambda what: what in CHANNEL))
    _close(world)

    own_cpu = assumed.running(0, assumed.cpu_per_mail)
    days = DAY / IDLE_SECONDS
    engine = Part(
        total((1, step["engine"]), (1, own_cpu)),
        total((1 / LIVE_SAMPLES, assumed.usage(_of(live, _is_engine))), (1, own_cpu)),
        total(
            (days, assumed.usage(_of(idle, lambda what: what == "sync live poll"))),
            *((days, call.amounts) for call in idle if call.what == "tick"),
            (1, renewal),
        ),
    )
    consumer, outside = (
        Part(
            step[name],
            total((1 / LIVE_SAMPLES, assumed.usage(_of(live, belongs)))),
            total((days, assumed.usage(_of(idle, belongs)))),
        )
        for name, belongs in (("consumer", _is_consumer), ("outside", _is_outside))
    )
    naive, naive_bytes = _naive(folder / "naive", engine, assumed)
    of_mail = ("messages", "log")
    return Consumption(
        engine,
        consumer,
        outside,
        naive,
        total((1, small["engine"]), (-SMALL, step["engine"])),
        _fixed(assumed, world.settings.tick_seconds, ticks),
        {
            "backfilled": sum(stored[name] for name in of_mail) / LARGE,
            "live": sum(grown[name] for name in of_mail) / LIVE_SAMPLES,
            "consumer": stored["effects"] / LARGE,
            "mailbox": sum(size for name, size in stored.items() if name not in (*of_mail, "effects")),
            "naive": naive_bytes,
        },
    )


def _backfilled(folder: Path, mails: int, assumed: Assumed) -> tuple[dict[str, Usage], MeteredWorld, list[Billed]]:
    """Connect a mailbox of so many mails: the usages of that, the world, and all calls with the ticks before it only."""
    folder.mkdir()
    world = MeteredWorld(folder)
    before = world.pass_time(TICKS_SECONDS)
    world.connect(mails)
    calls = world.pass_time(TICKS_SECONDS)
    chain = [call for call in calls if call.what == "sync backfill"]
    others = [call for call in calls if _is_engine(call.what) and call.what != "sync backfill"]
    usages = {
        "engine": total((1, assumed.usage(chain, assumed.shared)), (1, assumed.usage(others))),
        "consumer": assumed.usage(_of(calls, _is_consumer)),
        "outside": assumed.usage(_of(calls, _is_outside)),
    }
    return usages, world, [*before, *_of(calls, lambda what: what != "tick")]


def _live(world: MeteredWorld) -> list[Billed]:
    """Mails that come to instances that remember neither token nor key of the mailbox, between two polls."""
    calls = []
    for number in range(LIVE_SAMPLES):
        while not any(call.what == "sync live poll" for call in world.pass_time(AWAIT_STEP)):
            pass
        world.pass_time(FORGOTTEN)
        calls += world.receive(number, 20.0)
    return calls


def _fixed(assumed: Assumed, period: float, calls: list[Billed]) -> Usage:
    """A month of an installation without mailboxes: the tick, its job, the secrets."""
    ticks = _of(calls, lambda what: what == "tick")
    secrets = {name for function in load() for name in function.secrets}
    a_month = DAYS_PER_MONTH * DAY / period / len(ticks)
    starts = DAYS_PER_MONTH * assumed.starts_per_day
    jobs = sum(function.trigger[0] == "schedule" for function in load())
    return total(
        (a_month, assumed.usage(ticks)),
        (1, {Sku.JOBS: jobs, Sku.SECRETS: len(secrets), Sku.ACCESSES: starts * len(secrets)}),
    )


def _naive(folder: Path, engine: Part, assumed: Assumed) -> tuple[Part, float]:
    """The naive pipeline's part and bytes per mail; around its write pattern it gets one request per page, and no queue.

    Its page waits for the quota like ours, all mails read one by one (docs/gmail.md, 15). Idle it is like ours.
    """
    folder.mkdir()
    world = World(folder, SEED, page_size=PAGE)
    world.connect(SMALL)
    pages = Naive(folder / "own", world.settings, world.clock, _Asked(world)).backfill(SMALL // PAGE)
    _close(world)
    tally = Tally()
    for page in pages:
        tally.add(page.tally)
    database = folder / "own" / "brainstem.sqlite"
    bytes_over_bus = sizes.waiting(database)
    quota = (PAGE * 20 + 5) * 60 / 6_000
    of_page = assumed.billed(max(quota, (tally.reads + tally.commits) / len(pages) * assumed.trip_seconds))
    of_mail = assumed.billed(2 * assumed.gmail_seconds + 6 * assumed.trip_seconds)
    rows = {Sku.WRITES: tally.writes / SMALL, Sku.READS: tally.reads / SMALL}
    own_cpu = assumed.running(0, assumed.cpu_per_mail)
    pushed_by_gmail = 2 * sizes.LEAST_REQUEST
    part = Part(
        total(
            (1, rows),
            (1, {Sku.BUS: bytes_over_bus / SMALL}),
            (1 / PAGE, assumed.running(1, of_page / assumed.shared)),
            (1, own_cpu),
        ),
        total(
            (1, rows),
            (1, {Sku.BUS: pushed_by_gmail + sizes.LEAST_REQUEST}),
            (1, assumed.running(1, of_mail)),
            (1, own_cpu),
        ),
        engine.idle_day,
    )
    return part, sum(sizes.documents(database).values()) / SMALL


def _close(world: World) -> None:
    world.database.close()
    world.close()


def _of(calls: Iterable[Billed], belongs: Callable[[str], bool]) -> list[Billed]:
    return [call for call in calls if belongs(call.what)]


def _is_engine(what: str) -> bool:
    return not (_is_consumer(what) or _is_outside(what) or what in ("tick", "sync live poll"))


def _is_consumer(what: str) -> bool:
    return what in ("senders", DOORBELL)


def _is_outside(what: str) -> bool:
    return what == OUTSIDE

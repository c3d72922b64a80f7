"""One process of a soak: people connect one after the other, mail comes to all of them, then everything comes to rest.

In a town every other person's mailbox is at Microsoft. Both providers are on their worst behaviour all the time
(``everything`` of each), the store fails a hundredth of its calls, and the bus is away for ten minutes in the middle. The
providers' own data and what the subscriber received are on disk.
"""

from __future__ import annotations

import logging
import sqlite3
import time
import traceback
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.local.changes import Traffic
from infra.local.collect import collect
from infra.local.generator import generate
from infra.local.google.everything import everything as everything_of_google
from infra.local.microsoft.everything import everything as everything_of_microsoft
from infra.local.outlook_changes import OutlookTraffic, filed
from infra.local.sides import Happening
from infra.local.simulated.control import Simulator
from infra.local.verify import verify
from infra.local.world import WorldClient
from tests.chaos.overload import STORE_FAULTS, TOKENS, Strained
from tests.chaos.wire import planned
from tests.soak.plan import Job, Note, Outcome
from tests.soak.records import Records

Tell = Callable[[Note], None]

HOUR = 3600.0
TRAFFIC_HOURS = 1.0
REST_HOURS = 2.0
BETWEEN_CONNECTS = 5.0
SHARE_OF_CHANGES = 0.05
"""Changes while it is followed, as a share of the mails that were there."""

STORE_SHARE = 0.01
BUS_AWAY = 600.0
BATCH = 200
SAMPLES = 200
"""Of memory, while the mails that were there are told of."""


@dataclass(frozen=True, slots=True)
class Person:
    """Who lives in a town, and where their mailbox is."""

    uid: str
    address: str
    provider: str


class Soaked(Strained):
    """A town, what was measured in it, and its way of telling how far it is."""

    def __init__(self, folder: Path, job: Job, tell: Tell) -> None:
        super().__init__(folder, job.seed)
        self.job = job
        self.records = Records(
            folder / "deliveries.sqlite", max(1, job.mails // SAMPLES), lambda: self.memory.append(resident())
        )
        self.received = self.records  # type: ignore[assignment]
        self.store.weigh = True
        self.memory: list[float] = []
        self.resting: list[float] = []
        self.traffic: dict[str, Happening] = {}
        self.changes: dict[str, int] = {}
        self.anchors: dict[str, float] = {}
        self.loaded: dict[str, int] = {}
        self._tell = tell
        self._files = folder / "data" / "brainstem.sqlite"

    def note(self, phase: str, done: int, total: int, sample: bool = False) -> None:
        """Say how far it is."""
        overdue = self.overdue() if sample else 0
        self.deepest = max(self.deepest, overdue)
        self._tell(Note(self.job.name, phase, done, total, resident(), overdue))

    def overdue(self) -> int:
        """Tasks that should have been started by now."""
        with closing(sqlite3.connect(self._files)) as database:
            [[count]] = database.execute("SELECT count(*) FROM task WHERE due <= ?", (self.clock.now(),)).fetchall()
        return int(count)

    def people(self) -> list[Person]:
        """Who lives here."""
        numbers = range(self.job.first, self.job.first + self.job.mailboxes)
        providers = ("google", "microsoft") if self.job.kind == "town" else ("google",)
        return [
            Person(f"user_soak{number:05}", f"person{number:05}@example.org", providers[number % len(providers)])
            for number in numbers
        ]

    def simulator(self, provider: str) -> Simulator:
        """The one of a provider."""
        return {"google": lambda: self.google, "microsoft": lambda: self.outlook}[provider]()

    def providers(self) -> list[str]:
        """Those where somebody here has a mailbox."""
        return sorted({person.provider for person in self.people()})

    def load(self) -> None:
        """Give everybody their old mail."""
        done = 0
        people = self.people()
        for number, person in enumerate(people):
            count = self.job.mails * (number + 1) // len(people) - self.job.mails * number // len(people)
            simulator = self.simulator(person.provider)
            simulator.add_mailbox(person.address)
            for batch in batches(self._plans(person, count, number)):
                simulator.add_mails(person.address, batch, silent=True)
                done += len(batch)
                self.note("loading", done, self.job.mails)
            # It remembers every mail of the mailbox, which has to be paid for before memory is watched.
            self.changes[person.uid] = max(10, int(SHARE_OF_CHANGES * count))
            self.traffic[person.uid] = self._traffic(person, self.job.seed * 1000 + number)

    def follow(self) -> None:
        """Connect everybody, let things happen, let it rest."""
        hours = TRAFFIC_HOURS + REST_HOURS
        people = self.people()
        begun = self.clock.now()
        end = begun + BETWEEN_CONNECTS * len(people) + hours * HOUR
        for provider in self.providers():
            plan = everything_of_google if provider == "google" else everything_of_microsoft
            self.simulator(provider).set_faults(plan(self.job.seed))
        self.store.fail(STORE_SHARE)
        for person in people:
            self.sign_in(person.uid)
            tokens = self.simulator(person.provider).add_mailbox(person.address)
            self.anchors[person.uid] = self.clock.now()
            body = {"provider": person.provider, **{name: tokens[name] for name in TOKENS}}
            self.persist("POST", "/mail/connect", body)
            self.run(BETWEEN_CONNECTS)
            self.note("following", int(self.clock.now() - begun), int(end - begun), sample=True)
        self.run(120)
        if len(people) > 1:
            # Each mailbox that is followed has its place in memory; the question is what comes on top of them all.
            self.memory.clear()
        waiting = [uid for uid, count in self.changes.items() for _ in range(count)]
        self.random.shuffle(waiting)
        step = TRAFFIC_HOURS * HOUR / len(waiting)
        quiet_from = self.clock.now() + TRAFFIC_HOURS * HOUR / 2
        for number, uid in enumerate(waiting):
            self.bus.down = quiet_from <= self.clock.now() < quiet_from + BUS_AWAY
            self.traffic[uid].change()
            self.run(step)
            if number % 10 == 0:
                self.memory.append(resident())
                self.note("following", int(self.clock.now() - begun), int(end - begun), sample=True)
        self.bus.down = False
        while self.clock.now() < end:
            self.run(60.0)
            self.resting.append(resident())
            self.note("following", int(self.clock.now() - begun), int(end - begun), sample=True)
        self.store.fail(0.0)
        self.run(900.0)

    def outcome(self, began: float, started: float) -> Outcome:
        """Judge everybody."""
        reports, wrong, outbox = [], [], 0
        people = self.people()
        for number, person in enumerate(people):
            self.sign_in(person.uid)
            seen = collect(WorldClient(self))
            report = verify(
                self.simulator(person.provider).truth(person.address), seen.messages, seen.gaps, seen.status, seen.events,
                self.records.of(person.uid), seen.senders, self.anchors[person.uid],
            )  # fmt: skip
            reports.append(report)
            wrong += [f"{person.address}: {text}" for text in report.differences[:3]]
            wrong += [] if report.ok or report.differences else [f"{person.address}: {report}"]
            outbox += sum(entry["outbox"] for entry in seen.status["mailboxes"])
            self.note("judging", number + 1, len(people))
        tasks: Any = self.ports.tasks
        letters = sum(len(self.bus.dead_letters(one.name)) for one in self.bus.subscriptions())
        fired = {
            **{
                f"{provider}: {kind}": count
                for provider in self.providers()
                for kind, count in self.simulator(provider).report()["faults"].items()
            },
            **{f"store: {kind}": self.store.fired[kind] for kind in STORE_FAULTS},
        }
        return Outcome(
            self.job,
            expected=sum(report.expected for report in reports),
            stored=sum(report.stored for report in reports),
            events=sum(report.events for report in reports),
            gaps=sum(report.gaps for report in reports),
            changes=sum(self.changes.values()),
            lost=sum(report.lost for report in reports),
            duplicates=sum(report.duplicates for report in reports),
            differences=sum(report.difference_count for report in reports),
            wrong=tuple(wrong[:20]),
            outbox=outbox,
            overdue=self.overdue(),
            deepest=self.deepest,
            dead=len(tasks.dead_letters()) + letters,
            memory=tuple(self.memory),
            resting=tuple(self.resting),
            fired={**fired, "bus: refused": self.bus.refused},
            most=dict(self.store.most),
            virtual_hours=(self.clock.now() - began) / HOUR,
            cpu_seconds=time.process_time() - started,
        )

    def _traffic(self, person: Person, seed: int) -> Happening:
        count = self.changes[person.uid]
        if person.provider == "microsoft":
            return OutlookTraffic(self.outlook, person.address, seed, count)
        return Traffic(self.google, person.address, seed, count)

    def _plans(self, person: Person, count: int, number: int) -> Iterable[dict[str, Any]]:
        now = self.clock.now()
        match self.job.kind:
            case "thread":
                first = now - 60.0 * count - HOUR
                return (
                    planned(f"turn {turn}", address=person.address, received_at=first + 60 * turn, thread="one")
                    for turn in range(count)
                )
            case _:
                plans = generate(self.job.seed * 1000 + number, count, person.address, now - HOUR)
                return map(filed, plans) if person.provider == "microsoft" else plans


def run(job: Job, folder: Path, tell: Tell) -> Outcome:
    """Do a job from beginning to end."""
    logging.disable(logging.CRITICAL)
    started = time.process_time()
    town = Soaked(folder, job, tell)
    try:
        began = town.clock.now()
        town.load()
        town.follow()
        return town.outcome(began, started)
    finally:
        town.close()


def work(job: Job, folder: str, notes: Any) -> Outcome:
    """One job in its process; what breaks it is its outcome."""
    told = time.monotonic()

    def tell(note: Note) -> None:
        nonlocal told
        if time.monotonic() - told > 0.5:
            told = time.monotonic()
            notes.put(note)

    try:
        home = Path(folder) / job.name.replace(" ", "-")
        home.mkdir()
        return run(job, home, tell)
    except Exception:
        return Outcome(job, failure=traceback.format_exc(limit=-6))


def batches(plans: Iterable[dict[str, Any]]) -> Iterable[list[dict[str, Any]]]:
    """Plans in lists of a bounded length."""
    batch: list[dict[str, Any]] = []
    for plan in plans:
        batch.append(plan)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def resident() -> float:
    """What this process has in memory, in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6

"""What a soak consists of: jobs that run in processes of their own, what each tells on the way, and what it answers."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from statistics import median

GROWTH_MB, GROWTH_SHARE = 32.0, 0.15
"""Memory is flat if in the second half of a run it grows by less than this, or by less than this share."""

TOWNS = 2
"""For each process: one has the time of two while the mailbox of absurd size keeps another busy."""


@dataclass(frozen=True, slots=True)
class Job:
    """One process's work: a town of mailboxes, or one mailbox of absurd size (``mailbox``, ``thread``)."""

    name: str
    kind: str
    mails: int
    mailboxes: int
    seed: int
    first: int = 0


@dataclass(frozen=True, slots=True)
class Note:
    """How far a job is: in which phase, how much of it; memory in MB, overdue tasks."""

    job: str
    phase: str
    done: int
    total: int
    memory: float = 0.0
    overdue: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a job.

    ``memory`` are samples in MB, one for so many events or changes; in a town those since everybody was connected.
    ``resting`` are those of the hours after.
    """

    job: Job
    expected: int = 0
    stored: int = 0
    events: int = 0
    gaps: int = 0
    changes: int = 0
    lost: int = 0
    duplicates: int = 0
    differences: int = 0
    wrong: tuple[str, ...] = ()
    outbox: int = 0
    overdue: int = 0
    deepest: int = 0
    dead: int = 0
    memory: tuple[float, ...] = ()
    resting: tuple[float, ...] = ()
    fired: dict[str, int] = field(default_factory=dict)
    most: dict[str, int] = field(default_factory=dict)
    virtual_hours: float = 0.0
    cpu_seconds: float = 0.0
    failure: str = ""

    @property
    def growth(self) -> float:
        """By how many MB memory grew after half of the work: what is in use at its end, or at rest, against its middle."""
        if len(self.memory) < 10:
            return 0.0
        tenth = max(1, len(self.memory) // 10)
        middle = self.memory[len(self.memory) // 2 :][:tenth]
        return max(median(self.memory[-tenth:]), median(self.resting[-tenth:] or middle)) - median(middle)

    @property
    def flat(self) -> bool:
        """Whether memory was flat."""
        return self.growth < max(GROWTH_MB, GROWTH_SHARE * max(self.memory, default=0.0))

    @property
    def drained(self) -> bool:
        """Whether nothing is left to be done, and nothing was given up."""
        return self.outbox == self.overdue == self.dead == 0

    @property
    def ok(self) -> bool:
        """Whether all is right."""
        exact = self.lost == self.duplicates == self.differences == 0 and not self.wrong
        return not self.failure and exact and self.expected > 0 and self.drained and self.flat


@dataclass(frozen=True, slots=True)
class Options:
    """What a person can ask for."""

    mails: int = 100_000
    mailboxes: int = 200
    seed: int = 1
    processes: int = 2
    giant: int = 100_000
    thread: int = 10_000
    json: bool = False

    @property
    def jobs(self) -> list[Job]:
        """The longest first, so that the processes end together."""
        giant = Job("mailbox", "mailbox", self.giant, 1, self.seed)
        thread = Job("thread", "thread", self.thread, 1, self.seed)
        towns, first, count = [], 0, TOWNS * self.processes
        for number in range(count):
            last = self.mailboxes * (number + 1) // count
            if last > first:
                mails = self.mails * last // self.mailboxes - self.mails * first // self.mailboxes
                towns.append(Job(f"town {number + 1}", "town", mails, last - first, self.seed * 1000 + number, first))
            first = last
        return [job for job in (giant, *towns, thread) if job.mails]


def read_options() -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="make soak", description=__doc__, argument_default=argparse.SUPPRESS, allow_abbrev=False
    )
    for name in ("mails", "mailboxes", "seed", "processes", "giant", "thread"):
        parser.add_argument(f"--{name}", type=int)
    parser.add_argument("--json", action="store_true")
    options = Options(**vars(parser.parse_args()))
    if not 1 <= options.processes <= options.mailboxes <= options.mails:
        parser.error("at least one process, a mailbox for each process, and a mail for each mailbox")
    return options

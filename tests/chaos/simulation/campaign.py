"""Many seeds on several processes: what each came to, and the sum."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context

from tests.chaos.simulation.plan import PROVIDERS, Plan
from tests.chaos.simulation.world import run


@dataclass(slots=True)
class Summary:
    """What one seed came to, small enough to be handed between processes."""

    seed: int
    violations: list[tuple[str, str]]
    fired: Counter[str]
    theirs: Counter[str]
    mails: int
    changes: int
    virtual: float
    cpu: float
    digest: str


@dataclass(slots=True)
class Totals:
    """All seeds together."""

    seeds: int = 0
    mails: int = 0
    changes: int = 0
    virtual: float = 0.0
    cpu: float = 0.0
    fired: Counter[str] = field(default_factory=Counter)
    theirs: Counter[str] = field(default_factory=Counter)
    failed: list[Summary] = field(default_factory=list)

    def add(self, summary: Summary) -> None:
        """Count one seed in."""
        self.seeds += 1
        self.mails += summary.mails
        self.changes += summary.changes
        self.virtual += summary.virtual
        self.cpu += summary.cpu
        self.fired += summary.fired
        self.theirs += summary.theirs
        if summary.violations:
            self.failed.append(summary)


def summarise(seed: int, providers: Sequence[str] = PROVIDERS) -> Summary:
    """Run one seed."""
    began = time.process_time()
    outcome = run(Plan.of(seed, providers))
    return Summary(
        seed,
        [(violation.name, violation.detail) for violation in outcome.violations],
        outcome.fired,
        outcome.theirs,
        outcome.mails,
        outcome.changes,
        outcome.seconds,
        time.process_time() - began,
        outcome.trace.digest,
    )


def summaries(seeds: range, jobs: int, providers: Sequence[str] = PROVIDERS) -> Iterator[Summary]:
    """One summary after the other, in the order in which they are done."""
    one = partial(summarise, providers=providers)
    if jobs == 1:
        yield from map(one, seeds)
        return
    with get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap_unordered(one, seeds)

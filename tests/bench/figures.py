"""Figures and their budgets: what is promised, and whether a measurement keeps it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

WRITES_PER_BACKFILLED, READS_PER_BACKFILLED = 1.05, 0.05
WRITES_PER_LIVE, READS_PER_LIVE = 4, 4
CONSUMER_WRITES, CONSUMER_READS = 1, 2
CPU_PER_BACKFILLED_US = 100.0
BATCH_SHARE = 5.0
HIGH_LEVEL_SHARE = 5.0
DOORBELL_P95_MS = 250.0
JWT_MS = 0.2
IMPORT_S = 0.5


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value; ``exact`` ones are counts that must keep their budget, timings only warn.

    ``low`` and ``high`` are the 10th and 90th percentile of what the value is the median of; ``naive`` is what the naive
    pipeline needs for the same.
    """

    section: str
    name: str
    value: float
    unit: str = ""
    budget: float | None = None
    exact: bool = False
    low: float | None = None
    high: float | None = None
    naive: float | None = None
    note: str = ""

    @property
    def ok(self) -> bool:
        """Whether the budget is kept; always where there is none."""
        return self.budget is None or self.value <= self.budget


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of some samples, and how far most of them lie from it."""

    middle: float
    low: float
    high: float

    @classmethod
    def of(cls, samples: Iterable[float]) -> Spread:
        """Raises ``ValueError`` where there are no samples."""
        ascending = sorted(samples)
        return cls(median(ascending), percentile(ascending, 0.1), percentile(ascending, 0.9))

    def figure(self, section: str, name: str, unit: str, budget: float | None = None, note: str = "") -> Figure:
        """A timed figure with this spread."""
        return Figure(section, name, self.middle, unit, budget, low=self.low, high=self.high, note=note)


def percentile(ascending: Sequence[float], share: float) -> float:
    """The value below or at which this share of the values lies (nearest rank). Raises ``ValueError`` for none."""
    if not ascending:
        raise ValueError("There are no samples.")
    return ascending[max(0, math.ceil(share * len(ascending)) - 1)]

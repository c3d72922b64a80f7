"""What Google Cloud charges: every price that ``docs/costs.md`` uses, with its unit, its source and the day it was read.

List prices in US dollars for us-central1, Firestore in the Standard edition, Cloud Run billed by request. Free amounts are
those of one month of 30 days; where Google gives them by the day (Firestore), a month has 30 times as much.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TypeAlias

DAYS_PER_MONTH = 30
HOURS_PER_MONTH = 730
GIB, TIB = 2**30, 2**40


class Sku(StrEnum):
    """What is billed, each in the unit that amounts of it are given in."""

    WRITES = "document writes"
    READS = "document reads"
    DELETES = "document deletes"
    KEY_WRITES = "document writes, `keys`"
    KEY_READS = "document reads, `keys`"
    STORED = "documents stored"
    BUS = "bytes over the bus"
    TASKS = "task operations"
    REQUESTS = "function requests"
    CPU = "function CPU"
    MEMORY = "function memory"
    JOBS = "scheduler jobs"
    SECRETS = "secret versions"
    ACCESSES = "secret accesses"
    LOGS = "logs"


Usage: TypeAlias = Mapping[Sku, float]
"""Amounts in the units of ``PRICES``; what is not named is not used."""


@dataclass(frozen=True, slots=True)
class Price:
    """``usd`` for ``per`` units, which are called ``unit``; the first ``free`` units of a month cost nothing."""

    usd: float
    per: float
    unit: str
    free: float
    free_as_given: str
    source: str
    read: str

    def of(self, amount: float, with_free: bool = False) -> float:
        """Dollars for an amount of one month."""
        return max(0.0, amount - (self.free if with_free else 0.0)) * self.usd / self.per


_FIRESTORE = "https://firebase.google.com/docs/firestore/pipelines/pricing"
_RUN = "https://cloud.google.com/run/pricing"
_SECRETS = "https://cloud.google.com/secret-manager/pricing"
_FIRST, _SECOND = "2026-11-20", "2026-11-21"
_NONE = "-"


def _by_day(amount: int) -> tuple[float, str]:
    return float(DAYS_PER_MONTH * amount), f"{amount:,} a day"


PRICES: Mapping[Sku, Price] = MappingProxyType(
    {
        Sku.WRITES: Price(0.09, 1e5, "100,000 documents", *_by_day(20_000), _FIRESTORE, _FIRST),
        Sku.READS: Price(0.03, 1e5, "100,000 documents", *_by_day(50_000), _FIRESTORE, _FIRST),
        Sku.DELETES: Price(0.01, 1e5, "100,000 documents", *_by_day(20_000), _FIRESTORE, _FIRST),
        # Only one database of a project has free amounts, and `keys` is the other one.
        Sku.KEY_WRITES: Price(0.09, 1e5, "100,000 documents", 0, _NONE, _FIRESTORE, _FIRST),
        Sku.KEY_READS: Price(0.03, 1e5, "100,000 documents", 0, _NONE, _FIRESTORE, _FIRST),
        Sku.STORED: Price(0.0002 * HOURS_PER_MONTH, GIB, "GiB and month", GIB, "1 GiB", _FIRESTORE, _FIRST),
        Sku.BUS: Price(40, TIB, "TiB", 10 * GIB, "10 GiB a month", "https://cloud.google.com/pubsub/pricing", _FIRST),
        Sku.TASKS: Price(
            0.40,
            1e6,
            "1,000,000 operations",
            1e6,
            "1,000,000 a month",
            "https://cloud.google.com/tasks/docs/pricing",
            _SECOND,
        ),
        Sku.REQUESTS: Price(0.40, 1e6, "1,000,000 requests", 2e6, "2,000,000 a month", _RUN, _FIRST),
        Sku.CPU: Price(0.000024, 1, "vCPU-second", 180_000, "180,000 a month", _RUN, _FIRST),
        Sku.MEMORY: Price(0.0000025, 1, "GiB-second", 360_000, "360,000 a month", _RUN, _FIRST),
        Sku.JOBS: Price(0.10, 1, "job and month", 3, "3", "https://cloud.google.com/scheduler/pricing", _SECOND),
        Sku.SECRETS: Price(0.06, 1, "version, location and month", 6, "6", _SECRETS, _FIRST),
        Sku.ACCESSES: Price(0.03, 1e4, "10,000 accesses", 1e4, "10,000 a month", _SECRETS, _FIRST),
        Sku.LOGS: Price(
            0.50, GIB, "GiB", 50 * GIB, "50 GiB a month", "https://cloud.google.com/stackdriver/pricing", _SECOND
        ),
    }
)


def cost(usage: Usage, with_free: bool = False) -> float:
    """Dollars for what is used in one month."""
    return sum(PRICES[sku].of(amount, with_free) for sku, amount in usage.items())


def total(*parts: tuple[float, Usage]) -> Usage:
    """The sum of usages, each so many times."""
    amounts: defaultdict[Sku, float] = defaultdict(float)
    for times, usage in parts:
        for sku, amount in usage.items():
            amounts[sku] += times * amount
    return amounts

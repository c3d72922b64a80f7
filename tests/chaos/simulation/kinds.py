"""The kinds of faults: each has a name, a stream of chance of its own, and a count of how often it could and did strike.

Opportunities are counted too, so a fault can be had at exactly the n-th of them (``Plan.forced``): crash enumeration runs a
plan without any rate once, reads ``Dice.chances``, and then forces one kind at each number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from random import Random

from infra.local.simulated.chance import stream

STORE = (
    "store.conflict",
    "store.conflict_applied",
    "store.retry",
    "store.unknown",
    "store.unknown_applied",
    "store.slow",
)
BUS = ("bus.publish_failed", "bus.publish_partial", "bus.publish_unheard")
TASKS = ("tasks.enqueue_failed", "tasks.enqueue_unheard")
DELIVERY = (
    "tasks.late", "tasks.again", "tasks.overlapping", "pushes.late", "pushes.again", "pushes.old",
    "tick.lost", "tick.again", "tick.late",
)  # fmt: skip
PROVIDER = ("provider.slow", "refresh.unheard", "refresh.rotated")
CRASH = ("crash.before", "crash.after")
SECRETS = ("secrets.failed",)

KINDS = (*STORE, *BUS, *TASKS, *DELIVERY, *PROVIDER, *CRASH, *SECRETS)
"""What the simulation does; the provider's own misbehaviour is the simulator's and counted there."""

RATES: Mapping[str, tuple[float, float]] = {
    **dict.fromkeys(STORE, (0.005, 0.05)),
    **dict.fromkeys(BUS, (0.01, 0.1)),
    **dict.fromkeys(TASKS, (0.01, 0.1)),
    **dict.fromkeys(DELIVERY, (0.02, 0.2)),
    "provider.slow": (0.005, 0.05),
    "refresh.unheard": (0.2, 0.6),
    "refresh.rotated": (0.3, 1.0),
    **dict.fromkeys(CRASH, (0.0005, 0.004)),
    "secrets.failed": (0.1, 0.5),
}
"""Between which probabilities a plan that has a kind chooses its rate."""


class Dice:
    """Decides which faults strike. ``on`` is False while a run comes to rest."""

    def __init__(self, seed: int, rates: Mapping[str, float], forced: Mapping[str, frozenset[int]]) -> None:
        self._rates, self._forced = rates, forced
        self._chance: dict[str, Random] = {kind: stream(seed, "fault", kind) for kind in rates}
        self.on = True
        self.chances: Counter[str] = Counter()
        self.fired: Counter[str] = Counter()

    def strikes(self, kind: str) -> bool:
        """Whether the fault happens at this opportunity."""
        if not self.on:
            return False
        self.chances[kind] += 1
        forced = self._forced.get(kind)
        rate = self._rates.get(kind)
        if (forced and self.chances[kind] in forced) or (rate and self._chance[kind].random() < rate):
            self.fired[kind] += 1
            return True
        return False

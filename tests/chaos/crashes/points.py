"""Where a life can be cut short: every call of it for one instance, a sample for two that race and for wrong clocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

from tests.chaos.crashes.scenarios import BY_NAME, SCENARIOS, Scenario
from tests.chaos.crashes.stage import Played, play
from tests.chaos.simulation.plan import Plan

KINDS = {
    "crash.before": "before a call",
    "crash.after": "after a call",
    "store.unknown_applied": "lost commit",
    "bus.publish_unheard": "lost publish",
    "tasks.enqueue_unheard": "lost enqueue",
    "refresh.unheard": "lost refresh",
}
"""What can be forced at a call, and its name: two deaths of the instance, four answers that are lost after the deed."""

ALONE = (0.0,)
RACING = (0.0, 0.0)
SKEWED = ((600.0,), (-600.0,), (600.0, -600.0), (0.0, 600.0), (0.0, -600.0))
"""Clocks of the instances, in seconds of error."""


@dataclass(frozen=True, slots=True)
class Point:
    """One thing that goes wrong in one life: the ``number``-th opportunity of a kind, which without it is ``call``.

    With several instances, or wrong clocks, another call may have that number, or none.
    """

    scenario: str
    kind: str
    number: int
    call: str
    skews: tuple[float, ...] = ALONE
    seed: int = 0

    @property
    def plan(self) -> Plan:
        """The scenario's plan with this point in it."""
        plan = BY_NAME[self.scenario].plan
        numbers = plan.forced.get(self.kind, frozenset()) | {self.number}
        return replace(plan, seed=self.seed or plan.seed, skews=self.skews, forced={**plan.forced, self.kind: numbers})

    @property
    def group(self) -> str:
        """The row of the table that it counts in."""
        if any(self.skews):
            return "sample: clocks 10 minutes wrong"
        return "sample: two racing instances" if len(self.skews) > 1 else self.scenario


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a point: whether it was reached, which invariants did not hold, and the port calls of the run."""

    point: Point
    reached: bool
    violations: tuple[tuple[str, str], ...]
    calls: int


def undisturbed(scenario: Scenario) -> Played:
    """A life in which nothing goes wrong but what belongs to it. Raises ``AssertionError`` if that fails already."""
    played = play(scenario)
    assert played.outcome.ok, (scenario.name, played.outcome.violations)
    return played


def every(scenario: Scenario, played: Played) -> list[Point]:
    """All points of a life for one instance, in the order of their kinds."""
    return [
        Point(scenario.name, kind, number, call)
        for kind in KINDS
        for number, call in enumerate(played.calls.get(kind, ()), 1)
    ]


def sample(points: Sequence[Point], count: int, seed: int) -> list[Point]:
    """So many points for two racing instances, and as many for wrong clocks, each under a schedule of its own."""
    chance = Random(seed)
    chosen = [RACING] * count + [SKEWED[number % len(SKEWED)] for number in range(count)]
    return [
        replace(chance.choice(points), skews=skews, seed=chance.randrange(1, 2**31)) for skews in chosen
    ]


def attempt(point: Point) -> Result:
    """Play a life with its point."""
    outcome = play(BY_NAME[point.scenario], point.plan).outcome
    struck = outcome.chances[point.kind] >= point.number
    violations = tuple((violation.name, violation.detail) for violation in outcome.violations)
    return Result(point, struck, violations, outcome.totals.total())


def all_points() -> list[Point]:
    """The points of all lives for one instance."""
    return [point for scenario in SCENARIOS for point in every(scenario, undisturbed(scenario))]

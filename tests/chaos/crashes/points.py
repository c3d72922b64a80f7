"""Where a life can be cut short: every call of it for one instance, a sample for two that race and for wrong clocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

from tests.chaos.crashes.scenarios import BY_NAME, Scenario
from tests.chaos.crashes.stage import Played, play
from tests.chaos.simulation.plan import Plan

KINDS = {
    "crash.before": "before",
    "crash.after": "after",
    "store.unknown_applied": "commit",
    "bus.publish_unheard": "publish",
    "tasks.enqueue_unheard": "enqueue",
    "refresh.unheard": "refresh",
}
"""What can be forced at a call, and its column: two deaths of the instance, four answers that are lost after the deed."""

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
            return "clocks wrong, sampled"
        return "two racing instances, sampled" if len(self.skews) > 1 else self.scenario


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a point: whether it was reached, and which invariants did not hold."""

    point: Point
    reached: bool
    violations: tuple[tuple[str, str], ...]


def undisturbed(scenario: Scenario) -> Played:
    """A life in which nothing goes wrong but what belongs to it. Raises ``AssertionError`` if that fails already."""
    played = play(scenario)
    assert played.outcome.ok, (scenario.name, played.outcome.violations)
    return played


def every(scenario: Scenario, played: Played) -> list[Point]:
    """All points of a life for one instance, in the order of their kinds, but for those of a beginning that it shares."""
    return [
        Point(scenario.name, kind, number, call)
        for kind in KINDS
        for number, call in enumerate(played.calls.get(kind, ()), 1)
        if number > played.shared[kind]
    ]


def sample(points: Sequence[Point], count: int, seed: int) -> list[Point]:
    """So many points for two racing instances, and as many for wrong clocks, each under a schedule of its own.

    Nobody consents on a wrong clock: who a person is depends on tokens that are good for a while, give or take 30 s.
    """
    chance = Random(seed)
    chosen = [replace(chance.choice(points), skews=RACING) for _ in range(count)]
    timeless = [point for point in points if not BY_NAME[point.scenario].consent]
    for number in range(count if timeless else 0):
        chosen.append(replace(chance.choice(timeless), skews=SKEWED[number % len(SKEWED)]))
    return [replace(point, seed=chance.randrange(1, 2**31)) for point in chosen]


def attempt(point: Point) -> Result:
    """Play a life with its point."""
    outcome = play(BY_NAME[point.scenario], point.plan).outcome
    struck = outcome.chances[point.kind] >= point.number
    violations = tuple((violation.name, violation.detail) for violation in outcome.violations)
    return Result(point, struck, violations)

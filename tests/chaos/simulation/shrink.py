"""The smallest plan that still fails in the same way: without kinds of faults, actions, mailboxes and instances.

Actions go by delta debugging (halves, then quarters, ...). Every attempt is a run, so their number is bounded; what is left
after the last one is answered, smallest or not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from tests.chaos.simulation.plan import PROVIDERS, Action, Plan
from tests.chaos.simulation.world import Outcome, run

MOST_RUNS = 150


def shrink(
    failed: Outcome, most: int = MOST_RUNS, progress: Callable[[int, str], None] = lambda _n, _s: None
) -> Outcome:
    """The outcome of the smallest plan found that violates the same invariant. ``progress`` hears of every attempt."""
    search = _Search(failed, most, progress)
    while search.improve():
        pass
    return search.best


class _Search:
    def __init__(self, failed: Outcome, most: int, progress: Callable[[int, str], None]) -> None:
        self.best = failed
        self._names = {violation.name for violation in failed.violations}
        self._most, self._progress, self._runs = most, progress, 0

    def improve(self) -> bool:
        """Try every way to leave something out; answers whether one of them was of use."""
        before = self.best
        self._first(_without_faults)
        self._actions()
        for candidates in (_without_boxes, _without_instances, _without_faults, _simpler):
            self._first(candidates)
        return self.best is not before and self._runs < self._most

    def _first(self, candidates: Callable[[Plan], Iterator[tuple[str, Plan]]]) -> None:
        """Go through a list of candidates, starting over from each that still fails."""
        tried: set[str] = set()
        while True:
            for what, plan in candidates(self.best.plan):
                if what not in tried:
                    tried.add(what)
                    if self._fails(what, plan):
                        break
            else:
                return

    def _actions(self) -> None:
        size = max(1, len(self.best.plan.actions) // 2)
        while size and self._runs < self._most:
            start = 0
            while start < len(self.best.plan.actions):
                actions = self.best.plan.actions
                rest = (*actions[:start], *actions[start + size :])
                if not self._fails(f"without {size} actions", replace(self.best.plan, actions=rest)):
                    start += size
            size //= 2

    def _fails(self, what: str, plan: Plan) -> bool:
        if self._runs >= self._most:
            return False
        self._runs += 1
        self._progress(self._runs, what)
        outcome = run(plan)
        if self._names.isdisjoint(violation.name for violation in outcome.violations):
            return False
        self.best = outcome
        return True


def _without_faults(plan: Plan) -> Iterator[tuple[str, Plan]]:
    for provider in PROVIDERS:
        if plan.faults(provider):
            yield f"no faults of {provider}", plan.with_faults(provider, {})
    if plan.rates:
        yield "no faults", replace(plan, rates={})
    for kind in plan.rates:
        yield f"no {kind}", replace(plan, rates={name: rate for name, rate in plan.rates.items() if name != kind})
    for provider in PROVIDERS:
        faults = plan.faults(provider)
        calls = faults.get("calls", ())
        if calls:
            yield f"no calls of {provider}", plan.with_faults(provider, {**faults, "calls": []})
        for index, rule in enumerate(calls):
            rest = [*calls[:index], *calls[index + 1 :]]
            yield f"no rule {rule} of {provider}", plan.with_faults(provider, {**faults, "calls": rest})


def _without_boxes(plan: Plan) -> Iterator[tuple[str, Plan]]:
    for box in plan.boxes if len(plan.boxes) > 1 else ():
        boxes = tuple(other for other in plan.boxes if other is not box)
        yield f"no {box.number}", replace(plan, boxes=boxes, actions=_of(plan.actions, {one.number for one in boxes}))


def _without_instances(plan: Plan) -> Iterator[tuple[str, Plan]]:
    for index in range(len(plan.skews) if len(plan.skews) > 1 else 0):
        skews = (*plan.skews[:index], *plan.skews[index + 1 :])
        yield f"skews {skews}", replace(plan, skews=skews)
    if any(plan.skews):
        yield "true clocks", replace(plan, skews=(0.0,) * len(plan.skews))


def _simpler(plan: Plan) -> Iterator[tuple[str, Plan]]:
    for mails in (0, 2, 8):
        if any(box.mails > mails for box in plan.boxes):
            yield f"{mails} mails", replace(plan, boxes=tuple(replace(box, mails=mails) for box in plan.boxes))
    usual = replace(plan, history_base=0, token_seconds=3600.0, pace=1.0, page_size=25, tick_seconds=60.0)
    if usual != plan:
        yield "usual settings", usual


def _of(actions: Sequence[Action], boxes: set[int]) -> tuple[Action, ...]:
    return tuple(action for action in actions if action.box in boxes)

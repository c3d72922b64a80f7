"""Trying mutants: what the run without faults says of one, and which seed or scenario catches it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain

from tests.chaos.mutants import mailboxes, messages, steps, streams
from tests.chaos.mutants.invariants import NOT_ABOUT_MAIL
from tests.chaos.mutants.patching import Unused, replaced
from tests.chaos.mutants.registry import MUTANTS, Catch, Mutant
from tests.chaos.mutants.scenarios import PIPELINE, SCENARIOS, SEED, Violations, violations_in

__all__ = ["MUTANTS", "Trial", "mailboxes", "messages", "search", "steps", "streams", "trial"]

SEEDS = 60


@dataclass(frozen=True, slots=True)
class Trial:
    """One run of a mutant: what was violated, how often the wrong function was called, and the CPU time."""

    violations: Violations
    calls: int
    milliseconds: int

    @property
    def about_mail(self) -> str:
        """The invariant about mail that was violated first; '' for none."""
        return next((name for name, _ in self.violations if name not in NOT_ABOUT_MAIL), "")


def trial(mutant: Mutant, scenario: str) -> Trial:
    """Run a scenario with a mutant in place. Raises ``Stale`` where the function it replaces is gone."""
    with replaced(mutant.target, mutant.make) as calls:
        began = time.process_time()
        violations = violations_in(scenario)
        return Trial(violations, calls.number, round(1000 * (time.process_time() - began)))


def passes(mutant: Mutant) -> Trial:
    """The run without faults."""
    return trial(mutant, PIPELINE)


def search(mutant: Mutant, seeds: int = SEEDS, tell: Callable[[str], None] = lambda _: None) -> Catch | None:
    """The first seed, and where none does it the first scenario, that catches a mutant; None for a survivor.

    Raises ``Unused`` if nothing has ever called the wrong function.
    """
    calls = 0
    for runs, scenario in enumerate(_runs(seeds), 1):
        tell(scenario)
        tried = trial(mutant, scenario)
        calls += tried.calls
        if tried.about_mail:
            return Catch(scenario, tried.about_mail, runs, tried.milliseconds)
    if not calls:
        raise Unused(f"Nobody calls {mutant.target}.")
    return None


def _runs(seeds: int) -> Iterator[str]:
    return chain((f"{SEED}{seed}" for seed in range(1, seeds + 1)), (name for name in SCENARIOS if name != PIPELINE))

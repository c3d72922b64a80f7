"""Trying mutants: what the run without faults says of one, and which seed or scenario catches it."""

from __future__ import annotations

import time
from dataclasses import dataclass

from tests.chaos.mutants import folders, mailboxes, messages, steps, streams
from tests.chaos.mutants.invariants import NOT_ABOUT_MAIL
from tests.chaos.mutants.patching import Unused, replaced
from tests.chaos.mutants.registry import MUTANTS, Catch, Mutant, caught
from tests.chaos.mutants.scenarios import PIPELINE, SCENARIOS, SEED, Violations, violations_in, without_faults

_ALL = (mailboxes, messages, steps, streams, folders)
"""Importing them is what lists the mutants."""

SEEDS = 10
_AGAIN = "look again: python -m tests.chaos.mutants --search"
_SCRIPTED = [name for name in SCENARIOS if name != PIPELINE]


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


def failure(mutant: Mutant) -> str:
    """What a mutant does not do of what it has to: pass without faults, and be caught as was written down; '' if it does."""
    return fails_without_faults(mutant) or escapes(mutant)


def fails_without_faults(mutant: Mutant) -> str:
    """What goes wrong with a mutant where nothing else does; '' for nothing."""
    with replaced(mutant.target, mutant.make):
        violations = without_faults(mutant.shows)
    if violations:
        return f"without faults: {violations[0]}"
    if mutant.shows and trial(mutant, PIPELINE).about_mail != mutant.shows:
        return f"{mutant.shows} does not show without faults"
    return ""


def escapes(mutant: Mutant) -> str:
    """Why a mutant is not caught; '' if it is, as was written down or, after a change that shifted it, by a scenario.

    What a seed does changes with the simulation and with the product, and its catch with it. Then each scenario is tried.
    """
    catch = caught().get(mutant.name)
    if catch is None:
        return f"nothing is known to catch it; {_AGAIN} {mutant.name!r}"
    calls = 0
    for scenario in dict.fromkeys((catch.scenario, *_SCRIPTED)):
        tried = trial(mutant, scenario)
        calls += tried.calls
        if tried.about_mail:
            return ""
    return f"nothing catches it any more; {_AGAIN} {mutant.name!r}" if calls else f"nobody calls {mutant.target}"


def passed_over(mutant: Mutant) -> str:
    """What is to be said of a mutant that shows even without faults."""
    return f"Shows without faults, by `{mutant.shows}` alone." if mutant.shows else ""


def search(mutant: Mutant, seeds: int = SEEDS) -> Catch | None:
    """The first scenario that catches a mutant, and the first seed; None for one that no scenario catches.

    Raises ``Unused`` if nothing has ever called the wrong function.
    """
    calls = 0
    for scenario in _SCRIPTED:
        run = trial(mutant, scenario)
        calls += run.calls
        if run.about_mail:
            first = (seed for seed in range(1, seeds + 1) if trial(mutant, f"{SEED}{seed}").about_mail)
            return Catch(scenario, run.about_mail, run.milliseconds, next(first, None), seeds)
    if not calls:
        raise Unused(f"Nobody calls {mutant.target}.")
    return None


def tried(name: str) -> tuple[str, str]:
    """``failure`` for another process."""
    return name, failure(MUTANTS[name])


def searched(chosen: tuple[str, int]) -> tuple[str, Catch | None]:
    """``search`` for another process."""
    name, seeds = chosen
    return name, search(MUTANTS[name], seeds)

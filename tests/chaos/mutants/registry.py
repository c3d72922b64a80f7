"""What a mutant is, and the list of all."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.mutants.patching import Make

CAUGHT = Path(__file__).with_name("caught.json")


@dataclass(frozen=True, slots=True)
class Mutant:
    """A broken engine: ``target`` is the one function that is replaced, ``broken`` one sentence of what is wrong with it.

    ``note`` says where this is not quite what its name says, and why. ``shows`` is an invariant that is violated even
    where nothing goes wrong, because it is about every step that is taken; all others have to hold there.
    """

    name: str
    broken: str
    target: str
    make: Make
    note: str = ""
    shows: str = ""


@dataclass(frozen=True, slots=True)
class Catch:
    """What catches a mutant: the scripted run, the invariant, how long it took, and which of so many seeds does it first.

    ``seed`` is None where none of ``seeds`` does. It is what the last search saw: seeds change with the simulation.
    """

    scenario: str
    invariant: str
    milliseconds: int
    seed: int | None = None
    seeds: int = 0


MUTANTS: dict[str, Mutant] = {}


def mutant(target: str, broken: str, note: str = "", shows: str = "") -> Callable[[Make], Make]:
    """List a function that makes the wrong one; the mutant has its name."""

    def add(make: Make) -> Make:
        name = make.__name__.replace("_", " ")
        assert name not in MUTANTS, f"There are two mutants named {name!r}."
        MUTANTS[name] = Mutant(name, broken, target, make, note, shows)
        return make

    return add


def caught() -> dict[str, Catch]:
    """What the last search has found, by mutant."""
    found = json.loads(CAUGHT.read_text()) if CAUGHT.exists() else {}
    return {name: Catch(**catch) for name, catch in found.items()}


def write_down(catches: dict[str, Catch]) -> None:
    """Keep what was found, in the order of the list."""
    kept = {
        name: {field: getattr(catches[name], field) for field in Catch.__slots__} for name in MUTANTS if name in catches
    }
    CAUGHT.write_text(json.dumps(kept, indent=2) + "\n")

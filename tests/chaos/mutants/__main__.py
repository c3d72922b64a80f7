"""Every mutant: the run without faults, and what catches it; or the search for what does.

python -m tests.chaos.mutants                    all of them in both runs, and the table
python -m tests.chaos.mutants --search [--seeds 60] [name ...]    find what catches them, and write it down
python -m tests.chaos.mutants --table            the table in Markdown, from what was written down; runs nothing
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from multiprocessing import get_context

from rich.console import Console
from rich.table import Table

from infra.local.progress import bars
from tests.chaos.mutants.registry import Catch, caught, write_down
from tests.chaos.mutants.search import MUTANTS, SEEDS, passed_over, searched, tried

HEAD = ("Mutant", "What is broken", "Caught by", "Invariant", "Took", "First seed")


def main(arguments: list[str]) -> int:
    """Do what the arguments ask for; answers the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.mutants", description=__doc__)
    parser.add_argument("--search", action="store_true")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="how many seeds a search tries beside the scenarios")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("names", nargs="*", metavar="name", help="some mutants only")
    chosen = parser.parse_args(arguments)
    names = chosen.names or list(MUTANTS)
    if unknown := [name for name in names if name not in MUTANTS]:
        parser.error(f"there is no mutant {', '.join(unknown)}")
    if chosen.table:
        print(markdown())
        return 0
    console = Console()
    if chosen.search:
        return _search(console, names, chosen.seeds, chosen.jobs)
    return _try(console, names, chosen.jobs)


def markdown() -> str:
    """The table for ``docs/reliability.md``."""
    lines = [" | ".join(("", *HEAD, "")).strip(), "|".join(["", *["---"] * len(HEAD), ""])]
    lines += [" | ".join(("", *row, "")).strip() for row in _rows(caught())]
    return "\n".join(lines)


def _rows(catches: dict[str, Catch]) -> Iterable[tuple[str, ...]]:
    for name, mutant in MUTANTS.items():
        catch = catches.get(name)
        broken = " ".join(filter(None, (mutant.broken, mutant.note, passed_over(mutant))))
        found = (
            (catch.scenario, f"`{catch.invariant}`", f"{catch.milliseconds} ms", _seed(catch)) if catch else ("-",) * 4
        )
        yield name, broken, *found


def _seed(catch: Catch) -> str:
    return str(catch.seed) if catch.seed is not None else f"none of {catch.seeds}"


def _try(console: Console, names: list[str], jobs: int) -> int:
    failures = []
    with bars(console) as progress, get_context("spawn").Pool(jobs) as pool:
        task = progress.add_task("mutants", total=len(names), note="")
        for name, wrong in pool.imap_unordered(tried, names):
            progress.update(task, advance=1, note=f"{len(failures)} failed")
            if wrong:
                failures.append(name)
                console.print(f"✗ {name}: {wrong}", style="red", markup=False, highlight=False)
    catches = caught()
    table = Table(box=None, padding=(0, 2))
    for title in (*HEAD[:1], *HEAD[2:]):
        table.add_column(title, overflow="fold")
    for name, _, *found in _rows({name: catches[name] for name in names if name in catches}):
        if name in names:
            table.add_row(name, *(cell.strip("`") for cell in found))
    console.print(table)
    console.print(f"{len(names)} mutants, {len(names) - len(failures)} pass without faults and are caught")
    return 1 if failures else 0


def _search(console: Console, names: list[str], seeds: int, jobs: int) -> int:
    survivors = []
    with bars(console) as progress, get_context("spawn").Pool(jobs) as pool:
        task = progress.add_task("mutants", total=len(names), note="")
        for name, catch in pool.imap_unordered(searched, [(name, seeds) for name in names]):
            progress.update(task, advance=1, note=f"{len(survivors)} survive")
            if catch is None:
                survivors.append(name)
                console.print(f"✗ {name} survives", style="red", markup=False, highlight=False)
                continue
            write_down({**caught(), name: catch})
            said = f"✓ {name}: {catch.scenario}, {catch.invariant}, {catch.milliseconds} ms, seed {_seed(catch)}"
            console.print(said, markup=False, highlight=False)
    console.print(f"{len(names)} mutants, {len(survivors)} survive")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

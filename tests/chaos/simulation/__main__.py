"""``make chaos``: runs seeds, counts what went wrong in them, and shows the first one that the product did not bear.

python -m tests.chaos.simulation --seeds 100 --first 1 [--jobs 2] [--provider google] [--json] [--keep-going]
"""

from __future__ import annotations

import argparse
import json
import sys
import time

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from infra.local.progress import bars
from tests.chaos.simulation.campaign import Totals, summaries
from tests.chaos.simulation.kinds import KINDS
from tests.chaos.simulation.plan import PROVIDERS, Plan
from tests.chaos.simulation.report import failure_text
from tests.chaos.simulation.shrink import shrink
from tests.chaos.simulation.world import run


def main(arguments: list[str]) -> int:
    """Run what the arguments ask for; answers the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--provider", choices=PROVIDERS, help="mailboxes of one provider only")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--keep-going", action="store_true", help="run all seeds, whatever fails")
    chosen = parser.parse_args(arguments)
    console = Console(stderr=chosen.json)
    began = time.monotonic()
    totals = _all(chosen, console)
    took = time.monotonic() - began
    _show(console, totals, took)
    if chosen.json:
        print(_as_json(totals, took))
    if not totals.failed:
        return 0
    _explain(console, min(summary.seed for summary in totals.failed), _providers(chosen))
    return 1


def _all(chosen: argparse.Namespace, console: Console) -> Totals:
    totals = Totals()
    seeds = range(chosen.first, chosen.first + chosen.seeds)
    with bars(console) as progress:
        task = progress.add_task("seeds", total=len(seeds), note="")
        for summary in summaries(seeds, chosen.jobs, _providers(chosen)):
            totals.add(summary)
            faults = totals.fired.total() + totals.theirs.total()
            progress.update(task, advance=1, note=f"{faults:,} faults, {len(totals.failed)} failed")
            if summary.violations:
                name, detail = summary.violations[0]
                console.print(f"✗ seed {summary.seed}: {name}: {detail}", style="red", markup=False, highlight=False)
            if totals.failed and not chosen.keep_going:
                break
    return totals


def _show(console: Console, totals: Totals, took: float) -> None:
    table = Table("fault", "times", box=None, padding=(0, 2))
    counts = {
        **{kind: totals.fired[kind] for kind in KINDS},
        **dict(sorted(totals.theirs.items())),
    }
    for name, count in counts.items():
        table.add_row(name, f"{count:,}")
    console.print(table)
    console.print(
        f"{totals.seeds:,} seeds, {totals.mails:,} mails and {totals.changes:,} changes, {totals.virtual / 3600:,.0f} virtual "
        f"hours in {took:.0f} s ({totals.cpu / max(1, totals.seeds):.2f} s of CPU each), {len(totals.failed)} failed",
        highlight=False,
    )


def _as_json(totals: Totals, took: float) -> str:
    return json.dumps(
        {
            "seeds": totals.seeds,
            "failed": [summary.seed for summary in totals.failed],
            "mails": totals.mails,
            "changes": totals.changes,
            "virtual_hours": round(totals.virtual / 3600, 1),
            "seconds": round(took, 1),
            "faults": {kind: totals.fired[kind] for kind in KINDS},
            "provider_faults": dict(sorted(totals.theirs.items())),
        }
    )


def _providers(chosen: argparse.Namespace) -> tuple[str, ...]:
    return (chosen.provider,) if chosen.provider else PROVIDERS


def _explain(console: Console, seed: int, providers: tuple[str, ...]) -> None:
    """Shrink the first failing seed and print what is left of it."""
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(f"shrinking seed {seed}", total=None)

        def tell(runs: int, what: str) -> None:
            progress.update(task, completed=runs, description=f"shrinking seed {seed}: run {runs}, {what[:40]}")

        smallest = shrink(run(Plan.of(seed, providers)), progress=tell)
    console.print(failure_text(seed, smallest, providers), markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

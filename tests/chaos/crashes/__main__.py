"""Crash everywhere: cut every scripted life short at every call, and show the first one that ends wrong.

python -m tests.chaos.crashes [--jobs 2] [--sample 300] [--seed 1] [--every 1] [--keep-going] [--only SCENARIO]
python -m tests.chaos.crashes --only SCENARIO --kind crash.after --number 17 [--skews=600,-600 --seed 5]
"""

from __future__ import annotations

import argparse
import sys
import time

from rich.console import Console

from infra.local.progress import bars
from tests.chaos.crashes.campaign import results
from tests.chaos.crashes.points import KINDS, Point, Result, attempt, every, sample, undisturbed
from tests.chaos.crashes.report import again, failure_text, left_out, table_of
from tests.chaos.crashes.scenarios import BY_NAME, SCENARIOS


def main(arguments: list[str]) -> int:
    """Run what the arguments ask for; answers the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.crashes", description=__doc__)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--sample", type=int, default=300, help="racing lives, and as many with wrong clocks")
    parser.add_argument("--seed", type=int, default=1, help="of the sample, or of one point")
    parser.add_argument("--every", type=int, default=1, help="take one point of so many")
    parser.add_argument("--keep-going", action="store_true", help="play all points, whatever fails")
    parser.add_argument("--only", choices=tuple(BY_NAME))
    parser.add_argument("--kind", choices=tuple(KINDS))
    parser.add_argument("--number", type=int)
    parser.add_argument("--skews", default="0")
    chosen = parser.parse_args(arguments)
    console = Console()
    if chosen.number is not None:
        return _one(chosen, console)
    began = time.monotonic()
    points, shared = _points(chosen)
    console.print(table_of(points))
    console.print(left_out(shared), highlight=False)
    failed, unreached = _play(points, chosen, console)
    console.print(
        f"{len(points):,} points, {unreached:,} of the sample not reached, {time.monotonic() - began:.0f} s, "
        f"{len(failed)} failed",
        highlight=False,
    )
    if failed:
        console.print(failure_text(failed[0].point), markup=False, highlight=False, soft_wrap=True)
    return 1 if failed else 0


def _points(chosen: argparse.Namespace) -> tuple[list[Point], dict[str, int]]:
    """What to play, and how many points of each life are left out because other lives have them."""
    scenarios = [BY_NAME[chosen.only]] if chosen.only else SCENARIOS
    kinds = [chosen.kind] if chosen.kind else list(KINDS)
    played = {scenario.name: undisturbed(scenario) for scenario in scenarios}
    points = [point for scenario in scenarios for point in every(scenario, played[scenario.name])]
    points = [point for point in points if point.kind in kinds]
    shared = {name: sum(life.shared[kind] for kind in kinds) for name, life in played.items()}
    return points[:: chosen.every] + sample(points, chosen.sample, chosen.seed), shared


def _play(points: list[Point], chosen: argparse.Namespace, console: Console) -> tuple[list[Result], int]:
    failed: list[Result] = []
    unreached = 0
    with bars(console) as progress:
        task = progress.add_task("points", total=len(points), note="")
        for result in results(points, chosen.jobs):
            unreached += not result.reached
            progress.update(task, advance=1, note=f"{len(failed)} failed")
            if result.violations:
                failed.append(result)
                name, detail = result.violations[0]
                said = f"✗ {result.point.call}: {name}: {detail}\n  {again(result.point)}"
                console.print(said, style="red", markup=False, highlight=False, soft_wrap=True)
                if not chosen.keep_going:
                    break
    return failed, unreached


def _one(chosen: argparse.Namespace, console: Console) -> int:
    if chosen.only is None or chosen.kind is None:
        console.print("A number needs --only and --kind as well.")
        return 2
    skews = tuple(float(skew) for skew in chosen.skews.split(","))
    point = Point(chosen.only, chosen.kind, chosen.number, "?", skews, 0 if skews == (0.0,) else chosen.seed)
    if attempt(point).violations:
        console.print(failure_text(point), markup=False, highlight=False, soft_wrap=True)
        return 1
    console.print("Every invariant holds.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

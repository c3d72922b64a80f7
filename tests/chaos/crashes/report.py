"""What came of an enumeration, in words: the table of points, and a failure with its trace."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from rich.table import Table

from tests.chaos.crashes.points import KINDS, Point
from tests.chaos.crashes.scenarios import BY_NAME, SCENARIOS
from tests.chaos.crashes.stage import play
from tests.chaos.simulation.report import plan_text

LINES = 80


def table_of(points: Iterable[Point]) -> Table:
    """How many points of each kind there are in each life."""
    counts = Counter((point.group, point.kind) for point in points)
    table = Table(
        box=None, padding=(0, 1, 0, 0), caption="before, after: the instance dies; else: done, and the answer lost"
    )
    table.add_column("scenario", no_wrap=True)
    for name in (*KINDS.values(), "all"):
        table.add_column(name, justify="right", no_wrap=True)
    for group in dict.fromkeys(group for group, _ in counts):
        row = [counts[group, kind] for kind in KINDS]
        table.add_row(group, *(f"{count:,}" for count in (*row, sum(row))))
    sums = [sum(count for (_, of), count in counts.items() if of == kind) for kind in KINDS]
    table.add_row("all", *(f"{count:,}" for count in (*sums, sum(sums))))
    return table


def left_out(shared: Mapping[str, int]) -> str:
    """Which points of lives are in no table, since other lives have them; ``shared`` has their numbers."""
    lives = [name for name, count in shared.items() if count]
    whole = ", ".join(repr(scenario.name) for scenario in SCENARIOS if scenario.whole)
    return (
        f"Left out: {sum(shared.values()):,} points of {len(lives)} lives, in connecting and the first reading, with which all "
        f"lives begin. Played are those of {whole}."
    )


def failure_text(point: Point) -> str:
    """What to read when a life does not survive its point; plays it once more for its trace."""
    outcome = play(BY_NAME[point.scenario], point.plan).outcome
    trace = outcome.trace.tail(10_000)
    struck = next((number for number, line in enumerate(trace) if point.kind in line), 0)
    shown = trace[max(0, struck - LINES // 4) :]
    if len(shown) > 2 * LINES:
        shown = [*shown[:LINES], "       ...", *shown[-LINES:]]
    return "\n".join(
        (
            f"{point.scenario!r} does not survive {point.kind}, number {point.number} ({point.call})",
            *(f"  {violation.name}: {violation.detail}" for violation in outcome.violations[:5]),
            "",
            *plan_text(outcome.plan),
            "",
            f"Events around the point and at the end, of {outcome.trace.count} (seconds, instance, call, what):",
            *(line[:200] for line in shown),
            "",
            f"Again: {again(point)}",
        )
    )


def again(point: Point) -> str:
    """The command that plays a point and nothing else."""
    skews = ",".join(f"{skew:g}" for skew in point.skews)
    return (
        f'python -m tests.chaos.crashes --only "{point.scenario}" --kind {point.kind} --number {point.number}'
        f" --skews={skews} --seed {point.seed}"
    )

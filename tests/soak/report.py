"""The verdict of a soak, for people and for programs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from tests.soak.plan import GROWTH_MB, GROWTH_SHARE, Options, Outcome


@dataclass(frozen=True, slots=True)
class Result:
    """A finished soak; ``seconds`` of real time."""

    options: Options
    outcomes: Sequence[Outcome]
    seconds: float

    @property
    def fired(self) -> Counter[str]:
        """How often each kind of fault fired, in all jobs together."""
        total: Counter[str] = Counter()
        for outcome in self.outcomes:
            total.update(outcome.fired)
        return total

    @property
    def unfired(self) -> list[str]:
        """Kinds that never fired: a run without them shows nothing about them."""
        return sorted(kind for kind, count in self.fired.items() if not count)

    @property
    def ok(self) -> bool:
        """Whether the soak deserves exit status 0."""
        return bool(self.outcomes) and all(outcome.ok for outcome in self.outcomes) and not self.unfired

    def total(self, name: str) -> int:
        """A figure of all jobs together."""
        return int(sum(getattr(outcome, name) for outcome in self.outcomes))


SUMS = (
    "expected", "stored", "events", "gaps", "changes", "lost", "duplicates", "differences", "outbox", "overdue", "dead",
)  # fmt: skip


def as_json(result: Result) -> str:
    """The soak as one line of JSON."""
    return json.dumps(
        {
            "ok": result.ok,
            **{name: result.total(name) for name in SUMS},
            "mailboxes": sum(outcome.job.mailboxes for outcome in result.outcomes),
            "seconds": round(result.seconds, 1),
            "fired": dict(sorted(result.fired.items())),
            "unfired": result.unfired,
            "jobs": [_job(outcome) for outcome in result.outcomes],
        }
    )


def show(console: Console, result: Result) -> None:
    """Print the soak for a person."""
    table = Table(box=None, padding=(0, 2))
    heads = ("job", "mails", "events", "lost", "doubled", "differences", "outbox", "overdue (most)", "memory (growth)",
             "virtual", "CPU")  # fmt: skip
    for head in heads:
        table.add_column(head, justify="left" if head == "job" else "right")
    for outcome in result.outcomes:
        table.add_row(
            f"{outcome.job.name}, {outcome.job.mailboxes} mailboxes",
            f"{outcome.stored:,}/{outcome.expected:,}",
            f"{outcome.events:,}",
            str(outcome.lost),
            str(outcome.duplicates),
            str(outcome.differences),
            str(outcome.outbox),
            f"{outcome.overdue} ({outcome.deepest})",
            f"{max(outcome.memory, default=0):.0f} MB ({outcome.growth:+.0f})",
            f"{outcome.virtual_hours:.1f} h",
            f"{outcome.cpu_seconds:.0f} s",
        )
    console.print()
    console.print(table)
    console.print(
        f"\nIn the second half of a job memory may grow by {GROWTH_MB:.0f} MB or {GROWTH_SHARE:.0%}. "
        f"{result.total('changes'):,} changes while followed, {result.seconds:.0f} s."
    )
    for kind, count in sorted(result.fired.items()):
        console.print(f"  {count:>7,} x  {kind}", markup=False)
    for kind in result.unfired:
        console.print(f"  ✗ This fault never happened: {kind}.", markup=False, style="red")
    for outcome in result.outcomes:
        for text in (*outcome.wrong, *([outcome.failure] if outcome.failure else [])):
            console.print(f"  ✗ {outcome.job.name}: {text}", markup=False, style="red")
        if not outcome.flat:
            console.print(f"  ✗ {outcome.job.name}: memory grew by {outcome.growth:.0f} MB.", style="red")
        if not outcome.drained:
            console.print(f"  ✗ {outcome.job.name}: something is left to be done, or was given up.", style="red")
    if result.ok:
        console.print("\n[bold green]✓ Nothing lost, nothing doubled, memory flat, backlog gone.[/bold green]")
    else:
        console.print("\n[bold red]✗ This run is wrong; what is wrong is above.[/bold red]")


def _job(outcome: Outcome) -> dict[str, object]:
    return {
        "name": outcome.job.name,
        "ok": outcome.ok,
        "mailboxes": outcome.job.mailboxes,
        **{name: getattr(outcome, name) for name in SUMS},
        "deepest": outcome.deepest,
        "memory_mb": round(max(outcome.memory, default=0.0), 1),
        "growth_mb": round(outcome.growth, 1),
        "most": outcome.most,
        "virtual_hours": round(outcome.virtual_hours, 2),
        "cpu_seconds": round(outcome.cpu_seconds, 1),
        "wrong": [*outcome.wrong, *([outcome.failure] if outcome.failure else [])],
    }

"""The verdict of a demo, for people and for programs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from infra.local.verify import Report


@dataclass(frozen=True, slots=True)
class Result:
    """One finished run: the verdict and what was done to the machine on the way."""

    report: Report
    seconds: float
    p50_ms: float | None
    p95_ms: float | None
    measured: int
    changes: Counter[str]
    kills: int
    pushes: Mapping[str, int]
    requests: Mapping[str, int]
    faults: Mapping[str, int]
    unreadable: tuple[tuple[str, str], ...]
    backend: str
    providers: tuple[str, ...]
    clean_stop: bool
    outage: tuple[int, int] | None = None
    """For how many seconds the bus was away, and how many events waited for it at most."""

    @property
    def ok(self) -> bool:
        """Whether the run deserves exit status 0."""
        return self.report.ok and self.clean_stop and not self.unfired

    @property
    def unfired(self) -> list[str]:
        """The kinds of faults that were asked for and never happened: a run without them shows nothing about them."""
        return [label for label, count in self.faults.items() if count == 0]


def as_json(result: Result) -> str:
    """The run as one line of JSON."""
    report = result.report
    return json.dumps(
        {
            "ok": result.ok,
            "expected": report.expected,
            "stored": report.stored,
            "events": report.events,
            "gaps": report.gaps,
            "lost": report.lost,
            "duplicates": report.duplicates,
            "contiguous": report.contiguous,
            "consumer_ok": report.consumer_ok,
            "p50_ms": result.p50_ms,
            "p95_ms": result.p95_ms,
            "seconds": round(result.seconds, 1),
            "backend": result.backend,
            "providers": list(result.providers),
            "differences": report.difference_count,
            "shortened": report.shortened,
            "kills": result.kills,
            "clean_stop": result.clean_stop,
            "changes": dict(sorted(result.changes.items())),
            "pushes": dict(result.pushes),
            "requests": dict(result.requests),
            "faults": dict(result.faults),
            "documents": report.documents,
            "pulled": report.pulled,
            "outage": dict(zip(("seconds", "outbox"), result.outage, strict=True)) if result.outage else None,
        }
    )


def show(console: Console, result: Result) -> None:
    """Print the run for a person."""
    report = result.report
    table = Table(show_header=False, box=None, padding=(0, 2))
    for label, value, meaning in _rows(result):
        table.add_row(label, f"[bold]{value}[/bold]", f"[dim]{meaning}[/dim]")
    console.print()
    console.print(table)
    for name, reason in result.unreadable[:20]:
        console.print(f"  not readable: {name}: {reason}", markup=False)
    if len(result.unreadable) > 20:
        console.print(f"  ... and {len(result.unreadable) - 20} more that could not be read")
    for label, count in result.faults.items():
        console.print(f"  {count:>6,} x  {label}", markup=False)
    for label in result.unfired:
        console.print(f"  ✗ This fault never happened: {label}.", markup=False, style="red")
    for text in report.differences:
        console.print(f"  ✗ {text}", markup=False, style="red")
    if report.difference_count > len(report.differences):
        console.print(f"  ... and {report.difference_count - len(report.differences)} more differences", style="red")
    if not result.clean_stop:
        console.print("  ✗ The functions did not stop by themselves within their time.", style="red")
    if result.ok:
        console.print("\n[bold green]✓ Nothing lost, nothing doubled, nothing out of order.[/bold green]")
    else:
        console.print("\n[bold red]✗ This run is wrong; the differences are above.[/bold red]")


def _rows(result: Result) -> list[tuple[str, object, str]]:
    report, pushes = result.report, result.pushes
    changes = ", ".join(f"{count} {kind}" for kind, count in result.changes.most_common())
    rows: list[tuple[str, object, str]] = [
        ("expected", report.expected, "mails alive at the provider"),
        ("stored", report.stored, "messages that the API lists, compared field by field"),
        ("gaps", report.gaps, "mails that the provider refuses or the importer could not read"),
        ("lost", report.lost, "mails that are neither stored nor a gap"),
        ("events", report.events, "in the log, folded from sequence 1 and compared with the store"),
        ("contiguous", _yes(report.contiguous), "numbered 1, 2, 3 ... without a hole or a repeat"),
        ("duplicates", report.duplicates, "effects that were applied more than once"),
        ("consumer", "right" if report.consumer_ok else "WRONG", "the sample consumer's mails per sender and day"),
        ("changes", sum(result.changes.values()), f"live ones: {changes}"),
        (
            "pushes",
            pushes.get("wanted", 0),
            f"{pushes.get('dropped', 0)} dropped, {pushes.get('duplicated', 0)} doubled, {pushes.get('early', 0)} early, "
            f"{pushes.get('delayed', 0)} late, {pushes.get('reordered', 0)} reordered, "
            f"{pushes.get('throttled', 0)} held back by the cap of one a second",
        ),
        ("kills", result.kills, "times the functions were ended with SIGKILL and started again"),
        (
            "latency",
            f"{_ms(result.p50_ms)} / {_ms(result.p95_ms)}",
            f"p50 / p95 from change to event, {result.measured} measured",
        ),
        ("took", f"{result.seconds:.1f} s", f"with the {result.backend} adapters, {', '.join(result.providers)}"),
    ]
    if report.documents is not None:
        rows.append(("documents", report.documents, "messages in the Firestore emulator, counted there"))
    if report.pulled is not None:
        rows.append(("pulled", report.pulled, "events that a pull subscription held, compared with the log"))
    if result.outage is not None:
        away, waiting = result.outage
        rows.append(("outage", f"{away} s", f"the Pub/Sub emulator was away; up to {waiting} events waited for it"))
    return rows


def _yes(value: bool) -> str:
    return "yes" if value else "NO"


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f} ms"

"""The verdict of a demo, for people and for programs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from infra.local.verify import Report


@dataclass(frozen=True, slots=True)
class Figures:
    """One mailbox of a run: the verdict on it, and what was done to it. Latencies are in milliseconds."""

    report: Report
    p50_ms: float | None
    p95_ms: float | None
    measured: int
    changes: Mapping[str, int]
    pushes: Mapping[str, int]
    requests: Mapping[str, int]
    faults: Mapping[str, int]
    unreadable: tuple[tuple[str, str], ...] = ()

    @property
    def unfired(self) -> list[str]:
        """The kinds of faults that were asked for and never happened: a run without them shows nothing about them."""
        return [label for label, count in self.faults.items() if count == 0]

    def as_json(self) -> dict[str, Any]:
        """The figures as JSON values."""
        return {
            "expected": self.report.expected,
            "stored": self.report.stored,
            "events": self.report.events,
            "gaps": self.report.gaps,
            "lost": self.report.lost,
            "duplicates": self.report.duplicates,
            "contiguous": self.report.contiguous,
            "differences": self.report.difference_count,
            "shortened": self.report.shortened,
            "p50_ms": self.p50_ms,
            "p95_ms": self.p95_ms,
            "changes": dict(sorted(self.changes.items())),
            "pushes": dict(self.pushes),
            "requests": dict(self.requests),
            "faults": dict(self.faults),
        }


@dataclass(frozen=True, slots=True)
class Result:
    """One finished run: the verdict and what was done to the machine on the way; ``mailboxes`` are by provider."""

    report: Report
    seconds: float
    p50_ms: float | None
    p95_ms: float | None
    measured: int
    kills: int
    mailboxes: Mapping[str, Figures]
    backend: str
    clean_stop: bool
    outage: tuple[int, int] | None = None
    """For how many seconds the bus was away, and how many events waited for it at most."""

    @property
    def ok(self) -> bool:
        """Whether the run deserves exit status 0."""
        return self.report.ok and self.clean_stop and not any(one.unfired for one in self.mailboxes.values())

    def total(self, of: Callable[[Figures], Mapping[str, int]]) -> dict[str, int]:
        """Counts of all mailboxes, added up by name."""
        found: dict[str, int] = {}
        for one in self.mailboxes.values():
            for name, count in of(one).items():
                found[name] = found.get(name, 0) + count
        return found


def as_json(result: Result) -> str:
    """The run as one line of JSON; what is said of all mailboxes together is said of each in ``mailboxes``."""
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
            "providers": list(result.mailboxes),
            "differences": report.difference_count,
            "shortened": report.shortened,
            "kills": result.kills,
            "clean_stop": result.clean_stop,
            "changes": dict(sorted(result.total(lambda one: one.changes).items())),
            "pushes": result.total(lambda one: one.pushes),
            "requests": result.total(lambda one: one.requests),
            "faults": result.total(lambda one: one.faults),
            "documents": report.documents,
            "pulled": report.pulled,
            "outage": dict(zip(("seconds", "outbox"), result.outage, strict=True)) if result.outage else None,
            "mailboxes": {name: one.as_json() for name, one in result.mailboxes.items()},
        }
    )


def show(console: Console, result: Result) -> None:
    """Print the run for a person: a column for each mailbox and one for all, where there are several."""
    report, mailboxes = result.report, result.mailboxes
    several = len(mailboxes) > 1
    table = Table(show_header=several, box=None, padding=(0, 2))
    for head in ("", *(mailboxes if several else ()), "all" if several else "", ""):
        table.add_column(head)
    for label, shares, value, meaning in _rows(result):
        bold = [f"[bold]{cell}[/bold]" for cell in ((*shares, value) if several else (value,))]
        table.add_row(label, *bold, f"[dim]{meaning}[/dim]")
    console.print()
    console.print(table)
    for provider, one in mailboxes.items():
        _show_mailbox(console, f"{provider}: " if several else "", one)
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


def _show_mailbox(console: Console, prefix: str, one: Figures) -> None:
    for name, reason in one.unreadable[:20]:
        console.print(f"  {prefix}not readable: {name}: {reason}", markup=False)
    if len(one.unreadable) > 20:
        console.print(f"  {prefix}... and {len(one.unreadable) - 20} more that could not be read")
    for label, count in one.faults.items():
        console.print(f"  {count:>6,} x  {prefix}{label}", markup=False)
    for label in one.unfired:
        console.print(f"  ✗ {prefix}This fault never happened: {label}.", markup=False, style="red")


def _rows(result: Result) -> list[tuple[str, list[object], object, str]]:
    """Label, the value of each mailbox, the value of all together, meaning."""
    report, figures = result.report, list(result.mailboxes.values())
    all_changes, pushes = Counter(result.total(lambda one: one.changes)), result.total(lambda one: one.pushes)
    changes = ", ".join(f"{count} {kind}" for kind, count in all_changes.most_common())
    blank: list[object] = ["" for _ in figures]

    def each(of: Callable[[Report], object]) -> list[object]:
        return [of(one.report) for one in figures]

    rows: list[tuple[str, list[object], object, str]] = [
        ("expected", each(lambda one: one.expected), report.expected, "mails alive at the provider"),
        (
            "stored",
            each(lambda one: one.stored),
            report.stored,
            "messages that the API lists, compared field by field",
        ),
        (
            "gaps",
            each(lambda one: one.gaps),
            report.gaps,
            "mails that the provider refuses or the importer could not read",
        ),
        ("lost", each(lambda one: one.lost), report.lost, "mails that are neither stored nor a gap"),
        (
            "events",
            each(lambda one: one.events),
            report.events,
            "in the log, folded from sequence 1 and compared with the store",
        ),
        (
            "contiguous",
            each(lambda one: _yes(one.contiguous)),
            _yes(report.contiguous),
            "numbered 1, 2, 3 ... without a hole or a repeat",
        ),
        ("duplicates", each(lambda one: one.duplicates), report.duplicates, "effects that were applied more than once"),
        (
            "differences",
            each(lambda one: one.difference_count),
            report.difference_count,
            "of any kind between what happened there and what is here",
        ),
        (
            "consumer",
            blank,
            "right" if report.consumer_ok else "WRONG",
            "the sample consumer's mails per sender and day",
        ),
        (
            "changes",
            [sum(one.changes.values()) for one in figures],
            sum(all_changes.values()),
            f"live ones: {changes}",
        ),
        (
            "pushes",
            [one.pushes.get("wanted", 0) for one in figures],
            pushes.get("wanted", 0),
            f"{pushes.get('dropped', 0)} dropped, {pushes.get('duplicated', 0)} doubled, {pushes.get('early', 0)} early, "
            f"{pushes.get('delayed', 0)} late, {pushes.get('reordered', 0)} reordered, "
            f"{pushes.get('throttled', 0)} held back by Google's cap of one a second",
        ),
        ("kills", blank, result.kills, "times the functions were ended with SIGKILL and started again"),
        (
            "latency",
            [_seconds(one.p50_ms, one.p95_ms) for one in figures],
            _seconds(result.p50_ms, result.p95_ms),
            f"p50 / p95 in seconds from change to event, {result.measured} measured",
        ),
        (
            "took",
            blank,
            f"{result.seconds:.1f} s",
            f"with the {result.backend} adapters, {', '.join(result.mailboxes)}",
        ),
    ]
    if report.documents is not None:
        rows.append(("documents", blank, report.documents, "messages in the Firestore emulator, counted there"))
    if report.pulled is not None:
        rows.append(("pulled", blank, report.pulled, "events that a pull subscription held, compared with the log"))
    if result.outage is not None:
        away, waiting = result.outage
        meaning = f"the Pub/Sub emulator was away; up to {waiting} events waited for it"
        rows.append(("outage", blank, f"{away} s", meaning))
    return rows


def _yes(value: bool) -> str:
    return "yes" if value else "NO"


def _seconds(*milliseconds: float | None) -> str:
    """In as few characters as can be: there is a column for each mailbox."""
    return "/".join("-" if value is None else f"{value / 1000:.1f}" for value in milliseconds)

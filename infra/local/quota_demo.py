"""``make demo QUOTA=2026``: how much of Google's quota a backfill uses, and what live mail notices of it.

An hour of a mailbox passes in a minute or so: the whole product runs in this process under a virtual clock, against a Google
that charges each call, refuses what is over the limit, and takes its time to answer. A full mailbox is backfilled while
changes keep coming; then smaller ones whose conversations have other lengths, since whole threads cost less than their mails.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress, TaskID
from rich.table import Table

from infra.local.changes import Traffic
from infra.local.collect import collect
from infra.local.connecting import connect_through
from infra.local.latency import latencies, percentile
from infra.local.loading import generate_into
from infra.local.options import Options
from infra.local.progress import bars
from infra.local.verify import Report, verify
from infra.local.world import ADDRESS, World, WorldClient

LATENCY = 0.15
"""Seconds that each call of the API takes."""

PUSHES = {"drop": 0.05, "duplicate": 0.1, "early": 0.1, "early_seconds": 1.5}
"""What happens to pushes: a little of what happens to Gmail's."""

THREADS = (1, 3, 8)
"""Mean lengths of the conversations of the smaller runs, which have this many times fewer mails:"""

SMALLER = 10
PLAIN = 300
"""Mails a minute if each is read by itself at the prices of 2026."""

CEILING = 0.95
"""The share of the quota that a backfill has to use."""

LOOK_SECONDS = 5.0
SETTLE_SECONDS = 1_200.0
LONGEST_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class Backfilled:
    """One backfill: mails, virtual seconds, the share of the quota that was used, and how often we were refused."""

    mails: int
    seconds: float
    used: float
    refused: int

    @property
    def per_minute(self) -> float:
        """Mails a minute."""
        return 60 * self.mails / self.seconds

    def as_json(self) -> dict[str, Any]:
        """The figures as JSON values."""
        return {
            "mails": self.mails,
            "seconds": round(self.seconds, 1),
            "used": round(self.used, 4),
            "refused": self.refused,
            "mails_per_minute": round(self.per_minute, 1),
        }


@dataclass(frozen=True, slots=True)
class QuotaResult:
    """The figures of the whole demo; latencies in milliseconds."""

    profile: str
    full: Backfilled
    changes: int
    p50_ms: float | None
    p95_ms: float | None
    report: Report
    threads: dict[int, Backfilled]

    @property
    def ok(self) -> bool:
        """Whether the quota was used, never exceeded, and everything arrived."""
        refused = sum(run.refused for run in (self.full, *self.threads.values()))
        return self.report.ok and self.full.used >= CEILING and refused == 0


def run(options: Options, console: Console) -> QuotaResult:
    """Run it all under the quota of ``options.quota``."""
    console.print(
        f"{options.mails:,} mails are backfilled under Google's quota of {options.quota}, with {options.changes} live "
        f"changes meanwhile; a call takes {LATENCY * 1000:.0f} ms. The time is virtual."
    )
    with _world(options, console, options.mails, None) as world:
        world.google.set_faults({**PUSHES, "latency": LATENCY, "seed": options.seed})
        connected = _connect(world)
        traffic = Traffic(world.google, ADDRESS, options.seed, options.changes)
        # The last change comes before even the fastest backfill is done.
        full = _backfill(world, connected, console, "backfill", traffic, options.mails / 10 / (options.changes + 1))
        world.run(SETTLE_SECONDS)
        seen, truth = collect(WorldClient(world)), world.google.truth(ADDRESS)
        report = verify(
            truth, seen.messages, seen.gaps, seen.status, seen.events, world.received, seen.senders, connected
        )
        refused = _account(world)[1]
        full = Backfilled(full.mails, full.seconds, full.used, refused)
        measured = latencies(traffic.made, world.received)
    threads = {}
    for mean in THREADS:
        with _world(options, console, max(100, options.mails // SMALLER), mean) as world:
            world.google.set_faults({"latency": LATENCY, "seed": options.seed})
            threads[mean] = _backfill(world, _connect(world), console, f"threads of {mean}")
    p50, p95 = percentile(measured, 0.5), percentile(measured, 0.95)
    return QuotaResult(options.quota, full, len(traffic.made), _ms(p50), _ms(p95), report, threads)


def as_json(result: QuotaResult) -> str:
    """The run as one line of JSON."""
    report = result.report
    return json.dumps(
        {
            "ok": result.ok,
            "quota": result.profile,
            **result.full.as_json(),
            "changes": result.changes,
            "p50_ms": result.p50_ms,
            "p95_ms": result.p95_ms,
            "threads": {str(mean): run.as_json() for mean, run in result.threads.items()},
            "expected": report.expected,
            "stored": report.stored,
            "events": report.events,
            "lost": report.lost,
            "duplicates": report.duplicates,
            "contiguous": report.contiguous,
            "consumer_ok": report.consumer_ok,
            "differences": report.difference_count,
        }
    )


def show(console: Console, result: QuotaResult) -> None:
    """Print the run for a person."""
    table = Table(box=None, padding=(0, 2))
    for column in ("backfill", "mails", "minutes", "mails/min", f"of {PLAIN}/min", "quota used", "403/429"):
        table.add_column(column, justify="left" if column == "backfill" else "right")
    for name, run in (("with live changes", result.full), *_named(result.threads)):
        table.add_row(
            name,
            f"{run.mails:,}",
            f"{run.seconds / 60:.1f}",
            f"{run.per_minute:.0f}",
            f"{run.per_minute / PLAIN:.2f} x",
            f"{run.used:.1%}",
            str(run.refused),
        )
    report = result.report
    console.print()
    console.print(table)
    console.print(
        f"\nLive meanwhile: {result.changes} changes, from change to event p50 {_shown(result.p50_ms)}, "
        f"p95 {_shown(result.p95_ms)}.\n{report.stored:,} of {report.expected:,} mails stored, {report.lost} lost, "
        f"{report.duplicates} duplicates, {report.difference_count} differences."
    )
    for text in report.differences:
        console.print(f"  ✗ {text}", markup=False, style="red")
    if result.ok:
        console.print(
            "[bold green]✓ The quota is used and was never exceeded; nothing lost, nothing doubled.[/bold green]"
        )
    else:
        console.print(f"[bold red]✗ This run is wrong, or less than {CEILING:.0%} of the quota was used.[/bold red]")


@contextmanager
def _world(options: Options, console: Console, mails: int, mean_thread: float | None) -> Iterator[World]:
    with tempfile.TemporaryDirectory(prefix="brainstem-quota-") as folder:
        world = World(Path(folder), options.seed, gmail_quota=options.quota)
        world.google.add_mailbox(ADDRESS)
        generate_into(world.google, ADDRESS, mails, options.seed, console, mean_thread)
        world.google.set_quota({"profile": options.quota})
        try:
            yield world
        finally:
            world.close()


def _connect(world: World) -> float:
    """Connect through the consent pages; answers when that was."""
    browser = world.browser()
    connect_through("google", WorldClient(world), browser, ADDRESS)
    browser.close()
    return world.clock.now()


def _backfill(
    world: World, connected: float, console: Console, name: str, traffic: Traffic | None = None, every: float = 0.0
) -> Backfilled:
    """Let time pass until the past is walked, with a change now and then."""
    client = WorldClient(world)
    changes = iter(range(traffic.count)) if traffic is not None else iter(())
    with bars(console) as progress:
        task = progress.add_task(name, total=None, note="")
        next_change = connected + every
        while not _is_done(client, progress, task):
            if world.clock.now() - connected > LONGEST_SECONDS:
                break
            if traffic is not None and world.clock.now() >= next_change and next(changes, None) is not None:
                traffic.change()
                next_change += every
            world.run(min(LOOK_SECONDS, max(0.1, next_change - world.clock.now())) if every else LOOK_SECONDS)
    seconds = world.clock.now() - connected
    units, refused = _account(world)
    (mailbox,) = client.get("/mail/status")["mailboxes"]
    per_second = world.google.report()["quota"]["per_minute"] / 60
    return Backfilled(mailbox["messages"], seconds, units / (seconds * per_second), refused)


def _is_done(client: WorldClient, progress: Progress, task: TaskID) -> bool:
    """Show where the backfill stands; answers whether it is done."""
    mailboxes = client.get("/mail/status")["mailboxes"]
    if not mailboxes:
        return False
    entry = mailboxes[0]
    total = entry["backfill"]["total"]
    note = f"{entry['status']}, {entry['quota']['spent']:,.0f} units"
    progress.update(task, total=total, completed=min(entry["messages"], total or 0), note=note)
    return bool(entry["backfill"]["done"])


def _account(world: World) -> tuple[float, int]:
    """What Google has charged, and how often it has refused."""
    quota = world.google.report()["quota"]
    return quota["spent"][ADDRESS]["units"], sum(quota["refused"].get(ADDRESS, {}).values())


def _named(threads: dict[int, Backfilled]) -> list[tuple[str, Backfilled]]:
    return [(f"threads of {mean} mails" if mean > 1 else "no threads", run) for mean, run in threads.items()]


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)


def _shown(milliseconds: float | None) -> str:
    return "-" if milliseconds is None else f"{milliseconds:,.0f} ms"

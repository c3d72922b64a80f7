"""CPU per backfilled mail, stage by stage, and a naive pipeline beside it on the same pages in the same run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from infra.local.google.app import create_app
from infra.local.web import WebServer
from shared.providers.gmail.provider import GmailProvider
from tests.bench.figures import CPU_PER_BACKFILLED_US, Figure, Spread
from tests.bench.naive import Naive
from tests.bench.rig import STAGES, STEP, Rig, TimedPage, staged
from tests.bench.stopwatch import Stopwatch
from tests.bench.tape import PAGE, Tape, record, recording
from tests.meter import free
from tests.world import ADDRESS, World

CPU, WIRE, COMPARED = (
    "CPU per backfilled mail, microseconds",
    "CPU per mail of the HTTP client, microseconds",
    "beside a naive pipeline, per backfilled mail",
)
MAILS = 1_000
RUNS = 3
NAIVE_PAGES = 4
WIRE_GETS, WIRE_BATCH = 1_000, 25


def measure(fresh: Callable[[], Path], advance: Callable[[str], None]) -> list[Figure]:
    """Time it all; ``fresh`` makes an empty folder, ``advance`` hears what is being done.

    Our runs and the naive ones alternate, so that noise hits both.
    """
    advance(f"recording {MAILS} mails")
    world, tape = record(fresh(), MAILS)
    _record_for_the_naive(world, tape)
    Rig(fresh(), tape).backfill()
    parts: list[TimedPage] = []
    whole: list[TimedPage] = []
    naive: list[TimedPage] = []
    for run in range(RUNS):
        advance(f"run {run + 1} of {RUNS}")
        watch = Stopwatch()
        with staged(watch):
            parts += Rig(fresh(), tape, watch).backfill()
        whole += Rig(fresh(), tape).backfill()
        naive += Naive(fresh(), world.settings, world.clock, tape).backfill(NAIVE_PAGES)
    return [*_stages(parts, whole), *_wire(world, tape), *compared(COMPARED, whole, naive)]


def _record_for_the_naive(world: World, tape: Tape) -> None:
    """The naive pipeline walks the same pages, but reads no threads: its batches are others."""
    token = world.google.add_mailbox(ADDRESS)["access_token"]
    on_tape = GmailProvider(world.settings, world.clock, _secret, lambda: tape)
    page: str | None = None
    for _ in range(NAIVE_PAGES):
        listing = on_tape.list_ids(free(token), page, PAGE)
        recording(world, tape).fetch(free(token), listing.ids)
        page = listing.next


def _stages(parts: list[TimedPage], whole: list[TimedPage]) -> list[Figure]:
    figures = [
        per_mail([page.stages.get(name, 0.0) for page in parts]).figure(CPU, name, "us") for name in (*STAGES, STEP)
    ]
    end_to_end = per_mail([page.cpu for page in whole]).figure(
        CPU,
        "end to end, fetch to successor",
        "us",
        CPU_PER_BACKFILLED_US,
        "timed without the stages' clocks; embedded adapters at synchronous=FULL; network and simulator not included",
    )
    return [*figures, end_to_end]


def _wire(world: World, tape: Tape) -> list[Figure]:
    """What the real HTTP client adds: this thread's CPU over loopback, less that of the same batches on the tape."""
    server = WebServer(create_app(world.google), 0, threads=4)
    server.start()
    try:
        token = world.google.add_mailbox(ADDRESS)["access_token"]
        ids = [mail["id"] for mail in world.google.truth(ADDRESS)["mails"][:WIRE_GETS]]
        _gets(recording(world, tape), token, ids)
        on_tape = _gets(GmailProvider(world.settings, world.clock, _secret, lambda: tape), token, ids)
        settings = replace(world.settings, gmail_api_url=f"{server.url}/")
        over_http = _gets(GmailProvider(settings, world.clock, _secret), token, ids)
    finally:
        server.stop()
    added = Spread.of([one - other for one, other in zip(over_http, on_tape, strict=True)])
    return [
        added.figure(
            WIRE, f"urllib3 over loopback, no TLS, {WIRE_BATCH} a batch", "us", note="in addition to the sum above"
        )
    ]


def _gets(provider: GmailProvider, token: str, ids: Sequence[str]) -> list[float]:
    """Microseconds per mail, batch by batch, after a warm-up."""
    samples = []
    for start in range(0, len(ids), WIRE_BATCH):
        began = time.thread_time()
        provider.fetch(free(token), ids[start : start + WIRE_BATCH])
        samples.append((time.thread_time() - began) * 1e6 / WIRE_BATCH)
    return samples[len(samples) // 2 :]


def compared(section: str, ours: Sequence[TimedPage], naive: Sequence[TimedPage]) -> list[Figure]:
    """What a mail takes us and a naive pipeline."""
    figures: list[Figure] = []
    counts: tuple[tuple[str, Callable[[TimedPage], int]], ...] = (
        ("document writes", lambda page: page.tally.writes),
        ("document reads", lambda page: page.tally.reads),
        ("commits", lambda page: page.tally.commits),
    )
    for name, of in counts:
        value, other = (sum(map(of, pages)) / len(pages) / PAGE for pages in (ours, naive))
        figures.append(Figure(section, name, value, exact=True, naive=other))
    timed: tuple[tuple[str, Callable[[TimedPage], float]], ...] = (
        ("CPU", lambda page: page.cpu),
        ("wall", lambda page: page.wall),
    )
    for name, seconds in timed:
        spread, theirs = (per_mail([seconds(page) for page in pages]) for pages in (ours, naive))
        figures.append(replace(spread.figure(section, name, "us"), naive=theirs.middle))
    return figures


def _secret() -> str:
    return ""


def per_mail(seconds_per_page: Sequence[float]) -> Spread:
    """Microseconds per mail."""
    return Spread.of([seconds * 1e6 / PAGE for seconds in seconds_per_page])

"""``python -m tests.bench``: measure everything, print it beside its budget; exit 1 if an exact count is over.

``JSON=1`` prints one JSON object instead of tables. Timings only warn, since machines are noisy and shared. What Google
Cloud's adapters take is measured where Google's emulators can be had; otherwise one line says why not.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from infra.local.catalogue import ROOT
from infra.local.emulators import Unavailable
from tests.bench import batch, cloud_stages, counts, disk, host, imports, latency, report, stages, tokens
from tests.bench.cloud import found_cloud
from tests.bench.figures import Figure

MAILS = 2_000
OUTLOOK_FOLDERS = 1
"""Of a person's own, beside the seven of every mailbox: each costs a backfill reads and writes that belong to no mail."""

Advance = Callable[[str], None]
Fresh = Callable[[], Path]


def main() -> int:
    """Run every part; the exit status says whether the exact counts keep their budgets."""
    as_json = os.environ.get("JSON", "") not in ("", "0")
    progress = Console(stderr=True, highlight=False)
    began = time.perf_counter()
    home = ROOT / ".bench"
    home.mkdir(exist_ok=True)
    machine = host.describe(home)
    try:
        # Below the repository, so that the disk is that of the repository and not memory dressed up as one.
        with tempfile.TemporaryDirectory(dir=home, prefix="run-") as folder:
            figures, machine["google cloud"] = _measure(Path(folder), progress)
    except KeyboardInterrupt:
        progress.print("Stopped; nothing is left running.")
        return 130
    seconds = time.perf_counter() - began
    if as_json:
        print(report.as_json(machine, figures, seconds), flush=True)
    else:
        console = Console(highlight=False)
        report.show(
            Console(highlight=False, width=None if console.is_terminal else report.WIDTH), machine, figures, seconds
        )
    return 0 if all(figure.ok for figure in figures if figure.exact) else 1


def _measure(folder: Path, progress: Console) -> tuple[list[Figure], str]:
    def fresh() -> Path:
        return Path(tempfile.mkdtemp(dir=folder))

    parts: dict[str, Callable[[Advance], list[Figure]]] = {
        "counting operations": lambda _: counts.count(fresh(), MAILS),
        "counting Outlook's": lambda _: counts.count_outlook(fresh(), MAILS, OUTLOOK_FOLDERS),
        "timing backfills": lambda advance: stages.measure(fresh, advance),
        "reading in batches": lambda _: batch.measure(fresh()),
        "committing": lambda _: disk.measure(fresh()),
        "verifying tokens": lambda _: tokens.measure(),
        "ringing doorbells": lambda advance: latency.measure(fresh(), advance),
        "importing functions": lambda advance: imports.measure(fresh(), advance),
    }
    figures: list[Figure] = []
    for name, part in parts.items():
        figures += _timed(progress, name, part)
    try:
        figures += _timed(progress, "on google cloud", lambda advance: _on_google_cloud(fresh, advance))
    except Unavailable as error:
        progress.print(f"  on google cloud: skipped, {error}")
        return figures, f"skipped, {error}"
    return figures, "Firestore and Pub/Sub emulators"


def _on_google_cloud(fresh: Fresh, advance: Advance) -> list[Figure]:
    advance("starting the emulators")
    with found_cloud() as found:
        advance("counting operations")
        return [*cloud_stages.count(found, fresh), *cloud_stages.measure(found, fresh, advance)]


def _timed(progress: Console, name: str, part: Callable[[Advance], list[Figure]]) -> list[Figure]:
    began = time.perf_counter()
    with progress.status(name) as status:
        figures = part(lambda what: status.update(f"{name}: {what}"))
    progress.print(f"  {name:<22} {time.perf_counter() - began:5.1f} s")
    return figures


if __name__ == "__main__":
    sys.exit(main())

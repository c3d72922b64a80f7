"""``python -m tests.soak``: run the jobs in processes of their own, show how far they are, print the verdict.

The exit status is 0 only if nothing was lost or doubled, memory stayed flat, no backlog is left, and every fault happened.
"""

from __future__ import annotations

import multiprocessing
import sys
import tempfile
import time
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from queue import Empty
from threading import Event, Thread
from typing import Any

from rich.console import Console

from infra.local.progress import bars
from tests.soak import town
from tests.soak.plan import Job, Note, Options, Outcome, read_options
from tests.soak.report import Result, as_json, show

SAY_EVERY = 15.0
"""Seconds between two lines about a job where there is no terminal for bars."""


def main() -> int:
    """Run everything; answers the exit status."""
    options = read_options()
    console = Console(stderr=options.json, highlight=False)
    began = time.monotonic()
    console.print(
        f"{options.mails:,} mails in {options.mailboxes} mailboxes, then one mailbox of {options.giant:,} and one thread of "
        f"{options.thread:,}; seed {options.seed}, {options.processes} processes. The time is virtual."
    )
    try:
        result = Result(options, _run(options, console), time.monotonic() - began)
    except KeyboardInterrupt:
        console.print("Stopped; nothing is left running.")
        return 130
    show(console, result)
    if options.json:
        print(as_json(result), flush=True)
    return 0 if result.ok else 1


def _run(options: Options, console: Console) -> list[Outcome]:
    context = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory(prefix="brainstem-soak-") as folder,
        context.Manager() as manager,
        ProcessPoolExecutor(options.processes, context, max_tasks_per_child=1) as pool,
    ):
        notes, over = manager.Queue(), Event()
        watcher = Thread(target=_watch, args=(notes, over, console), daemon=True)
        watcher.start()
        jobs: dict[Future[Outcome], Job] = {pool.submit(town.work, job, folder, notes): job for job in options.jobs}
        outcomes: list[Outcome] = []
        try:
            for future in as_completed(jobs):
                outcomes.append(future.result())
                one = outcomes[-1]
                console.print(f"{one.job.name}: {'right' if one.ok else 'WRONG'}, {one.cpu_seconds:.0f} s of CPU")
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        finally:
            over.set()
            watcher.join(5)
    order = list(jobs.values())
    return sorted(outcomes, key=lambda outcome: order.index(outcome.job))


def _watch(notes: Any, over: Event, console: Console) -> None:
    """Show the notes: as bars on a terminal, as a line now and then elsewhere."""
    rows: dict[str, Any] = {}
    said: dict[str, float] = {}
    with bars(console) as progress:
        while not over.is_set():
            try:
                note: Note = notes.get(timeout=0.5)
            except (Empty, EOFError, ConnectionError):
                continue
            text = f"{note.phase}, {note.memory:.0f} MB, {note.overdue} overdue"
            if console.is_terminal:
                row = rows.get(note.job)
                if row is None:
                    row = rows[note.job] = progress.add_task(note.job, total=note.total, note="")
                progress.update(row, total=note.total, completed=note.done, note=text)
            elif time.monotonic() - said.get(note.job, 0.0) > SAY_EVERY:
                said[note.job] = time.monotonic()
                console.print(f"  {note.job:<10} {note.done:>8,} of {note.total:,}  {text}")


if __name__ == "__main__":
    sys.exit(main())

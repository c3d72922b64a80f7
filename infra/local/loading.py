"""Fills the simulated mailbox before it is connected: with generated mail, or with a person's own."""

from __future__ import annotations

from itertools import islice

from rich.console import Console

from infra.local import importer
from infra.local.generator import generate
from infra.local.google.simulator import GoogleSimulator
from infra.local.progress import bars
from infra.local.sentences import CannotRun

BATCH = 100
HOUR = 3600.0


def fill(simulator: GoogleSimulator, address: str, mbox: str, mails: int, seed: int, console: Console) -> int:
    """Load ``mails`` generated mails, or everything in ``mbox`` where a path is given; answer how many there are.

    Raises ``CannotRun``.
    """
    if mbox:
        return _import(simulator, address, mbox, console)
    generate_into(simulator, address, mails, seed, console)
    console.print(f"{mails:,} mails have been generated for {address}.")
    return mails


def generate_into(
    simulator: GoogleSimulator, address: str, mails: int, seed: int, console: Console, mean_thread: float | None = None
) -> None:
    """Load so many generated mails, the newest an hour old, so that what comes live can be told from what was there."""
    plans = generate(seed, mails, address, simulator.clock.now() - HOUR, mean_thread)
    with bars(console) as progress:
        task = progress.add_task("generating", total=mails, note="")
        while batch := list(islice(plans, BATCH)):
            simulator.add_mails(address, batch, silent=True)
            progress.advance(task, len(batch))


def _import(simulator: GoogleSimulator, address: str, mbox: str, console: Console) -> int:
    try:
        items = importer.read(mbox)
    except importer.NoMailHere as error:
        raise CannotRun(str(error)) from error
    with bars(console) as progress:
        task = progress.add_task("importing", total=None, note="")
        loaded, unreadable = importer.load(
            simulator, address, items, lambda count: progress.update(task, completed=count)
        )
    console.print(f"{loaded:,} mails have been imported from {mbox}; {unreadable:,} could not be read.", markup=False)
    return loaded

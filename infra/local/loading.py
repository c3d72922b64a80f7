"""Fills a simulated mailbox before it is connected: with generated mail, or with a person's own."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

from rich.console import Console

from infra.local import importer
from infra.local.generator import Plan, generate
from infra.local.progress import bars
from infra.local.sentences import CannotRun
from infra.local.simulated.control import Simulator

BATCH = 100
HOUR = 3600.0


def as_it_is(plan: Plan) -> Plan:
    """A generated mail, kept where its labels say."""
    return plan


def fill(
    simulator: Simulator,
    address: str,
    mbox: str,
    mails: int,
    seed: int,
    console: Console,
    filed: Callable[[Plan], Plan] = as_it_is,
) -> int:
    """Load ``mails`` generated mails, or everything in ``mbox`` where a path is given; answer how many there are.

    ``filed`` says where the provider at hand keeps a generated mail. Raises ``CannotRun``.
    """
    if mbox:
        return _import(simulator, address, mbox, console)
    generate_into(simulator, address, mails, seed, console, filed=filed)
    console.print(f"{mails:,} mails have been generated for {address}.")
    return mails


def generate_into(
    simulator: Simulator,
    address: str,
    mails: int,
    seed: int,
    console: Console,
    mean_thread: float | None = None,
    filed: Callable[[Plan], Plan] = as_it_is,
) -> None:
    """Load so many generated mails, the newest an hour old, so that what comes live can be told from what was there."""
    plans = map(filed, generate(seed, mails, address, simulator.clock.now() - HOUR, mean_thread))
    with bars(console) as progress:
        task = progress.add_task("generating", total=mails, note="")
        while batch := list(islice(plans, BATCH)):
            simulator.add_mails(address, batch, silent=True)
            progress.advance(task, len(batch))


def _import(simulator: Simulator, address: str, mbox: str, console: Console) -> int:
    try:
        items = importer.read(mbox)
    except importer.NoMailHere as error:
        raise CannotRun(str(error)) from error
    with bars(console) as progress:
        task = progress.add_task("importing", total=None, note="")
        loaded, unreadable = importer.load(
            simulator, address, items, lambda count: progress.update(task, completed=count)
        )
    console.print(
        f"{loaded:,} mails have been imported from {mbox} for {address}; {unreadable:,} could not be read.",
        markup=False,
    )
    return loaded

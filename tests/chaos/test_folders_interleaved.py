"""Mailboxes with folders: steps, doorbells, ticks and the provider interleaved at every port call, and crashes at each."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from shared.errors import NotFound, Unknown
from shared.mail.tasks import poll
from shared.mail.tick import tick
from tests.chaos.test_interleavings import Crash, CrashAt
from tests.folders import MemoryFolders
from tests.interleave import Interleaver
from tests.machine import MAILBOX, SCHEDULE, UID, Machine

FOLDERS = ("f-inbox", "f-sent", "f-drafts", "f-junk", "f-trash", "f-a", "f-b", "f-c")


def provider_of(machine: Machine) -> MemoryFolders:
    assert isinstance(machine.provider, MemoryFolders)
    return machine.provider


def change(machine: Machine, number: int) -> None:
    """One change at the provider, and mostly a doorbell that names the message."""
    provider = provider_of(machine)
    alive = list(provider.messages)
    id_ = machine.random.choice(alive) if alive else ""
    folders = list(provider.names)
    kind = machine.random.randint(0, 9)
    if kind <= 2 or not id_:
        id_ = f"n{number}"
        provider.deliver(id_, folder=machine.random.choice(folders))
    elif kind == 3:
        provider.delete(id_)
    elif kind <= 6:
        provider.move(id_, machine.random.choice(folders))
    elif kind == 7 and "f-c" in folders:
        provider.delete_folder("f-c")
    elif kind == 7:
        provider.create_folder("f-c")
    elif kind == 8:
        provider.expire(machine.random.choice(folders))
    else:
        provider.touch(id_, add=["STARRED"], remove=["UNREAD"])
    chance = machine.random.random()
    if chance < 0.6:
        machine.ring(id_)
    elif chance < 0.7:
        machine.ring()


@pytest.mark.parametrize("seed", range(20))
def test_any_interleaving_over_folders_ends_exact(tmp_path: Path, seed: int) -> None:
    machine = Machine(tmp_path, seed=seed, provider=MemoryFolders)
    provider = provider_of(machine)
    provider.folder_page = (2, 5, 100)[seed % 3]
    for folder in FOLDERS[5:]:
        provider.create_folder(folder)
    for number in range(25):
        folder = machine.random.choice(FOLDERS)
        provider.deliver(f"old{number}", at=machine.clock.now() - 1000 + number, folder=folder)
    machine.connect()
    scheduler = Interleaver(seed)
    machine.start(lambda _: scheduler.point())

    def lose(_writes: Any) -> None:
        raise Unknown

    for round_ in range(20):
        deliveries = [*machine.queue.claim(3), *machine.inner_bus.claim(2)]
        bodies = [lambda one=delivery: machine.deliver(one) for delivery in deliveries]
        bodies.append(lambda n=round_: change(machine, n))
        if round_ == 12 and seed % 3 == 0:
            provider.expire_folders()
        if round_ % 5 == 4:
            bodies.append(lambda: tick(machine.ctx, SCHEDULE))
        if round_ % 4 == 3:
            poll(machine.tasks, MAILBOX, machine.clock.now())
        if machine.random.random() < 0.3:
            machine.store.after_commit = [lose]
        scheduler.run(bodies)
        machine.store.after_commit.clear()
        machine.clock.advance(machine.random.choice([0.0, 0.3, 1.0, 6.0]))
    machine.run(45 * 60, ticks=True)
    assert machine.state.status == "live"
    machine.verify()
    assert provider.overlaps == []
    assert provider.most_at_once <= 4


def scenario(machine: Machine) -> None:
    """A life in short: first rounds beside doorbells and moves, an expiry, a folder that goes, a disconnect and a return."""
    provider = provider_of(machine)
    machine.connect()
    machine.run(1)
    provider.deliver("new1", folder="f-a")
    machine.ring("new1")
    machine.run(8)
    provider.move("old1", "f-a")
    provider.delete("old2")
    provider.expire("f-inbox")
    machine.ring("old1", "old2")
    machine.ring()
    machine.run(8)
    provider.delete_folder("f-b")
    machine.ring()
    machine.run(8)
    machine.accounts.disconnect(UID, "google")
    machine.run(5)
    provider.deliver("new2")
    machine.connect()
    machine.run(20)


def life(tmp_path: Path, hook: Any) -> tuple[Machine, bool]:
    """The scenario with a hook; after a crash a new process on the same file, from the person's next action on."""
    machine = Machine(tmp_path, seed=1, provider=MemoryFolders)
    provider = provider_of(machine)
    provider.folder_page = 3
    provider.create_folder("f-a")
    provider.create_folder("f-b")
    for number in range(9):
        folder = "f-b" if number > 6 else "f-inbox"
        provider.deliver(f"old{number}", at=machine.clock.now() - 1000 + number, folder=folder)
    machine.start(hook)
    try:
        scenario(machine)
    except Crash:
        machine.start()
        for later, minutes in (
            (lambda: None, 3),
            (lambda: provider.deliver("after"), 3),
            (lambda: machine.accounts.disconnect(UID, "google"), 1),
            (lambda: machine.connect(), 30),
        ):
            with suppress(NotFound):
                later()
            machine.run(minutes * 60, ticks=True)
        return machine, True
    return machine, False


def test_a_crash_at_every_fifth_port_call_of_a_mailbox_with_folders_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """All of them are played by the lives of Outlook mailboxes in ``tests.chaos.crashes``."""
    counter = CrashAt(0)
    with tempfile.TemporaryDirectory() as folder:
        machine, _ = life(Path(folder), counter)
        machine.verify()
    assert counter.calls > 150
    for number in range(1, counter.calls + 1, 5):
        folder_ = tmp_path / str(number)
        folder_.mkdir()
        machine, crashed = life(folder_, CrashAt(number))
        assert crashed
        assert machine.state.status == "live", f"crash point {number}"
        machine.verify()
        machine.database.close()

"""Steps, deliveries, ticks and the provider interleaved at every port call, and crashes at every one of them."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from shared.errors import NotFound, Unknown
from shared.mail.tick import tick
from tests.interleave import Interleaver
from tests.machine import SCHEDULE, UID, Machine


def change(machine: Machine, number: int) -> None:
    """One change at the provider, and mostly a doorbell for it."""
    alive = list(machine.provider.messages)
    chosen = machine.random.choice(alive) if alive else None
    kind = machine.random.randint(0, 5)
    if kind <= 1 or chosen is None:
        machine.provider.deliver(f"n{number}", machine.random.choice(["INBOX", "DRAFT", "SPAM", "SENT"]))
    elif kind == 2:
        machine.provider.delete(chosen)
    else:
        label = machine.random.choice(["STARRED", "UNREAD", "SPAM", "TRASH", "DRAFT", "SENT"])
        has = label in machine.provider.messages[chosen].labels
        machine.provider.relabel(chosen, **{"remove" if has else "add": [label]})
    if machine.random.random() < 0.7:
        machine.ring()


@pytest.mark.parametrize("seed", range(40))
def test_any_interleaving_of_racing_steps_ends_exact(tmp_path, seed):
    machine = Machine(tmp_path, seed=seed, page_size=machine_page(seed))
    machine.provider.history_page = 1 + seed % 4
    for number in range(25):
        machine.provider.deliver(f"old{number}", at=machine.clock.now() - 1000 + number)
    machine.connect()
    scheduler = Interleaver(seed)
    machine.start(lambda _: scheduler.point())
    lost = [0]

    def lose(_writes: Any) -> None:
        lost[0] += 1
        raise Unknown

    for round_ in range(25):
        deliveries = [*machine.queue.claim(3), *machine.inner_bus.claim(2)]
        bodies = [lambda one=delivery: machine.deliver(one) for delivery in deliveries]
        bodies.append(lambda n=round_: change(machine, n))
        if round_ == 12 and seed % 3 == 0:
            machine.provider.expire_history()
        if round_ % 5 == 4:
            bodies.append(lambda: tick(machine.ctx, SCHEDULE))
        if machine.random.random() < 0.3:
            machine.store.after_commit = [lose]
        scheduler.run(bodies)
        machine.store.after_commit.clear()
        machine.clock.advance(machine.random.choice([0.0, 0.3, 1.0, 6.0]))
    machine.run(20 * 60, ticks=True)
    assert machine.state.status == "live"
    machine.verify()


def machine_page(seed: int) -> int:
    return (3, 10, 100)[seed % 3]


class Crash(BaseException):
    """The process is gone."""


class CrashAt:
    """Crashes at the n-th port call, once."""

    def __init__(self, number: int) -> None:
        self.left = number
        self.calls = 0

    def __call__(self, call: str) -> None:
        if call in ("get", "query"):
            return  # a crash before a read is the crash after the call before it
        self.calls += 1
        if self.calls == self.left:
            raise Crash(call)


def scenario(machine: Machine) -> None:
    """A life in short: backfill beside live changes, a gap, an expiry, a disconnect and a return."""
    machine.connect()
    machine.run(1)
    machine.provider.deliver("new1")
    machine.provider.relabel("old1", remove=["UNREAD"])
    machine.ring()
    machine.run(8)
    machine.provider.delete("old2")
    machine.provider.expire_history()
    machine.provider.deliver("new2")
    machine.ring()
    machine.run(8)
    machine.accounts.disconnect(UID, "google")
    machine.run(5)
    machine.provider.deliver("new3")
    machine.connect()
    machine.run(20)


def life(tmp_path: Any, hook: Any) -> tuple[Machine, bool]:
    """The scenario with a hook; after a crash a new process on the same file, from the person's next action on."""
    machine = Machine(tmp_path, seed=1, page_size=4)
    for number in range(9):
        machine.provider.deliver(f"old{number}", at=machine.clock.now() - 1000 + number)
    machine.start(hook)
    try:
        scenario(machine)
    except Crash:
        machine.start()
        for later in (
            lambda: None,
            lambda: machine.provider.deliver("after"),
            lambda: machine.accounts.disconnect(UID, "google"),
            lambda: machine.connect(),
        ):
            with suppress(NotFound):  # the crash came before there was a mailbox to disconnect
                later()
            machine.run(30 * 60, ticks=True)
        return machine, True
    return machine, False


def crash_points() -> int:
    """How many port calls an undisturbed life makes."""
    counter = CrashAt(0)
    with tempfile.TemporaryDirectory() as folder:
        machine, _ = life(Path(folder), counter)
        machine.verify()
    return counter.calls


def test_a_crash_at_every_third_port_call_loses_and_doubles_nothing(tmp_path):
    """All of them, and more, are played by ``tests.chaos.crashes``."""
    points = crash_points()
    assert points > 100
    for number in range(1, points + 1, 3):
        folder = tmp_path / str(number)
        folder.mkdir()
        machine, crashed = life(folder, CrashAt(number))
        assert crashed
        assert machine.state.status == "live", f"crash point {number}"
        machine.verify()
        machine.database.close()

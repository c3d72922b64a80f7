"""The clocks: a real one, and one that moves only when told to."""

from __future__ import annotations

import time

import pytest

from shared.adapters.embedded.clock import SystemClock, VirtualClock


def test_the_virtual_clock_stands_still_until_it_is_moved() -> None:
    clock = VirtualClock(start=100.0)
    assert clock.now() == clock.now() == 100.0
    clock.advance(5)
    clock.sleep(2)
    clock.sleep(-1)
    assert clock.now() == 107.0
    clock.advance_to(110)
    clock.advance_to(90)
    assert clock.now() == 110.0


def test_the_virtual_clock_does_not_go_back() -> None:
    with pytest.raises(ValueError, match="back"):
        VirtualClock().advance(-1)


def test_a_month_of_virtual_sleep_takes_no_time() -> None:
    before = time.monotonic()
    VirtualClock().sleep(30 * 86400)
    assert time.monotonic() - before < 1


def test_virtual_chance_repeats_itself_for_a_seed() -> None:
    def drawn(seed: int) -> list[bytes]:
        clock = VirtualClock(seed=seed)
        return [clock.entropy(16) for _ in range(3)]

    assert drawn(1) == drawn(1)
    assert len({*drawn(1), *drawn(2)}) == 6
    assert [len(VirtualClock().entropy(size)) for size in (0, 1, 100)] == [0, 1, 100]


def test_the_system_clock_is_the_machines() -> None:
    clock = SystemClock()
    before = time.time()
    clock.sleep(0.01)
    assert before + 0.01 <= clock.now() <= time.time()
    assert clock.entropy(16) != clock.entropy(16)

"""What goes out to Graph and when: four requests at a time for a mailbox, and nothing while it is told to wait."""

from __future__ import annotations

import threading
from collections import Counter

import pytest

from shared.errors import Paced, ProviderUnavailable, RateLimited
from shared.providers.base import Access
from shared.providers.graph import gate as module
from shared.providers.graph.gate import AT_ONCE, Gate
from shared.providers.graph.provider import LIMITS
from tests.meter import FreeMeter
from tests.unit.fakes import FakeClock
from tests.unit.providers.gmail_playback import NOW, TOKEN, Playback
from tests.unit.providers.graph_playback import INBOX, LINK, access, error, page, provider, retry_after


def test_the_limits_stay_below_those_of_graph_whatever_the_burst() -> None:
    assert LIMITS.burst + 600 * LIMITS.per_second <= 10_000


def test_a_short_wait_is_waited_out_in_place() -> None:
    clock = FakeClock(NOW)
    http = Playback([retry_after(7), page()])
    provider(http, clock).changes(access(), f"{LINK}d", INBOX)
    assert clock.slept == [7]


def test_a_long_wait_is_for_the_task_queue() -> None:
    clock = FakeClock(NOW)
    with pytest.raises(RateLimited) as caught:
        provider(Playback([retry_after(11)]), clock).changes(access(), f"{LINK}d", INBOX)
    assert type(caught.value) is RateLimited
    assert caught.value.retry_after == 11
    assert clock.slept == []


def test_short_waits_add_up_to_a_long_one() -> None:
    clock = FakeClock(NOW)
    http = Playback([retry_after(6)] * 3)
    with pytest.raises(RateLimited) as caught:
        provider(http, clock).changes(access(), f"{LINK}d", INBOX)
    assert (clock.slept, len(http.requests), caught.value.retry_after) == ([6], 2, 6)


def test_waits_without_end_end() -> None:
    clock = FakeClock(NOW)
    http = Playback([retry_after(0)] * 9)
    with pytest.raises(RateLimited):
        provider(http, clock).changes(access(), f"{LINK}d", INBOX)
    assert (clock.slept, len(http.requests)) == ([1, 1, 1], 4)


def test_a_limit_that_does_not_say_how_long_it_lasts_is_waited_for_as_well() -> None:
    clock = FakeClock(NOW)
    provider(Playback([error(429), page()]), clock).changes(access(), f"{LINK}d", INBOX)
    assert clock.slept == [10]


@pytest.mark.parametrize("status", [503, 504, 509])
def test_an_outage_that_says_how_long_it_lasts_is_waited_for_too(status: int) -> None:
    clock = FakeClock(NOW)
    outlook = provider(Playback([retry_after(3, status), page(), retry_after(60, status)]), clock)
    outlook.changes(access(), f"{LINK}d", INBOX)
    assert clock.slept == [3]
    with pytest.raises(ProviderUnavailable) as caught:
        outlook.changes(access(), f"{LINK}d", INBOX)
    assert caught.value.retry_after == 60


def test_while_a_mailbox_is_told_to_wait_nothing_of_it_leaves_and_others_do() -> None:
    clock = FakeClock(NOW)
    http = Playback([retry_after(100), page(), page()])
    outlook = provider(http, clock)
    with pytest.raises(RateLimited):
        outlook.changes(access(), f"{LINK}d", INBOX)
    clock.time += 40
    with pytest.raises(RateLimited) as caught:
        outlook.changes(access(token="another"), f"{LINK}d", INBOX)
    assert caught.value.retry_after == 60
    assert len(http.requests) == 1
    outlook.changes(access("bob@example.org"), f"{LINK}d", INBOX)
    clock.time += 55
    outlook.changes(access("Ann@Example.org"), f"{LINK}d", INBOX)
    assert clock.slept == [5]
    assert len(http.requests) == 3


def test_a_mailbox_whose_address_is_not_known_yet_is_known_by_its_token() -> None:
    outlook = provider(Playback([retry_after(100), page()]))
    with pytest.raises(RateLimited):
        outlook.changes(access(""), f"{LINK}d", INBOX)
    with pytest.raises(RateLimited):
        outlook.changes(access(""), f"{LINK}d", INBOX)
    outlook.changes(access("", token="another"), f"{LINK}d", INBOX)
    assert TOKEN not in repr(vars(outlook._api._gate))


def test_a_request_that_waits_is_asked_of_the_meter_each_time() -> None:
    going = access()
    provider(Playback([retry_after(1), page()])).changes(going, f"{LINK}d", INBOX)
    assert going.meter.spent == 2


class Tight(FreeMeter):
    def spend(self, units: float) -> None:
        raise Paced(retry_after=2.0)


def test_what_the_meter_holds_back_does_not_go_out_and_takes_no_place() -> None:
    outlook = provider(Playback([page()]))
    for _ in range(AT_ONCE + 1):
        with pytest.raises(Paced):
            outlook.changes(Access(TOKEN, Tight(), "ann@example.org"), f"{LINK}d", INBOX)
    outlook.changes(access(), f"{LINK}d", INBOX)


def test_a_broken_request_gives_its_place_back() -> None:
    outlook = provider(Playback([*[OSError()] * AT_ONCE, page()]))
    for _ in range(AT_ONCE):
        with pytest.raises(ProviderUnavailable):
            outlook.changes(access(), f"{LINK}d", INBOX)
    outlook.changes(access(), f"{LINK}d", INBOX)


def test_the_fifth_at_once_waits_and_is_held_back_where_no_place_becomes_free() -> None:
    clock = FakeClock(NOW)
    gate = Gate(clock)
    for _ in range(AT_ONCE):
        gate.enter("ann", 10.0)
    gate.enter("bob", 10.0)
    with pytest.raises(Paced) as caught:
        gate.enter("ann", 10.0)
    assert caught.value.retry_after == 1
    assert 9 < sum(clock.slept) <= 10
    gate.leave("ann")
    assert gate.enter("ann", 10.0) == 10.0


class Waking(FakeClock):
    """Gives a place back while somebody sleeps."""

    def __init__(self, gate_of: list[Gate]) -> None:
        super().__init__(NOW)
        self.gate_of = gate_of

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        self.gate_of[0].leave("ann")


def test_a_place_that_becomes_free_is_taken() -> None:
    gates: list[Gate] = []
    gates.append(Gate(Waking(gates)))
    for _ in range(AT_ONCE):
        gates[0].enter("ann", 1.0)
    assert gates[0].enter("ann", 1.0) == pytest.approx(0.95)


def test_a_clock_that_hardly_moves_does_not_keep_anyone_for_ever() -> None:
    class Stopped(FakeClock):
        def sleep(self, seconds: float) -> None:
            self.slept.append(seconds)

    clock = Stopped(NOW)
    gate = Gate(clock)
    gate.silence("ann", 1e-6)
    with pytest.raises(RateLimited):
        gate.enter("ann", 0.1)
    assert len(clock.slept) <= 10


def test_threads_never_have_more_than_four_requests_out() -> None:
    out: Counter[str] = Counter()
    most: Counter[str] = Counter()
    lock, together = threading.Lock(), threading.Barrier(AT_ONCE)

    class Slow:
        def request(self, uri: str, method: str = "GET", body: object = None, headers: object = None) -> object:
            with lock:
                out["now"] += 1
                most["now"] = max(most["now"], out["now"])
            together.wait(timeout=30)  # four have to be out at once, or nobody gets on
            with lock:
                out["now"] -= 1
            return page().play()

    class Patient(FakeClock):
        def sleep(self, seconds: float) -> None:
            threading.Event().wait(0.001)

    outlook = provider(Slow(), Patient(NOW))
    errors: list[BaseException] = []

    def look() -> None:
        try:
            while not looked():
                pass
        except BaseException as error:
            errors.append(error)
            together.abort()

    def looked() -> bool:
        try:
            outlook.changes(access(), f"{LINK}d", INBOX)
        except Paced:
            return False
        return True

    threads = [threading.Thread(target=look) for _ in range(3 * AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert errors == []
    assert most["now"] == AT_ONCE


def test_mailboxes_are_forgotten_before_they_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_MAILBOXES", 3)
    clock = FakeClock(NOW)
    gate = Gate(clock)
    gate.enter("out", 0.0)
    gate.silence("waits", 100.0)
    for name in ("a", "b", "c", "d"):
        gate.enter(name, 0.0)
        gate.leave(name)
    assert list(gate._mailboxes) == ["out", "waits", "d"]
    gate.enter("x", 0.0)
    gate.enter("y", 0.0)
    assert list(gate._mailboxes) == ["out", "x", "y"]
    for name in ("out", "x", "y"):
        gate.leave(name)

"""Attempts to sign in are counted before a password is computed, everywhere at once, and back-off grows."""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from shared import queries, refs
from shared.errors import BrainstemError, Busy, Conflict, Retry, TooManyRequests, Unauthorized, Unknown
from shared.identity.attempts import ACCOUNT, ADDRESS, REMEMBERED, Attempt, Attempts, Held
from shared.identity.sessions import IDLE
from shared.identity.sweeping import sweep
from tests.interleave import Interleaver
from tests.unit.fakes import FakeClock, FakeStore
from tests.unit.identity.auth_world import EMAIL, HERE, PASSWORD, AuthWorld, Instance
from tests.unit.identity.user_store import Lost, UserStore

BURST = 10_000


@pytest.fixture
def world(tmp_path: Path) -> AuthWorld:
    world = AuthWorld(tmp_path)
    world.sign_up()
    world.hasher.computed = 0
    return world


def _try(instance: Instance, password: str, address: str = "192.0.2.1", email: str = EMAIL) -> bool:
    try:
        instance.accounts.sign_in(email, password, replace(HERE, address=address))
    except (Unauthorized, TooManyRequests, Busy):
        return False
    return True


@pytest.mark.parametrize("email", [EMAIL, "nobody@example.org"])
@pytest.mark.parametrize("seconds", [0.0, 0.01, 0.1])
def test_a_burst_of_ten_thousand_sign_ins_computes_at_most_twenty_passwords(
    world: AuthWorld, email: str, seconds: float
) -> None:
    for number in range(BURST):
        _try(world.first, "wrong password", f"198.51.{number % 250}.{number % 7}", email)
        world.clock.advance(seconds)
    assert 0 < world.hasher.computed <= 20


def test_a_burst_with_the_right_password_computes_at_most_twenty_as_well(world: AuthWorld) -> None:
    signed_in = sum(_try(world.first, PASSWORD, f"198.51.{number % 250}.1") for number in range(BURST))
    assert 0 < signed_in <= world.hasher.computed <= 20


def test_right_and_wrong_ones_in_turn_gain_nothing(world: AuthWorld) -> None:
    for number in range(BURST // 10):
        _try(world.first, PASSWORD if number % 2 else "wrong password")
        world.clock.advance(0.01)
    assert 0 < world.hasher.computed <= 20


def test_many_threads_of_many_instances_get_no_further_than_one(world: AuthWorld) -> None:
    instances = [Instance(world) for _ in range(4)]
    start = threading.Barrier(16)

    def hammer(number: int) -> None:
        start.wait()
        for turn in range(BURST // 16):
            _try(instances[number % 4], "wrong password", f"203.0.{number}.{turn % 200}")

    threads = [threading.Thread(target=hammer, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 0 < world.hasher.computed <= 20


@pytest.mark.parametrize("share", [0.0, 0.2])
def test_in_any_interleaving_of_instances_no_more_than_the_free_attempts_go_on(share: float) -> None:
    for seed in range(100):
        store, clock, interleaver, chance = UserStore(), FakeClock(), Interleaver(seed), Lost(seed)
        went_on: list[Attempt] = []

        def lose(store: UserStore = store, chance: Lost = chance) -> BrainstemError | None:
            store.unknown_applies = chance.random() < 0.5
            return chance.fault(share)

        def burst(store: UserStore = store, clock: FakeClock = clock, went_on: list[Attempt] = went_on) -> None:
            attempts = Attempts(store, clock)
            for _ in range(4):
                with suppress(Retry):
                    taken = attempts.take("ann@example.org", None)
                    if isinstance(taken, Attempt):
                        went_on.append(taken)

        store.around = lambda _, point=interleaver.point: point()  # type: ignore[misc]
        store.lose = lose
        interleaver.run([burst] * 6)
        assert len(went_on) <= ACCOUNT.free
        assert share or len(went_on) == ACCOUNT.free


def test_what_an_instance_remembers_spares_the_store(world: AuthWorld) -> None:
    for _ in range(20):
        _try(world.first, "wrong password")
    reads: list[int] = []
    get = world.store.get
    world.store.get = lambda wanted: reads.append(1) or get(wanted)  # type: ignore[method-assign,func-returns-value]
    for _ in range(1_000):
        _try(world.first, "wrong password")
    assert reads == []


def test_one_address_cannot_try_the_passwords_of_many_accounts(world: AuthWorld) -> None:
    refused = 0
    for number in range(500):
        with pytest.raises((TooManyRequests, Unauthorized)) as found:
            world.first.accounts.sign_in(f"person-{number}@example.org", "wrong password", HERE)
        if isinstance(found.value, TooManyRequests):
            refused += 1
            assert 0 < (found.value.retry_after or 0) <= ADDRESS.most
    assert refused == 500 - ADDRESS.free
    assert world.hasher.computed == ADDRESS.free


def test_a_success_of_ones_own_does_not_forgive_an_address_the_failures_at_others(world: AuthWorld) -> None:
    world.sign_up("mallory@example.org")
    for number in range(ADDRESS.free):
        _try(world.first, "wrong password", email=f"victim-{number}@example.org")
        if number % 10 == 0:
            _try(world.first, PASSWORD, email="mallory@example.org")
    with pytest.raises(TooManyRequests):
        world.first.accounts.sign_in("victim@example.org", "wrong password", HERE)


def test_the_back_off_grows_and_a_success_ends_it(world: AuthWorld) -> None:
    waits = []
    for _ in range(4):
        assert not _try(world.first, "wrong password")
    for _ in range(6):
        began, computed = world.clock.now(), world.hasher.computed
        while world.hasher.computed == computed:
            _try(world.first, "wrong password")
            world.clock.advance(1.0)
        waits.append(world.clock.now() - began)
    assert waits == sorted(waits)
    assert waits[-1] >= 8 * ACCOUNT.first
    world.clock.advance(ACCOUNT.most)
    assert _try(world.first, PASSWORD)
    assert all(not _try(world.first, "wrong password") for _ in range(4))
    assert _try(world.first, PASSWORD), "four failures are free again"


def test_while_one_has_to_wait_even_the_right_password_is_not_looked_at(world: AuthWorld) -> None:
    for _ in range(5):
        _try(world.first, "wrong password")
    computed = world.hasher.computed
    assert not _try(world.first, PASSWORD)
    assert world.hasher.computed == computed


def test_attempts_that_are_refused_do_not_prolong_the_wait(world: AuthWorld) -> None:
    for _ in range(5):
        _try(world.first, "wrong password")
    for _ in range(int(ACCOUNT.first) * 10):
        _try(world.first, "wrong password")
        world.clock.advance(0.1)
    world.clock.advance(1.0)
    assert _try(world.first, PASSWORD)


def test_an_instance_forgets_a_wait_that_ended_elsewhere(world: AuthWorld) -> None:
    other = Instance(world)
    attempt = None
    for _ in range(12):
        attempt = world.first.attempts.take("somebody", None)
        if isinstance(attempt, Held):
            break
        last = attempt
    assert isinstance(other.attempts.take("somebody", None), Held)
    world.first.attempts.succeeded(last)
    world.clock.advance(max(REMEMBERED, 60.0))
    assert isinstance(other.attempts.take("somebody", None), Attempt)


def test_a_day_without_any_attempt_begins_anew(world: AuthWorld) -> None:
    for _ in range(30):
        _try(world.first, "wrong password")
        world.clock.advance(600)
    world.clock.advance(ACCOUNT.most + ACCOUNT.forget)
    computed = world.hasher.computed
    for _ in range(10):
        _try(world.first, "wrong password")
    assert world.hasher.computed - computed == ACCOUNT.free


def test_what_cannot_be_counted_may_not_be_tried() -> None:
    store = FakeStore()
    store.faults = [Retry()]
    with pytest.raises(Retry):
        Attempts(store, FakeClock()).take("a", "b")
    store.faults = [Conflict()] * 100
    with pytest.raises(Busy):
        Attempts(store, FakeClock()).take("a", "b")


@pytest.mark.parametrize("applies", [True, False])
def test_an_attempt_whose_answer_was_lost_counts_at_least_once(applies: bool) -> None:
    store = FakeStore()
    store.unknown_applies = applies
    store.faults = [Unknown()]
    attempts = Attempts(store, FakeClock())
    assert isinstance(attempts.take("a", "b"), Attempt)
    assert store.data(refs.attempts("account", "a"))["failures"] >= 1


def test_a_person_who_signed_in_stays_signed_in_whatever_becomes_of_the_count(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = FakeStore()
    attempts = Attempts(store, FakeClock())
    attempt = attempts.take("a", "b")
    assert isinstance(attempt, Attempt)
    store.faults = [Retry()]
    attempts.succeeded(attempt)
    assert "still counts as a failure" in caplog.text


def test_what_no_longer_holds_anybody_up_is_swept(world: AuthWorld) -> None:
    _try(world.first, "wrong password")
    _try(world.first, "wrong password", email="b@example.org")
    for wait, swept in ((0.0, 0), (ACCOUNT.forget, 4), (IDLE, 1), (IDLE, 0)):
        world.clock.advance(wait)
        found = 0
        for _ in range(queries.SHARDS):
            world.clock.advance(60.0)
            found += sweep(world.store, world.clock.now(), 60.0)
        assert found == swept

"""The profile is made once, whoever comes first and whatever becomes of the answer."""

from __future__ import annotations

import pytest

from shared.errors import Retry, Unknown
from shared.identity.tokens import Principal
from shared.identity.users import ATTEMPTS, ensure_user
from shared.ports import Create
from tests.unit.fakes import FakeClock, FakeStore

ANN = Principal("ann", "ann@example.org", "Ann")
PROFILE = {"uid": "ann", "email": "ann@example.org", "name": "Ann", "created_at": 1_790_000_000.0, "rev": 1}


def test_a_person_seen_for_the_first_time_gets_a_profile() -> None:
    store = FakeStore()
    assert ensure_user(store, FakeClock(), ANN) == PROFILE
    assert store.data("users/ann") == PROFILE


def test_a_known_person_costs_one_read_and_keeps_the_profile() -> None:
    store, clock = FakeStore(), FakeClock()
    ensure_user(store, clock, ANN)
    store.reads.clear()
    clock.time += 100
    assert ensure_user(store, clock, Principal("ann", "new@example.org")) == PROFILE
    assert len(store.reads) == 1
    assert len(store.commits) == 1


def test_whoever_is_second_answers_what_the_first_wrote() -> None:
    store, clock = FakeStore(), FakeClock()
    first = {**PROFILE, "created_at": 1.0}

    def overtake(writes: object) -> None:
        store.before_commit = None
        store.commit([Create("users/ann", first)])

    store.before_commit = overtake
    assert ensure_user(store, clock, ANN) == first


@pytest.mark.parametrize("applied", [True, False])
def test_a_lost_answer_is_settled_by_reading_again(applied: bool) -> None:
    store = FakeStore()
    store.faults, store.unknown_applies = [Unknown()], applied
    assert ensure_user(store, FakeClock(), ANN) == PROFILE
    assert len(store.commits) == 1


def test_it_does_not_try_for_ever() -> None:
    store = FakeStore()
    store.faults, store.unknown_applies = [Unknown() for _ in range(100)], False
    with pytest.raises(Retry):
        ensure_user(store, FakeClock(), ANN)
    assert 100 - len(store.faults) == ATTEMPTS

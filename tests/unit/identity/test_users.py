"""The profile is made once, whoever comes first and whatever becomes of the answer."""

from __future__ import annotations

import pytest

from shared.errors import AccountDeleted, ConfigurationError, Retry, Unknown
from shared.identity.tokens import Principal
from shared.identity.users import ATTEMPTS, ensure_user, known_user
from shared.ports import Create, Delete, Put, Update
from shared.privacy.tombstones import SECRET, TombstoneKey, Tombstones
from tests.unit.fakes import FakeClock, FakeSecrets, FakeStore

ANN = Principal("ann", "ann@example.org", "Ann")
PROFILE = {"uid": "ann", "email": "ann@example.org", "name": "Ann", "created_at": 1_790_000_000.0, "rev": 1}


def nobody_was_deleted(store: FakeStore) -> Tombstones:
    return Tombstones(store, TombstoneKey(FakeSecrets(), FakeClock(), may_create=True))


def test_a_person_seen_for_the_first_time_gets_a_profile() -> None:
    store = FakeStore()
    assert ensure_user(store, FakeClock(), ANN, nobody_was_deleted(store)) == PROFILE
    assert store.data("users/ann") == PROFILE


def test_a_known_person_costs_one_read_and_keeps_the_profile() -> None:
    store, clock = FakeStore(), FakeClock()
    ensure_user(store, clock, ANN, nobody_was_deleted(store))
    store.reads.clear()
    clock.time += 100
    assert ensure_user(store, clock, Principal("ann", "new@example.org"), nobody_was_deleted(store)) == PROFILE
    assert len(store.reads) == 1
    assert len(store.commits) == 1


def test_whoever_is_second_answers_what_the_first_wrote() -> None:
    store, clock = FakeStore(), FakeClock()
    first = {**PROFILE, "created_at": 1.0}

    def overtake(writes: object) -> None:
        store.before_commit = None
        store.commit([Create("users/ann", first)])

    store.before_commit = overtake
    assert ensure_user(store, clock, ANN, nobody_was_deleted(store)) == first


@pytest.mark.parametrize("applied", [True, False])
def test_a_lost_answer_is_settled_by_reading_again(applied: bool) -> None:
    store = FakeStore()
    store.faults, store.unknown_applies = [Unknown()], applied
    assert ensure_user(store, FakeClock(), ANN, nobody_was_deleted(store)) == PROFILE
    assert len(store.commits) == 1


def test_it_does_not_try_for_ever() -> None:
    store = FakeStore()
    store.faults, store.unknown_applies = [Unknown() for _ in range(100)], False
    with pytest.raises(Retry):
        ensure_user(store, FakeClock(), ANN, nobody_was_deleted(store))
    assert 100 - len(store.faults) == ATTEMPTS


def test_a_person_who_is_being_deleted_is_refused_with_the_one_read_that_a_known_person_costs() -> None:
    store, clock = FakeStore(), FakeClock()
    ensure_user(store, clock, ANN, nobody_was_deleted(store))
    [profile] = store.get(["users/ann"]).values()
    store.commit([Update("users/ann", {"erasing": clock.now()}, profile.version)])
    store.reads.clear()
    with pytest.raises(AccountDeleted):
        ensure_user(store, clock, ANN, nobody_was_deleted(store))
    assert store.reads == [["users/ann"]]


def test_a_token_that_outlives_its_person_makes_nothing_anew() -> None:
    store, clock, secrets = FakeStore(), FakeClock(), FakeSecrets()
    tombstones = Tombstones(store, TombstoneKey(secrets, clock, may_create=True))
    ensure_user(store, clock, ANN, tombstones)
    store.commit([Put(tombstones.place("ann"), {"deleted_at": clock.now()}), Delete("users/ann")])
    for _ in range(2):
        with pytest.raises(AccountDeleted):
            ensure_user(store, clock, ANN, tombstones)
        with pytest.raises(AccountDeleted):
            known_user(store, "ann", tombstones)
    assert "users/ann" not in store.documents
    assert ensure_user(store, clock, Principal("bob"), tombstones)["uid"] == "bob"


def test_whose_a_tombstone_is_cannot_be_told_without_its_key() -> None:
    places = set()
    for key in (b"1" * 32, b"2" * 32):
        secrets = FakeSecrets()
        secrets.add(SECRET, key)
        places.add(Tombstones(FakeStore(), TombstoneKey(secrets, FakeClock(), may_create=True)).place("ann"))
    assert len(places) == 2


def test_of_two_keys_that_were_made_at_once_all_go_by_the_first() -> None:
    secrets, store = FakeSecrets(), FakeStore()
    one, other = (Tombstones(store, TombstoneKey(secrets, FakeClock(), may_create=True)) for _ in range(2))
    place = one.place("ann")
    secrets.add(SECRET, b"late" * 8)
    assert other.place("ann") == place


def test_where_the_key_has_to_be_provided_nobody_passes_without_it() -> None:
    tombstones = Tombstones(FakeStore(), TombstoneKey(FakeSecrets(), FakeClock(), may_create=False))
    with pytest.raises(ConfigurationError, match="tombstone-key"):
        ensure_user(FakeStore(), FakeClock(), ANN, tombstones)

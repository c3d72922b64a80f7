"""Grants: many steps, one refresh; and no rotated token is lost, whatever happens in between."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from shared.errors import Conflict, ProviderUnavailable, RateLimited, ReauthRequired, Retry, Unknown
from shared.ports import Data, Delete, Update, Write
from shared.providers.base import Tokens
from shared.vault.grants import ATTEMPTS, CLAIM_SECONDS, SAVE_PAUSES, Grants
from shared.vault.seal import Vault
from tests.unit.fakes import FakeClock, FakeSecrets, FakeStore

UID, ID = "ann", "google:1234"
REF = "users/ann/grants/google:1234"


class TokenEndpoint:
    """A provider that rotates: each refresh token is good once, as the strictest providers have it."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.valid = "refresh-0"
        self.calls: list[str] = []
        self.failure: Exception | None = None
        self.during: Callable[[], Any] | None = None
        self.rotates = True
        self._lock = threading.Lock()

    def __call__(self, refresh: str) -> Tokens:
        with self._lock:
            self.calls.append(refresh)
            number = len(self.calls)
        if self.during is not None:
            during, self.during = self.during, None
            during()
        if self.failure is not None:
            raise self.failure
        if refresh != self.valid:
            raise ReauthRequired("invalid_grant")
        if self.rotates:
            self.valid = f"refresh-{number}"
        return Tokens(f"access-{number}", self.clock.now() + 3600, self.valid if self.rotates else None)


class World:
    def __init__(self) -> None:
        self.store, self.clock = FakeStore(), FakeClock()
        keys, secrets = FakeStore(), FakeSecrets()
        self.grants = Grants(self.store, Vault(keys, secrets, self.clock), self.clock)
        self.endpoint = TokenEndpoint(self.clock)

    def connect(self, expires_in: float = 3600, refresh: str | None = "refresh-0", access: str = "access-0") -> None:
        self.grants.put(UID, ID, "google", access, refresh, expires_in, ("mail",))

    def token(self) -> str:
        return self.grants.access_token(UID, ID, self.endpoint)

    @property
    def row(self) -> Data:
        return self.store.data(REF)

    def stored_refresh(self) -> str:
        return self.grants._open(UID, self.store.documents[REF], "refresh")


@pytest.fixture
def world() -> World:
    return World()


def test_a_new_grant_is_one_document_without_a_token_in_clear(world: World) -> None:
    world.connect()
    row = world.row
    assert {name: row[name] for name in row if name != "sealed"} == {
        "provider": "google",
        "subject": "1234",
        "expires_at": world.clock.now() + 3600,
        "scopes": ["mail"],
        "extra": [],
        "set": row["set"],
        "status": "active",
        "version": 1,
        "refreshing_until": 0.0,
        "claim": "",
        "rev": 1,
        "created_at": world.clock.now(),
        "updated_at": world.clock.now(),
    }
    assert "access-0" not in repr(row)
    assert "refresh-0" not in repr(row)


def test_a_fresh_token_costs_one_read_and_no_call(world: World) -> None:
    world.connect()
    world.store.reads.clear()
    assert world.token() == "access-0"
    assert world.store.reads == [[REF]]
    assert len(world.store.commits) == 1
    assert world.endpoint.calls == []


@pytest.mark.parametrize(("left", "calls"), [(301, 0), (300, 1), (0, 1), (-1000, 1)])
def test_a_token_is_refreshed_when_it_expires_within_five_minutes(world: World, left: float, calls: int) -> None:
    world.connect(expires_in=left)
    assert world.token() == f"access-{calls}"
    assert len(world.endpoint.calls) == calls


def test_the_rotated_refresh_token_is_saved_every_time(world: World) -> None:
    world.connect(expires_in=0)
    for number in range(1, 5):
        assert world.token() == f"access-{number}"
        assert world.stored_refresh() == f"refresh-{number}"
        assert world.row["version"] == number + 1
        world.clock.time += 3500


def test_without_rotation_the_old_refresh_token_stays(world: World) -> None:
    world.endpoint.rotates = False
    world.connect(expires_in=0)
    assert world.token() == "access-1"
    assert world.stored_refresh() == "refresh-0"


@pytest.mark.parametrize("expires_in", [0, 100])
def test_fifty_threads_make_one_refresh_call(world: World, expires_in: float) -> None:
    world.connect(expires_in=expires_in)
    together = threading.Barrier(50, timeout=20)
    arrived = threading.local()

    def wait_for_all(writes: Sequence[Write]) -> None:
        # Every thread has read the unclaimed row before any of them claims it.
        if not getattr(arrived, "yes", False):
            arrived.yes = True
            together.wait()

    world.store.before_commit = wait_for_all

    def step(_: int) -> str:
        try:
            return world.token()
        except Retry as error:
            return f"in {error.retry_after} s"

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(step, range(50)))
    assert len(world.endpoint.calls) == 1
    assert "access-1" in answers
    assert set(answers) <= {"access-1", "access-0" if expires_in else "in 2 s"}
    assert world.token() == "access-1"
    assert world.stored_refresh() == "refresh-1"


def test_the_claim_is_taken_before_the_call(world: World) -> None:
    world.connect(expires_in=0)
    seen: list[float] = []
    world.endpoint.during = lambda: seen.append(world.row["refreshing_until"])
    world.token()
    assert seen == [world.clock.now() + CLAIM_SECONDS]
    assert world.row["refreshing_until"] == 0.0


@pytest.mark.parametrize(("left", "answer"), [(31, "access-0"), (30, "in 2 s")])
def test_while_another_refreshes_the_old_token_serves_for_as_long_as_it_lasts(
    world: World, left: float, answer: str
) -> None:
    world.connect(expires_in=left)
    others: list[str] = []

    def another_step() -> None:
        try:
            others.append(world.token())
        except Retry as error:
            others.append(f"in {error.retry_after} s")

    world.endpoint.during = another_step
    assert world.token() == "access-1"
    assert others == [answer]


def test_a_claim_holder_that_dies_is_taken_over_after_its_deadline(world: World) -> None:
    world.connect(expires_in=0)

    def die() -> None:
        raise KeyboardInterrupt

    world.endpoint.during = die
    with pytest.raises(KeyboardInterrupt):
        world.token()
    world.clock.time += CLAIM_SECONDS - 1
    with pytest.raises(Retry):
        world.token()
    world.clock.time += 1
    assert world.token() == "access-2"
    assert world.endpoint.calls == ["refresh-0", "refresh-0"]


def test_a_holder_slower_than_its_deadline_and_its_successor_end_with_one_live_token_set(world: World) -> None:
    world.connect(expires_in=0)
    successor: list[str] = []

    def overtake() -> None:
        world.clock.time += CLAIM_SECONDS
        successor.append(world.token())

    world.endpoint.during = overtake
    # The successor has used up refresh-0, so the slow holder's own call is refused; the grant must survive that.
    assert world.token() == successor[0] == "access-2"
    assert world.row["status"] == "active"
    assert world.stored_refresh() == world.endpoint.valid


def test_a_refusal_kills_nothing_while_another_step_holds_the_claim(world: World) -> None:
    """Its call may already have been answered: what it has still to save is newer than what was refused."""
    world.connect(expires_in=0)
    world.endpoint.failure = ReauthRequired()
    theirs = {"refreshing_until": world.clock.now() + 2 * CLAIM_SECONDS, "claim": "theirs"}

    def overtaken() -> None:
        world.clock.time += CLAIM_SECONDS
        world.store.commit([Update(REF, theirs, world.store.documents[REF].version)])

    world.endpoint.during = overtaken
    with pytest.raises(Retry):
        world.token()
    assert (world.row["status"], world.row["claim"]) == ("active", "theirs")


def test_a_slow_holder_that_has_the_only_good_token_saves_it_although_its_successor_was_refused(world: World) -> None:
    world.connect(expires_in=0)
    told: list[str] = []

    def overtake(_: Sequence[Write]) -> None:
        world.store.before_commit = None
        world.clock.time += CLAIM_SECONDS
        with pytest.raises(Retry):
            world.token()  # refresh-0 was traded for a token that is not written down yet
        told.append(world.row["status"])
        world.clock.time += CLAIM_SECONDS - 1
        with pytest.raises(Retry):
            world.token()

    def answer_before_the_save() -> None:
        world.store.before_commit = overtake

    world.endpoint.during = answer_before_the_save
    assert world.token() == "access-1"
    assert told == ["active"]
    assert (world.row["status"], world.stored_refresh()) == ("active", "refresh-1")
    assert world.endpoint.calls == ["refresh-0"] * 2


def test_a_grant_whose_slow_holder_never_came_back_is_dead_once_it_had_the_time(world: World) -> None:
    world.connect(expires_in=0)

    def die() -> None:
        raise KeyboardInterrupt

    world.endpoint.during = die
    with pytest.raises(KeyboardInterrupt):
        world.token()
    world.endpoint.failure = ReauthRequired()
    for _ in range(2):
        world.clock.time += CLAIM_SECONDS
        assert world.row["status"] == "active"
        with pytest.raises((Retry, ReauthRequired)):
            world.token()
    assert world.row["status"] == "dead"
    assert len(world.endpoint.calls) == 3


def test_a_refused_refresh_token_kills_the_grant(world: World) -> None:
    world.connect(expires_in=0)
    world.endpoint.valid = "another"
    with pytest.raises(ReauthRequired):
        world.token()
    assert world.row["status"] == "dead"
    assert world.row["refreshing_until"] == 0.0
    with pytest.raises(ReauthRequired):
        world.token()
    assert len(world.endpoint.calls) == 1
    assert not world.grants.usable(UID, ID)


def test_a_refusal_that_a_reconnect_has_overtaken_kills_nothing(world: World) -> None:
    world.connect(expires_in=0)
    world.endpoint.valid = "another"
    world.endpoint.during = lambda: world.connect(3600, "refresh-9", "access-9")
    assert world.token() == "access-9"
    assert world.row["status"] == "active"
    assert world.stored_refresh() == "refresh-9"


def test_a_refresh_that_a_reconnect_has_overtaken_does_not_replace_it(world: World) -> None:
    world.connect(expires_in=0)
    world.endpoint.during = lambda: world.connect(3600, "refresh-9", "access-9")
    assert world.token() == "access-9"
    assert world.stored_refresh() == "refresh-9"


def test_a_refresh_does_not_revive_a_grant_that_died_meanwhile(world: World) -> None:
    world.connect(expires_in=0)
    world.endpoint.during = lambda: world.grants.revoked(UID, ID)
    with pytest.raises(ReauthRequired):
        world.token()
    assert world.row["status"] == "dead"


def test_a_refresh_does_not_recreate_a_grant_that_was_erased_meanwhile(world: World) -> None:
    world.connect(expires_in=0)
    world.endpoint.during = lambda: world.store.commit([Delete(REF)])
    with pytest.raises(ReauthRequired):
        world.token()
    assert REF not in world.store.documents


@pytest.mark.parametrize("failure", [ProviderUnavailable(), RateLimited(retry_after=30), ValueError("bug")])
def test_any_other_failure_releases_the_claim_and_is_passed_on(world: World, failure: Exception) -> None:
    world.connect(expires_in=0)
    world.endpoint.failure = failure
    with pytest.raises(type(failure)) as caught:
        world.token()
    assert caught.value is failure
    assert world.row["refreshing_until"] == 0.0
    assert world.row["status"] == "active"
    world.endpoint.failure = None
    assert world.token() == "access-2"


def test_if_the_release_fails_too_the_first_failure_is_the_one_that_is_told(world: World) -> None:
    world.connect(expires_in=0)
    world.endpoint.failure = ProviderUnavailable()
    world.store.faults = [None, Retry()]
    with pytest.raises(ProviderUnavailable):
        world.token()
    world.endpoint.failure = None
    world.clock.time += CLAIM_SECONDS
    assert world.token() == "access-2"


@pytest.mark.parametrize("applied", [True, False])
def test_a_lost_answer_to_the_claim_makes_one_call_all_the_same(world: World, applied: bool) -> None:
    world.connect(expires_in=0)
    world.store.faults, world.store.unknown_applies = [Unknown()], applied
    assert world.token() == "access-1"
    assert len(world.endpoint.calls) == 1


def test_a_lost_claim_that_another_has_taken_over_is_not_ours(world: World) -> None:
    world.connect(expires_in=0)
    theirs = {"refreshing_until": world.clock.now() + CLAIM_SECONDS, "claim": "theirs"}

    def overtake(writes: Sequence[Write]) -> None:
        world.store.before_commit = None
        world.store.commit([Update(REF, theirs, world.store.documents[REF].version)])
        world.store.faults = [Unknown()]

    world.store.before_commit, world.store.unknown_applies = overtake, False
    with pytest.raises(Retry):
        world.token()
    assert world.endpoint.calls == []


@pytest.mark.parametrize("applied", [True, False])
def test_a_lost_answer_to_the_save_keeps_the_rotated_token(world: World, applied: bool) -> None:
    world.connect(expires_in=0)
    world.store.faults, world.store.unknown_applies = [None, Unknown()], applied
    assert world.token() == "access-1"
    assert world.stored_refresh() == "refresh-1"
    assert world.row["version"] == 2
    assert len(world.endpoint.calls) == 1


@pytest.mark.parametrize("faults", [[Retry()], [Conflict()], [Retry(), Unknown(), Conflict(), Retry()]])
def test_a_store_that_stumbles_during_the_save_costs_no_rotated_token(world: World, faults: list[Any]) -> None:
    world.connect(expires_in=0)
    world.store.faults, world.store.unknown_applies = [None, *faults], False
    assert world.token() == "access-1"
    assert world.stored_refresh() == "refresh-1"


def test_a_store_that_stays_away_is_not_waited_for_for_ever(world: World) -> None:
    world.connect(expires_in=0)
    world.store.faults = [None, *(Retry() for _ in range(100))]
    with pytest.raises(Retry):
        world.token()
    assert world.clock.slept == list(SAVE_PAUSES)


def test_reconnecting_revives_a_dead_grant_and_counts_its_version(world: World) -> None:
    world.connect()
    world.grants.revoked(UID, ID)
    created = world.row["created_at"]
    world.clock.time += 5
    world.connect(3600, "refresh-9", "access-9")
    assert world.token() == "access-9"
    assert (world.row["version"], world.row["status"]) == (2, "active")
    assert world.row["created_at"] == created


def test_reconnecting_without_a_refresh_token_keeps_the_one_of_a_live_grant(world: World) -> None:
    world.connect()
    world.connect(0, None, "access-9")
    assert world.token() == "access-1"


def test_reconnecting_without_a_refresh_token_keeps_none_of_a_dead_grant(world: World) -> None:
    world.connect()
    world.grants.revoked(UID, ID)
    world.connect(0, None, "access-9")
    with pytest.raises(ReauthRequired):
        world.token()


@pytest.mark.parametrize("applied", [True, False])
def test_a_lost_answer_to_a_put_stores_it_once(world: World, applied: bool) -> None:
    for version in (1, 2):
        world.store.faults, world.store.unknown_applies = [Unknown()], applied
        world.connect()
        assert world.row["version"] == version


def test_a_put_does_not_try_for_ever(world: World) -> None:
    world.store.faults = [Conflict() for _ in range(100)]
    with pytest.raises(Retry):
        world.connect()
    assert 100 - len(world.store.faults) == ATTEMPTS


def test_without_a_refresh_token_the_grant_lasts_as_long_as_its_access_token(world: World) -> None:
    world.connect(expires_in=100, refresh=None)
    assert world.grants.usable(UID, ID)
    assert world.token() == "access-0"
    world.clock.time += 70
    assert not world.grants.usable(UID, ID)
    with pytest.raises(ReauthRequired):
        world.token()


def test_an_expired_grant_with_a_refresh_token_is_usable_and_an_absent_one_is_not(world: World) -> None:
    assert not world.grants.usable(UID, ID)
    with pytest.raises(ReauthRequired):
        world.token()
    world.connect(expires_in=0)
    assert world.grants.usable(UID, ID)


def test_a_token_that_the_provider_refused_is_refreshed_whatever_its_expiry(world: World) -> None:
    world.connect()
    assert world.grants.access_token(UID, ID, world.endpoint, rejected="access-0") == "access-1"
    assert world.grants.access_token(UID, ID, world.endpoint, rejected="access-0") == "access-1"
    assert len(world.endpoint.calls) == 1


def test_a_refused_token_is_not_handed_out_while_another_step_refreshes_it(world: World) -> None:
    world.connect()
    others: list[str] = []

    def another_step() -> None:
        with pytest.raises(Retry):
            world.grants.access_token(UID, ID, world.endpoint, rejected="access-0")
        others.append(world.token())

    world.endpoint.during = another_step
    assert world.grants.access_token(UID, ID, world.endpoint, rejected="access-0") == "access-1"
    assert others == ["access-0"]


def test_a_refused_token_that_cannot_be_refreshed_ends_the_grant(world: World) -> None:
    world.connect(refresh=None)
    with pytest.raises(ReauthRequired):
        world.grants.access_token(UID, ID, world.endpoint, rejected="access-0")
    assert not world.grants.usable(UID, ID)


def test_revoking_with_an_outdated_token_kills_nothing(world: World) -> None:
    world.connect(expires_in=0)
    world.token()
    assert not world.grants.revoked(UID, ID, "access-0")
    assert world.row["status"] == "active"
    assert world.grants.revoked(UID, ID, "access-1")
    assert world.row["status"] == "dead"


def test_sealed_tokens_cannot_be_swapped_between_grants_or_kinds(world: World) -> None:
    world.connect()
    world.grants.put(UID, "google:9", "google", "access-x", "refresh-x", 3600)
    stolen = world.store.data("users/ann/grants/google:9")["sealed"]
    for sealed in (stolen, {"access": world.row["sealed"]["refresh"], "refresh": None}):
        world.store.commit([Update(REF, {"sealed": sealed}, world.store.documents[REF].version)])
        with pytest.raises(ReauthRequired, match="cannot be opened"):
            world.token()
    assert world.endpoint.calls == []


@pytest.mark.parametrize("refused", [False, True])
def test_a_refresh_of_a_grant_that_was_deleted_and_made_anew_changes_nothing_of_the_new_one(
    world: World, refused: bool
) -> None:
    """Both count their token sets from 1."""

    def refresh(_: str) -> Tokens:
        world.store.commit([Delete(REF)])
        world.connect(3600, "refresh-new", "access-new")
        if refused:
            raise ReauthRequired("The old one was revoked.")
        return Tokens("access-of-old", world.clock.now() + 3600, "rotated-old")

    world.connect(0, "refresh-old", "access-old")
    assert world.grants.access_token(UID, ID, refresh) == "access-new"
    assert (world.stored_refresh(), world.row["status"]) == ("refresh-new", "active")


def test_a_reconnect_that_a_death_overtakes_does_not_keep_the_dead_refresh_token(world: World) -> None:
    world.connect(3600, "refresh-dead")

    def die(_: Sequence[Write]) -> None:
        world.store.before_commit = None
        world.grants.revoked(UID, ID)

    world.store.before_commit = die
    world.connect(3600, None, "access-new")
    assert (world.row["status"], world.row["sealed"]["refresh"]) == ("active", None)


def test_scopes_of_later_consents_are_added_while_the_grant_is_alive(world: World) -> None:
    world.connect()
    world.grants.put(UID, ID, "google", "access-9", None, 3600, ("mail", "send"), ("send",))
    world.grants.put(UID, ID, "google", "access-10", None, 3600, ("labels",), ("labels",))
    assert (world.row["scopes"], world.row["extra"]) == (["mail", "send", "labels"], ["send", "labels"])
    world.grants.revoked(UID, ID)
    world.connect()
    assert (world.row["scopes"], world.row["extra"]) == (["mail"], [])


def test_what_was_granted_beyond_the_usual_is_named_at_each_refresh(world: World) -> None:
    named: list[Any] = []

    def refresh(token: str, *extra: Any) -> Tokens:
        named.append(extra)
        return Tokens("access-1", world.clock.now() + 3600, None)

    world.connect(expires_in=0)
    world.grants.access_token(UID, ID, refresh)
    world.grants.put(UID, ID, "google", "access-9", "refresh-9", 0, ("mail", "send"), ("send",))
    world.grants.lease(UID, ID, refresh)
    assert named == [(), (["send"],)]

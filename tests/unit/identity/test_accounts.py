"""An address leads to one account however many sign up with it at once, and whatever becomes of the store's answers."""

from __future__ import annotations

from typing import Any

import pytest

from shared import refs
from shared.errors import BrainstemError, InvalidRequest, Retry, Unauthorized, Unknown
from shared.identity import logins
from shared.identity.accounts import Accounts
from shared.identity.attempts import Attempts
from shared.identity.passwords import Passwords
from shared.identity.sessions import Sessions
from shared.identity.trail import Trail
from tests.interleave import Interleaver
from tests.unit.fakes import FakeClock
from tests.unit.identity.auth_world import EMAIL, HERE, PASSWORD, CountingHasher
from tests.unit.identity.user_store import Lost, UserStore

IDENTITY = {"provider": "google", "subject": "s-1", "email": EMAIL, "email_verified": True, "name": "Ann"}


def make(store: UserStore, clock: FakeClock, hasher: CountingHasher | None = None) -> Accounts:
    trail = Trail(store, clock)
    passwords = Passwords(clock, hasher or CountingHasher())
    return Accounts(store, clock, passwords, Attempts(store, clock), Sessions(store, clock, trail), trail)


def users(store: UserStore) -> list[str]:
    return [ref for ref in store.documents if ref.startswith("users/") and ref.count("/") == 1]


def login_of(store: UserStore) -> dict[str, Any]:
    return store.data(refs.login("email", EMAIL))


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_of_racing_sign_ups_with_one_address_one_makes_the_account(share: float) -> None:
    for seed in range(60):
        store, clock, chance, interleaver = UserStore(), FakeClock(), Lost(seed), Interleaver(seed)
        opened: dict[str, str] = {}

        def lose(store: UserStore = store, chance: Lost = chance) -> BrainstemError | None:
            store.unknown_applies = chance.random() < 0.5
            return chance.fault(share)

        def sign_up(
            number: int, store: UserStore = store, clock: FakeClock = clock, opened: dict[str, str] = opened
        ) -> None:
            try:
                told = make(store, clock).sign_up(EMAIL, f"{PASSWORD} {number}", None, HERE)
            except (Unauthorized, Retry):
                return
            opened[f"{PASSWORD} {number}"] = str(told.profile["uid"])

        store.around = lambda _, point=interleaver.point: point()  # type: ignore[misc]
        store.lose = lose
        interleaver.run([lambda number=number: sign_up(number) for number in range(3)])  # type: ignore[misc]
        store.around, store.lose = lambda _: None, lambda: None
        assert len(users(store)) <= 1
        assert len(opened) <= 1
        assert share or len(opened) == 1
        clock.time += 10_000
        for password, uid in opened.items():
            assert make(store, clock).sign_in(EMAIL, password, HERE).profile["uid"] == uid


def test_of_racing_sign_ins_with_one_account_at_a_provider_all_are_the_same_user() -> None:
    for seed in range(60):
        store, clock, interleaver = UserStore(), FakeClock(), Interleaver(seed)
        uids: set[str] = set()

        def sign_in(store: UserStore = store, clock: FakeClock = clock, uids: set[str] = uids) -> None:
            uids.add(str(make(store, clock).sign_in_with(IDENTITY, HERE).profile["uid"]))

        store.around = lambda _, point=interleaver.point: point()  # type: ignore[misc]
        interleaver.run([sign_in] * 3)
        assert len(uids) == len(users(store)) == 1


@pytest.mark.parametrize("applies", [True, False])
def test_a_sign_up_whose_answer_was_lost_makes_one_account_and_signs_in(applies: bool) -> None:
    store, clock = UserStore(), FakeClock()
    store.unknown_applies = applies
    faults: list[BrainstemError | None] = [None, Unknown(), Unknown()]
    store.lose = lambda: faults.pop(0) if faults else None
    opened = make(store, clock).sign_up(EMAIL, PASSWORD, "Ann", HERE)
    assert users(store) == [refs.user(str(opened.profile["uid"]))]
    assert login_of(store)["uid"] == opened.profile["uid"]


def test_a_password_with_outdated_parameters_is_kept_anew_at_the_next_sign_in() -> None:
    store, clock = UserStore(), FakeClock()
    make(store, clock, CountingHasher(memory_cost=16)).sign_up(EMAIL, PASSWORD, None, HERE)
    before = login_of(store)["password"]
    hasher = CountingHasher()
    for expected in (2, 3):
        make(store, clock, hasher).sign_in(EMAIL, PASSWORD, HERE)
        assert hasher.computed == expected
    assert before.startswith("$argon2id$v=19$m=16,")
    assert login_of(store)["password"].startswith("$argon2id$v=19$m=8,")


def test_whoever_cannot_be_renewed_now_is_signed_in_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    store, clock = UserStore(), FakeClock()
    make(store, clock, CountingHasher(memory_cost=16)).sign_up(EMAIL, PASSWORD, None, HERE)
    accounts = make(store, clock)
    faults: list[BrainstemError | None] = [None, None, None, None, Retry()]
    store.lose = lambda: faults.pop(0) if faults else None
    assert accounts.sign_in(EMAIL, PASSWORD, HERE).refresh
    assert "outdated parameters" in caplog.text
    assert login_of(store)["password"].startswith("$argon2id$v=19$m=16,")


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        (" Ann@Example.ORG\n", "ann@example.org"), ("ANN@EXAMPLE.ORG", "ann@example.org"),
        ("A\u0308nn@example.org", "\xe4nn@example.org"), ("\xc4nn@example.org", "\xe4nn@example.org"),
        ("stra\xdfe@example.org", "strasse@example.org"), ("ann+tag@example.org", "ann+tag@example.org"),
    ],
)  # fmt: skip
def test_an_address_is_the_same_however_it_is_typed(typed: str, kept: str) -> None:
    assert logins.normalised(typed) == kept
    assert logins.normalised(kept) == kept


def test_normalising_twice_changes_nothing_for_any_character() -> None:
    for number in range(0x20, 0x3000):
        try:
            once = logins.normalised(f"a{chr(number)}b@example.org")
        except InvalidRequest:
            continue
        assert logins.normalised(once) == once, hex(number)


def test_look_alikes_are_different_people() -> None:
    assert logins.by_email("ann@example.org") != logins.by_email("\u0430nn@example.org")
    assert logins.by_subject("google", "1") != logins.by_subject("microsoft", "1")
    assert logins.by_subject("google", EMAIL) != logins.by_email(EMAIL)


@pytest.mark.parametrize("subject", ["../x", "a/b", "__x__", "é" * 2_000, "x" * 4_096, "\ud800"])
def test_a_hostile_subject_is_never_part_of_a_path(subject: str) -> None:
    store = UserStore()
    opened = make(store, FakeClock()).sign_in_with({**IDENTITY, "subject": subject}, HERE)
    assert str(opened.profile["uid"]).startswith("u_")
    assert all(subject not in ref for ref in store.documents)
    again = make(store, FakeClock(1_790_000_100.0)).sign_in_with({**IDENTITY, "subject": subject}, HERE)
    assert again.profile["uid"] == opened.profile["uid"]

"""Passwords cost what RFC 9106 says, nobody's cost as much as somebody's, and no more than a few at once."""

from __future__ import annotations

import threading
import unicodedata

import pytest
from argon2 import extract_parameters, profiles

from shared.errors import InvalidRequest
from shared.identity.passwords import AT_ONCE, MAX_BYTES, MIN_BYTES, Passwords, checked
from tests.unit.fakes import FakeClock
from tests.unit.identity.auth_world import CountingHasher

PASSWORD = b"correct horse battery"


def test_a_new_password_is_kept_with_the_parameters_of_the_rfc() -> None:
    passwords = Passwords(FakeClock())
    kept = passwords.hash(PASSWORD)
    assert extract_parameters(kept) == profiles.RFC_9106_LOW_MEMORY
    assert passwords.verify(kept, PASSWORD)
    assert not passwords.verify(kept, PASSWORD + b"!")
    assert not passwords.is_outdated(kept)


def test_nobodys_password_costs_what_anybodys_does_and_fits_none() -> None:
    hasher = CountingHasher()
    passwords = Passwords(FakeClock(), hasher)
    kept = passwords.hash(PASSWORD)
    assert not passwords.verify(None, PASSWORD)
    assert hasher.computed == 2
    assert extract_parameters(passwords._nobody) == extract_parameters(kept)
    assert extract_parameters(Passwords(FakeClock())._nobody) == profiles.RFC_9106_LOW_MEMORY


def test_the_same_password_is_kept_differently_each_time() -> None:
    passwords = Passwords(FakeClock(), CountingHasher())
    assert passwords.hash(PASSWORD) != passwords.hash(PASSWORD)


def test_what_other_parameters_made_still_verifies_and_counts_as_outdated() -> None:
    kept = Passwords(FakeClock(), CountingHasher(memory_cost=16)).hash(PASSWORD)
    passwords = Passwords(FakeClock(), CountingHasher())
    assert passwords.verify(kept, PASSWORD)
    assert passwords.is_outdated(kept)


@pytest.mark.parametrize("kept", ["", "x", "$argon2id$v=19$m=8,t=1,p=1$damaged", "$2b$12$bcrypt"])
def test_what_cannot_be_read_fits_nothing_and_is_said_in_the_log(kept: str, caplog: pytest.LogCaptureFixture) -> None:
    assert not Passwords(FakeClock(), CountingHasher()).verify(kept, PASSWORD)
    assert kept == "" or "cannot be read" in caplog.text


def test_a_password_is_the_same_however_its_letters_were_composed() -> None:
    composed = "pässwörd für uns"
    assert checked(composed) == checked(unicodedata.normalize("NFD", composed))


@pytest.mark.parametrize(
    ("password", "new", "good"),
    [
        ("x" * MIN_BYTES, True, True), ("x" * (MIN_BYTES - 1), True, False), ("é" * (MIN_BYTES // 2), True, True),
        ("x", False, True), ("", False, False), ("x" * MAX_BYTES, False, True), ("x" * (MAX_BYTES + 1), False, False),
        ("é" * (MAX_BYTES // 2 + 1), False, False), ("\ud800" * 20, True, False), ("x" * 1_000_000, False, False),
        ("\U0001f600" * 256, True, True), ("\0" * 20, True, True),
    ],
)  # fmt: skip
def test_passwords_have_their_bounds_in_bytes(password: str, new: bool, good: bool) -> None:
    if good:
        assert checked(password, new=new)
        return
    with pytest.raises(InvalidRequest) as found:
        checked(password, new=new)
    assert found.value.details["field"] == "password"


def test_no_more_than_a_few_are_computed_at_once() -> None:
    entered = threading.Semaphore(0)
    leave, running, most = threading.Event(), [0], [0]
    lock = threading.Lock()

    class Slow(CountingHasher):
        def _count(self) -> None:
            with lock:
                running[0] += 1
                most[0] = max(most[0], running[0])
            entered.release()
            assert leave.wait(10)
            with lock:
                running[0] -= 1

    passwords = Passwords(FakeClock(), Slow())
    threads = [threading.Thread(target=passwords.hash, args=(PASSWORD,)) for _ in range(3 * AT_ONCE)]
    for thread in threads:
        thread.start()
    for _ in range(AT_ONCE):
        assert entered.acquire(timeout=10)
    assert not entered.acquire(timeout=0.05)
    leave.set()
    for thread in threads:
        thread.join(10)
    assert most[0] == AT_ONCE

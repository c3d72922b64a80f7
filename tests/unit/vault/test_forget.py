"""Forgetting a person: no instance seals afterwards, and what is remembered opens for a bounded time only."""

from __future__ import annotations

import pytest

from shared.errors import Busy, ReauthRequired, Retry, Unknown
from shared.providers.base import Tokens
from shared.vault import datakeys
from shared.vault.grants import Grants
from shared.vault.seal import Vault
from tests.unit.fakes import FakeClock, FakeSecrets, FakeStore

UID, ID = "ann", "google:1"


class World:
    def __init__(self) -> None:
        self.store, self.keys, self.secrets, self.clock = FakeStore(), FakeStore(), FakeSecrets(), FakeClock()
        self.vault, self.other = self.instance(), self.instance()

    def instance(self) -> Vault:
        return Vault(self.keys, self.secrets, self.clock)

    def grants(self, vault: Vault) -> Grants:
        return Grants(self.store, vault, self.clock)


@pytest.fixture
def world() -> World:
    return World()


def test_after_it_nothing_opens_here_at_once_and_elsewhere_when_the_memory_ends(world: World) -> None:
    sealed = world.vault.seal(UID, "p", b"token")
    assert world.other.open(UID, "p", sealed) == b"token"
    world.vault.forget(UID)
    assert world.keys.documents.keys() == {"claims/vault-key"}
    with pytest.raises(ReauthRequired, match="key is gone"):
        world.vault.open(UID, "p", sealed)
    with pytest.raises(ReauthRequired, match="key is gone"):
        world.instance().open(UID, "p", sealed)
    world.clock.time += datakeys.CACHED_SECONDS
    with pytest.raises(ReauthRequired, match="key is gone"):
        world.other.open(UID, "p", sealed)


def test_reading_the_key_to_seal_does_not_make_what_is_remembered_last_longer(world: World) -> None:
    sealed = world.other.seal(UID, "p", b"token")
    world.clock.time += datakeys.CACHED_SECONDS - 1
    world.other.seal(UID, "p", b"another")
    world.vault.forget(UID)
    world.clock.time += 1
    with pytest.raises(ReauthRequired, match="key is gone"):
        world.other.open(UID, "p", sealed)


def test_a_key_in_memory_does_not_seal(world: World) -> None:
    world.other.seal(UID, "p", b"token")
    world.vault.forget(UID)
    with pytest.raises(ReauthRequired, match="no key to seal with"):
        world.other.seal(UID, "p", b"token", begins=False)
    assert "keys/ann" not in world.keys.documents


def test_a_refresh_that_was_on_its_way_brings_no_key_back(world: World) -> None:
    hand = world.grants(world.other)
    hand.put(UID, ID, "google", "access-0", "refresh-0", 0)

    def forgotten_meanwhile(refresh: str) -> Tokens:
        world.vault.forget(UID)
        return Tokens("access-1", world.clock.now() + 3600, "refresh-1")

    before = world.store.data("users/ann/grants/google:1")["sealed"]
    with pytest.raises(ReauthRequired):
        hand.access_token(UID, ID, forgotten_meanwhile)
    assert "keys/ann" not in world.keys.documents
    assert world.store.data("users/ann/grants/google:1")["sealed"] == before


def test_a_refresh_token_that_is_inherited_brings_no_key_back(world: World) -> None:
    hand = world.grants(world.other)
    hand.put(UID, ID, "google", "access-0", "refresh-0", 0)
    hand.put(UID, "google:new", "google", "access-1", None, 0)
    world.vault.forget(UID)
    with pytest.raises(ReauthRequired):
        hand.inherit(UID, "google:new", ID)
    assert "keys/ann" not in world.keys.documents


def test_it_may_be_repeated_and_survives_a_lost_answer(world: World) -> None:
    world.vault.seal(UID, "p", b"token")
    world.keys.faults = [Unknown()]
    world.vault.forget(UID)
    world.vault.forget(UID)
    assert "keys/ann" not in world.keys.documents
    world.keys.faults, world.keys.unknown_applies = [Unknown()] * 100, False
    with pytest.raises(Busy):
        world.vault.forget(UID)
    world.keys.faults = [Retry()]
    with pytest.raises(Retry):
        world.vault.forget(UID)


def test_others_keep_theirs(world: World) -> None:
    sealed = world.vault.seal("bob", "p", b"token")
    world.vault.seal(UID, "p", b"x")
    world.vault.forget(UID)
    assert world.instance().open("bob", "p", sealed) == b"token"

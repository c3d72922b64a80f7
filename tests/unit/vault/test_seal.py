"""The vault: what is sealed opens for the same person and purpose, and for nothing else."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import BrainstemError, ConfigurationError, ReauthRequired, Retry, Unknown
from shared.ports import Create, Delete, Put
from shared.vault import datakeys
from shared.vault.master import CLAIM, CLAIM_SECONDS, SECRET
from shared.vault.seal import Vault
from shared.vault.texts import KeyLost
from tests.unit.fakes import FakeClock, FakeSecrets, FakeStore

PURPOSE = "google users/ann/grants/google:1"


class World:
    def __init__(self) -> None:
        self.keys, self.secrets, self.clock = FakeStore(), FakeSecrets(), FakeClock()
        self.vault = self.instance()

    def instance(self) -> Vault:
        return Vault(self.keys, self.secrets, self.clock)

    def key_reads(self) -> int:
        return sum(ref.startswith("keys/") for refs in self.keys.reads for ref in refs)


@pytest.fixture
def world() -> World:
    return World()


@given(st.binary(max_size=5_000), st.text(max_size=50))
def test_what_is_sealed_can_be_opened(plaintext: bytes, purpose: str) -> None:
    world = World()
    sealed = world.vault.seal("ann", purpose, plaintext)
    assert world.vault.open("ann", purpose, sealed) == plaintext
    assert world.instance().open("ann", purpose, sealed) == plaintext


def test_the_sealed_text_and_the_stored_key_show_nothing(world: World) -> None:
    sealed = world.vault.seal("ann", PURPOSE, b"ya29.token")
    assert b"ya29" not in base64.urlsafe_b64decode(sealed.split(".")[2])
    stored = world.keys.data("keys/ann")
    assert set(stored) == {"id", "wrapped", "created_at", "rev"}
    assert world.secrets.get(SECRET) not in base64.urlsafe_b64decode(stored["wrapped"].split(".")[2])


def test_sealing_twice_gives_two_texts(world: World) -> None:
    assert world.vault.seal("ann", PURPOSE, b"x") != world.vault.seal("ann", PURPOSE, b"x")


@pytest.mark.parametrize(("uid", "purpose"), [("bob", PURPOSE), ("ann", PURPOSE + "0"), ("ann", "")])
def test_a_sealed_text_cannot_be_moved(world: World, uid: str, purpose: str) -> None:
    world.vault.seal("bob", PURPOSE, b"y")
    sealed = world.vault.seal("ann", PURPOSE, b"x")
    with pytest.raises(ReauthRequired, match="cannot be opened"):
        world.vault.open(uid, purpose, sealed)


def test_a_wrapped_key_cannot_be_moved_to_another_user(world: World) -> None:
    sealed = world.vault.seal("ann", PURPOSE, b"x")
    world.keys.commit([Put("keys/bob", world.keys.data("keys/ann"))])
    with pytest.raises(ReauthRequired, match="cannot be opened"):
        world.vault.open("bob", PURPOSE, sealed)


def test_every_single_altered_character_is_noticed(world: World) -> None:
    sealed = world.vault.seal("ann", PURPOSE, b"secret")
    for place in range(len(sealed)):
        altered = sealed[:place] + ("A" if sealed[place] != "A" else "B") + sealed[place + 1 :]
        with pytest.raises(ReauthRequired, match="cannot be opened"):
            world.vault.open("ann", PURPOSE, altered)


@pytest.mark.parametrize("text", ["", "v1", "v1..", "v2.a.b", "v1.a.!!", "v1.a.b.c", "é", "v1.x." + "A" * 40])
def test_a_text_of_another_form_is_a_clear_error(world: World, text: str) -> None:
    world.vault.seal("ann", PURPOSE, b"x")
    with pytest.raises(ReauthRequired, match="cannot be opened") as caught:
        world.vault.open("ann", PURPOSE, text)
    assert not caught.value.retry


def test_after_the_key_is_deleted_nothing_opens_once_caches_are_cold(world: World) -> None:
    sealed = world.vault.seal("ann", PURPOSE, b"x")
    world.keys.commit([Delete("keys/ann")])
    with pytest.raises(ReauthRequired, match="its key is gone"):
        world.instance().open("ann", PURPOSE, sealed)
    world.clock.time += datakeys.CACHED_SECONDS
    with pytest.raises(ReauthRequired, match="its key is gone"):
        world.vault.open("ann", PURPOSE, sealed)


def test_a_key_cached_before_an_erasure_seals_nothing_after_it(world: World) -> None:
    before = world.vault.seal("ann", PURPOSE, b"x")
    world.keys.commit([Delete("keys/ann")])
    after = world.vault.seal("ann", PURPOSE, b"y")
    assert world.instance().open("ann", PURPOSE, after) == b"y"
    with pytest.raises(ReauthRequired):
        world.vault.open("ann", PURPOSE, before)


def test_an_instance_with_an_outdated_key_reads_the_current_one(world: World) -> None:
    other = world.instance()
    other.seal("ann", PURPOSE, b"x")
    world.keys.commit([Delete("keys/ann")])
    sealed = world.vault.seal("ann", PURPOSE, b"y")
    assert other.open("ann", PURPOSE, sealed) == b"y"


def test_a_vault_key_that_is_missing_is_the_operators_matter_and_no_persons(world: World) -> None:
    sealed = world.vault.seal("ann", PURPOSE, b"x")
    lost = world.secrets.versions[SECRET]
    world.secrets.versions[SECRET] = [b"k" * 32]
    fresh = world.instance()
    with pytest.raises(KeyLost, match="vault-key that is missing"):
        fresh.open("ann", PURPOSE, sealed)
    with pytest.raises(KeyLost, match="vault-key that is missing"):
        fresh.seal("ann", PURPOSE, b"y")
    assert world.vault.open("ann", PURPOSE, sealed) == b"x"
    world.secrets.versions[SECRET] = lost
    assert fresh.open("ann", PURPOSE, sealed) == b"x"


def test_a_vault_key_that_was_made_here_and_is_gone_is_not_made_again(world: World) -> None:
    world.vault.seal("ann", PURPOSE, b"x")
    kept = world.secrets.versions.pop(SECRET)
    world.clock.time += CLAIM_SECONDS
    with pytest.raises(KeyLost, match="Restore it"):
        world.instance().seal("bob", PURPOSE, b"y")
    assert SECRET not in world.secrets.versions
    world.secrets.versions[SECRET] = kept
    assert world.instance().seal("bob", PURPOSE, b"y")


def test_a_vault_key_of_the_wrong_size_is_a_configuration_error(world: World) -> None:
    world.secrets.add(SECRET, b"short")
    with pytest.raises(ConfigurationError, match=SECRET):
        world.vault.seal("ann", PURPOSE, b"x")


def test_where_the_vault_key_is_provided_none_is_made(world: World) -> None:
    with pytest.raises(ConfigurationError, match="missing"):
        Vault(world.keys, world.secrets, world.clock, may_create=False).seal("ann", PURPOSE, b"x")
    assert world.secrets.versions == {}


def test_the_vault_key_is_made_once_for_all_users_and_instances(world: World) -> None:
    for uid in ("ann", "bob"):
        world.instance().seal(uid, PURPOSE, b"x")
    assert len(world.secrets.versions[SECRET]) == 1


def test_of_two_processes_at_first_use_one_makes_the_vault_key_and_the_other_tries_again(world: World) -> None:
    refused: list[BrainstemError] = []

    def second_process(writes: object) -> None:
        world.keys.before_commit = None
        world.keys.commit([Create(CLAIM, {"by": "first", "until": world.clock.now() + CLAIM_SECONDS})])

    world.keys.before_commit = second_process
    for _ in range(2):
        with pytest.raises(Retry) as caught:
            world.vault.seal("ann", PURPOSE, b"x")
        refused.append(caught.value)
    assert world.secrets.versions == {}
    assert all(error.retry_after for error in refused)
    world.clock.time += CLAIM_SECONDS
    assert world.vault.open("ann", PURPOSE, world.vault.seal("ann", PURPOSE, b"x")) == b"x"


def test_a_lost_answer_to_the_claim_on_the_vault_key_is_settled_by_reading(world: World) -> None:
    world.keys.faults = [Unknown()]
    world.vault.seal("ann", PURPOSE, b"x")
    assert len(world.secrets.versions[SECRET]) == 1


def test_two_instances_racing_for_a_data_key_end_with_the_same_one(world: World) -> None:
    world.vault.seal("zoe", PURPOSE, b"so that the vault key exists")
    other, theirs = world.instance(), []

    def overtake(writes: object) -> None:
        world.keys.before_commit = None
        theirs.append(other.seal("ann", PURPOSE, b"theirs"))

    world.keys.before_commit = overtake
    ours = world.vault.seal("ann", PURPOSE, b"ours")
    assert world.vault.open("ann", PURPOSE, theirs[0]) == b"theirs"
    assert other.open("ann", PURPOSE, ours) == b"ours"


@pytest.mark.parametrize("applied", [True, False])
def test_a_lost_answer_to_the_creation_of_a_data_key_is_settled_by_reading(world: World, applied: bool) -> None:
    world.vault.seal("zoe", PURPOSE, b"so that the vault key exists")
    world.keys.faults, world.keys.unknown_applies = [Unknown()], applied
    sealed = world.vault.seal("ann", PURPOSE, b"x")
    assert world.instance().open("ann", PURPOSE, sealed) == b"x"


def test_data_keys_are_cached_for_ten_minutes(world: World) -> None:
    sealed = world.vault.seal("ann", PURPOSE, b"x")
    before = world.key_reads()
    world.clock.time += datakeys.CACHED_SECONDS - 1
    world.vault.open("ann", PURPOSE, sealed)
    assert world.key_reads() == before
    world.clock.time += 1
    world.vault.open("ann", PURPOSE, sealed)
    assert world.key_reads() == before + 1


def test_the_cache_is_bounded_and_forgets_the_least_used_first(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datakeys, "CACHED_KEYS", 2)
    sealed = {uid: world.vault.seal(uid, PURPOSE, b"x") for uid in ("ann", "bob")}
    world.vault.open("ann", PURPOSE, sealed["ann"])
    sealed["cyd"] = world.vault.seal("cyd", PURPOSE, b"x")
    before = world.key_reads()
    world.vault.open("ann", PURPOSE, sealed["ann"])
    world.vault.open("cyd", PURPOSE, sealed["cyd"])
    assert world.key_reads() == before
    world.vault.open("bob", PURPOSE, sealed["bob"])
    assert world.key_reads() == before + 1


def test_keys_do_not_show_in_reprs(world: World) -> None:
    world.vault.seal("ann", PURPOSE, b"x")
    (master,) = world.secrets.versions[SECRET]
    (data_key,) = world.vault.keys.read("ann").keys.values()  # type: ignore[union-attr]
    shown = repr(world.vault) + repr(vars(world.vault.keys)) + repr(vars(world.vault.keys._wrapping))
    assert "KeySet(current=" in shown
    assert "_Version(id=" in shown
    for key in (master, data_key):
        assert not any(
            form in shown for form in (repr(key), repr(key)[2:12], key.hex(), base64.b64encode(key).decode())
        )


def test_a_read_that_fails_under_the_claim_on_the_vault_key_keeps_nobody_waiting(world: World) -> None:
    read, calls = world.secrets.get, []

    def get(name: str) -> bytes:
        calls.append(name)
        if len(calls) == 2:
            raise Retry("Secret Manager cannot be reached right now.")
        return read(name)

    world.secrets.get = get  # type: ignore[method-assign]
    with pytest.raises(Retry, match="Secret Manager"):
        world.vault.seal("ann", PURPOSE, b"x")
    assert world.vault.open("ann", PURPOSE, world.vault.seal("ann", PURPOSE, b"x")) == b"x"

"""The vault key and its versions: the newest wraps, old ones open, and a lost one is an operator's matter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from shared.errors import ConfigurationError
from shared.ports import Delete, Put
from shared.sets import key_in_kms
from shared.settings import Settings
from shared.vault import master
from shared.vault.choice import chosen
from shared.vault.datakeys import CACHED_SECONDS
from shared.vault.master import SECRET, SecretKey
from shared.vault.rewrap import POSITION, Rewrapped, rewrap
from shared.vault.seal import Vault
from shared.vault.texts import KeyLost, made_by
from shared.vault.wrapping import Wrapping, combined
from tests.unit.fakes import FakeClock, FakeSecrets, Listed

PEOPLE = [f"person-{n}" for n in range(7)]


class Late(FakeSecrets):
    """Secrets whose newest version is told late, as Secret Manager may; versions by their number are there at once."""

    def __init__(self) -> None:
        super().__init__()
        self.told: dict[str, int] = {}

    def get(self, name: str, version: str | None = None) -> bytes:
        if version is None and name in self.told:
            version = str(self.told[name])
        return super().get(name, version)


class World:
    def __init__(self) -> None:
        self.keys, self.secrets, self.clock = Listed(), Late(), FakeClock()
        self.sealed = {uid: self.vault().seal(uid, "p", uid.encode()) for uid in PEOPLE}

    def vault(self, wrapping: Wrapping | None = None) -> Vault:
        return Vault(self.keys, self.secrets, self.clock, wrapping=wrapping)

    def rotate(self) -> None:
        self.secrets.add(SECRET, self.clock.entropy(32))

    def rewrap(self, forget: str = "") -> tuple[Rewrapped, list[Rewrapped]]:
        said: list[Rewrapped] = []
        keys = self.vault().keys
        return rewrap(self.keys, keys._wrapping, keys, said.append, forget=forget), said

    def opens(self, vault: Vault | None = None, people: Sequence[str] = PEOPLE) -> bool:
        vault = vault or self.vault()
        return all(vault.open(uid, "p", self.sealed[uid]) == uid.encode() for uid in people)

    def wrapped_by(self, uid: str) -> str:
        return made_by(self.keys.data(f"keys/{uid}")["wrapped"])

    @property
    def names(self) -> set[str]:
        return {self.wrapped_by(uid) for uid in PEOPLE}


@pytest.fixture
def world() -> World:
    return World()


def test_new_keys_are_wrapped_under_the_newest_version_and_old_ones_open(world: World) -> None:
    old = world.vault()
    assert world.opens(old)
    world.rotate()
    world.sealed["new"] = world.vault().seal("new", "p", b"new")
    assert world.wrapped_by("new") not in world.names
    assert world.opens(people=[*PEOPLE, "new"])
    assert world.opens(old, [*PEOPLE, "new"])


def test_an_instance_that_is_still_told_of_the_old_version_opens_what_another_wrapped_with_the_new(
    world: World,
) -> None:
    late = world.vault()
    world.rotate()
    world.sealed["new"] = world.vault().seal("new", "p", b"new")
    world.secrets.told[SECRET] = 1
    assert world.opens(late, ["new"])
    assert world.opens(people=["new"])


def test_a_run_wraps_all_anew_and_says_so_and_the_old_version_may_go(world: World) -> None:
    (old,) = world.names
    world.rotate()
    done, said = world.rewrap()
    assert (done.changed, done.lost, done.unopenable) == (7, {}, 0)
    assert world.names == {done.target} != {old}
    assert said[-1] == done
    world.secrets.disabled.add((SECRET, 1))
    assert world.opens()


def test_a_run_for_nothing_changes_nothing(world: World) -> None:
    before = {ref: doc.version for ref, doc in world.keys.documents.items() if ref.startswith("keys/")}
    assert world.rewrap()[0].changed == 0
    assert {ref: doc.version for ref, doc in world.keys.documents.items() if ref.startswith("keys/")} == before


def test_a_key_that_was_made_behind_the_walk_is_found_by_the_next(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.vault.rewrap.PAGE", 3)
    world.rotate()
    late = world.vault()
    pages = 0

    def said(_: Rewrapped) -> None:
        nonlocal pages
        pages += 1
        if pages == 2:
            world.secrets.told[SECRET] = 1
            world.sealed["a"] = late.seal("a", "p", b"a")
            del world.secrets.told[SECRET]

    keys = world.vault().keys
    done = rewrap(world.keys, keys._wrapping, keys, said)
    assert done.changed == 8
    assert world.wrapped_by("a") == done.target


def test_a_run_goes_on_where_the_last_one_ended_and_starts_over_for_another_version(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.vault.rewrap.PAGE", 2)
    world.rotate()

    def cut(run: Rewrapped) -> None:
        if run.seen == 4:
            raise KeyboardInterrupt

    keys = world.vault().keys
    with pytest.raises(KeyboardInterrupt):
        rewrap(world.keys, keys._wrapping, keys, cut)
    assert world.keys.data(POSITION)["after"] == "person-3"
    assert [run.seen for run in world.rewrap()[1]][:2] == [2, 3], "the three that were left, then all"
    world.rotate()
    keys = world.vault().keys
    with pytest.raises(KeyboardInterrupt):
        rewrap(world.keys, keys._wrapping, keys, cut)
    world.rotate()
    done, said = world.rewrap()
    assert done.changed == 7
    assert [run.seen for run in said][:4] == [2, 4, 6, 7], "all of them"


def test_a_version_that_is_disabled_sends_nobody_away_and_is_told_of_by_name(world: World) -> None:
    (old,) = world.names
    world.rotate()
    world.secrets.disabled.add((SECRET, 1))
    with pytest.raises(KeyLost):
        world.opens()
    done, _ = world.rewrap()
    assert (done.changed, done.lost) == (0, {old: 7})
    world.secrets.disabled.clear()
    assert world.opens()
    assert world.rewrap()[0].changed == 7


def test_only_what_a_named_lost_key_has_wrapped_is_forgotten(world: World) -> None:
    (old,) = world.names
    world.rotate()
    world.sealed["new"] = world.vault().seal("new", "p", b"new")
    assert world.rewrap(forget="v1.another")[0].lost == {}, "all of them open"
    kept = world.vault()
    assert world.opens(kept)
    world.keys.commit([Put(f"keys/{PEOPLE[0]}", {**world.keys.data(f"keys/{PEOPLE[0]}"), "wrapped": f"{old}.AAAA"})])
    world.secrets.disabled.add((SECRET, 1))
    assert world.rewrap(forget="v1.another")[0].lost == {old: 1}
    assert world.rewrap(forget=old)[0].lost == {}
    assert set(world.keys.documents) == {f"keys/{uid}" for uid in [*PEOPLE[1:], "new"]} | {POSITION, master.CLAIM}


def test_a_key_that_does_not_open_is_left_and_counted(world: World) -> None:
    world.keys.commit([Put("keys/person-3", {**world.keys.data("keys/person-3"), "wrapped": "v1.x.!"})])
    world.rotate()
    done, _ = world.rewrap()
    assert (done.changed, done.unopenable) == (6, 1)
    assert world.keys.data("keys/person-3")["wrapped"] == "v1.x.!"


def test_who_is_forgotten_during_a_run_does_not_come_back(world: World) -> None:
    world.rotate()

    def forget(writes: Sequence[Any]) -> None:
        world.keys.before_commit = None
        world.keys.commit([Delete("keys/person-0")])

    world.keys.before_commit = forget
    world.rewrap()
    assert "keys/person-0" not in world.keys.documents
    assert world.opens(people=PEOPLE[1:])


def test_a_new_version_that_cannot_be_a_key_wraps_nothing_and_closes_nothing(world: World) -> None:
    world.secrets.add(SECRET, b"short")
    with pytest.raises(ConfigurationError, match="32 bytes"):
        world.vault().seal("new", "p", b"x")
    assert world.opens()


def test_versions_that_were_removed_do_not_hide_later_ones(world: World) -> None:
    for _ in range(5):
        world.rotate()
    world.sealed["new"] = world.vault().seal("new", "p", b"new")
    for number in (2, 3, 4, 5):
        world.secrets.disabled.add((SECRET, number))
    world.rotate()
    assert world.opens(people=[*PEOPLE, "new"])


def test_what_is_remembered_of_a_key_ends_with_its_time_even_while_it_seals(world: World) -> None:
    vault = world.vault()
    assert world.opens(vault)
    world.secrets.disabled.add((SECRET, 1))
    for _ in range(10):
        vault.keys._wrapping = SecretKey(world.keys, world.secrets, world.clock, may_create=False)
        world.clock.time += CACHED_SECONDS / 10
        if _ < 9:
            vault.seal(PEOPLE[0], "p", b"y")
    with pytest.raises(ConfigurationError):
        vault.open(PEOPLE[0], "p", world.sealed[PEOPLE[0]])


@pytest.mark.parametrize("named", [(), ("",), ("plain",), ("kms:",), ("kms:projects/p/x",), ("secret", "other")])
def test_a_setting_that_names_no_key_is_refused(world: World, named: tuple[str, ...]) -> None:
    with pytest.raises(ConfigurationError, match="VAULT_KEY"):
        chosen(Settings(vault_key=named), world.keys, world.secrets, world.clock, key_in_kms)


def test_the_setting_chooses_and_only_the_first_wraps(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = chosen(Settings(), world.keys, world.secrets, world.clock, key_in_kms)
    assert isinstance(secret, SecretKey)

    class Kms:
        def __init__(self, name: str) -> None:
            self.name = name

        def wrap(self, data: bytes, bound: bytes) -> str:
            return f"k1.{self.name}-1.{data.decode()}"

        def unwrap(self, text: str, bound: bytes) -> bytes:
            return text.rpartition(".")[2].encode()

        def has_made(self, text: object) -> bool:
            return isinstance(text, str) and text.startswith(f"k1.{self.name}-")

    monkeypatch.setattr("shared.adapters.cloud.kms.KmsKey", Kms)
    both = chosen(Settings(vault_key=("kms:key", "secret")), world.keys, world.secrets, world.clock, key_in_kms)
    assert both.wrap(b"data", b"") == "k1.key-1.data"
    assert both.unwrap("k1.key-1.data", b"") == b"data"
    text = secret.wrap(b"data", b"bound")
    assert both.unwrap(text, b"bound") == b"data"
    assert both.has_made(text)
    assert not both.has_made("x")
    with pytest.raises(ConfigurationError):
        combined([])


def test_in_the_cloud_no_key_is_made(world: World) -> None:
    key = chosen(Settings(backend="cloud"), world.keys, FakeSecrets(), world.clock, key_in_kms)
    with pytest.raises(ConfigurationError, match="missing"):
        key.wrap(b"data", b"")

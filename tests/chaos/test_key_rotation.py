"""Keys replaced under everything that goes on: no token is lost, nobody is sent away, and a crash anywhere leaves what opens.

The provider keeps the very last refresh token alive alone, so a token that is not saved, or cannot be opened, kills the grant.
Everybody's memory of keys is cold at times, and warm at others.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from shared import refs
from shared.adapters.embedded.clock import VirtualClock
from shared.cas import amend
from shared.errors import ReauthRequired, Retry, Unknown
from shared.ports import Data, Doc, Query, Write
from shared.vault import grants as grants_module
from shared.vault.datakeys import CACHED_SECONDS, DataKeys
from shared.vault.grants import Grants
from shared.vault.master import SECRET
from shared.vault.rewrap import Rewrapped, rewrap
from shared.vault.rotation import rotate
from shared.vault.seal import Vault
from shared.vault.texts import made_by
from tests.chaos.test_refresh_races import Crash
from tests.chaos.test_rotation import Family
from tests.interleave import Interleaver
from tests.unit.fakes import FakeSecrets, Listed

UID, GRANT, SECOND = "ann", "google:1", "google:2"
REF = refs.grant(UID, GRANT)
HOUR = 3_600.0
LONG = 30 * 86_400.0


class Raced:
    """A store where others come first, or the end does, at every call."""

    def __init__(self, inner: Listed, point: Callable[[str], None]) -> None:
        self.inner, self.point = inner, point

    def get(self, wanted: Sequence[str]) -> dict[str, Doc]:
        self.point("before a read")
        found = self.inner.get(wanted)
        self.point("after a read")
        return found

    def query(self, query: Query) -> list[Doc]:
        found = self.inner.query(query)
        self.point("after a query")
        return found

    def commit(self, writes: Sequence[Write]) -> list[str | None]:
        self.point("before a commit")
        versions = self.inner.commit(writes)
        self.point("after a commit")
        return versions


class World:
    def __init__(self, seed: int = 0) -> None:
        self.random = random.Random(seed)
        self.clock = VirtualClock(seed=seed)
        self.store, self.keys, self.secrets = Listed(), Listed(), FakeSecrets()
        self.family = Family(self.clock, lambda _: None, kept=1)
        self.instance().put(UID, GRANT, "google", *self.family.first, HOUR)

    def instance(self, point: Callable[[str], None] = lambda _: None) -> Grants:
        """A process that has just begun, and remembers nothing."""
        store, keys = Raced(self.store, point), Raced(self.keys, point)
        return Grants(store, Vault(keys, self.secrets, self.clock), self.clock)

    def add_vault_key(self) -> None:
        self.secrets.add(SECRET, self.clock.entropy(32))

    def rewrap(self, point: Callable[[str], None] = lambda _: None) -> Rewrapped:
        keys = self.instance(point).vault.keys
        return rewrap(Raced(self.keys, point), keys._wrapping, keys, lambda _: None)

    def ask(self, hand: Grants) -> str:
        try:
            return hand.access_token(UID, GRANT, self.family.refresh)
        except Retry:
            return ""

    def refresh_token(self, grant_id: str = GRANT) -> str:
        """What is stored, as a process opens it that has just begun."""
        return self.instance()._open(UID, self.store.documents[refs.grant(UID, grant_id)], "refresh")

    def settled(self) -> None:
        """A rotation that nobody disturbs ends with one key, and everything opens under it."""
        assert rotate(self.instance(), UID)
        assert self.stored["older"] == []
        assert self.refresh_token() == self.family.alive[-1]
        assert self.store.data(REF)["status"] == "active"
        for row in self.store.query(Query("grants", refs.user(UID))):
            for text in row.data["sealed"].values():
                assert text is None or made_by(text) == f"v1.{self.stored['id']}"

    @property
    def stored(self) -> Data:
        return self.keys.data(refs.data_key(UID))


class At:
    """Does something at the so manieth point, once."""

    def __init__(self, number: int, happens: Callable[[], Any]) -> None:
        self.number, self.happens, self.passed = number, happens, 0

    def __call__(self, _: str) -> None:
        self.passed += 1
        if self.passed == self.number:
            self.happens()


def crash() -> None:
    raise Crash


def every_point(world: Callable[[], Any], act: Callable[[Any, Callable[[str], None]], None]) -> range:
    """The points that an undisturbed act passes."""
    counting = At(0, crash)
    act(world(), counting)
    return range(1, counting.passed + 1)


# What happens in between: a whole rotation at each call of each act.


def refresh(world: World, point: Callable[[str], None]) -> None:
    hand = world.instance(point)
    world.clock.advance(HOUR)
    for _ in range(5):
        if token := world.ask(hand):
            break
        world.clock.advance(2)
    assert token == f"access-{world.family.issued}"


def refresh_with_warm_keys(world: World, point: Callable[[str], None]) -> None:
    quiet = [True]
    hand = world.instance(lambda where: None if quiet[0] else point(where))
    assert world.ask(hand) == "access-0"
    world.clock.advance(CACHED_SECONDS - 1)
    quiet[0] = False
    world.clock.advance(HOUR - CACHED_SECONDS)
    assert hand.access_token(UID, GRANT, world.family.refresh) == f"access-{world.family.issued}"


def connect(world: World, point: Callable[[str], None]) -> None:
    world.instance(point).put(UID, SECOND, "google", "access-x", "refresh-x", HOUR)
    assert world.refresh_token(SECOND) == "refresh-x"


def reconnect(world: World, point: Callable[[str], None]) -> None:
    world.instance(point).put(UID, GRANT, "google", "access-y", None, HOUR)
    assert world.instance().access_token(UID, GRANT, world.family.refresh) == "access-y"


def inherit(world: World, point: Callable[[str], None]) -> None:
    world.instance().put(UID, SECOND, "google", "access-x", None, HOUR)
    world.instance(point).inherit(UID, SECOND, GRANT)
    assert world.refresh_token(SECOND) == world.refresh_token()


def refuse(world: World, point: Callable[[str], None]) -> None:
    assert not world.instance(point).revoked(UID, GRANT, "an access token of before")
    assert world.instance(point).access_token(UID, GRANT, world.family.refresh, rejected="access-0")


def turn(world: World, point: Callable[[str], None]) -> None:
    """A rotation of its own; others end one in the middle of it, and begin the next."""
    rotate(world.instance(point), UID)
    assert world.refresh_token() == world.family.alive[-1]


def rotate_and_begin(world: World) -> None:
    rotate(world.instance(), UID)
    world.instance().vault.keys.renew(UID)


ACTS = [refresh, refresh_with_warm_keys, connect, reconnect, inherit, refuse, turn]


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("act", ACTS)
def test_a_rotation_at_any_call_of_anything_loses_no_token_and_sends_nobody_away(
    act: Callable[[World, Callable[[str], None]], None], times: int
) -> None:
    points = every_point(World, act)
    assert len(points) > 5
    for number in points:
        world = World(number)
        act(world, At(number, lambda world=world: [rotate(world.instance(), UID) for _ in range(times)]))
        world.settled()


def test_a_rotation_that_others_overtake_drops_no_key_that_something_is_sealed_under() -> None:
    for number in every_point(World, turn):
        world = World(number)
        turn(world, At(number, lambda world=world: rotate_and_begin(world)))
        world.settled()


@pytest.mark.parametrize("act", [refresh, connect, reconnect, inherit, refuse])
def test_a_vault_key_added_and_all_wrapped_anew_at_any_call_of_anything(
    act: Callable[[World, Callable[[str], None]], None],
) -> None:
    for number in every_point(World, act):
        world = World(number)
        act(world, At(number, lambda world=world: (world.add_vault_key(), world.rewrap())))
        world.settled()


# A crash at every call.


def test_a_rotation_that_dies_anywhere_leaves_what_opens_and_is_gone_on_with() -> None:
    def act(world: World, point: Callable[[str], None]) -> None:
        rotate(world.instance(point), UID)

    left = Counter[int]()
    for number in every_point(World, act):
        world = World(number)
        with pytest.raises(Crash):
            act(world, At(number, crash))
        left[len(world.stored.get("older", ()))] += 1
        assert world.instance().access_token(UID, GRANT, world.family.refresh) == "access-0"
        refresh(world, lambda _: None)
        world.settled()
    assert left[1] > 3, "some died with two keys"


def test_a_rotation_whose_answers_are_lost_ends_all_the_same() -> None:
    for number in range(1, 5):
        world = World(number)
        for store in (world.keys, world.store):
            store.faults = [Unknown()] * number
        rotate(world.instance(), UID)
        world.settled()


def rewrapped_world() -> World:
    world = World()
    for n in range(5):
        world.instance().vault.seal(f"person-{n}", "p", b"token")
    world.add_vault_key()
    return world


def test_a_rewrap_that_dies_anywhere_leaves_what_opens_and_is_gone_on_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.vault.rewrap.PAGE", 2)

    def act(world: World, point: Callable[[str], None]) -> None:
        world.rewrap(point)

    mixed = 0
    for number in every_point(rewrapped_world, act):
        world = rewrapped_world()
        with pytest.raises(Crash):
            act(world, At(number, crash))
        wrapped = Counter(made_by(doc.data["wrapped"]) for ref, doc in world.keys.documents.items() if "keys/" in ref)
        mixed += len(wrapped) == 2
        assert world.instance().access_token(UID, GRANT, world.family.refresh) == "access-0"
        assert all(world.instance().vault.keys.read(f"person-{n}") for n in range(5))
        done = world.rewrap()
        assert (done.lost, done.unopenable) == ({}, 0)
        wrapped = Counter(made_by(doc.data["wrapped"]) for ref, doc in world.keys.documents.items() if "keys/" in ref)
        assert wrapped == {done.target: 6}
    assert mixed > 10


def test_two_who_forget_and_rotate_at_once_leave_nothing_behind() -> None:
    def act(world: World, point: Callable[[str], None]) -> None:
        rotate(world.instance(point), UID)

    for number in every_point(World, act):
        world = World(number)
        act(world, At(number, lambda world=world: world.instance().vault.forget(UID)))
        assert refs.data_key(UID) not in world.keys.documents


# Everything at once, in an order that a seed decides.


class Town(World):
    """Three processes, some of them cold, and who rotates, wraps anew, connects and refreshes all at once."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.scheduler = Interleaver(seed)
        self.quiet = True
        self.hands = [self.instance(self._point) for _ in range(3)]
        self.sent_away: list[str] = []
        self.done = Counter[str]()

    def _point(self, _: str) -> None:
        if not self.quiet:
            self.scheduler.point()

    def guarded(self, name: str, act: Callable[[], Any]) -> Callable[[], None]:
        def guarded() -> None:
            try:
                act()
                self.done[name] += 1
            except Retry:
                self.done[f"{name}, to be tried again"] += 1
            except ReauthRequired as error:
                self.sent_away.append(f"{name}: {error.message}")

        return guarded

    def round(self, number: int) -> None:
        """Tokens age, and everybody does something; then whoever could not is asked again."""
        self.clock.advance(self.random.choice([HOUR, HOUR - 20, 100.0]))
        self.hands[self.random.randrange(3)] = self.instance(self._point)
        hands = self.random.choices(self.hands, k=4)
        acts = [self.guarded("refresh", lambda hand=hand: self.ask(hand)) for hand in hands]
        acts += [self.guarded("rotate", lambda: rotate(self.instance(self._point), UID)) for _ in range(2)]
        if number % 3 == 0:
            self.add_vault_key()
            acts.append(self.guarded("rewrap", lambda: self.rewrap(self._point)))
        if number % 4 == 1:
            new = f"google:new-{number}"
            put = (UID, new, "google", f"access {new}", f"refresh {new}", LONG)
            acts.append(self.guarded("connect", lambda: self.hands[0].put(*put)))
        self.quiet = False
        self.scheduler.run(acts)
        self.quiet = True
        self.clock.advance(61)

    def verify(self) -> None:
        assert self.sent_away == []
        self.settled()
        for row in self.store.query(Query("grants", refs.user(UID))):
            grant_id = refs.key(row.ref)
            if grant_id != GRANT:
                assert self.refresh_token(grant_id) == f"refresh {grant_id}"


@pytest.mark.parametrize("seed", range(25))
def test_whatever_races_with_rotations_of_both_kinds_of_keys_no_token_is_lost(seed: int) -> None:
    town = Town(seed)
    for number in range(12):
        town.round(number)
        assert town.sent_away == []
        assert town.refresh_token() == town.family.alive[-1]
    town.verify()
    assert town.done["rotate"] > 10
    assert town.family.issued > 3


# What keeps us from losing one, taken out.


def _sealed_before_the_row_is_read(patch: pytest.MonkeyPatch) -> None:
    """Sealed once and kept for all attempts, as it was before there were rotations."""
    save = Grants._save
    sealed = Grants._sealed

    def saved(self: Grants, uid: str, held: Doc, fresh: Any) -> bool:
        kept = sealed(self, uid, held.ref, held.data["provider"], fresh.access, fresh.refresh)
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(Grants, "_sealed", lambda *_, **__: dict(kept))
            return save(self, uid, held, fresh)

    patch.setattr(Grants, "_save", saved)


def _token_sets_known_by_their_texts(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(grants_module, "_same", lambda row, held: row.data["sealed"] == held.data["sealed"])


def _not_read_again(patch: pytest.MonkeyPatch) -> None:
    def opened(self: Grants, uid: str, row: Doc, kind: str) -> str:
        purpose = grants_module._purpose(row.data["provider"], row.ref, kind)
        return self.vault.open(uid, purpose, row.data["sealed"][kind]).decode()

    patch.setattr(Grants, "_open", opened)


def _made_and_not_looked_after(patch: pytest.MonkeyPatch) -> None:
    put = Grants.put

    def made(self: Grants, *given: Any, **named: Any) -> None:
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(Grants, "_stays_open", lambda *_: True)
            put(self, *given, **named)

    patch.setattr(Grants, "put", made)


def _key_dropped_whatever_happened_meanwhile(patch: pytest.MonkeyPatch) -> None:
    def retire(self: DataKeys, doc: Doc) -> None:
        amend(
            self._store, doc.ref, lambda row: {"older": [], "rev": row.data["rev"] + 1} if row.data["older"] else None
        )

    patch.setattr(DataKeys, "retire", retire)


def _not_resealed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Grants, "reseal", lambda self, uid, row: True)


def _sealed_under_what_is_remembered(patch: pytest.MonkeyPatch) -> None:
    read = DataKeys.read
    patch.setattr(DataKeys, "read", lambda self, uid: self.cached(uid) or read(self, uid))


@pytest.mark.parametrize(
    "take_out",
    [
        _token_sets_known_by_their_texts,
        _not_read_again,
        _made_and_not_looked_after,
        _not_resealed,
        _sealed_under_what_is_remembered,
        _sealed_before_the_row_is_read,
        _key_dropped_whatever_happened_meanwhile,
    ],
)
def test_a_token_is_lost_or_somebody_sent_away_when_what_prevents_it_is_taken_out(
    monkeypatch: pytest.MonkeyPatch, take_out: Callable[[pytest.MonkeyPatch], None]
) -> None:
    points = {act: every_point(World, act) for act in ACTS}
    take_out(monkeypatch)
    found = 0
    for act in ACTS:
        happens = rotate_and_begin if act is turn else lambda world: rotate(world.instance(), UID)
        for number in points[act]:
            world = World(number)
            try:
                act(world, At(number, lambda world=world, happens=happens: happens(world)))
                world.settled()
            except (AssertionError, ReauthRequired, Retry):
                found += 1
    assert found

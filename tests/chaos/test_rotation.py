"""A hundred rotations of a refresh token with steps racing for each: the grant never dies, whatever goes wrong meanwhile.

The provider keeps the last few refresh tokens of a family alive, as Microsoft does for a while, or the very last alone,
which is stricter than any we know. What goes wrong is what a process can do to another: answers that are lost on either
side, a holder that dies with the new token in its hands, or is so slow that its claim is taken over.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from infra.local.microsoft.app import create_app
from infra.local.microsoft.simulator import MicrosoftSimulator
from infra.local.world import InProcess, settings_in
from shared import refs
from shared.adapters.embedded.clock import VirtualClock
from shared.cas import amend
from shared.errors import Conflict, ProviderUnavailable, ReauthRequired, Retry, Unknown
from shared.ports import Data, Doc, Write
from shared.providers.base import Tokens
from shared.providers.graph.tokens import TokenEndpoint
from shared.providers.http.transport import Transport
from shared.vault import grants
from shared.vault.grants import CLAIM_SECONDS, Grants
from shared.vault.seal import Vault
from tests.chaos.test_refresh_races import Crash, Granted, Strict, outcome
from tests.chaos.wire import REGISTERED
from tests.interleave import Interleaver
from tests.machine import UID
from tests.unit.fakes import FakeSecrets, FakeStore

GRANT = "microsoft:9188040d-6c67-4c5b-b112-36a304b66dad.00000000-0000-0000-0000-000000000001"
REF = refs.grant(UID, GRANT)
HOUR = 3_600.0
ROTATIONS = 100
STEPS, PROCESSES = 6, 3


@dataclass
class Family:
    """A token endpoint; ``kept`` refresh tokens are alive, the newest last."""

    clock: VirtualClock
    point: Callable[[str], None]
    kept: int
    first: tuple[str, str] = ("access-0", "refresh-0")
    alive: deque[str] = field(init=False)
    issued: int = 0

    def __post_init__(self) -> None:
        self.alive = deque([self.first[1]], self.kept)

    def refresh(self, token: str) -> Tokens:
        self.point("on its way to the provider")
        fresh = self._trade(token)
        self.issued += 1
        self.alive.append(str(fresh.refresh))
        self.point("on its way back")
        return fresh

    def _trade(self, token: str) -> Tokens:
        if token not in self.alive:
            raise ReauthRequired("invalid_grant")
        number = self.issued + 1
        return Tokens(f"access-{number}", self.clock.now() + HOUR, f"refresh-{number}")


class AtMicrosoft(Family):
    """Microsoft's token endpoint as the simulator has it, asked as ours asks the real one: three tokens are alive."""

    def __init__(self, clock: VirtualClock, point: Callable[[str], None], folder: Path) -> None:
        self.simulator = simulator = MicrosoftSimulator(folder / "microsoft.sqlite", clock)
        tokens = simulator.add_mailbox("ann@contoso.example")
        simulator.identity.clients.register([{**REGISTERED, "client_id": "client", "client_secret": "secret"}])
        settings = settings_in(folder, microsoft_login_url="http://microsoft.test/", microsoft_client_id="client")
        client = InProcess(create_app(simulator))
        transport = Transport(clock, 20.0, lambda: client, "Microsoft")
        self._endpoint = TokenEndpoint(settings, lambda: "secret", transport, clock)
        super().__init__(clock, point, 3, (tokens["access_token"], tokens["refresh_token"]))

    def _trade(self, token: str) -> Tokens:
        return self._endpoint.refresh(token)


@dataclass
class Raced:
    """A store in which others come first, and whose answers may be lost."""

    inner: FakeStore
    point: Callable[[str], None]

    def get(self, wanted: Sequence[str]) -> dict[str, Doc]:
        self.point("read")
        return self.inner.get(wanted)

    def commit(self, writes: Sequence[Write]) -> list[str | None]:
        self.point("before commit")
        versions = self.inner.commit(writes)
        self.point("after commit")
        return versions


class Race:
    """Processes that all need the same grant's token, and what goes wrong in one round of theirs."""

    def __init__(self, seed: int, family: Callable[[VirtualClock, Callable[[str], None]], Family]) -> None:
        self.random, self.scheduler = random.Random(seed), Interleaver(seed)
        self.clock = VirtualClock(seed=seed)
        self.family = family(self.clock, self._point)
        self.store, self.keys, self.secrets = FakeStore(), FakeStore(), FakeSecrets()
        self.mishap = ""
        self.happened: set[str] = set()
        self.told: set[str] = set()
        self.quiet = True
        self.hands = [self._process() for _ in range(PROCESSES)]
        self.hands[0].put(UID, GRANT, "microsoft", *self.family.first, HOUR, ("Mail.Read",))

    def _process(self) -> Grants:
        vault = Vault(self.keys, self.secrets, self.clock)
        return Grants(Raced(self.store, self._point), vault, self.clock)  # type: ignore[arg-type]

    def _point(self, where: str) -> None:
        if self.quiet:
            return
        place, failure = MISHAPS.get(self.mishap, ("", None))
        if where == place and self.random.random() < 0.5:
            self.happened.add(self.mishap)
            self.mishap = ""
            if failure is not None:
                raise failure
            self.clock.advance(CLAIM_SECONDS + 1)
        self.scheduler.point()

    def round(self, mishap: str) -> None:
        """The token ages; everybody wants a fresh one; what is left over is asked for again until somebody has it."""
        self.clock.advance(self.random.choice([HOUR, HOUR - 100, HOUR - 20]))
        before = self.family.issued
        self.mishap, self.quiet = mishap, False
        self.scheduler.run([lambda n=n: self._ask(self.hands[n % PROCESSES]) for n in range(STEPS)])
        self.mishap, self.quiet = "", True
        for _ in range(100):
            if self._ask(self.hands[0]) and self.family.issued > before:
                return
            self.clock.advance(2)
        raise AssertionError("Nobody gets a token any more.")

    def _ask(self, hand: Grants) -> bool:
        try:
            token = hand.access_token(UID, GRANT, self.family.refresh)
        except (Retry, ProviderUnavailable, Crash) as error:
            self.told.add(type(error).__name__)
            return False
        self.told.add(token)
        return True

    @property
    def row(self) -> Data:
        return self.store.data(REF)

    def stored(self) -> str:
        return self.hands[0]._open(UID, self.store.documents[REF], "refresh")


MISHAPS: dict[str, tuple[str, BaseException | None]] = {
    "a commit is not applied, and nobody knows": ("before commit", Unknown()),
    "a commit is applied, and nobody knows": ("after commit", Unknown()),
    "a commit is refused": ("before commit", Conflict()),
    "the store stumbles": ("before commit", Retry()),
    "the call is slower than the claim": ("on its way to the provider", None),
    "the answer is slower than the claim": ("on its way back", None),
    "the save is slower than the claim": ("before commit", None),
}
LOSSES: dict[str, tuple[str, BaseException | None]] = {
    "the holder dies before the call": ("on its way to the provider", Crash()),
    "the holder dies with the token": ("on its way back", Crash()),
    "the answer is lost": ("on its way back", ProviderUnavailable()),
}
MISHAPS |= LOSSES


def race(seed: int, kept: int, mishaps: Sequence[str]) -> Race:
    """A hundred rotations at an endpoint that keeps so many tokens alive."""
    return disturbed(Race(seed, partial(Family, kept=kept)), mishaps)


def disturbed(world: Race, mishaps: Sequence[str]) -> Race:
    """A hundred rotations, every other of them disturbed."""
    while world.family.issued < ROTATIONS:
        world.round(world.random.choice(mishaps) if world.random.random() < 0.5 else "")
        assert world.row["status"] == "active"
        assert world.stored() in world.family.alive
    return world


@pytest.mark.parametrize("seed", range(12))
def test_a_hundred_rotations_kill_no_grant_where_the_last_few_tokens_are_good(seed: int) -> None:
    world = race(seed, 3, list(MISHAPS))
    assert world.row["version"] > ROTATIONS * 0.8, "nearly every token that was issued has been saved"
    assert "Busy" in world.told
    assert len(world.happened) > 6


@pytest.mark.parametrize("seed", range(12))
def test_a_hundred_rotations_kill_no_grant_where_the_last_token_alone_is_good(seed: int) -> None:
    """Here a token that dies with its holder is lost for good; nothing else may cost the grant."""
    world = race(seed, 1, sorted(set(MISHAPS) - set(LOSSES)))
    assert world.stored() == f"refresh-{world.family.issued}"


@pytest.mark.parametrize("seed", range(4))
def test_without_mishaps_every_rotation_is_one_call_and_is_saved(seed: int) -> None:
    world = Race(seed, partial(Family, kept=3))
    for number in range(1, ROTATIONS + 1):
        world.round("")
        assert world.family.issued == number
        assert world.stored() == f"refresh-{number}"
        assert world.row["version"] == number + 1


@pytest.mark.parametrize("seed", range(2))
def test_a_hundred_rotations_at_microsoft_kill_no_grant(tmp_path: Path, seed: int) -> None:
    made: list[AtMicrosoft] = []

    def at_microsoft(clock: VirtualClock, point: Callable[[str], None]) -> Family:
        made.append(AtMicrosoft(clock, point, tmp_path))
        return made[0]

    world = disturbed(Race(seed, at_microsoft), list(MISHAPS))
    made[0].simulator.close()
    assert world.row["version"] > ROTATIONS * 0.8
    assert "Busy" in world.told
    assert len(world.happened) > 6


# The engine's own steps


class Rotating(Strict):
    """A mail provider each of whose refreshes brings another refresh token, of which the last three are good."""

    def refresh(self, refresh_token: str) -> Tokens:
        fresh = super().refresh(refresh_token)
        self.refresh_tokens = {f"refresh-{number}" for number in range(self.issued - 3, self.issued)}
        self._called("refreshed")
        return fresh


def test_a_hundred_rotations_under_racing_steps_of_a_mailbox(tmp_path: Path) -> None:
    machine = Granted(tmp_path, seed=6)
    machine.provider = Rotating(machine.clock, lenient=True)
    machine.start()
    machine.followed(2)
    scheduler = Interleaver(6)
    hands: list[Any] = []
    while len(machine.provider.refreshed) < ROTATIONS:
        machine.clock.advance(HOUR - 20 - machine.random.choice([0.0, 100.0]))
        number = len(machine.provider.refreshed)
        machine.provider.deliver(f"new{number}")
        machine.start(lambda _: scheduler.point())
        hands = [machine.instance() for _ in range(PROCESSES)]
        scheduler.run([lambda ctx=ctx: outcome(ctx) for ctx in [*hands, *hands]])
        assert len(machine.provider.refreshed) == number + 1, "one call for all of them"
        machine.start()
        machine.run(30)
        assert machine.state.status == "live"
    assert machine.reauths() == 0
    assert len(set(machine.provider.refreshed)) == ROTATIONS, "each with the token that came last"
    machine.verify()


# What keeps us from each, taken out.


def _rotation_ignored(patch: pytest.MonkeyPatch) -> None:
    save = Grants._save
    patch.setattr(Grants, "_save", lambda self, uid, held, fresh: save(self, uid, held, replace(fresh, refresh=None)))


def _believed_whoever_has_the_claim(patch: pytest.MonkeyPatch) -> None:
    def call(self: Grants, refresh: Callable[[str], Tokens], old: str, held: Doc, **_: Any) -> Tokens | None:
        try:
            return refresh(old)
        except ReauthRequired:
            row = amend(self.store, held.ref, lambda row: self._dead(row) if grants._same(row, held) else None)
            if row is not None and row.data["status"] == grants.ACTIVE:
                return None
            raise

    patch.setattr(Grants, "_call", call)


def _never_taken_over(patch: pytest.MonkeyPatch) -> None:
    call = Grants._call
    patch.setattr(
        Grants, "_call", lambda self, refresh, old, held, **_: call(self, refresh, old, held, taken_over=False)
    )


@pytest.mark.parametrize("take_out", [_rotation_ignored, _believed_whoever_has_the_claim, _never_taken_over])
def test_a_grant_dies_when_what_prevents_it_is_taken_out(
    monkeypatch: pytest.MonkeyPatch, take_out: Callable[[pytest.MonkeyPatch], None]
) -> None:
    take_out(monkeypatch)
    with pytest.raises((AssertionError, ReauthRequired)):
        any(race(seed, 1, sorted(set(MISHAPS) - set(LOSSES))) is None for seed in range(12))

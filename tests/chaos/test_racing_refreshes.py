"""Fifty who want a fresh token of one grant at once: one call of the provider, whatever their order, and whoever dies where.

Half of them are callers of ``GET /api/auth/accounts/{provider}/token``, half are steps of a mailbox; they run in three
processes on one store. The providers are the simulated ones, asked by the real clients of their token endpoints. In every
round the token has aged; a thousand rounds are a thousand interleavings, since each goes on where the one before has left off.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from greenlet import getcurrent, greenlet

from infra.local.google.app import create_app as google_app
from infra.local.google.simulator import GoogleSimulator
from infra.local.world import InProcess, settings_in
from shared.adapters.embedded.clock import VirtualClock
from shared.errors import ReauthRequired, Retry
from shared.identity.tokens import Principal
from shared.identity.trail import Trail
from shared.mail.context import Context
from shared.mail.provider_accounts import ProviderAccounts
from shared.privacy.tombstones import TombstoneKey, Tombstones
from shared.providers.base import Tokens
from shared.providers.gmail.tokens import TokenEndpoint
from shared.providers.http.transport import Transport
from shared.vault.grants import CLAIM_SECONDS, Grants
from tests.chaos.test_refresh_races import Crash, Granted, outcome
from tests.chaos.test_rotation import GRANT, HOUR, PROCESSES, AtMicrosoft, Family, Race, Rotating
from tests.chaos.wire import REGISTERED
from tests.interleave import Interleaver
from tests.machine import UID

RACING = 50
INTERLEAVINGS = 250
"""In one test; there are two seeds for each of two providers, with crashes and without."""

POINTS = {"read", "before commit", "after commit", "on its way to the provider", "on its way back"}


class AtGoogle(Family):
    """Google's token endpoint as the simulator has it, asked as ours asks the real one: the refresh token stays."""

    def __init__(self, clock: VirtualClock, point: Callable[[str], None], folder: Path) -> None:
        self.simulator = simulator = GoogleSimulator(folder / "google.sqlite", clock, lambda *_: None)
        tokens = simulator.add_mailbox("ann@example.org")
        simulator.oauth.clients.register([{**REGISTERED, "client_id": "client", "client_secret": "secret"}])
        settings = settings_in(folder)
        client = InProcess(google_app(simulator))
        transport = Transport(clock, 20.0, lambda: client, "Google")
        self._endpoint = TokenEndpoint(
            settings.google_oidc_discovery_url, "client", lambda: "secret", transport, clock
        )  # fmt: skip
        super().__init__(clock, point, 1, (tokens["access_token"], tokens["refresh_token"]))

    def _trade(self, token: str) -> Tokens:
        return self._endpoint.refresh(token)


class Fifty(Race):
    """Fifty at once, of whom one may die at a point that is counted over all of them."""

    def __init__(self, seed: int, family: Callable[[VirtualClock, Callable[[str], None]], Family]) -> None:
        self.passed, self.dies_at = 0, -1
        self.died: Counter[tuple[str, str]] = Counter()
        self.kinds: dict[greenlet, str] = {}
        self.asked = 0
        super().__init__(seed, family)

    def _point(self, where: str) -> None:
        if self.quiet:
            return
        self.scheduler.point()
        number, self.passed = self.passed, self.passed + 1
        if number == self.dies_at:
            self.died[where, self.kinds[getcurrent()]] += 1
            raise Crash

    def recover(self, version: int) -> str:
        """What a caller who comes again gets, once the token set after this version is there."""
        for _ in range(100):
            try:
                token = self.hands[0].lease(UID, GRANT, self.refresh).access
            except Retry:
                token = ""
            if self.row["version"] > version:
                return token
            self.clock.advance(2)
        raise AssertionError("Nobody gets a token any more.")

    def refresh(self, token: str) -> Tokens:
        self.asked += 1
        return self.family.refresh(token)

    def race(self, seed: int, dies_at: int = -1) -> list[str]:
        """One round; answers what each was told: a token, or the name of an error."""
        self.clock.advance(HOUR - self.random.choice([0.0, 10.0, 40.0, 290.0]))
        self.scheduler, self.passed, self.dies_at, self.asked = Interleaver(seed), 0, dies_at, 0
        self.kinds.clear()
        told: list[str] = []
        self.quiet = False
        self.scheduler.run([partial(self._one, number, told) for number in range(RACING)])
        self.quiet = True
        return told

    def _one(self, number: int, told: list[str]) -> None:
        hand: Grants = self.hands[number % PROCESSES]
        self.kinds[getcurrent()] = "caller" if number % 2 else "step"
        try:
            if number % 2:
                told.append(hand.lease(UID, GRANT, self.refresh).access)
            else:
                told.append(hand.access_token(UID, GRANT, self.refresh))
        except (Retry, Crash) as error:
            told.append(type(error).__name__)


PROVIDERS: dict[str, type[AtGoogle] | type[AtMicrosoft]] = {"google": AtGoogle, "microsoft": AtMicrosoft}
each_provider = pytest.mark.parametrize("provider", PROVIDERS)
each_seed = pytest.mark.parametrize("seed", range(2))


@pytest.fixture
def world(tmp_path: Path, provider: str, seed: int) -> Iterator[Fifty]:
    made: list[AtGoogle | AtMicrosoft] = []

    def at_the_provider(clock: VirtualClock, point: Callable[[str], None]) -> Family:
        made.append(PROVIDERS[provider](clock, point, tmp_path))
        return made[0]

    yield Fifty(seed, at_the_provider)
    made[0].simulator.close()


@each_provider
@each_seed
def test_fifty_at_once_make_one_call_in_any_order(world: Fifty, seed: int) -> None:
    before = world.family.first[0]
    for number in range(INTERLEAVINGS):
        told = Counter(world.race(1_000 * seed + number))
        assert world.asked == 1
        after = world.hands[0].lease(UID, GRANT, world.refresh).access
        assert after != before
        assert told[after] >= 1
        assert set(told) <= {after, before, "Busy"}, "whoever does not get the new one has the old one while it lasts"
        assert sum(told.values()) == RACING
        before = after
    assert world.row["version"] == INTERLEAVINGS + 1, "each answer has been saved"


@each_provider
@each_seed
def test_whoever_dies_where_costs_no_grant_and_no_second_call_at_once(world: Fifty, seed: int) -> None:
    """Of each kind of point, every one is where somebody dies in one of the interleavings."""
    world.race(-1)
    points, recovered = world.passed, 0
    for number in range(INTERLEAVINGS):
        version = world.row["version"]
        told = Counter(world.race(1_000 * seed + number, dies_at=(2 * number + seed) % points))
        assert told["Crash"] <= 1
        assert world.asked <= 1, "the claim of a holder that died holds until its deadline"
        since = world.clock.now()
        token = world.recover(version)
        assert world.asked <= 2
        assert world.clock.now() - since <= CLAIM_SECONDS + 2
        assert world.row["status"] == "active"
        assert world.row["version"] == version + 1
        assert token == world.hands[1].access_token(UID, GRANT, world.refresh)
        recovered += world.asked == 2
    assert {where for where, _ in world.died} == POINTS
    assert {kind for _, kind in world.died} == {"caller", "step"}
    assert sum(world.died.values()) > INTERLEAVINGS * 0.9
    assert recovered, "somebody died with the token in their hands"


# Through the front door


def test_callers_of_the_endpoint_and_steps_of_the_mailbox_make_one_call(tmp_path: Path) -> None:
    """The endpoint's own use case and the engine's own steps, with the trail, the mailbox and the log in one store."""
    machine = Granted(tmp_path, seed=3)
    machine.provider = Rotating(machine.clock, lenient=True)
    machine.start()
    machine.followed(2)
    scheduler = Interleaver(3)
    principal = Principal(UID)
    given: list[str] = []

    def ask(ctx: Context) -> None:
        trail, tombstones = Trail(ctx.store, ctx.clock), Tombstones(ctx.store, NoKey())
        accounts = ProviderAccounts(
            ctx.store, ctx.grants, trail, tombstones, lambda _: machine.provider.refresh, "owner"
        )
        with suppress(Retry):
            given.append(accounts.token(principal, UID, "google", None)["access_token"])

    for number in range(20):
        machine.clock.advance(HOUR - 20 - machine.random.choice([0.0, 100.0]))
        machine.provider.deliver(f"new{number}")
        machine.start(lambda _: scheduler.point())
        hands = [machine.instance() for _ in range(PROCESSES)]
        calls = len(machine.provider.refreshed)
        scheduler.run(
            [partial((ask, outcome)[number % 2], hands[number % PROCESSES]) for number in range(RACING)]
        )  # fmt: skip
        assert len(machine.provider.refreshed) == calls + 1, "one call for all of them"
        machine.start()
        machine.run(30)
        assert machine.state.status == "live"
    entries, _ = Trail(machine.store, machine.clock).page(UID, None, 1_000)
    assert [entry["about"]["outcome"] for entry in entries] == ["given"] * len(given), "each is on the trail"
    assert len(set(given)) > 10, "callers and steps win the claim by turns"
    assert set(given) <= set(machine.provider.tokens)
    assert machine.reauths() == 0
    machine.verify()


class NoKey(TombstoneKey):
    """Nobody has been deleted."""

    def __init__(self) -> None:
        pass

    def find(self) -> bytes | None:
        return None


# What keeps us from it, taken out.


def _claim_ignored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Grants, "_claim", lambda self, row: row)


def _claim_released_at_once(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("shared.vault.grants.CLAIM_SECONDS", -1.0)


@pytest.mark.parametrize("take_out", [_claim_ignored, _claim_released_at_once])
@each_provider
@pytest.mark.parametrize("seed", [0])
def test_without_the_claim_there_are_several_calls(
    world: Fifty, monkeypatch: pytest.MonkeyPatch, take_out: Callable[[pytest.MonkeyPatch], None]
) -> None:
    take_out(monkeypatch)
    several = False
    with suppress(ReauthRequired):  # at Microsoft the grant dies of it
        for number in range(10):
            world.race(number)
            several |= world.asked > 1
    assert several or world.row["status"] == "dead"

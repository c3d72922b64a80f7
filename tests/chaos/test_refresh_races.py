"""Grants under races: one refresh however many want it, no good grant lost, a dead one told of once and then left alone.

One long file: its provider, whose tokens age and rotate, is what all of these need and nobody else does.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode

import orjson
import pytest

from shared.errors import ReauthRequired, Retry
from shared.mail.accounts import Accounts
from shared.mail.context import Context
from shared.mail.sync import step
from shared.mail.tasks import StepTask
from shared.mail.tick import tick
from shared.providers.base import Access, Channel, Fetched, Listing, Page, Profile, Span, Tokens
from shared.vault import grants as grants_module
from shared.vault.grants import CLAIM_SECONDS, Grants
from shared.vault.seal import Vault
from tests.chaos.test_interleavings import change, machine_page
from tests.chaos.wire import REGISTERED, Asked, Wire, answered, consent, judge, mail, pass_by, status, told
from tests.interleave import Interleaver
from tests.machine import MAILBOX, SCHEDULE, UID, Machine, no_hook
from tests.provider import MemoryProvider
from tests.unit.fakes import FakeSecrets, FakeStore
from tests.world import ADDRESS, World

GRANT = "google:primary"
HOUR = 3_600.0


class Crash(BaseException):
    """The process is gone: nothing after this line of it happens."""


@dataclass
class Strict(MemoryProvider):
    """A provider whose access tokens age, and each of whose refresh tokens is good once unless it is ``lenient``."""

    lifetime: float = HOUR
    lenient: bool = False
    refreshed: list[str] = field(default_factory=list)
    during: Callable[[], Any] | None = None
    issued: int = 0
    tokens: dict[str, float] = field(default_factory=dict)
    refresh_tokens: set[str] = field(default_factory=lambda: {"refresh-0"})

    def issue(self) -> Tokens:
        number, self.issued = self.issued, self.issued + 1
        self.tokens[f"access-{number}"] = self.clock.now() + self.lifetime
        self.refresh_tokens.add(f"refresh-{number}")
        return Tokens(f"access-{number}", self.clock.now() + self.lifetime, f"refresh-{number}")

    def refresh(self, refresh_token: str) -> Tokens:
        self.refreshed.append(refresh_token)
        self._called("refresh")
        if self.during is not None:
            during, self.during = self.during, None
            during()
        if refresh_token not in self.refresh_tokens:
            raise ReauthRequired("invalid_grant")
        if not self.lenient:
            self.refresh_tokens.remove(refresh_token)
        return self.issue()

    def profile(self, access: Access) -> Profile:
        self._admit(access)
        return super().profile(access)

    def list_ids(
        self, access: Access, page: str | None, limit: int, label: str | None = None, within: Span | None = None
    ) -> Listing:
        self._admit(access)
        return super().list_ids(access, page, limit, label, within)

    def labels(self, access: Access) -> tuple[str, ...]:
        self._admit(access)
        return super().labels(access)

    def fetch(self, access: Access, ids: Any, threads: Any = ()) -> tuple[Fetched, ...]:
        self._admit(access)
        return super().fetch(access, ids, threads)

    def changes(self, access: Access, cursor: str, folder: str = "") -> Page:
        self._admit(access)
        return super().changes(access, cursor, folder)

    def open_channel(self, access: Access, current: str, secret: str) -> Channel | None:
        self._admit(access)
        return super().open_channel(access, current, secret)

    def close_channel(self, access: Access, channel: Channel) -> None:
        self._admit(access)
        super().close_channel(access, channel)

    def _admit(self, access: Access) -> None:
        if self.tokens.get(access.token, 0.0) <= self.clock.now():
            raise ReauthRequired("401")


class Granted(Machine):
    """The machine with real grants, at a provider that is strict about tokens."""

    provider: Strict

    def __init__(self, folder: Path, seed: int = 0, page_size: int = 100, **provider: Any) -> None:
        self.keys, self.secrets = FakeStore(), FakeSecrets()
        super().__init__(folder, seed, page_size)
        self.provider = Strict(self.clock, **provider)
        self.start()

    def start(self, around: Callable[[str], None] = no_hook) -> None:
        super().start(around)
        self.ctx = self.instance()
        self.accounts = Accounts(self.ctx)

    def instance(self) -> Context:
        """The hands of one more process on the same store."""
        vault = Vault(self.keys, self.secrets, self.clock)
        return replace(self.ctx, grants=Grants(self.store, vault, self.clock), providers={"GOOGLE": self.provider})

    def grant(self) -> None:
        """The person brings tokens."""
        tokens = self.provider.issue()
        lasts = tokens.expires_at - self.clock.now()
        self.ctx.grants.put(UID, GRANT, "google", tokens.access, tokens.refresh, lasts, ("mail",))

    def connect(self) -> None:
        self.grant()
        super().connect()

    def reauths(self) -> int:
        return sum(event.type == "grant.reauth_required" for event in self.log())


@pytest.fixture
def machine(tmp_path: Path) -> Granted:
    return Granted(tmp_path, page_size=10)


# Many at once


def outcome(ctx: Context) -> str:
    """What becomes of one look."""
    try:
        step(ctx, StepTask(MAILBOX, "live"))
    except Retry as error:
        return f"again in {error.retry_after} s"
    return "looked"


@pytest.mark.parametrize("instances", [1, 50])
@pytest.mark.parametrize("left", [0.0, 100.0])
@pytest.mark.parametrize("seed", range(3))
def test_fifty_steps_racing_for_a_refresh_make_one_call_in_any_order(
    tmp_path: Path, seed: int, left: float, instances: int
) -> None:
    fifty_interleaved(tmp_path, seed, left, instances)


def fifty_interleaved(tmp_path: Path, seed: int, left: float, instances: int) -> None:
    machine = Granted(tmp_path, seed)
    machine.followed(2)
    machine.clock.advance(HOUR - 20 - left)
    machine.provider.deliver("new")
    scheduler = Interleaver(seed)
    machine.start(lambda _: scheduler.point())
    hands = [machine.instance() for _ in range(instances)]
    told: list[str] = []
    scheduler.run([lambda n=n: told.append(outcome(hands[n % instances])) for n in range(50)])
    assert len(machine.provider.refreshed) == 1
    assert "looked" in told
    if left:
        assert set(told) == {"looked"}, "the old token serves meanwhile"
    machine.start()
    machine.run(60)
    assert len(machine.provider.refreshed) == 1
    machine.verify()


@pytest.mark.parametrize("left", [0.0, 100.0])
def test_fifty_threads_racing_for_a_refresh_make_one_call(machine: Granted, left: float) -> None:
    machine.followed(2)
    machine.clock.advance(HOUR - 20 - left)
    together = threading.Barrier(50, timeout=30)
    arrived = threading.local()

    def wait_for_all(call: str) -> None:
        # Every thread has read the unclaimed row before any of them claims it.
        if call == "before commit" and not getattr(arrived, "yes", False):
            arrived.yes = True
            together.wait()

    machine.start(wait_for_all)
    hands = [machine.instance() for _ in range(50)]
    with ThreadPoolExecutor(50) as pool:
        told = list(pool.map(outcome, hands))
    assert len(machine.provider.refreshed) == 1
    assert "looked" in told
    machine.start()
    machine.provider.deliver("new")
    machine.ring()
    machine.run(60)
    machine.verify()


# A refresh that dies half way


@pytest.mark.parametrize("after", ["the claim", "the call"])
def test_a_refresh_that_dies_half_way_is_taken_over_after_its_deadline(tmp_path: Path, after: str) -> None:
    half_way(tmp_path, after)


def half_way(tmp_path: Path, after: str) -> None:
    # A provider that revokes the old token at once leaves nothing to take over with; none of ours does.
    machine = Granted(tmp_path, lenient=True)
    machine.followed(2)
    machine.clock.advance(HOUR)
    machine.provider.deliver("new")
    machine.ring()

    def dies(call: str) -> None:
        if call == "refresh" and after == "the claim":
            raise Crash
        if call == "before commit" and machine.provider.refreshed:
            raise Crash

    machine.start(dies)
    with pytest.raises(Crash):
        machine.steps()
    assert machine.provider.refreshed == ["refresh-0"]
    died = machine.clock.now()
    machine.start()
    machine.run(CLAIM_SECONDS - 2)
    assert len(machine.provider.refreshed) == 1, "the deadline is kept"
    assert machine.state.status == "live"
    assert "new" not in machine.documents()
    machine.run(120)
    assert machine.provider.refreshed == ["refresh-0"] * 2
    assert machine.state.last_synced_at - died < CLAIM_SECONDS + 60
    assert machine.reauths() == 0
    machine.verify()


def test_fifty_steps_after_a_holder_died_make_one_call(tmp_path: Path) -> None:
    machine = Granted(tmp_path, seed=3)
    machine.followed(2)
    machine.clock.advance(HOUR)

    def dies() -> None:
        raise Crash

    machine.provider.during = dies
    with pytest.raises(Crash):
        step(machine.ctx, StepTask(MAILBOX, "live"))
    machine.clock.advance(CLAIM_SECONDS)
    scheduler = Interleaver(3)
    machine.start(lambda _: scheduler.point())
    hands = [machine.instance() for _ in range(50)]
    scheduler.run([lambda ctx=ctx: outcome(ctx) for ctx in hands])
    assert len(machine.provider.refreshed) == 2
    machine.start()
    machine.run(30)
    machine.verify()


# What is not believed at once


def test_a_holder_overtaken_after_its_deadline_does_not_kill_the_grant(machine: Granted) -> None:
    machine.followed(2)
    machine.clock.advance(HOUR)
    machine.provider.deliver("new")

    def overtaken() -> None:
        machine.clock.advance(CLAIM_SECONDS)
        step(machine.instance(), StepTask(MAILBOX, "live"))  # uses the refresh token up

    machine.provider.during = overtaken
    step(machine.ctx, StepTask(MAILBOX, "live"))
    assert machine.provider.refreshed == ["refresh-0", "refresh-0"]
    machine.run(30)
    assert machine.state.status == "live"
    assert machine.reauths() == 0
    machine.verify()


def test_a_reconnect_during_the_refused_call_wins(machine: Granted) -> None:
    machine.followed(2)
    machine.clock.advance(HOUR)
    machine.provider.refresh_tokens.clear()
    machine.provider.deliver("new")
    machine.provider.during = machine.grant
    step(machine.ctx, StepTask(MAILBOX, "live"))
    machine.run(30)
    assert machine.state.status == "live"
    assert machine.reauths() == 0
    machine.verify()


def test_a_401_of_a_token_that_a_refresh_has_replaced_kills_nothing(machine: Granted) -> None:
    machine.followed(2)
    machine.provider.tokens.clear()  # the provider forgets all access tokens; the refresh token is good
    machine.provider.deliver("new")
    scheduler = Interleaver(5)
    machine.start(lambda _: scheduler.point())
    hands = [machine.instance() for _ in range(10)]
    scheduler.run([lambda ctx=ctx: outcome(ctx) for ctx in hands])
    machine.start()
    machine.run(60)
    assert machine.reauths() == 0
    machine.verify()


def test_a_token_refused_as_soon_as_it_is_given_kills_nothing_shows_and_heals(machine: Granted) -> None:
    machine.followed(2)
    machine.provider.deliver("new")
    machine.provider.lifetime = -1.0  # refreshing works, and nothing that comes of it is accepted
    machine.provider.tokens.clear()
    machine.ring()
    machine.run(40 * 60, ticks=True)
    assert machine.reauths() == 0
    assert machine.state.status == "error"
    assert "only just given" in str(machine.state.troubles["live"].reason)
    machine.provider.lifetime = HOUR
    machine.run(20 * 60, ticks=True)
    assert machine.state.status == "live"
    machine.verify()


def test_a_token_refused_as_soon_as_it_is_given_ends_the_grant_if_the_next_refresh_is_refused_too(
    machine: Granted,
) -> None:
    machine.followed(2)
    machine.provider.lifetime = -1.0
    machine.provider.tokens.clear()
    machine.ring()
    machine.steps()
    machine.provider.refresh_tokens.clear()
    machine.run(60)
    assert machine.reauths() == 1
    assert machine.state.status == "reauth_required"


@pytest.mark.parametrize("seed", range(16))
def test_any_interleaving_of_steps_whose_grant_ages_and_is_refreshed_ends_exact(tmp_path: Path, seed: int) -> None:
    machine = Granted(tmp_path, seed, machine_page(seed), lifetime=(301.0, 306.0, 330.0, 20.0)[seed % 4])
    machine.provider.history_page = 1 + seed % 4
    for number in range(15):
        machine.provider.deliver(f"old{number}", at=machine.clock.now() - 1000 + number)
    machine.connect()
    scheduler = Interleaver(seed)
    machine.start(lambda _: scheduler.point())
    for round_ in range(20):
        deliveries = [*machine.queue.claim(3), *machine.inner_bus.claim(2)]
        bodies: list[Callable[[], Any]] = [lambda one=delivery: machine.deliver(one) for delivery in deliveries]
        bodies.append(lambda n=round_: change(machine, n))
        if round_ % 7 == 3:
            bodies.append(machine.provider.tokens.clear)
        if round_ % 5 == 4:
            bodies.append(lambda: tick(machine.ctx, SCHEDULE))
        if round_ == 12:
            bodies.append(machine.grant)  # the person reconnects while somebody may be refreshing
        if machine.random.random() < 0.2:
            machine.store.after_commit = [machine.lose_answer]
        scheduler.run(bodies)
        machine.store.after_commit.clear()
        machine.clock.advance(machine.random.choice([0.0, 0.3, 1.0, 6.0]))
    machine.start()
    machine.provider.lifetime = HOUR
    machine.run(20 * 60, ticks=True)
    assert machine.reauths() == 0
    assert machine.state.status == "live"
    assert len(machine.provider.refreshed) == len(set(machine.provider.refreshed)) > 2
    machine.verify()


# The whole product


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A mailbox that was connected through the consent pages and is followed; Google knows the client's secret."""
    world = World(tmp_path, page_size=25)
    world.google.add_mailbox(ADDRESS)
    mail(world, "old")
    consent(world)
    world.run(20)
    assert status(world)["status"] == "live"
    yield world
    world.close()


def reauths(world: World) -> int:
    return sum(event["type"] == "grant.reauth_required" for event in world.events())


def is_refresh(asked: Asked) -> bool:
    return asked.of == "token" and b"grant_type=refresh_token" in asked.body


def test_a_dead_grant_is_told_of_once_then_nothing_is_asked_until_the_person_consents_again(world: World) -> None:
    wire = Wire(world)
    world.google.revoke(ADDRESS)
    for number in range(3):
        mail(world, f"while dead {number}")
        world.run(2)
    world.run(60)
    assert status(world)["status"] == "reauth_required"
    assert status(world)["last_error"] is not None
    assert len([asked for asked in wire.asked if is_refresh(asked)]) == 1
    silent_from = world.clock.now()
    for number in range(3):
        mail(world, f"in the silence {number}")
        world.run(HOUR)
    assert wire.since(silent_from) == []
    assert reauths(world) == 1
    code, answer = world.call(
        "api", "POST", "/mail/connect", {"provider": "google"}, Authorization=f"Bearer {world.token}"
    )
    assert (code, answer["error"]["code"]) == (409, "consent_required")
    assert "consent_url" in answer["error"]["details"]
    assert wire.since(silent_from) == []

    before = world.events()
    consent(world)
    world.run(60)
    (mailbox,) = world.api("GET", "/mail/status")["mailboxes"]
    assert (mailbox["id"], mailbox["status"], mailbox["last_error"]) == (MAILBOX, "live", None)
    assert world.events()[: len(before)] == before
    assert len(told(world)) == 7
    assert reauths(world) == 1
    judge(world, connects=2)


def test_a_second_death_is_told_of_again(world: World) -> None:
    for deaths in (1, 2):
        world.google.revoke(ADDRESS)
        world.run(2 * HOUR)
        assert reauths(world) == deaths
        consent(world)
        world.run(60)
        assert status(world)["status"] == "live"


def test_a_consent_during_a_refused_refresh_wins(world: World) -> None:
    wire = Wire(world)
    seen = []

    def person_returns(asked: Asked) -> None:
        if is_refresh(asked) and not seen:
            seen.append(asked)
            consent(world)

    world.google.revoke(ADDRESS)
    wire.hook = person_returns  # type: ignore[assignment]
    mail(world, "meanwhile")
    world.run(60)
    assert seen
    assert status(world)["status"] == "live"
    assert reauths(world) == 0
    assert told(world) == ["old", "meanwhile"]
    judge(world)


def test_the_oldest_of_more_than_a_hundred_refresh_tokens_is_dropped_silently(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.connect(3)
    world.run(20)
    for _ in range(100):
        world.google.add_mailbox(ADDRESS)  # other programs with the same client
    world.run(2 * HOUR)
    assert status(world)["status"] == "reauth_required"
    assert reauths(world) == 1
    world.connect()
    world.run(30)
    assert status(world)["status"] == "live"
    world.close()


PASSING = [
    {"fault": "status", "status": 500},
    {"fault": "status", "status": 503},
    {"fault": "status", "status": 429, "retry_after": 30},
    {"fault": "status", "status": 429},
    {"fault": "status", "status": 403, "reason": "rate_limit_exceeded"},
    {"fault": "timeout", "seconds": 20.0},
    {"fault": "cut"},
    {"fault": "garbage"},
]


@pytest.mark.parametrize("fault", PASSING, ids=lambda fault: f"{fault['fault']}{fault.get('status', '')}")
def test_trouble_of_the_token_endpoint_is_not_death(world: World, fault: dict[str, Any]) -> None:
    not_death(world, fault)


def not_death(world: World, fault: dict[str, Any]) -> None:
    pass_by(world, HOUR)
    wire = Wire(world)
    world.google.set_faults({"calls": [{**fault, "methods": ["token"], "probability": 1.0}]})
    for number in range(3):
        mail(world, f"during the trouble {number}")
        world.run(200)
        assert status(world)["status"] != "reauth_required"
    assert status(world)["last_error"] is not None or status(world)["status"] == "rate_limited"
    assert 2 <= len([asked for asked in wire.asked if is_refresh(asked)]) < 60, "it is asked again, with pauses"
    world.google.set_faults({})
    world.run(330)
    assert (status(world)["status"], status(world)["last_error"]) == ("live", None)
    assert reauths(world) == 0
    assert len(told(world)) == 4
    judge(world)


def test_a_wrong_client_secret_is_our_configuration_and_not_the_persons_grant(world: World) -> None:
    world.google.oauth.clients.register([{**REGISTERED, "client_secret": "rotated by the administrator"}])
    world.run(2 * HOUR)
    shown = status(world)
    assert shown["status"] == "error"
    assert "GOOGLE_CLIENT_ID or its secret" in shown["last_error"]
    assert reauths(world) == 0
    world.google.oauth.clients.register([REGISTERED])
    mail(world, "after the secret was put right")
    world.run(HOUR + 120)
    assert (status(world)["status"], status(world)["last_error"]) == ("live", None)
    judge(world)


def test_a_rotated_refresh_token_that_is_not_saved(world: World) -> None:
    rotated(world)


def rotated(world: World) -> None:
    """Every refresh brings another refresh token, and the one before is refused from then on."""
    wire = Wire(world)
    valid: list[str] = []
    real: list[str] = []

    def rotate(asked: Asked) -> Any:
        if not is_refresh(asked):
            return None
        form = {name: values[0] for name, values in parse_qs(asked.body.decode()).items()}
        if valid and form["refresh_token"] != valid[-1]:
            return answered({"error": "invalid_grant"}, 400)
        real.append(real[0] if real else form["refresh_token"])
        body = urlencode({**form, "refresh_token": real[0]})
        served, content = wire.google.request(asked.uri, "POST", body, asked.headers)
        valid.append(f"rotated-{len(valid) + 1}")
        return served, orjson.dumps({**orjson.loads(content), "refresh_token": valid[-1]})

    wire.hook = rotate
    for number in range(4):
        world.run(HOUR)
        mail(world, f"hour {number}")
        world.run(20)
    assert len(valid) >= 4
    assert status(world)["status"] == "live"
    assert reauths(world) == 0
    judge(world)


# What keeps us from each, as a patch that takes it out.


def _no_claim(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Grants, "_claim", lambda self, row: row)


def _claims_for_ever(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(grants_module, "CLAIM_SECONDS", 1e9)


def _believed_at_once(patch: pytest.MonkeyPatch) -> None:
    def call(self: Grants, refresh: Any, old: str, held: Any, **_: Any) -> Any:
        try:
            return refresh(old)
        except ReauthRequired:
            grants_module.amend(self.store, held.ref, self._dead)
            raise

    patch.setattr(Grants, "_call", call)


def _rotation_ignored(patch: pytest.MonkeyPatch) -> None:
    save = Grants._save
    patch.setattr(Grants, "_save", lambda self, uid, held, fresh: save(self, uid, held, replace(fresh, refresh=None)))


def _any_refusal_is_death(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("shared.providers.gmail.tokens.error_for", lambda *_: ReauthRequired("The grant is dead."))


def test_races_are_lost_when_what_prevents_it_is_taken_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, world: World
) -> None:
    cases: list[tuple[Callable[[pytest.MonkeyPatch], None], Callable[[Path], None]]] = [
        (_no_claim, lambda folder: fifty_interleaved(folder, 1, 0.0, 50)),
        (_claims_for_ever, lambda folder: half_way(folder, "the call")),
        (_believed_at_once, lambda folder: test_a_reconnect_during_the_refused_call_wins(Granted(folder))),
        (
            _believed_at_once,
            lambda folder: test_a_holder_overtaken_after_its_deadline_does_not_kill_the_grant(Granted(folder)),
        ),
        (_any_refusal_is_death, lambda _: not_death(world, PASSING[1])),
    ]
    for number, (take_out, race) in enumerate(cases):
        (tmp_path / f"case{number}").mkdir()
        with monkeypatch.context() as patch:
            take_out(patch)
            with pytest.raises((AssertionError, ReauthRequired)):
                race(tmp_path / f"case{number}")


def test_a_rotated_token_is_lost_when_it_is_not_saved(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    _rotation_ignored(monkeypatch)
    with pytest.raises(AssertionError):
        rotated(world)

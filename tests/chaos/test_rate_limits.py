"""Google's limits: used to the full, never exceeded by us, obeyed when somebody else has used them up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from infra.local.google import errors
from infra.local.google.errors import GoogleError
from infra.local.verify_delivery import Delivery
from tests.chaos.wire import Asked, Wire, answered, consent, judge, mail, planned, status, told
from tests.machine import MAILBOX
from tests.world import ADDRESS, World

OTHER = "work@example.org"
LATENCY = 0.15

Build = Callable[..., World]


@pytest.fixture
def build(tmp_path: Path) -> Iterator[Build]:
    """Makes worlds in which a call takes its time and Google enforces ``profile``."""
    made: list[World] = []

    def build(mails: int, profile: str | None = None, **settings: Any) -> World:
        world = World(tmp_path, **{"gmail_quota": profile or "none", **settings})
        made.append(world)
        world.google.set_faults({"latency": LATENCY})
        if profile is not None:
            world.google.set_quota({"profile": profile})
        world.google.add_mailbox(ADDRESS)
        # No two in one thread, so that each costs what reading a message costs.
        before = world.clock.now() - 86_400.0
        old = [planned(f"old {number}", received_at=before + 60.0 * number) for number in range(-mails, 0)]
        world.google.add_mails(ADDRESS, old, silent=True)
        world.connect()
        return world

    yield build
    for world in made:
        world.close()


def spent(world: World) -> float:
    """What Google has charged."""
    return float(world.google.report()["quota"]["spent"][ADDRESS]["units"])


def refused(world: World) -> int:
    """How often Google has refused a call for a limit."""
    return sum(world.google.report()["quota"]["refused"].get(ADDRESS, {}).values())


def delays(world: World, arrived: dict[str, float]) -> dict[str, float]:
    """Seconds from a mail's arrival to its event at a subscriber, by subject."""
    seen: dict[str, float] = {}
    for delivery in world.received:
        if delivery.attributes["ce-type"] == "email.received":
            seen.setdefault(delivery.data["subject"], delivery.at)
    return {subject: seen[subject] - at for subject, at in arrived.items()}


def is_backfill(delivery: Delivery) -> bool:
    return delivery.attributes["origin"] == "backfill"


def finish(world: World) -> None:
    """Let it run until the past is walked, and some more."""
    for _ in range(120):
        if status(world)["backfill"]["done"]:
            break
        world.run(10)
    world.run(30)


# Within the limit


@pytest.mark.parametrize(("profile", "mails", "window"), [("2026", 640, (15, 85)), ("2025", 1_500, (4, 15))])
def test_a_backfill_beside_live_traffic_uses_the_quota_and_is_never_refused(
    build: Build, profile: str, mails: int, window: tuple[int, int]
) -> None:
    world = build(mails, profile)
    arrived: dict[str, float] = {}
    units: dict[int, float] = {}
    for second in range(1, window[1] + 1):
        world.run(1)
        units[second] = spent(world)
        if second % 3 == 0:
            arrived[f"live {second}"] = world.clock.now()
            mail(world, f"live {second}")
    assert not status(world)["backfill"]["done"], "the backfill was under way all the time"
    begin, end = window
    per_second = world.google.report()["quota"]["per_minute"] / 60
    # What may go at once at the beginning is over by then: this is the steady state.
    assert (units[end] - units[begin]) / ((end - begin) * per_second) >= 0.95
    finish(world)
    assert refused(world) == 0
    late = delays(world, arrived)
    assert max(late.values()) < 10.0
    assert sorted(late.values())[len(late) // 2] < 3.0
    judge(world)


def test_a_client_that_keeps_no_pace_is_refused(build: Build) -> None:
    world = build(300, "2026", gmail_quota="none")
    finish(world)
    assert refused(world) > 0
    judge(world)


def test_a_burst_of_new_mail_during_a_backfill_arrives_whole_and_first(build: Build) -> None:
    world = build(500, "2026")
    world.run(20)
    at = world.clock.now()
    subjects = [f"burst {number}" for number in range(60)]
    world.google.add_mails(ADDRESS, [planned(subject) for subject in subjects])
    world.run(45)
    late = delays(world, dict.fromkeys(subjects, at))
    assert max(late.values()) < 40.0  # 1,200 units take 12 s if nothing else is paid for
    assert not status(world)["backfill"]["done"]
    backfilled = {one.attributes["ce-id"]: one.at for one in reversed(world.received) if is_backfill(one)}
    meanwhile = [moment for moment in backfilled.values() if at < moment <= at + max(late.values())]
    assert len(meanwhile) <= world.settings.page_size, "no page was begun before the burst was in"
    finish(world)
    assert [subject for subject in told(world) if subject.startswith("burst")] == subjects
    judge(world)


def test_a_burst_of_new_mail_during_a_backfill_is_never_refused(build: Build) -> None:
    """The document does not show what a page that is being read has spent, so live sync may not count on its share."""
    world = build(300, "2026")
    world.run(20)
    world.google.add_mails(ADDRESS, [planned(f"burst {number}") for number in range(60)])
    world.run(45)
    assert refused(world) == 0


@pytest.mark.parametrize(("profile", "mails"), [("2026", 150), ("2025", 500)])
def test_what_was_spent_is_visible_and_is_what_google_has_charged(build: Build, profile: str, mails: int) -> None:
    world = build(mails, profile)
    for number in range(10):
        mail(world, f"live {number}")
        world.run(5)
    finish(world)
    shown = status(world)["quota"]
    assert shown["spent"] == pytest.approx(spent(world), rel=0.02)
    assert shown["today"] == shown["spent"]
    before = shown["spent"]
    mail(world, "one more")
    world.run(10)
    assert before < status(world)["quota"]["spent"] < before + 60


# Beyond the limit


def two_mailboxes(build: Build) -> tuple[World, str]:
    """A world with a second account, connected by consent; answers the second mailbox's id."""
    world = build(3, poll_seconds=1e9)
    world.google.add_mailbox(OTHER)
    world.run(20)
    consent(world, OTHER)
    world.run(20)
    (second,) = [row["id"] for row in world.api("GET", "/mail/status")["mailboxes"] if row["address"] == OTHER]
    assert {row["status"] for row in world.api("GET", "/mail/status")["mailboxes"]} == {"live"}
    return world, second


def owner(world: World, asked: Asked) -> str:
    """Whose token a request bears."""
    token = world.google.oauth.tokens.bearer(asked.token)
    return "" if token is None else token.address


SHAPES: dict[str, tuple[float, Callable[[float], GoogleError]]] = {
    "403 rateLimitExceeded": (30.0, lambda _: errors.units_used_up()),
    "403 userRateLimitExceeded": (60.0, lambda now: errors.user_too_fast(now + 60)),
    "429 with a delay in its details": (60.0, lambda _: errors.exhausted(60, retry_after=False)),
    "429 with Retry-After": (60.0, lambda _: errors.exhausted(60, retry_after=True)),
}
"""How Google says that a limit is used up; and for how long we pause, which is our own choice where it does not say."""


@pytest.mark.parametrize("shape", SHAPES)
def test_a_limit_is_obeyed_in_every_shape_and_only_by_the_mailbox_that_it_is_about(build: Build, shape: str) -> None:
    pause, make = SHAPES[shape]
    world, second = two_mailboxes(build)
    wire = Wire(world)
    limited: list[float] = []

    def limit_once(asked: Asked) -> Any:
        if asked.of != "history" or limited or owner(world, asked) != ADDRESS:
            return None
        limited.append(asked.at)
        error = make(asked.at)
        return answered(error.body, error.code, **{name.lower(): value for name, value in error.headers})

    wire.hook = limit_once
    mail(world, "limited")
    world.run(1)
    (at,) = limited
    for number in range(3):
        mail(world, f"during the pause {number}")
        mail(world, f"to the other {number}", address=OTHER)
        world.run((pause - 2) / 3)
        assert status(world)["status"] == "rate_limited"
        assert status(world, second)["status"] == "live"
        assert told(world, mailbox=second)[-1:] == [f"to the other {number}"]
    mine = [asked.at for asked in wire.since(at) if owner(world, asked) == ADDRESS]
    assert mine == [at]
    world.run(12)
    mine = [asked.at for asked in wire.since(at) if owner(world, asked) == ADDRESS]
    assert at + pause <= mine[1] < at + pause + 10
    assert status(world)["status"] == "live"
    assert len(set(told(world)) & {"limited", *(f"during the pause {number}" for number in range(3))}) == 4


def use_up(world: World) -> None:
    """Some other program with the same project reads this mailbox for as long as it is let."""
    with suppress(GoogleError):
        for _ in range(1_000):
            world.google.quota.charge(ADDRESS, "users.messages.get")


@pytest.mark.parametrize("turn", range(4))
def test_a_quota_that_somebody_else_uses_up_ends_exact_without_knocking(build: Build, turn: int) -> None:
    world = build(250, "2026")
    for _ in range(turn):  # each refusal takes the next shape
        world.google.quota._user(ADDRESS).refusals += 1
    shown = set()
    knocks = 0
    for _ in range(12):
        use_up(world)
        before = refused(world)
        for _ in range(10):
            world.run(0.5)
            shown.add(status(world)["status"])
        knocks = max(knocks, refused(world) - before)
    # One batch goes out into a closed door, at most once more into one that is closed anew: no hammering.
    assert knocks <= 60
    finish(world)
    assert status(world)["status"] == "live"
    assert "rate_limited" in shown
    judge(world)


@pytest.mark.parametrize(("wait", "shows"), [(5, False), (60, True)])
def test_a_short_retry_after_in_a_batch_is_slept_and_a_long_one_puts_the_task_off(
    build: Build, wait: int, shows: bool
) -> None:
    world = build(60, page_size=30, gmail_batch_size=10)
    wire = Wire(world)
    inner = {"methods": ["users.messages.get", "users.threads.get"], "where": "inner", "at": [3], "most": 1}
    world.google.set_faults({"calls": [{"fault": "limit_429", **inner, "retry_after": wait}]})
    shown = set()
    for _ in range(wait - 1):
        world.run(1)
        shown.add(status(world)["status"])
    assert ("rate_limited" in shown) == shows
    world.run(60)
    reads = [asked.at for asked in wire.asked if asked.of not in ("history", "watch", "profile", "token")]
    longest = max(after - before for before, after in pairwise(reads))
    assert wait <= longest < wait + 10
    assert ("rate_limited" in shown) == shows
    judge(world)


def test_at_most_ten_calls_at_once_with_batches_of_25_end_exact(build: Build) -> None:
    world = build(150, gmail_batch_size=25)
    world.google.set_quota({"concurrency": 10})
    for number in range(10):
        mail(world, f"live {number}")
        world.run(10)
    finish(world)
    assert refused(world) > 0
    judge(world)


def test_a_server_without_a_batch_endpoint_is_read_one_by_one(build: Build) -> None:
    world = build(80)
    world.google.batch = False
    world.run(60)
    mail(world, "live")
    world.run(20)
    made = world.google.report()["requests"]
    assert made["batch"] <= 2, "it is remembered"
    assert made["users.messages.get"] + made.get("users.threads.get", 0) > 40
    assert status(world, MAILBOX)["status"] == "live"
    judge(world)

"""The quota: what calls cost, when they are refused and in which shapes, and how many may run at one time."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from googleapiclient.errors import HttpError
from werkzeug.test import Client

from infra.local.google.app import create_app
from infra.local.google.errors import GoogleError
from infra.local.google.quota import PROFILES, Quota
from infra.local.google.routes import ROUTES
from infra.local.google.simulator import GoogleSimulator
from infra.local.simulated.errors import ControlError
from shared.adapters.embedded.clock import VirtualClock
from tests.unit.local.conftest import World
from tests.unit.local.inprocess import ADDRESS, TOPIC, gmail_client, plan

GET = "users.messages.get"


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def quota(clock: VirtualClock) -> Quota:
    return _quota(clock)


def _quota(clock: VirtualClock, profile: str = "2026", seed: int = 0, **more: Any) -> Quota:
    quota = Quota(clock, seed)
    quota.put({"profile": profile} | more)
    return quota


def _spend(quota: Quota, method: str = GET, address: str = ADDRESS, at_most: int = 10_000) -> int:
    """Call until refused; answer how many calls passed."""
    for count in range(at_most):
        try:
            quota.charge(address, method)
        except GoogleError:
            return count
    return at_most


def _refusal(quota: Quota, method: str = GET) -> GoogleError:
    with pytest.raises(GoogleError) as caught:
        quota.charge(ADDRESS, method)
    return caught.value


def _spent(quota: Quota, address: str = ADDRESS) -> dict[str, Any]:
    spent: dict[str, Any] = quota.report()["spent"][address]
    return spent


def _batch_body(ids: list[str]) -> str:
    parts = (
        f"--b\r\nContent-Type: application/http\r\n\r\nGET /gmail/v1/users/me/messages/{id_} HTTP/1.1\r\n\r\n\r\n"
        for id_ in ids
    )
    return "".join(parts) + "--b--"


def _batch(world: World, ids: list[str]) -> Counter[str]:
    """How many parts of a batch of gets were answered with which status."""
    headers = {
        "Content-Type": "multipart/mixed; boundary=b",
        "Authorization": f"Bearer {world.tokens['access_token']}",
    }
    answer = Client(world.app).post("/batch", data=_batch_body(ids), headers=headers)
    assert answer.status_code == 200
    return Counter(line.split(" ")[1] for line in answer.text.split("\r\n") if line.startswith("HTTP/1.1"))


@pytest.mark.parametrize(
    ("profile", "method", "price"),
    [
        ("2026", GET, 20), ("2026", "users.messages.attachments.get", 20), ("2026", "users.drafts.get", 20),
        ("2026", "users.threads.get", 40), ("2025", GET, 5), ("2025", "users.messages.attachments.get", 5),
        ("2025", "users.drafts.get", 5), ("2025", "users.threads.get", 10), ("2026", "users.messages.list", 5),
        ("2026", "users.threads.list", 10), ("2025", "users.history.list", 2), ("2026", "users.getProfile", 1),
        ("2026", "users.labels.list", 1), ("2026", "users.labels.update", 5), ("2025", "users.watch", 100),
        ("2026", "users.stop", 50), ("2026", "users.messages.modify", 5), ("2026", "users.messages.batchModify", 50),
        ("2026", "users.messages.send", 100),
    ],
)  # fmt: skip
def test_prices(clock: VirtualClock, profile: str, method: str, price: int) -> None:
    quota = _quota(clock, profile)
    quota.charge(ADDRESS, method)
    assert _spent(quota)["units"] == price


def test_every_name_in_the_price_list_is_a_name_of_a_method() -> None:
    """A misspelt one would cost five units and nobody would see it."""
    served = {route.name for route in ROUTES}
    assert set(PROFILES["2026"].prices) <= served


@pytest.mark.parametrize(("profile", "per_second"), [("2026", 100), ("2025", 250)])
def test_a_user_has_ten_seconds_worth_at_once_and_then_what_flows_in(
    clock: VirtualClock, profile: str, per_second: int
) -> None:
    quota = _quota(clock, profile)
    assert _spend(quota, "users.messages.list") == per_second * 10 // 5
    clock.advance(2)
    assert _spend(quota, "users.messages.list") == per_second * 2 // 5
    clock.advance(3600)
    assert _spend(quota, "users.messages.list") == per_second * 10 // 5


def test_a_spike_that_was_refused_in_reality_is_refused_here(quota: Quota, clock: VirtualClock) -> None:
    """About 2,900 units within 18 seconds."""
    passed = 0
    for _ in range(160):
        passed += _spend(quota, at_most=1)
        clock.advance(18 / 160)
    assert 20 * passed < 2_900


def test_a_refused_call_is_not_charged(quota: Quota) -> None:
    _spend(quota)
    before = _spent(quota)
    for _ in range(5):
        _refusal(quota)
    assert _spent(quota) == before


def test_after_a_refusal_the_bucket_stays_closed_for_two_seconds_whoever_knocks(
    quota: Quota, clock: VirtualClock
) -> None:
    _spend(quota)
    for _ in range(19):
        clock.advance(0.1)
        _refusal(quota, "users.getProfile")
    clock.advance(0.11)
    quota.charge(ADDRESS, "users.getProfile")


def test_users_do_not_share_a_bucket(quota: Quota) -> None:
    _spend(quota)
    assert _spend(quota, address="zoe@example.org") == 50


def test_refusals_take_all_documented_shapes_in_turn(quota: Quota, clock: VirtualClock) -> None:
    _spend(quota)
    seen = [_refusal(quota) for _ in range(8)]
    shapes = [(error.code, error.reason, bool(error.headers)) for error in seen]
    assert shapes[:4] == shapes[4:]
    assert set(shapes) == {
        (403, "rateLimitExceeded", False), (403, "userRateLimitExceeded", False), (429, "rateLimitExceeded", False),
        (429, "rateLimitExceeded", True),
    }  # fmt: skip
    by_shape = dict(zip(shapes, (error.body["error"] for error in seen), strict=True))
    units = by_shape[403, "rateLimitExceeded", False]
    assert "quota metric 'Units'" in units["message"]
    assert "per minute per user" in units["message"]
    until = by_shape[403, "userRateLimitExceeded", False]["message"].removeprefix(
        "User-rate limit exceeded.  Retry after "
    )
    assert datetime.fromisoformat(until).timestamp() == pytest.approx(clock.now() + 2)
    for announced in (False, True):
        exhausted = by_shape[429, "rateLimitExceeded", announced]
        assert exhausted["status"] == "RESOURCE_EXHAUSTED"
        assert exhausted["details"][0]["@type"].endswith("RetryInfo")
        assert exhausted["details"][0]["retryDelay"] == "2.000s"


def test_where_the_turn_begins_is_the_seeds_affair(clock: VirtualClock) -> None:
    def first(seed: int) -> tuple[int, str]:
        quota = _quota(clock, seed=seed)
        _spend(quota)
        error = _refusal(quota)
        return error.code, error.reason

    assert [first(seed) for seed in range(12)] == [first(seed) for seed in range(12)]
    assert len({first(seed) for seed in range(12)}) == 3


@pytest.mark.parametrize("turn", range(4))
def test_who_waits_as_long_as_told_is_served(clock: VirtualClock, turn: int) -> None:
    clock.advance(0.123456)
    quota = _quota(clock)
    _spend(quota)
    for _ in range(turn):
        _refusal(quota)
    clock.advance(0.3217)
    error = _refusal(quota)
    details = error.body["error"].get("details", [{}])[0]
    if error.headers:
        clock.advance(float(error.headers[0][1]))
    elif "retryDelay" in details:
        clock.advance(float(details["retryDelay"].removesuffix("s")))
    elif error.reason == "userRateLimitExceeded":
        clock.advance_to(datetime.fromisoformat(str(error).rpartition(" ")[2]).timestamp())
    else:
        clock.advance(2)
    quota.charge(ADDRESS, GET)


def test_the_report_says_what_was_spent_and_refused_and_how_full_the_limit_was(
    quota: Quota, clock: VirtualClock
) -> None:
    started = clock.now()
    for _ in range(300):
        quota.charge(ADDRESS, GET)
        clock.advance(0.25)
    assert _spent(quota) == {
        "units": 6_000, "calls": 300, "first": started, "last": started + 0.25 * 299,
        "utilisation": pytest.approx(6_000 / (100 * 0.25 * 299)),
    }  # fmt: skip
    assert quota.report()["refused"] == {}
    while _spend(quota, at_most=1):
        pass
    assert sum(quota.report()["refused"][ADDRESS].values()) == 1


def test_a_new_quota_begins_to_account_anew(quota: Quota) -> None:
    _spend(quota)
    quota.put({"profile": "2025"})
    assert quota.report() == {
        "profile": "2025", "concurrency": None, "per_minute": 15_000, "spent": {}, "refused": {},
    }  # fmt: skip
    assert _spend(quota) == 500


@pytest.mark.parametrize(
    "plan_of_nonsense",
    [
        {"profile": "1999"},
        {"profile": 2026},
        {"concurrency": 0},
        {"concurrency": True},
        {"concurrency": "25"},
        {"typo": 1},
    ],
)
def test_a_quota_that_makes_no_sense_is_refused(quota: Quota, plan_of_nonsense: dict[str, Any]) -> None:
    with pytest.raises(ControlError):
        quota.put(plan_of_nonsense)
    assert quota.report()["profile"] == "2026"


def test_without_a_quota_nothing_is_refused_or_counted(world: World) -> None:
    (one,) = world.sim.add_mails(ADDRESS, [plan()])
    for _ in range(60):
        world.get(one)
    assert world.sim.report()["quota"]["spent"] == {}


def test_parts_of_a_batch_are_charged_one_by_one_and_the_batch_is_free(world: World) -> None:
    ids = world.sim.add_mails(ADDRESS, [plan() for _ in range(60)])
    world.sim.set_quota({"profile": "2026"})
    statuses = _batch(world, ids)
    assert statuses["200"] == 50
    assert statuses["403"] + statuses["429"] == 10
    assert world.sim.report()["quota"]["spent"][ADDRESS]["units"] == 1_000


def test_a_refusal_reaches_googles_client_and_passes(world: World) -> None:
    world.sim.set_quota({"profile": "2026"})
    for _ in range(10):
        world.users.watch(userId="me", body={"topicName": TOPIC}).execute()
    with pytest.raises(HttpError, match=r"403|429"):
        world.cursor()
    world.clock.time += 2
    world.cursor()


def test_a_call_that_a_fault_refuses_is_not_charged(world: World) -> None:
    world.sim.set_quota({"profile": "2026"})
    world.sim.set_faults({"calls": [{"fault": "status", "status": 500, "at": [1]}]})
    with pytest.raises(HttpError, match="500"):
        world.cursor()
    assert world.sim.report()["quota"]["spent"] == {}


def test_a_quota_survives_a_restart(world: World) -> None:
    world.sim.set_quota({"profile": "2025", "concurrency": 3})
    world.sim.close()
    world.open()
    report = world.sim.report()["quota"]
    assert (report["profile"], report["concurrency"]) == ("2025", 3)


def test_a_batch_of_100_under_a_limit_of_25_loses_75_and_one_of_25_none(world: World) -> None:
    ids = world.sim.add_mails(ADDRESS, [plan() for _ in range(100)])
    world.sim.set_quota({"concurrency": 25})
    assert _batch(world, ids) == {"200": 25, "429": 75}
    assert _batch(world, ids[:25]) == {"200": 25}
    assert world.sim.report()["quota"]["refused"] == {ADDRESS: {"429 too many concurrent requests": 75}}


def test_a_surplus_part_is_neither_charged_nor_run(world: World) -> None:
    ids = world.sim.add_mails(ADDRESS, [plan() for _ in range(3)])
    world.sim.set_quota({"profile": "2026", "concurrency": 2})
    assert _batch(world, ids) == {"200": 2, "429": 1}
    assert world.sim.report()["quota"]["spent"][ADDRESS]["units"] == 40


class WaitingClock(VirtualClock):
    """Whoever sleeps stays asleep until the gate opens."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.asleep = threading.Semaphore(0)

    def sleep(self, seconds: float) -> None:
        self.asleep.release()
        assert self.gate.wait(5)


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[tuple[WaitingClock, Callable[[str], int]]]:
    """A simulator whose answers take their time, and a way to ask it for a profile."""
    clock = WaitingClock()
    sim = GoogleSimulator(tmp_path / "slow.sqlite", clock, lambda topic, data: None)
    app = create_app(sim)
    sim.set_faults({"latency": 1.0})
    sim.set_quota({"concurrency": 2})

    def ask(address: str) -> int:
        users = gmail_client(app, sim.add_mailbox(address)["access_token"]).users()
        try:
            users.getProfile(userId="me").execute()
        except HttpError as error:
            return int(error.status_code)
        return 200

    yield clock, ask
    clock.gate.set()
    sim.close()


def test_calls_that_wait_for_their_answer_count_as_running(
    slow: tuple[WaitingClock, Callable[[str], int]],
) -> None:
    clock, ask = slow
    statuses: list[int] = []
    threads = [threading.Thread(target=lambda: statuses.append(ask(ADDRESS))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert clock.asleep.acquire(timeout=5)
    late: list[tuple[str, int]] = []
    third = threading.Thread(target=lambda: late.append(("same", ask(ADDRESS))))
    other = threading.Thread(target=lambda: late.append(("other", ask("zoe@example.org"))))
    for thread in (third, other):
        thread.start()
        assert clock.asleep.acquire(timeout=5)  # a refusal takes its time too
    clock.gate.set()
    for thread in (*threads, third, other):
        thread.join(5)
    assert statuses == [200, 200]
    assert sorted(late) == [("other", 200), ("same", 429)]
    assert ask(ADDRESS) == 200


def test_too_many_at_once_says_so(world: World) -> None:
    world.sim.set_quota({"concurrency": 1})
    world.sim.quota.enter(ADDRESS, [])
    with pytest.raises(HttpError, match="Too many concurrent requests for user") as caught:
        world.cursor()
    assert caught.value.status_code == 429

"""Subscriptions of a simulated Graph: handshake, lifetime, what is told of changes, and what happens on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest
from flask import Flask
from werkzeug.test import Client

from infra.local.microsoft.app import create_app
from infra.local.microsoft.errors import GraphError
from infra.local.microsoft.identity import Identity
from infra.local.microsoft.notifications import Heard
from infra.local.microsoft.simulator import MicrosoftSimulator
from infra.local.microsoft.state import State
from infra.local.microsoft.subscriptions import Subscriptions
from infra.local.simulated.errors import ControlError, UnknownThing
from tests.unit.local.inprocess import START, FakeClock, plan

ANN = "ann@contoso.example"
HOOK = "https://app.example/graph_push"
LIFE = f"{HOOK}/lifecycle"
WEEK = 10_080 * 60


def moment(seconds: float) -> str:
    return datetime.fromtimestamp(START + seconds, UTC).isoformat().replace("+00:00", "Z")


def wanted(**changed: Any) -> dict[str, Any]:
    body = {
        "resource": "me/messages", "changeType": "created,updated,deleted", "notificationUrl": HOOK,
        "lifecycleNotificationUrl": LIFE, "clientState": "s3cret", "expirationDateTime": moment(WEEK),
    } | changed  # fmt: skip
    return {name: value for name, value in body.items() if value is not None}


@dataclass
class Hook:
    """A webhook that shakes hands and acknowledges, unless it is told to do otherwise."""

    clock: FakeClock
    shaken: list[str] = field(default_factory=list)
    posts: list[tuple[float, str, list[dict[str, Any]]]] = field(default_factory=list)
    shake: Callable[[str], Heard] = lambda token: Heard(200, 0.1, token)
    take: Callable[[], Heard] = lambda: Heard(202, 0.1)

    def __call__(self, url: str, body: bytes, headers: Mapping[str, str], query: Mapping[str, str]) -> Heard:
        if query:
            assert (body, headers["Content-Type"].partition(";")[0], set(query)) == (
                b"",
                "text/plain",
                {"validationToken"},
            )
            self.shaken.append(url)
            return self.shake(query["validationToken"])
        assert headers["Content-Type"].partition(";")[0] == "application/json"
        self.posts.append((self.clock.time - START, url, orjson.loads(body)["value"]))
        return self.take()

    def told(self, url: str = HOOK) -> list[dict[str, Any]]:
        return [value for _, called, values in self.posts if called == url for value in values]

    def items(self) -> list[str]:
        return [value["resourceData"]["id"] for value in self.told()]


@dataclass
class World:
    """Subscriptions of one mailbox and the webhook behind them."""

    path: Path
    clock: FakeClock = field(default_factory=FakeClock)

    def __post_init__(self) -> None:
        self.hook = Hook(self.clock)
        self.open()
        with self.state.transaction() as db:
            db.execute("INSERT INTO mailboxes (address) VALUES (?)", (ANN,))
        self.identity.accounts.add(ANN)

    def open(self) -> None:
        self.state = State(self.path)
        self.identity = Identity(self.state, self.clock, 7, 3600.0)
        self.subs = Subscriptions(self.state, self.clock, 7, self.hook)

    def create(self, **changed: Any) -> str:
        return str(self.subs.create(ANN, wanted(**changed), immutable=True)["id"])

    def change(self, item: str, kind: str = "created", folder: str = "inbox-id") -> None:
        self.subs.changed(ANN, item, folder, kind, f"mutable-{item}", f"etag-{item}")

    def run(self, seconds: float) -> None:
        """Let time pass, stopping at everything that falls due."""
        until = self.clock.time + seconds
        while (due := self.subs.send_due(self.clock.time)) is not None and due <= until:
            self.clock.time = due
        self.clock.time = until

    def counts(self) -> dict[str, Any]:
        return {name: count for name, count in self.subs.counts().items() if count}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "microsoft.sqlite")
    yield world
    world.state.close()


def refusal(world: World, **changed: Any) -> tuple[int, str]:
    with pytest.raises(GraphError) as caught:
        world.create(**changed)
    return caught.value.code, caught.value.reason


# Creation


def test_a_subscription_is_made_after_both_endpoints_shook_hands(world: World) -> None:
    made = world.subs.create(ANN, wanted(), immutable=True)
    assert world.hook.shaken == [HOOK, LIFE]
    assert made["clientState"] == "s3cret"
    assert (made["resource"], made["changeType"]) == ("me/messages", "created,deleted,updated")
    assert (made["notificationUrl"], made["lifecycleNotificationUrl"]) == (HOOK, LIFE)
    assert made["expirationDateTime"] == moment(WEEK)
    assert world.subs.list(ANN) == [world.subs.read(ANN, made["id"])] == [made | {"clientState": None}]


@pytest.mark.parametrize(
    "answer",
    [
        lambda token: Heard(202, 0.1, token),
        lambda token: Heard(200, 10.1, token),
        lambda token: Heard(200, 0.1, token.replace(" ", "%20")),
        lambda token: Heard(200, 0.1, f'"{token}"'),
        lambda token: Heard(200, 0.1, token, "application/json"),
        lambda token: Heard(0, 0.0),
    ],
)  # fmt: skip
def test_without_a_proper_handshake_there_is_no_subscription(world: World, answer: Callable[[str], Heard]) -> None:
    world.hook.shake = answer
    assert refusal(world) == (400, "ValidationError")
    assert world.subs.list(ANN) == []


def test_an_endpoint_that_is_not_there_is_an_objection_and_no_crash(world: World) -> None:
    def refuse(token: str) -> Heard:
        raise ConnectionRefusedError

    world.hook.shake = refuse
    assert refusal(world) == (400, "ValidationError")


def test_a_handshake_may_take_ten_seconds_and_its_type_may_name_a_charset(world: World) -> None:
    world.hook.shake = lambda token: Heard(200, 10.0, token, "text/plain; charset=utf-8")
    assert world.create() in world.subs.live(ANN)


def test_the_endpoint_may_call_back_during_the_handshake(world: World) -> None:
    def ask_back(token: str) -> Heard:
        assert world.subs.list(ANN) == []
        return Heard(200, 0.1, token)

    world.hook.shake = ask_back
    world.create()


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"resource": "me/events"}, "InvalidRequest"),
        ({"resource": "users/eve@contoso.example/messages"}, "InvalidRequest"),
        ({"resource": None}, "InvalidRequest"),
        ({"changeType": "created,moved"}, "InvalidRequest"),
        ({"changeType": None}, "InvalidRequest"),
        ({"notificationUrl": "ftp://app.example/"}, "InvalidRequest"),
        ({"lifecycleNotificationUrl": "nowhere"}, "InvalidRequest"),
        ({"clientState": "x" * 129}, "InvalidRequest"),
        ({"expirationDateTime": None}, "InvalidRequest"),
        ({"expirationDateTime": "soon"}, "InvalidRequest"),
        ({"expirationDateTime": moment(-1)}, "InvalidRequest"),
        ({"expirationDateTime": moment(WEEK + 1)}, "ExtensionError"),
        ({"includeResourceData": True}, "BadRequest"),
    ],
)
def test_a_creation_that_makes_no_sense_is_refused_before_anybody_is_called(
    world: World, changed: dict[str, Any], reason: str
) -> None:
    assert refusal(world, **changed) == (400, reason)
    assert world.hook.shaken == []


@pytest.mark.parametrize(
    "resource",
    ["/me/messages", f"users/{ANN}/messages", f"users('{ANN}')/messages", "me/mailFolders('inbox-id')/messages"],
)
def test_the_messages_of_the_mailbox_go_by_several_names(world: World, resource: str) -> None:
    world.create(resource=resource)
    world.change("m1")
    world.run(5)
    assert world.hook.items() == ["m1"]


def test_less_than_45_minutes_become_45(world: World) -> None:
    name = world.create(expirationDateTime=moment(60))
    assert world.subs.read(ANN, name)["expirationDateTime"] == moment(45 * 60)


def test_the_same_subscription_twice_is_a_conflict_and_another_one_is_not(world: World) -> None:
    first = world.create()
    assert refusal(world, changeType="updated, deleted,created", clientState="other") == (409, "Conflict")
    second = world.create(notificationUrl=f"{HOOK}/other")
    third = world.create(changeType="created")
    assert world.subs.live(ANN) == [first, second, third]
    world.subs.delete(ANN, first)
    world.create()
    assert world.subs.most_live(ANN) == 3


def test_of_two_that_shake_hands_at_the_same_time_one_is_too_late(world: World) -> None:
    """The handshake is the place where another creation gets in between."""
    inner: list[str] = []

    def create_another(token: str) -> Heard:
        world.hook.shake = lambda token: Heard(200, 0.1, token)
        inner.append(world.create())
        return Heard(200, 0.1, token)

    world.hook.shake = create_another
    assert refusal(world) == (409, "Conflict")
    assert world.subs.live(ANN) == inner


# Lifetime


def test_a_subscription_ends_at_its_time_and_nobody_says_so(world: World) -> None:
    name = world.create()
    world.clock.time += WEEK - 1
    assert world.subs.live(ANN) == [name]
    world.clock.time += 1
    assert world.subs.live(ANN) == []
    for asked in (lambda: world.subs.read(ANN, name), lambda: world.subs.patch(ANN, name, {}),
                  lambda: world.subs.delete(ANN, name)):  # fmt: skip
        with pytest.raises(GraphError) as caught:
            asked()
        assert caught.value.code == 404
    world.change("m1")
    world.run(60)
    assert world.hook.posts == []
    world.create(expirationDateTime=moment(2 * WEEK))


def test_a_renewal_moves_the_end_within_the_same_bounds(world: World) -> None:
    name = world.create(expirationDateTime=moment(3600))
    world.clock.time += 1800
    shaken = len(world.hook.shaken)
    renewed = world.subs.patch(ANN, name, {"expirationDateTime": moment(1800 + WEEK)})
    assert renewed["expirationDateTime"] == moment(1800 + WEEK)
    assert len(world.hook.shaken) == shaken
    for body in ({"expirationDateTime": moment(1801 + WEEK)}, {"clientState": "x"}, {}):
        with pytest.raises(GraphError) as caught:
            world.subs.patch(ANN, name, body)
        assert caught.value.code == 400


def test_somebody_elses_subscription_does_not_exist(world: World) -> None:
    name = world.create()
    with world.state.transaction() as db:
        db.execute("INSERT INTO mailboxes (address) VALUES ('eve@contoso.example')")
    world.identity.accounts.add("eve@contoso.example")
    with pytest.raises(GraphError) as caught:
        world.subs.read("eve@contoso.example", name)
    assert caught.value.code == 404


def test_what_is_on_its_way_arrives_after_the_end(world: World) -> None:
    name = world.create()
    world.change("m1")
    world.subs.delete(ANN, name)
    world.change("m2")
    world.run(5)
    assert world.hook.items() == ["m1"]


def test_a_withdrawn_grant_ends_all_subscriptions(world: World) -> None:
    world.create()
    world.subs.revoked(ANN)
    assert world.subs.live(ANN) == []


# Notifications


def test_a_change_is_told_in_graphs_words_within_seconds(world: World) -> None:
    name = world.create()
    world.change("AAk=", "updated")
    assert world.subs.send_due(world.clock.time) is not None
    assert world.hook.posts == []
    world.run(2)
    account = world.identity.accounts.find(ANN)
    place = f"Users/{account.id}/Messages/AAk="
    assert world.hook.told() == [
        {
            "subscriptionId": name, "subscriptionExpirationDateTime": moment(WEEK), "changeType": "updated",
            "resource": place, "clientState": "s3cret", "tenantId": account.tenant,
            "resourceData": {
                "@odata.type": "#Microsoft.Graph.Message", "@odata.id": place, "@odata.etag": "etag-AAk=",
                "id": "AAk=",
            },
        }
    ]  # fmt: skip
    assert world.subs.send_due(world.clock.time) is None
    assert world.counts() == {"wanted": 1, "posts": 1, "sent": 1, "live": {ANN: 1}, "most_live": {ANN: 1}}


def test_ids_are_immutable_only_where_that_was_asked_for_at_creation(world: World) -> None:
    world.subs.create(ANN, wanted(), immutable=False)
    world.change("m1")
    world.run(5)
    assert world.hook.items() == ["mutable-m1"]


def test_only_the_changes_and_folders_that_were_asked_for_are_told(world: World) -> None:
    world.create(changeType="created", resource="me/mailFolders/other-id/messages")
    world.change("m1")
    world.change("m2", folder="other-id")
    world.change("m2", "deleted", folder="other-id")
    world.run(5)
    assert world.hook.items() == ["m2"]


def test_what_happens_at_once_comes_in_few_posts(world: World) -> None:
    world.create()
    for number in range(45):
        world.change(f"m{number}")
    world.run(5)
    assert len(world.hook.told()) == 45
    assert max(len(values) for _, _, values in world.hook.posts) <= 20
    assert len(world.hook.posts) < 10


def test_every_subscription_hears_of_a_change(world: World) -> None:
    names = {world.create(), world.create(notificationUrl=f"{HOOK}/other")}
    world.change("m1")
    world.run(5)
    assert {value["subscriptionId"] for url in (HOOK, f"{HOOK}/other") for value in world.hook.told(url)} == names


@pytest.mark.parametrize("refuse", [Heard(500, 0.1), Heard(202, 3.1), Heard(0, 0.0)])
def test_what_is_not_acknowledged_in_time_is_sent_again_until_it_is(world: World, refuse: Heard) -> None:
    world.create()
    answers = [refuse, refuse, Heard(202, 3.0)]
    world.hook.take = lambda: answers.pop(0)
    world.change("m1")
    world.run(120)
    assert world.hook.items() == ["m1"] * 3
    times = [time for time, _, _ in world.hook.posts]
    assert [round(later - earlier) for earlier, later in pairwise(times)] == [10, 20]
    assert (world.counts()["retried"], world.counts()["sent"]) == (2, 1)


def test_after_four_hours_nobody_tries_any_more(world: World) -> None:
    world.create()
    world.hook.take = lambda: Heard(503, 0.1)
    world.change("m1")
    world.run(5 * 3600)
    assert world.subs.send_due(world.clock.time) is None
    assert world.counts()["lost"] == 1
    assert 3.8 * 3600 < world.hook.posts[-1][0] <= 4 * 3600 + 2
    gaps = [later[0] - earlier[0] for earlier, later in pairwise(world.hook.posts)]
    assert gaps == sorted(gaps)
    assert max(gaps) <= 601


def test_an_outage_reaches_nobody_and_ends(world: World) -> None:
    name = world.create()
    world.subs.outage = True
    assert refusal(world, changeType="created") == (400, "ValidationError")
    world.change("m1")
    world.run(600)
    assert (world.hook.posts, world.hook.shaken) == ([], [HOOK, LIFE])
    world.subs.outage = False
    world.run(900)
    assert world.hook.items() == ["m1"]
    assert world.subs.live(ANN) == [name]


def test_a_restart_keeps_subscriptions_what_is_on_its_way_and_an_outage(world: World) -> None:
    name = world.create()
    world.change("m1")
    world.subs.outage = True
    world.state.close()
    world.open()
    assert (world.subs.live(ANN), world.subs.outage, world.subs.most_live(ANN)) == ([name], True, 1)
    world.subs.outage = False
    world.run(5)
    assert world.hook.items() == ["m1"]


def test_the_endpoint_may_change_things_while_it_is_told(world: World) -> None:
    world.create()

    def change_back() -> Heard:
        world.hook.take = lambda: Heard(202, 0.1)
        world.change("m2")
        assert world.subs.send_due(world.clock.time) is not None
        return Heard(202, 0.1)

    world.hook.take = change_back
    world.change("m1")
    world.run(10)
    assert world.hook.items() == ["m1", "m2"]


def test_a_crash_of_the_endpoint_leaves_the_notification_to_the_next_try(world: World) -> None:
    world.create()
    world.change("m1")

    def crash() -> Heard:
        world.hook.take = lambda: Heard(202, 0.1)
        raise RuntimeError("a mistake of the test's own")

    world.hook.take = crash
    with pytest.raises(RuntimeError):
        world.run(5)
    world.run(5)
    assert world.hook.items() == ["m1", "m1"]


def test_many_that_send_at_once_send_everything_once(world: World) -> None:
    for number in range(4):
        world.create(notificationUrl=f"{HOOK}/{number}")
    for number in range(25):
        world.change(f"m{number}")
    world.clock.time += 5
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: world.subs.send_due(world.clock.time), range(4)))
    for number in range(4):
        told = [value["resourceData"]["id"] for value in world.hook.told(f"{HOOK}/{number}")]
        assert sorted(told) == sorted(f"m{number}" for number in range(25))


# Fates


def test_dropped_notifications_never_come(world: World) -> None:
    world.create()
    world.subs.put_faults({"drop": 1.0})
    world.change("m1")
    world.run(86_400)
    assert world.hook.posts == []
    assert world.counts()["dropped"] == 1
    assert world.subs.fates() == {"push dropped": 1}


def test_doubled_notifications_come_twice(world: World) -> None:
    world.create()
    world.subs.put_faults({"duplicate": 1.0})
    world.change("m1")
    world.run(5)
    assert world.hook.items() == ["m1", "m1"]


def test_delayed_notifications_come_late(world: World) -> None:
    world.create()
    world.subs.put_faults({"delay": 1.0, "delay_seconds": 170})
    world.change("m1")
    world.run(169)
    assert world.hook.posts == []
    world.run(5)
    assert world.hook.items() == ["m1"]


def test_reordered_notifications_come_behind_the_next_one(world: World) -> None:
    world.create()
    world.subs.put_faults({"reorder": 1.0})
    world.change("m1")
    world.subs.put_faults({})
    world.change("m2")
    world.run(10)
    assert world.hook.items() == ["m2", "m1"]


def test_an_early_notification_goes_out_at_once_and_its_change_lags(world: World) -> None:
    world.create()
    assert world.subs.lag(ANN, 5) == 0.0
    world.subs.put_faults({"early": 1.0, "early_seconds": 3})
    assert world.subs.lag(ANN, 5) == 3
    world.subs.changed(ANN, "m1", "inbox-id", "created", number=5)
    world.subs.send_due(world.clock.time)
    assert world.hook.items() == ["m1"]


def test_fates_and_delays_follow_the_seed(tmp_path: Path) -> None:
    def run(seed: int, name: str) -> list[tuple[float, str]]:
        world = World(tmp_path / name)
        world.create()
        world.subs.put_faults({"drop": 0.3, "duplicate": 0.3, "reorder": 0.3, "delay": 0.2, "seed": seed})
        for number in range(40):
            world.change(f"m{number}")
            world.run(2)
        world.run(60)
        world.state.close()
        return [(time, value["resourceData"]["id"]) for time, _, values in world.hook.posts for value in values]

    assert run(1, "a") == run(1, "b") != run(2, "c")


@pytest.mark.parametrize("plan", [{"drop": -1}, {"lost": 1.0}, {"early": "often"}])
def test_a_fault_plan_that_makes_no_sense_is_refused(world: World, plan: dict[str, Any]) -> None:
    with pytest.raises(ControlError):
        world.subs.put_faults(plan)


# Slow endpoints


def _burst(world: World, count: int, **answer: float) -> None:
    world.hook.take = lambda: Heard(202, answer["seconds"])
    for number in range(count):
        world.change(f"b{number}")
        world.run(2)


def test_an_endpoint_that_is_often_slow_hears_ten_minutes_late(world: World) -> None:
    world.create()
    _burst(world, 9, seconds=0.1)
    _burst(world, 2, seconds=3.5)
    world.hook.take = lambda: Heard(202, 0.1)
    world.run(60)
    world.hook.posts.clear()
    at = world.clock.time - START
    world.change("late")
    world.run(900)
    assert world.counts()["slowed"] >= 1
    assert world.hook.posts[-1][0] - at == pytest.approx(601, abs=1)
    world.run(600)
    world.change("soon")
    world.run(2)
    assert world.hook.items()[-1] == "soon"


def test_one_slow_answer_among_many_changes_nothing(world: World) -> None:
    world.create()
    _burst(world, 19, seconds=0.1)
    _burst(world, 1, seconds=3.5)
    _burst(world, 1, seconds=0.1)
    assert "slowed" not in world.counts()


def test_an_endpoint_that_is_often_very_slow_loses_ten_minutes_and_is_told_that_it_missed_something(
    world: World,
) -> None:
    name = world.create()
    _burst(world, 10, seconds=10.5)
    world.hook.take = lambda: Heard(202, 0.1)
    world.run(120)
    world.hook.posts.clear()
    for number in range(3):
        world.change(f"gone{number}")
    world.run(700)
    assert world.counts()["deaf"] >= 3
    assert not [item for item in world.hook.items() if item.startswith("gone")]
    (event,) = world.hook.told(LIFE)
    assert (event["lifecycleEvent"], event["subscriptionId"], event["clientState"]) == ("missed", name, "s3cret")
    world.change("heard")
    world.run(5)
    assert world.hook.items()[-1] == "heard"


# Lifecycle


def test_a_missed_event_comes_on_demand_and_changes_nothing(world: World) -> None:
    name = world.create()
    assert world.subs.lifecycle(ANN, "missed") == [name]
    world.run(5)
    (event,) = world.hook.told(LIFE)
    assert event == {
        "subscriptionId": name, "subscriptionExpirationDateTime": moment(WEEK), "clientState": "s3cret",
        "tenantId": world.identity.accounts.find(ANN).tenant, "lifecycleEvent": "missed", "resource": "me/messages",
    }  # fmt: skip
    assert world.subs.live(ANN) == [name]


def test_a_removed_subscription_is_gone_and_its_owner_is_told(world: World) -> None:
    first, second = world.create(), world.create(changeType="created")
    assert world.subs.lifecycle(ANN, "subscriptionRemoved", first) == [first]
    assert world.subs.live(ANN) == [second]
    world.run(5)
    assert [event["subscriptionId"] for event in world.hook.told(LIFE)] == [first]
    with pytest.raises(UnknownThing):
        world.subs.lifecycle(ANN, "subscriptionRemoved", first)


@pytest.mark.parametrize("how", ["patch", "reauthorize", "nothing"])
def test_who_does_not_reauthorize_in_time_hears_nothing_more(world: World, how: str) -> None:
    name = world.create()
    world.subs.lifecycle(ANN, "reauthorizationRequired")
    world.run(300)
    assert [event["lifecycleEvent"] for event in world.hook.told(LIFE)] == ["reauthorizationRequired"]
    world.change("meanwhile")
    if how == "patch":
        world.subs.patch(ANN, name, {"expirationDateTime": moment(WEEK)})
    elif how == "reauthorize":
        world.subs.reauthorize(ANN, name)
    world.run(301)
    world.change("afterwards")
    world.run(5)
    assert world.hook.items() == (["meanwhile"] if how == "nothing" else ["meanwhile", "afterwards"])
    assert world.counts().get("withheld", 0) == (how == "nothing")


def test_without_a_lifecycle_endpoint_nobody_is_told(world: World) -> None:
    world.create(lifecycleNotificationUrl=None)
    world.subs.lifecycle(ANN, "subscriptionRemoved")
    world.run(60)
    assert (world.hook.shaken, world.hook.posts, world.subs.live(ANN)) == ([HOOK], [], [])


def test_control_reaches_lifecycle_outage_and_delay(world: World) -> None:
    app = Flask("control")
    app.testing = True
    world.subs.add_control(app)
    http = Client(app)
    name = world.create()
    answer = http.post(f"/control/mailboxes/{ANN}/lifecycle", json={"event": "missed", "subscription": name})
    assert answer.get_json() == {"ids": [name]}
    assert http.put("/control/notifications", json={"outage": True}).get_json() == {"outage": True, "lag_seconds": 1.0}
    assert http.put("/control/notifications", json={"outage": False, "lag_seconds": 30}).status_code == 200
    world.change("m1")
    world.run(14)
    assert world.hook.told() == []
    world.run(60)
    assert world.hook.items() == ["m1"]
    for body in ({"outage": 1}, {"lag_seconds": -1}, {"lag_seconds": True}, {"typo": 1}):
        with pytest.raises(ControlError):
            http.put("/control/notifications", json=body)
    for body in ({}, {"event": "renamed"}):
        with pytest.raises(ControlError):
            http.post(f"/control/mailboxes/{ANN}/lifecycle", json=body)


# The whole simulator


def test_a_delivered_mail_is_told_of_with_the_id_under_which_it_can_be_read(tmp_path: Path) -> None:
    clock = FakeClock()
    hook = Hook(clock)
    sim = MicrosoftSimulator(tmp_path / "whole.sqlite", clock, 7, notify=hook)
    headers = {"Authorization": f"Bearer {sim.add_mailbox(ANN)['access_token']}"}
    http = Client(create_app(sim))
    immutable = headers | {"Prefer": 'IdType="ImmutableId"'}
    made = http.post("/v1.0/subscriptions", json=wanted(), headers=immutable)
    assert made.status_code == 201
    (message_id,) = sim.add_mails(ANN, [plan()])
    clock.time += 2
    sim.pump()
    assert (hook.items(), hook.told()[0]["changeType"]) == ([message_id], "created")
    found = http.get(f"/v1.0/me/messages/{message_id}", headers=immutable).get_json()
    assert found["@odata.etag"] == hook.told()[0]["resourceData"]["@odata.etag"]
    user = http.get("/v1.0/me", headers=headers).get_json()["id"]
    assert hook.told()[0]["resource"] == f"Users/{user}/Messages/{message_id}"
    path = f"/v1.0/subscriptions/{made.get_json()['id']}"
    assert http.patch(path, json={"expirationDateTime": moment(WEEK)}, headers=headers).status_code == 200
    assert http.delete(path, headers=headers).status_code == 204
    assert http.get("/v1.0/subscriptions", headers=headers).get_json()["value"] == []
    sim.close()

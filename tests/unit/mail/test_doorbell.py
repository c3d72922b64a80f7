"""Doorbells of Microsoft Graph: what rings whom, what is forged, and what is never taken from a notification."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import orjson
import pytest

from shared import queries, refs
from shared.adapters.embedded.clock import VirtualClock
from shared.adapters.embedded.database import Database
from shared.adapters.embedded.store import EmbeddedStore
from shared.adapters.embedded.tasks import EmbeddedTasks, QueueConfig
from shared.errors import InvalidRequest, Retry
from shared.mail.doorbell import NOTIFICATIONS_AT_MOST, Rung, digest, graph_push
from shared.mail.tasks import HINTS_AT_MOST
from shared.ports import Create
from tests.machine import HookedStore, HookedTasks

ANN, BOB = "user_ann:primary:MICROSOFT", "user_bob:primary:MICROSOFT"
SECRET = "".join(["can", "ary-", "of-ann"])
BOBS = "".join(["can", "ary-", "of-bob"])


class Bench:
    """A store with the routes of two subscriptions, and a queue."""

    def __init__(self, folder: Path) -> None:
        database = Database(folder / "brainstem.sqlite", synchronous="OFF")
        self.clock = VirtualClock(seed=1)
        self.store = HookedStore(EmbeddedStore(database, queries.SHAPES))
        self.tasks = HookedTasks(EmbeddedTasks(database, self.clock, {"sync": QueueConfig()}))
        self.route("sub-a", ANN, SECRET)
        self.route("sub-b", BOB, BOBS)

    def route(self, subscription: str, mailbox: str, secret: str) -> None:
        ref = refs.route("MICROSOFT", subscription)
        self.store.commit([Create(ref, {"mailboxes": [mailbox], "secret": digest(secret)})])

    def push(self, *notices: Any) -> Rung:
        return graph_push(self.store, self.tasks, self.clock, {"value": list(notices)})

    def rung(self) -> list[tuple[str, str, tuple[str, ...]]]:
        """What was enqueued and is one task: mailbox, kind, hints."""
        bodies = {orjson.dumps(body): body for _, body, _ in self.tasks.enqueued}
        return sorted((body["mailbox"], body["kind"], tuple(body.get("hints", ()))) for body in bodies.values())


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def notice(subscription: str = "sub-a", secret: Any = SECRET, message: Any = "AAMk=1", **more: Any) -> dict[str, Any]:
    return {
        "subscriptionId": subscription,
        "clientState": secret,
        "changeType": "created",
        "resource": f"Users/u/Messages/{message}",
        "resourceData": {"@odata.type": "#Microsoft.Graph.Message", "id": message},
        "tenantId": "84bd8158-6d4d-4958-8b9f-9d6445542f95",
        **more,
    }


def lifecycle(event: str, subscription: str = "sub-a", secret: str = SECRET) -> dict[str, Any]:
    return {"subscriptionId": subscription, "clientState": secret, "lifecycleEvent": event, "tenantId": "t"}


def test_a_notification_rings_its_mailbox_and_names_the_message(bench):
    assert bench.push(notice()) == Rung(1)
    assert bench.rung() == [(ANN, "live", ("AAMk=1",))]


def test_one_post_may_tell_of_several_tenants_and_of_one_mailbox_often(bench):
    told = [notice(message=f"m{n}", tenantId=f"t{n}") for n in range(3)]
    assert bench.push(*told, notice(message="m1"), notice("sub-b", BOBS, "b")) == Rung(2)
    assert bench.rung() == [(ANN, "live", ("m0", "m1", "m2")), (BOB, "live", ("b",))]
    assert bench.store.reads == 2, "one batched read for all"


def test_more_messages_than_one_look_takes_lead_to_several(bench):
    bench.push(*(notice(message=f"m{n}") for n in range(HINTS_AT_MOST + 1)))
    assert sorted(len(hints) for _, _, hints in bench.rung()) == [1, HINTS_AT_MOST]


def test_very_many_messages_are_walked_for_and_not_read_one_by_one(bench):
    bench.push(*(notice(message=f"m{n}") for n in range(5 * HINTS_AT_MOST + 1)))
    assert bench.rung() == [(ANN, "live", ())]


@pytest.mark.parametrize("secret", ["", "wrong", SECRET[:-1], SECRET + "x", BOBS, None, 5, [SECRET], "\ud800", "é"])
def test_a_forged_notification_rings_nobody_and_is_counted(bench, secret):
    assert bench.push(notice(secret=secret)) == Rung(0, forged=1)
    assert bench.rung() == []


def test_the_secret_of_one_subscription_opens_no_other(bench):
    assert bench.push(notice("sub-b", SECRET), notice("sub-a", BOBS)) == Rung(0, forged=2)
    assert bench.rung() == []


def test_an_unknown_subscription_is_no_error_and_is_counted(bench):
    assert bench.push(notice("sub-x"), notice("SUB-A"), notice()) == Rung(1, unknown=2)
    assert bench.rung() == [(ANN, "live", ("AAMk=1",))]


def test_the_route_of_an_address_is_no_subscription(bench):
    bench.store.commit([Create(refs.route("MICROSOFT", "ann@example.org"), {"mailboxes": [ANN]})])
    assert bench.push(notice("ann@example.org"), notice("ann@example.org", "")) == Rung(0, forged=2)
    assert bench.rung() == []


def test_a_subscription_of_another_provider_is_not_looked_at(bench):
    bench.store.commit([Create(refs.route("GOOGLE", "sub-g"), {"mailboxes": [ANN], "secret": digest(SECRET)})])
    assert bench.push(notice("sub-g")) == Rung(0, unknown=1)


def test_what_is_refused_is_logged_without_anything_that_came_in(bench, caplog):
    with caplog.at_level(logging.DEBUG, "brainstem"):
        bench.push(notice("sub-x", SECRET), notice(secret="forged-canary"))
    [record] = [record for record in caplog.records if record.name.endswith("doorbell")]
    event, fields, _ = record.said  # type: ignore[attr-defined]
    assert (event, fields) == ("doorbell_refused", {"unknown": 1, "forged": 1, "rung": 0})
    assert "canary" not in caplog.text


@pytest.mark.parametrize("id_", ["", "a/../b", "a b", "a?b", "a%2fb", "ä", "\n", "a" * 513, None, 7, {"x": 1}])
def test_an_id_that_can_be_none_is_no_hint_and_the_whole_mailbox_is_looked_at(bench, id_):
    assert bench.push(notice(message=id_)) == Rung(1)
    assert bench.rung() == [(ANN, "live", ())]


def test_a_notification_without_resource_data_rings_all_the_same(bench):
    bare = notice()
    del bare["resourceData"]
    assert bench.push(bare, notice(message="m1")) == Rung(1)
    assert bench.rung() == [(ANN, "live", ()), (ANN, "live", ("m1",))]


def test_a_replayed_post_adds_no_look_of_its_own(bench):
    bench.push(notice())
    bench.push(notice())
    assert [str(result) for _, _, result in bench.tasks.enqueued] == ["created", "pending"]


@pytest.mark.parametrize(
    "body",
    [
        None, [], {}, "value", 5, {"value": None}, {"value": {}}, {"value": "x"}, {"value": [None]}, {"value": [[]]},
        {"value": [{}]}, {"value": [{"subscriptionId": 5}]}, {"value": [{"subscriptionId": ""}]},
        {"value": [{"subscriptionId": "s" * 257}]},
    ],
)  # fmt: skip
def test_a_malformed_body_is_refused(bench, body):
    with pytest.raises(InvalidRequest):
        graph_push(bench.store, bench.tasks, bench.clock, body)
    assert (bench.store.reads, bench.rung()) == (0, [])


def test_one_malformed_notification_is_enough_that_nothing_is_rung(bench):
    with pytest.raises(InvalidRequest):
        bench.push(notice(), {"clientState": SECRET})
    assert bench.rung() == []


def test_more_notifications_than_there_can_be_are_refused(bench):
    with pytest.raises(InvalidRequest):
        bench.push(*[notice()] * (NOTIFICATIONS_AT_MOST + 1))
    assert bench.rung() == []


def test_an_empty_collection_is_no_error_and_reads_nothing(bench):
    assert bench.push() == Rung()
    assert bench.store.reads == 0


def test_reauthorization_renews_the_channel_once_and_says_nothing_of_mail(bench):
    for _ in range(3):
        assert bench.push(lifecycle("reauthorizationRequired"), lifecycle("reauthorizationRequired")) == Rung(1)
    assert bench.rung() == [(ANN, "channel", ())]
    assert [str(result) for _, _, result in bench.tasks.enqueued].count("created") == 1
    bench.clock.advance(601)
    bench.push(lifecycle("reauthorizationRequired"))
    assert [str(result) for _, _, result in bench.tasks.enqueued].count("created") == 2


def test_a_removed_subscription_is_opened_again_and_the_whole_mailbox_looked_at(bench):
    assert bench.push(lifecycle("subscriptionRemoved")) == Rung(1)
    assert bench.rung() == [(ANN, "channel", ()), (ANN, "live", ())]


@pytest.mark.parametrize("event", ["missed", "somethingNew"])
def test_what_was_missed_is_looked_for_in_the_whole_mailbox(bench, event):
    bench.push({**lifecycle(event), "resourceData": {"id": "m1"}})
    assert bench.rung() == [(ANN, "live", ())]


def test_a_forged_lifecycle_event_leads_to_nothing(bench):
    events = ("reauthorizationRequired", "subscriptionRemoved", "missed")
    assert bench.push(*(lifecycle(event, secret=BOBS) for event in events)) == Rung(0, forged=3)
    assert bench.rung() == []


def test_every_mailbox_of_a_shared_subscription_is_rung(bench):
    ref = refs.route("MICROSOFT", "shared")
    bench.store.commit([Create(ref, {"mailboxes": [ANN, BOB], "secret": digest(SECRET)})])
    assert bench.push(notice("shared")) == Rung(2)
    assert [mailbox for mailbox, _, _ in bench.rung()] == [ANN, BOB]


def test_what_could_not_be_enqueued_or_read_is_not_acknowledged(bench):
    def refuse() -> None:
        raise Retry("The queue is away.")

    bench.tasks.before_enqueue.append(refuse)
    with pytest.raises(Retry):
        bench.push(notice(), notice("sub-b", BOBS))
    bench.store.around = lambda call: refuse() if call == "get" else None
    with pytest.raises(Retry):
        bench.push(notice())
    assert bench.rung() == []

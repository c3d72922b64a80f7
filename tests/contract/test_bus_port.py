"""The Bus: pushed at least once, in order per key whatever fails, given up visibly."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from shared.ports import BusMessage
from tests.contract.worlds import Answer, Call, World, run


def messages(*texts: str) -> list[BusMessage]:
    return [BusMessage(text.encode()) for text in texts]


def text(call: Call) -> str:
    return b64decode(call.body["message"]["data"]).decode()


def texts(calls: list[Call], target: str | None = None) -> list[str]:
    return [text(call) for call in calls if target in (None, call.target)]


def always(status: int) -> Answer:
    return lambda call: status


def refusing(*refused: str) -> Callable[[Call], int]:
    return lambda call: 500 if text(call) in refused else 200


def test_a_push_carries_the_envelope_of_pubsub(world: World) -> None:
    world.subscribe("sub", "events")
    world.bus.publish("events", [BusMessage(b"\x00\xff", {"ce-id": "1", "ü": "é"})], "stream")
    (call,) = run(world, always(200))
    assert call.target == "/sub"
    assert call.headers["Content-Type"] == "application/json"
    message: dict[str, Any] = call.body["message"]
    assert b64decode(message["data"]) == b"\x00\xff"
    assert message["attributes"] == {"ce-id": "1", "ü": "é"}
    assert message["messageId"] == message["message_id"] != ""
    assert message["publishTime"] == message["publish_time"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3,9}Z", message["publishTime"])
    assert datetime.fromisoformat(message["publishTime"]).timestamp() == pytest.approx(world.bus_time(), abs=60)
    assert call.body["subscription"].startswith("projects/")
    assert call.body["subscription"].endswith("/subscriptions/sub")
    assert set(call.body) == {"message", "subscription"}
    assert set(message) == {"data", "attributes", "messageId", "message_id", "publishTime", "publish_time"}


def test_every_subscription_of_the_topic_gets_every_message(world: World) -> None:
    world.subscribe("one", "events")
    world.subscribe("two", "events")
    world.subscribe("other", "segments")
    world.bus.publish("events", messages("a", "b"), "k")
    calls = run(world, always(200))
    assert texts(calls, "/one") == texts(calls, "/two") == ["a", "b"]
    assert texts(calls, "/other") == []
    ids = [{call.body["message"]["messageId"] for call in calls if text(call) == which} for which in "ab"]
    assert [len(found) for found in ids] == [1, 1], "a message has one id for all its subscriptions"
    assert ids[0] != ids[1]


def test_a_full_topic_name_means_its_short_one(world: World) -> None:
    world.subscribe("sub", "projects/local/topics/events")
    world.bus.publish("events", messages("a"))
    world.bus.publish("projects/local/topics/events", messages("b"))
    assert sorted(texts(run(world, always(200)))) == ["a", "b"]


def test_a_subscription_gets_what_is_published_after_it_was_made(world: World) -> None:
    world.bus.publish("events", messages("before"), "k")
    world.subscribe("sub", "events")
    world.bus.publish("events", messages("after"), "k")
    assert texts(run(world, always(200))) == ["after"]


def test_publishing_nothing_is_fine(world: World) -> None:
    world.subscribe("sub", "events")
    world.bus.publish("events", [])
    assert run(world, always(200)) == []


@pytest.mark.parametrize("status", [200, 201, 202, 204, 102])
def test_an_acknowledged_message_does_not_return(world: World, status: int) -> None:
    world.subscribe("sub", "events")
    world.bus.publish("events", messages("a"))
    assert texts(run(world, always(status))) == ["a"]
    world.advance(3600)
    assert run(world, always(200)) == []


@pytest.mark.parametrize("status", [301, 400, 404, 409, 429, 500, 503, 599])
def test_any_other_answer_brings_it_back_after_the_backoff(world: World, status: int) -> None:
    world.subscribe("sub", "events")
    world.bus.publish("events", messages("a"))
    first = run(world, always(status))
    world.advance(0.9)
    assert run(world, always(200)) == []
    world.advance(0.2)
    again = run(world, always(200))
    assert texts(again) == ["a"]
    assert again[0].body == first[0].body, "the same message, with the same id"


def test_the_backoff_doubles_up_to_its_limit(world: World) -> None:
    world.subscribe("sub", "events")
    world.bus.publish("events", messages("a"))
    run(world, always(500))
    for wait in (1, 2, 4):
        world.advance(wait - 0.1)
        assert run(world, always(500)) == []
        world.advance(0.2)
        assert texts(run(world, always(500))) == ["a"]


def test_messages_of_a_key_come_in_the_order_of_their_publishing(world: World) -> None:
    world.subscribe("sub", "events")
    world.bus.publish("events", messages("1", "2"), "k")
    world.bus.publish("events", messages("3"), "k")
    world.bus.publish("events", messages("4", "5"), "k")
    assert texts(run(world, always(200))) == ["1", "2", "3", "4", "5"]


def test_of_a_key_one_message_at_a_time_is_out(world: World) -> None:
    world.subscribe("sub", "events")
    world.bus.publish("events", messages("a1", "a2"), "a")
    world.bus.publish("events", messages("b1", "b2"), "b")
    assert sorted(texts(world.together())) == ["a1", "b1"]
    assert sorted(texts(world.together())) == ["a2", "b2"]


def test_messages_without_a_key_are_out_together(world: World) -> None:
    world.subscribe("sub", "events")
    world.bus.publish("events", messages("1", "2"))
    assert sorted(texts(world.together())) == ["1", "2"]


def test_a_failed_message_holds_its_key_back_until_it_is_acknowledged(world: World) -> None:
    world.subscribe("sub", "events")
    world.bus.publish("events", messages("1", "2", "3"), "k")
    assert texts(run(world, refusing("2"))) == ["1", "2"]
    world.bus.publish("events", messages("4"), "k")
    assert run(world, always(200)) == [], "neither 3 nor 4 overtakes 2 during its backoff"
    world.advance(1.1)
    assert texts(run(world, always(200))) == ["2", "3", "4"]


def test_a_failing_key_holds_no_other_key_back(world: World) -> None:
    world.subscribe("sub", "events")
    world.bus.publish("events", messages("a1", "a2"), "a")
    world.bus.publish("events", messages("b1", "b2"), "b")
    world.bus.publish("events", messages("none"))
    assert sorted(texts(run(world, refusing("a1")))) == ["a1", "b1", "b2", "none"]


def test_a_failing_subscription_holds_no_other_back(world: World) -> None:
    world.subscribe("bad", "events")
    world.subscribe("good", "events")
    world.bus.publish("events", messages("1", "2"), "k")
    calls = run(world, lambda call: 500 if call.target == "/bad" else 200)
    assert texts(calls, "/bad") == ["1"]
    assert texts(calls, "/good") == ["1", "2"]


def test_order_survives_failures_at_every_position(world: World) -> None:
    world.subscribe("sub", "events")
    expected = [str(n) for n in range(12)]
    for n in range(0, 12, 3):
        world.bus.publish("events", messages(*expected[n : n + 3]), "k")
    failed: set[str] = set()
    applied: list[str] = []

    def fails_once(call: Call) -> int:
        if int(text(call)) % 2 == 0 and text(call) not in failed:
            failed.add(text(call))
            return 503
        applied.append(text(call))
        return 200

    for _ in range(20):
        run(world, fails_once)
        world.advance(5)
    assert applied == expected


@pytest.mark.parametrize("key", ["", "k"])
def test_a_message_is_given_up_after_its_last_attempt_and_its_key_goes_on(world: World, key: str) -> None:
    world.subscribe("sub", "events", ordered=bool(key))
    world.bus.publish("events", messages("bad", "good"), key)
    seen: list[str] = []
    for _ in range(10):
        seen += texts(run(world, refusing("bad")))
        world.advance(5)
    assert seen.count("bad") == 5
    if not key:
        assert seen.count("good") == 1
    elif world.gives_up_in_order:
        assert seen[5:] == ["good"]
    else:
        assert seen[5:] == [], "where a key does not go on, nothing may overtake"


def test_what_was_given_up_goes_to_the_dead_letter_topic(world: World) -> None:
    world.subscribe("sub", "events", ordered=world.gives_up_in_order, dead_letter_topic="dead")
    world.subscribe("graveyard", "dead")
    world.bus.publish("events", [BusMessage(b"bad", {"ce-id": "1"})], "k")
    calls: list[Call] = []
    for _ in range(10):
        calls += run(world, lambda call: 200 if call.target == "/graveyard" else 500)
        world.advance(5)
    assert texts(calls, "/sub") == ["bad"] * 5
    assert texts(calls, "/graveyard") == ["bad"]
    attributes = calls[-1].body["message"]["attributes"]
    assert attributes["ce-id"] == "1"
    assert attributes["CloudPubSubDeadLetterSourceSubscription"] == "sub"


@pytest.mark.parametrize(
    ("topic", "message", "key"),
    [
        ("", BusMessage(b"a"), ""),
        ("with space", BusMessage(b"a"), ""),
        ("events", BusMessage(b"a"), "k" * 1025),
        ("events", BusMessage(b"a", {"n": 1}), ""),  # type: ignore[dict-item]
        ("events", BusMessage(b"a", {"n": "\ud800"}), ""),
    ],
)
def test_what_no_bus_can_carry_is_refused_whole(world: World, topic: str, message: BusMessage, key: str) -> None:
    world.subscribe("sub", "events")
    with pytest.raises(ValueError, match=r"."):
        world.bus.publish(topic, [BusMessage(b"fine"), message], key)
    assert run(world, always(200)) == []

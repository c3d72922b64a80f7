"""Subscriptions, crashes and dead letters of the embedded bus."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from shared.adapters.embedded.bus import EmbeddedBus
from shared.adapters.embedded.clock import VirtualClock
from shared.adapters.embedded.database import Database
from shared.adapters.embedded.subscriptions import Subscription
from shared.errors import StorageFull
from shared.ports import BusMessage

SUB = Subscription("sub", "events", "/sub", ack_deadline=12, max_attempts=2)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "b.db", synchronous="OFF")
    yield database
    database.close()


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def bus(database: Database, clock: VirtualClock) -> EmbeddedBus:
    bus = EmbeddedBus(database, clock, per_subscription=4)
    bus.subscribe(SUB)
    return bus


def publish(bus: EmbeddedBus, *texts: str, key: str = "k") -> None:
    bus.publish("events", [BusMessage(text.encode()) for text in texts], key)


def test_subscribing_the_same_again_keeps_the_backlog(bus: EmbeddedBus) -> None:
    publish(bus, "a")
    bus.subscribe(SUB)
    bus.subscribe(replace(SUB, topic="projects/local/topics/events"))
    assert (bus.subscriptions(), bus.backlog("sub")) == ([SUB], 1)


def test_another_configuration_under_the_same_name_needs_replace(bus: EmbeddedBus) -> None:
    publish(bus, "a")
    moved = replace(SUB, endpoint="/moved")
    with pytest.raises(ValueError, match="another configuration"):
        bus.subscribe(moved)
    bus.subscribe(moved, replace=True)
    assert [delivery.endpoint for delivery in bus.claim(10)] == ["/moved"]


@pytest.mark.parametrize("changed", [replace(SUB, topic="segments"), replace(SUB, ordered=False)])
def test_replacing_topic_or_order_drops_the_backlog(bus: EmbeddedBus, changed: Subscription) -> None:
    publish(bus, "a", "b")
    (delivery,) = bus.claim(10)
    bus.subscribe(changed, replace=True)
    bus.settle(delivery, 200)
    assert (bus.backlog("sub"), bus.claim(10), bus.next_due()) == (0, [], None)


def test_unsubscribing_drops_everything_even_what_is_out(bus: EmbeddedBus) -> None:
    publish(bus, "a", "b")
    (delivery,) = bus.claim(10)
    bus.unsubscribe("sub")
    bus.settle(delivery, 500)
    bus.unsubscribe("sub")
    bus.subscribe(SUB)
    assert (bus.backlog("sub"), bus.dead_letters("sub"), bus.claim(10)) == (0, [], [])


def test_subscriptions_and_backlog_outlive_a_crash_in_order(
    bus: EmbeddedBus, database: Database, clock: VirtualClock
) -> None:
    publish(bus, "a", "b")
    (before,) = bus.claim(10)
    restarted = EmbeddedBus(database, clock)
    assert restarted.subscriptions() == [SUB]
    (after,) = restarted.claim(10)
    assert after == before
    restarted.settle(after, 200)
    assert len(restarted.claim(10)) == 1


def test_what_was_acknowledged_before_a_crash_does_not_return(
    bus: EmbeddedBus, database: Database, clock: VirtualClock
) -> None:
    publish(bus, "a")
    bus.settle(bus.claim(10)[0], 200)
    assert EmbeddedBus(database, clock).claim(10) == []


def test_a_delivery_says_how_long_its_endpoint_may_take(bus: EmbeddedBus) -> None:
    publish(bus, "a")
    assert bus.claim(1)[0].timeout == 12


def test_one_subscription_cannot_take_all_workers(bus: EmbeddedBus) -> None:
    bus.subscribe(replace(SUB, name="zzz"))
    publish(bus, *"abcdefgh", key="")
    first = bus.claim(5)
    assert [delivery.subscription for delivery in first].count("sub") == 4
    assert [delivery.subscription for delivery in bus.claim(3)] == ["zzz"] * 3
    assert bus.claim(10, per_subscription=4) == []
    assert bus.next_due() is None, "both are full until something is settled"
    bus.settle(first[0], 200)
    assert len(bus.claim(10)) == 1


def test_subscriptions_take_turns(bus: EmbeddedBus) -> None:
    bus.subscribe(replace(SUB, name="zzz"))
    publish(bus, *"abcd", key="")
    assert [bus.claim(1)[0].subscription for _ in range(4)] == ["sub", "zzz", "sub", "zzz"]


def test_an_unordered_subscription_ignores_the_key(bus: EmbeddedBus) -> None:
    bus.subscribe(replace(SUB, name="free", ordered=False))
    publish(bus, "a", "b", "c")
    out = [delivery.subscription for delivery in bus.claim(10)]
    assert (out.count("sub"), out.count("free")) == (1, 3)


def test_next_due_is_the_end_of_the_backoff(bus: EmbeddedBus, clock: VirtualClock) -> None:
    assert bus.next_due() is None
    publish(bus, "a", "b")
    assert bus.next_due() == clock.now()
    (delivery,) = bus.claim(1)
    assert bus.next_due() is None, "b waits for a"
    bus.settle(delivery, 500)
    assert bus.next_due() == clock.now() + 1


@pytest.mark.parametrize("topic", [None, "nobody-listens"])
def test_a_message_that_was_given_up_is_kept_where_nobody_takes_it(
    bus: EmbeddedBus, clock: VirtualClock, topic: str | None
) -> None:
    bus.subscribe(replace(SUB, dead_letter_topic=topic), replace=True)
    bus.publish("events", [BusMessage(b"bad", {"a": "b"}), BusMessage(b"good")], "k")
    for _ in range(2):
        bus.settle(bus.claim(1)[0], 503)
        clock.advance(5)
    (letter,) = bus.dead_letters("sub")
    assert (letter.message, letter.failures, letter.status) == (BusMessage(b"bad", {"a": "b"}), 2, 503)
    assert bus.backlog("sub") == 1
    assert len(bus.claim(10)) == 1, "the key goes on"


def test_dead_letters_stay_for_a_month(bus: EmbeddedBus, clock: VirtualClock) -> None:
    bus.subscribe(replace(SUB, max_attempts=1), replace=True)
    publish(bus, "a", "b")
    bus.settle(bus.claim(1)[0], 500)
    assert len(bus.dead_letters("sub")) == 1
    clock.advance(31 * 86400)
    bus.settle(bus.claim(1)[0], 200)
    assert bus.dead_letters("sub") == []


def test_a_dead_letter_cannot_go_round_in_circles() -> None:
    with pytest.raises(ValueError, match="dead letter"):
        Subscription("sub", "events", "/sub", dead_letter_topic="projects/local/topics/events")


def test_whoever_waits_for_work_hears_of_publishes_and_dead_letters(bus: EmbeddedBus) -> None:
    rung: list[int] = []
    bus.on_work(lambda: rung.append(1))
    bus.subscribe(replace(SUB, max_attempts=1, dead_letter_topic="dead"), replace=True)
    bus.subscribe(replace(SUB, name="grave", topic="dead"))
    publish(bus, "a", "b")
    assert len(rung) == 1
    (delivery,) = bus.claim(1)
    bus.settle(delivery, 500)
    assert len(rung) == 2


def test_a_full_disk_refuses_the_whole_publish(bus: EmbeddedBus, database: Database) -> None:
    with database.write() as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(StorageFull):
        publish(bus, "small", "x" * 500_000)
    assert bus.backlog("sub") == 0


@pytest.mark.parametrize("status", [203, 205, 206, 299])
def test_only_the_statuses_that_pubsub_names_acknowledge(bus: EmbeddedBus, status: int) -> None:
    publish(bus, "a")
    bus.settle(bus.claim(1)[0], status)
    assert bus.backlog("sub") == 1


def test_messages_without_a_key_are_all_out_at_once(bus: EmbeddedBus) -> None:
    publish(bus, "1", "2", "3", key="")
    assert len(bus.claim(10)) == 3

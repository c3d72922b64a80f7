"""The tick finds what missed its deadline, forks nothing that is alive, and lets no mailbox keep another waiting."""

from __future__ import annotations

from collections import Counter

import pytest

from shared import queries
from shared.adapters.embedded.subscriptions import Subscription
from shared.errors import Retry
from shared.events.app import AppStream
from shared.mail.state import STUCK_AFTER, poll_group
from shared.mail.tick import tick
from shared.ports import Create
from shared.queries import POLL_SLOTS, slot_of
from tests.machine import MAILBOX, SCHEDULE, UID, Machine


@pytest.fixture
def machine(tmp_path):
    machine = Machine(tmp_path, page_size=5)
    for number in range(40):
        machine.provider.deliver(f"old{number}", at=1.0)
    return machine


def drop(machine, **wanted):
    """A task that its queue has lost."""
    machine.queue.settle(machine.claim(**wanted), 200)


def test_a_backfill_whose_task_was_lost_is_taken_up_again(machine):
    machine.connect()
    machine.deliver(machine.claim(kind="connect"))
    machine.deliver(machine.claim(kind="backfill"))
    drop(machine, kind="backfill")
    machine.run(60, ticks=True)
    assert machine.state.status == "backfilling"
    machine.run(STUCK_AFTER + 120, ticks=True)
    assert machine.state.status == "live"
    assert machine.state.rescue == 1
    machine.verify()


def test_a_connection_whose_task_was_lost_is_taken_up_again(machine):
    machine.connect()
    drop(machine, kind="connect")
    machine.run(300, ticks=True)
    assert machine.state.status == "live"
    machine.verify()


def test_a_live_walk_whose_task_was_lost_is_taken_up_again(machine):
    machine.followed()
    machine.provider.history_page = 2
    for number in range(6):
        machine.provider.deliver(f"new{number}")
    machine.ring()
    machine.deliver(machine.claim(kind="live"))
    assert machine.state.more
    for delivery in machine.queue.claim(100):
        machine.queue.settle(delivery, 200)
    machine.clock.advance(STUCK_AFTER + 1)
    tick(machine.ctx, SCHEDULE)
    machine.run(30)
    assert not machine.state.more
    machine.verify()


def test_rescuing_a_chain_that_is_alive_does_not_fork_it(machine):
    machine.connect()
    machine.deliver(machine.claim(kind="connect"))
    slow = machine.claim(kind="backfill")
    machine.clock.advance(STUCK_AFTER + 1)
    tick(machine.ctx, SCHEDULE)
    machine.deliver(slow)  # it was alive after all
    machine.run(60)
    steps = Counter(
        body["page"] for _, body, result in machine.tasks.enqueued if body["kind"] == "backfill" and result == "created"
    )
    assert {page: times for page, times in steps.items() if times > 1} == {"0": 2}, (
        "only the rescued page has two tasks"
    )
    machine.verify()


def test_ticks_that_come_twice_enqueue_once(machine):
    machine.followed()
    machine.run(900 - machine.clock.now() % 900)
    tick(machine.ctx, SCHEDULE)
    before = Counter(result for _, _, result in machine.tasks.enqueued)["created"]
    tick(machine.ctx, SCHEDULE)
    assert Counter(result for _, _, result in machine.tasks.enqueued)["created"] == before


def test_a_commit_that_nobody_published_is_published_within_its_deadline(machine):
    machine.followed()

    def down():
        raise Retry

    machine.provider.deliver("new")
    machine.bus.before_publish.append(down)
    machine.ring()
    task = machine.claim(kind="live")
    machine.deliver(task)
    for delivery in machine.queue.claim(100):
        machine.queue.settle(delivery, 200)
    assert machine.state.published < machine.state.head
    machine.run(180, ticks=True)
    machine.verify()


def test_one_mailbox_that_cannot_be_served_does_not_keep_the_others_waiting(machine):
    machine.followed()
    machine.accounts._create(UID, "GOOGLE", "google:other")
    machine.provider.deliver("new")
    machine.bus.before_publish.append(lambda: (_ for _ in ()).throw(Retry()))
    machine.ring()
    machine.deliver(machine.claim(kind="live"))
    machine.clock.advance(61)
    machine.bus.before_publish.append(lambda: (_ for _ in ()).throw(Retry()))
    ticked = tick(machine.ctx, SCHEDULE)
    assert ticked.failed == 1
    assert tick(machine.ctx, SCHEDULE).failed == 0


def test_the_consumers_are_reminded_once_a_period(machine):
    machine.inner_bus.unsubscribe("senders")
    machine.followed()
    machine.inner_bus.subscribe(Subscription("senders", "segments", "/senders"))
    assert machine.counts() == {}
    machine.run(16 * 60, ticks=True)
    machine.verify()


def test_polling_is_slow_with_a_channel_fast_without_and_stops_with_the_grant(machine):
    machine.followed()
    assert poll_group(machine.state) == f"slot-{slot_of(MAILBOX)}"
    assert 0 <= slot_of(MAILBOX) < POLL_SLOTS
    machine.provider.dead = True
    machine.ring()
    machine.run(10)
    assert poll_group(machine.state) == f"quiet-{slot_of(MAILBOX)}"


def test_a_bus_that_does_not_answer_is_asked_once_in_a_tick(machine):
    streams = AppStream(machine.store, machine.bus, machine.clock)
    asked = []

    def away():
        asked.append(1)
        raise Retry("The bus is away.")

    for person in range(5):
        machine.bus.before_publish.append(away)
        streams.post(f"user{person}", "note.made", {})
    machine.clock.advance(61)
    asked.clear()
    machine.bus.before_publish += [away] * 5
    assert tick(machine.ctx, SCHEDULE).failed == 5
    assert len(asked) == 1
    machine.bus.before_publish.clear()
    assert tick(machine.ctx, SCHEDULE).streams == 5


def test_a_query_that_fails_keeps_none_of_the_others_from_being_served(machine, monkeypatch):
    machine.followed()
    unanswered = queries.overdue_intents(0, 0.0).shape
    answer = machine.store.query

    def query(wanted):
        if wanted.shape == unanswered:
            raise Retry("Firestore lacks an index.")
        return answer(wanted)

    monkeypatch.setattr(type(machine.store), "query", lambda _, wanted: query(wanted))
    before = len(machine.tasks.enqueued)
    for _ in range(16):
        machine.clock.advance(60)
        with pytest.raises(Retry, match="index"):
            tick(machine.ctx, SCHEDULE)
    assert len(machine.tasks.enqueued) > before, "the mailbox was polled all the same"


def test_what_goes_wrong_with_one_document_keeps_none_of_the_others_waiting(machine):
    machine.store.commit([
        Create(f"consumers/x/intents/{name}", {
            "shard": 0, "due_at": 1.0, "queue": queue, "path": "/x", "body": {}, "attempts": 0,
        })
        for name, queue in (("a", "nowhere"), ("b", "sync"))
    ])  # fmt: skip
    ticked = tick(machine.ctx, SCHEDULE)
    assert (ticked.failed, ticked.intents) == (1, 1)

"""The harness: a consumer sees each event once and in order, parks where it cannot go on, and never skips."""

from __future__ import annotations

import pytest

from shared import queries, refs
from shared.errors import Hole, Unknown
from shared.events.consume import Effects, Harness, Intent, scope_of
from shared.events.log import trim_log
from shared.mail.tick import tick
from shared.ports import Put
from tests.machine import MAILBOX, SCHEDULE, Machine


class Recorder:
    """Writes down every event, and asks for a task for each received mail."""

    name = "recorder"

    def __init__(self):
        self.broken_at = None
        self.intents = False

    def apply(self, segment, scope, read):
        writes, intents = [], []
        for event in segment.events:
            if event.sequence == self.broken_at:
                raise ZeroDivisionError("the consumer has a bug")
            ref = refs.effect(self.name, scope, event.id)
            writes.append(Put(ref, {"scope": scope, "sequence": event.sequence}))
            if self.intents and event.type == "email.received":
                intents.append(Intent(event.id, "sync", "/sync/step", {"do": event.id}))
        return Effects(tuple(writes), tuple(intents))


@pytest.fixture
def machine(tmp_path):
    machine = Machine(tmp_path, page_size=5)
    machine.followed(mails=12)
    return machine


@pytest.fixture
def recorder():
    return Recorder()


@pytest.fixture
def harness(machine, recorder):
    return Harness(machine.store, machine.tasks, machine.clock, recorder)


def applied(machine, generation=1):
    docs = machine.store.query(queries.effects_of("recorder", scope_of(MAILBOX, generation), 500))
    return sorted(doc.data["sequence"] for doc in docs)


def mark(machine):
    ref = refs.watermark("recorder", MAILBOX)
    return machine.store.get([ref])[ref].data


def test_a_new_consumer_begins_at_1(machine, harness):
    assert harness.follow(MAILBOX) == machine.state.head
    assert applied(machine) == list(range(1, machine.state.head + 1))


def test_a_delivery_that_comes_twice_or_late_changes_nothing(machine, harness):
    harness.follow(MAILBOX)
    writes = machine.store.writes
    assert harness.follow(MAILBOX, 3) == machine.state.head
    assert machine.store.writes == writes


def test_a_segment_costs_one_write_and_two_reads_besides_its_effects(machine, harness):
    harness.follow(MAILBOX)
    machine.provider.deliver("new")
    machine.inner_bus.unsubscribe("senders")
    machine.ring()
    machine.run(10)
    head = machine.state.head
    reads, writes = machine.store.reads, machine.store.writes
    harness.follow(MAILBOX, head)
    assert (machine.store.reads - reads, machine.store.writes - writes) == (2, 1 + 1)


def test_what_cannot_be_applied_parks_the_consumer_visibly_and_is_not_skipped(machine, harness, recorder):
    recorder.broken_at = 8
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            harness.follow(MAILBOX)
    parked = mark(machine)
    assert parked["parked"]["reason"].startswith("ZeroDivisionError")
    assert max(applied(machine)) < 8
    recorder.broken_at = None
    harness.follow(MAILBOX)
    assert mark(machine)["parked"] is None
    assert applied(machine) == list(range(1, machine.state.head + 1))


def test_a_first_segment_that_cannot_be_applied_is_visible_too(machine, harness, recorder):
    recorder.broken_at = 1
    with pytest.raises(ZeroDivisionError):
        harness.follow(MAILBOX)
    assert mark(machine)["parked"]["sequence"] == 1
    recorder.broken_at = None
    assert harness.follow(MAILBOX) == machine.state.head


def test_an_expired_segment_is_a_hole(machine, harness):
    machine.clock.advance(100)
    assert trim_log(machine.store, MAILBOX, machine.clock.now())
    with pytest.raises(Hole):
        harness.follow(MAILBOX)
    assert mark(machine)["parked"]["reason"].startswith("Hole")


def test_a_commit_whose_answer_is_lost_is_not_repeated(machine, harness):
    def lose(_):
        raise Unknown

    machine.store.after_commit = [lose] * 3
    harness.follow(MAILBOX)
    assert applied(machine) == list(range(1, machine.state.head + 1))


def test_a_rebuild_takes_over_once_it_has_caught_up_and_the_old_effects_go(machine, harness):
    harness.follow(MAILBOX)
    harness.rebuild(MAILBOX)
    assert applied(machine) == list(range(1, machine.state.head + 1))
    harness.rebuild(MAILBOX)  # starts over
    assert harness.build(MAILBOX)
    assert mark(machine)["generation"] == 3
    assert applied(machine, 1) == applied(machine, 2) == []
    assert applied(machine, 3) == list(range(1, machine.state.head + 1))


def test_an_intent_is_committed_with_the_watermark_and_runs_as_a_task_named_after_its_event(machine, harness, recorder):
    recorder.intents = True
    harness.follow(MAILBOX)
    harness.follow(MAILBOX)
    tasks = [name for name, body, _ in machine.tasks.enqueued if "do" in body]
    assert len(tasks) == len(set(tasks)) == 12
    assert all(name.startswith("intent|") for name in tasks)


def test_an_intent_whose_task_was_never_enqueued_is_found_by_the_tick(machine, harness, recorder):
    class Gone(BaseException):
        pass

    def crash():
        raise Gone

    recorder.intents = True
    machine.tasks.before_enqueue.append(crash)
    with pytest.raises(Gone):
        harness.follow(MAILBOX)
    harness.follow(MAILBOX)
    machine.clock.advance(61)
    tick(machine.ctx, SCHEDULE)
    asked = {body["do"] for _, body, _ in machine.tasks.enqueued if "do" in body}
    assert len(asked) == 12
    for event_id in asked:
        harness.done(event_id)
    before = len(machine.tasks.enqueued)
    machine.clock.advance(700)
    tick(machine.ctx, SCHEDULE)
    assert not [body for _, body, _ in machine.tasks.enqueued[before:] if "do" in body]

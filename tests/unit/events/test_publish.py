"""The relay: from the log to the bus, every segment in order, with progress kept whatever fails in between."""

from __future__ import annotations

import pytest

from shared import refs
from shared.errors import Hole, Retry, TooLarge
from shared.events import publish
from shared.events.app import AppStream
from shared.events.publish import relay
from shared.ports import Delete
from tests.machine import MAILBOX, UID, Machine

APP = f"{UID}:app"


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def away(*_):
    raise Retry("The bus is away.")


def outbox(machine, events):
    """A stream of so many segments that the bus has nothing of; answers its head."""
    stream = AppStream(machine.store, machine.bus, machine.clock)
    machine.bus.before_publish += [away] * events
    for number in range(events):
        stream.post(UID, "note.made", {"n": number})
    assert machine.bus.sequences(APP) == []
    return events


def test_a_deep_outbox_drains_over_a_bus_that_keeps_failing(machine):
    head = outbox(machine, 30)
    mark = calls = 0
    while mark < head:
        calls += 1
        machine.bus.before_publish += [lambda: None] * 7 + [away]
        before = mark
        mark = relay(machine.store, machine.bus, APP, mark, head)
        machine.bus.before_publish.clear()
        assert mark > before
    assert calls == 10
    sent = machine.bus.sequences(APP)
    assert list(dict.fromkeys(sent)) == list(range(1, 31))
    assert len(sent) - 30 < calls, "only the segment that failed is sent again"


def test_a_relay_that_gets_nowhere_says_so(machine):
    head = outbox(machine, 2)
    machine.bus.before_publish.append(away)
    with pytest.raises(Retry):
        relay(machine.store, machine.bus, APP, 0, head)


def test_one_call_sends_a_bounded_number_of_segments(machine, monkeypatch):
    monkeypatch.setattr(publish, "RELAY_AT_ONCE", 4)
    head = outbox(machine, 10)
    marks = [relay(machine.store, machine.bus, APP, mark, head) for mark in (0, 4, 8)]
    assert marks == [4, 8, 10]


def test_a_missing_segment_is_never_passed_over(machine):
    head = outbox(machine, 5)
    machine.store.commit([Delete(refs.segment(APP, 3))])
    assert relay(machine.store, machine.bus, APP, 0, head) == 2
    with pytest.raises(Hole):
        relay(machine.store, machine.bus, APP, 2, head)
    assert machine.bus.sequences(APP) == [1, 2]


def test_what_precedes_an_event_that_the_bus_refuses_is_sent_once(machine):
    head = outbox(machine, 3)

    def refuse():
        raise TooLarge("The topic events refuses a message.")

    machine.bus.before_publish += [lambda: None] * 4 + [refuse] * 2
    assert relay(machine.store, machine.bus, APP, 0, head) == 2
    for _ in range(2):
        with pytest.raises(TooLarge):
            relay(machine.store, machine.bus, APP, 2, head)
        machine.bus.before_publish += [refuse]
    assert machine.bus.sequences(APP) == [1, 2]


def test_what_a_step_could_not_publish_goes_out_with_its_next_attempt_and_waits_for_no_tick(machine):
    machine.followed(mails=2)
    machine.provider.deliver("new")
    machine.bus.before_publish += [away] * 3
    machine.ring()
    machine.run(20)
    assert machine.state.published == machine.state.head
    assert machine.bus.sequences(MAILBOX)[-1] == machine.state.head


def test_what_is_left_over_brings_the_step_back(machine):
    machine.followed(mails=2)
    machine.provider.deliver("one")
    machine.bus.before_publish += [away] * 50
    machine.ring()
    machine.steps()
    machine.bus.before_publish[:] = [lambda: None, lambda: None, *[away] * 2]
    machine.provider.deliver("two")
    machine.ring()
    machine.run(30)
    assert machine.state.published == machine.state.head
    machine.verify()

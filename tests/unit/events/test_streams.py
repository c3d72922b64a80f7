"""The streams of a user: posted events are numbered and published, reading walks all of them, trimming says so."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress

import pytest

from shared import refs
from shared.errors import Conflict, Hole, NotFound, Unknown
from shared.events.app import AppStream
from shared.events.log import trim_log
from shared.events.streams import UserStreams
from shared.mail.tick import tick
from shared.ports import Update
from tests.machine import MAILBOX, SCHEDULE, UID, Machine

APP = f"{UID}:app"


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path, page_size=5)


@pytest.fixture
def streams(machine):
    return UserStreams(AppStream(machine.store, machine.bus, machine.clock))


def walk(streams, limit, **filters):
    events, after = [], None
    while True:
        page, after = streams.read(UID, filters.get("type"), filters.get("stream"), after, limit)
        if not page:
            return events
        events += page


def test_posted_events_are_numbered_from_1_and_published(machine, streams):
    posted = [streams.post(UID, "note.made", {"n": n}) for n in range(3)]
    assert [event["sequence"] for event in posted] == [1, 2, 3]
    assert machine.bus.sequences(APP) == [1, 2, 3]
    assert [event["data"] for event in walk(streams, 2)] == [{"n": 0}, {"n": 1}, {"n": 2}]


def test_a_post_whose_answer_is_lost_is_in_once(machine, streams):
    machine.store.after_commit.append(machine.lose_answer)
    assert streams.post(UID, "note.made", {"n": 1})["sequence"] == 1
    assert len(walk(streams, 10)) == 1


class LateStore:
    """A store whose first commit is still under way when its answer is given up; it lands before a later call."""

    def __init__(self, inner, moment):
        self.inner, self.calls_left, self.held = inner, moment, None

    def _land(self):
        self.calls_left -= 1
        if self.held and self.calls_left == 0:
            with suppress(Conflict):
                self.inner.commit(self.held)

    def get(self, wanted):
        if self.held:
            self._land()
        return self.inner.get(wanted)

    def commit(self, writes):
        if self.held is None:
            self.held = list(writes)
            raise Unknown
        self._land()
        return self.inner.commit(writes)


@pytest.mark.parametrize("moment", range(1, 8))
def test_a_post_whose_commit_lands_long_after_its_answer_was_given_up_is_in_once(machine, moment):
    store = LateStore(machine.store, moment)
    AppStream(store, machine.bus, machine.clock).post(UID, "note.made", {"n": 1})
    assert [event.data for event in machine.log(APP)] == [{"n": 1}]
    assert machine.bus.sequences(APP) == [1]


def test_a_post_that_nobody_published_is_found_by_the_tick(machine, streams):
    def fail():
        raise Unknown

    machine.bus.before_publish.append(fail)
    assert streams.post(UID, "note.made", {})["sequence"] == 1  # it is in: to fail would have the client post it twice
    assert machine.bus.sequences(APP) == []
    machine.clock.advance(61)
    tick(machine.ctx, SCHEDULE)
    assert machine.bus.sequences(APP) == [1]


@pytest.mark.parametrize("limit", [1, 3, 7, 500])
def test_reading_walks_all_streams_with_no_hole_and_no_repeat(machine, streams, limit):
    machine.followed(mails=12)
    for number in range(4):
        streams.post(UID, "note.made", {"n": number})
    events = walk(streams, limit)
    places = Counter((event["source"], event["sequence"]) for event in events)
    assert set(places.values()) == {1}
    assert len(events) == machine.state.head + 4
    assert {stream for stream, _ in places} == {APP, MAILBOX}


def test_reading_one_type_walks_past_the_others(machine, streams):
    machine.followed(mails=12)
    assert [event["type"] for event in walk(streams, 500, type="sync.completed")] == ["sync.completed"]


def test_a_position_stays_good_while_the_stream_grows(machine, streams):
    machine.followed(mails=3)
    page, after = streams.read(UID, None, MAILBOX, None, 100)
    machine.provider.deliver("new")
    machine.ring()
    machine.run(10)
    following, _ = streams.read(UID, None, MAILBOX, after, 100)
    assert [event["sequence"] for event in following] == [len(page) + 1]


def test_a_reader_older_than_the_oldest_segment_is_told(machine, streams):
    machine.followed(mails=12)
    _, after = streams.read(UID, None, MAILBOX, None, 2)
    machine.clock.advance(100)
    trim_log(machine.store, MAILBOX, machine.clock.now())
    with pytest.raises(Hole) as told:
        streams.read(UID, None, MAILBOX, after, 100)
    machine.provider.deliver("new")
    machine.ring()
    machine.run(10)
    events, _ = streams.read(UID, None, MAILBOX, told.value.details["position"], 100)
    assert [event["data"]["provider_message_id"] for event in events] == ["new"]


def test_what_is_not_published_does_not_expire(machine):
    machine.followed(mails=3)
    doc = machine.store.get([refs.stream(MAILBOX)])[refs.stream(MAILBOX)]
    machine.store.commit([Update(doc.ref, {"published": 1}, doc.version)])
    machine.clock.advance(100)
    assert trim_log(machine.store, MAILBOX, machine.clock.now()) == 1


def test_a_stream_that_does_not_exist_is_not_found(streams):
    with pytest.raises(NotFound):
        streams.read(UID, None, f"{UID}:primary:GOOGLE", None, 10)

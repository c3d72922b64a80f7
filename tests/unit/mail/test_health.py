"""Freshness, deadlines and push gaps say what is known, and cost an idle mailbox nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.mail.health import audit_is_due, deadlines, freshness, next_audit, unpublished_seconds
from shared.mail.schedule import DAY, Schedule
from shared.mail.state import ChannelState, MailboxState, document, read_state, troubled
from shared.ports import Doc
from tests.machine import MAILBOX, SCHEDULE, UID, Machine

PLAN = Schedule(audit=DAY)
NOW = 1_795_000_000.0


def followed(**fields):
    """A mailbox that has been followed for ten days, last written to an hour ago."""
    state = MailboxState(MAILBOX, UID, "GOOGLE", "primary", "google:primary", NOW - 10 * DAY, NOW - 3600)
    state = replace(
        state,
        status="live",
        verified=True,
        cursor="7",
        followed_since=NOW - 10 * DAY,
        caught_up_at=NOW - 3600,
        channel=ChannelState("", NOW + DAY, NOW + DAY / 2),
        backfill=replace(state.backfill, done=True),
    )
    return replace(state, **fields)


def test_what_the_mailbox_says_of_itself_survives_its_document():
    state = followed(due_audit=NOW + 5, push_gaps=3)
    assert read_state(Doc(state.ref, document(state), "1")) == state
    assert document(state)["due_at"] == NOW + 5


def test_an_idle_mailbox_is_as_fresh_as_its_last_poll():
    fresh = freshness(followed(), PLAN, NOW)
    assert fresh.proven_at == NOW - 3600
    assert fresh.presumed_at is not None
    assert PLAN.tick <= fresh.seconds <= PLAN.tick + PLAN.poll
    assert fresh.resolution == PLAN.poll


def test_without_a_channel_polls_are_closer():
    fresh = freshness(followed(channel=None), PLAN, NOW)
    assert fresh.seconds <= PLAN.tick + PLAN.poll_unchannelled
    assert fresh.resolution == PLAN.poll_unchannelled


@pytest.mark.parametrize(
    "kept",
    [
        {"status": "reauth_required"},
        {"status": "disconnected"},
        {"resume_at": NOW + 60},
        {"more": True},
        {"troubles": troubled(followed(), "live", "It is down.").troubles},
    ],
)
def test_nothing_is_presumed_of_a_mailbox_that_something_keeps_from_looking(kept):
    fresh = freshness(followed(**kept), PLAN, NOW)
    assert (fresh.presumed_at, fresh.seconds) == (None, 3600.0)


def test_before_the_first_look_nothing_is_known():
    fresh = freshness(followed(caught_up_at=None, verified=False), PLAN, NOW)
    assert (fresh.proven_at, fresh.presumed_at, fresh.seconds) == (None, None, None)


def test_the_oldest_unpublished_event_is_as_old_as_its_commit():
    assert unpublished_seconds(followed(head=7, published=7), NOW) == 0.0
    assert unpublished_seconds(followed(head=7, published=5, due_outbox=NOW + 20), NOW) == 40.0


def test_a_deadline_is_overdue_once_ticks_have_come_and_gone():
    state = followed(due_gaps=NOW - 121, due_channel=NOW - 119, due_outbox=NOW + 5)
    found = {deadline.chain: deadline.overdue for deadline in deadlines(state, Schedule(), NOW)}
    assert found == {"gaps": True, "channel": False, "outbox": False}


def test_the_chain_that_catches_up_has_its_own_name():
    for fields, name in (
        ({"verified": False}, "connect"),
        ({"backfill": replace(followed().backfill, done=False)}, "backfill"),
        ({"erasing": True}, "erase"),
        ({"status": "disconnected"}, "channel"),
    ):
        assert [one.chain for one in deadlines(followed(due_chain=NOW, **fields), Schedule(), NOW)] == [name]


def test_each_mailbox_is_audited_at_its_own_time_of_day():
    slots = {round(PLAN.audit_slot(f"user{n}:primary:GOOGLE", NOW) % DAY) for n in range(200)}
    assert len(slots) > 190
    for name in ("a:primary:GOOGLE", "b:primary:GOOGLE"):
        slot = PLAN.audit_slot(name, NOW)
        assert slot <= NOW < slot + DAY
        assert PLAN.audit_slot(name, slot + DAY) == slot + DAY


def test_an_audit_is_due_once_a_period_and_not_while_something_else_compares_everything():
    slot = PLAN.audit_slot(MAILBOX, NOW)
    assert audit_is_due(followed(), PLAN, NOW)
    assert not audit_is_due(followed(audit_ended_at=slot + 1), PLAN, NOW)
    assert not audit_is_due(followed(followed_since=slot + 1), PLAN, NOW), "it has just been listed whole"
    assert not audit_is_due(followed(due_audit=NOW + 5), PLAN, NOW), "one is under way"
    assert not audit_is_due(followed(backfill=replace(followed().backfill, done=False)), PLAN, NOW)
    assert not audit_is_due(followed(status="disconnected"), PLAN, NOW)
    assert not audit_is_due(followed(), replace(PLAN, audit=0.0), NOW)
    assert next_audit(followed(audit_ended_at=slot + 1), PLAN, NOW) == slot + DAY
    assert next_audit(followed(), replace(PLAN, audit=0.0), NOW) is None


@pytest.fixture
def machine(tmp_path):
    machine = Machine(tmp_path)
    machine.followed(mails=3)
    return machine


def shown(machine):
    (mailbox,) = machine.accounts.status(UID)["mailboxes"]
    return mailbox


def test_mail_that_only_a_poll_has_found_is_a_push_gap(machine):
    machine.provider.deliver("unpushed")
    machine.run(1000, ticks=True)
    assert "unpushed" in machine.documents()
    assert shown(machine)["push_gaps"] == 1


def test_mail_that_a_push_has_told_of_is_none_however_late_the_provider_served_it(machine):
    machine.provider.down = True
    machine.provider.deliver("pushed")
    machine.ring()
    machine.run(400)
    machine.provider.down = False
    machine.run(400)
    assert "pushed" in machine.documents()
    assert shown(machine)["push_gaps"] == 0


def test_mail_that_a_poll_finds_before_its_push_can_have_come_is_no_push_gap(machine):
    slot = SCHEDULE.poll_slot(MAILBOX, machine.clock.now(), True) + SCHEDULE.poll
    machine.run(slot - machine.clock.now() - 5, ticks=True)
    machine.provider.deliver("new")
    machine.run(30, ticks=True)
    assert "new" in machine.documents()
    assert shown(machine)["push_gaps"] == 0


def test_mail_that_is_found_without_a_channel_or_imported_with_an_old_date_is_no_push_gap(machine):
    machine.provider.deliver("imported", at=machine.clock.now() - DAY)
    machine.run(1000, ticks=True)
    assert "imported" in machine.documents()
    assert shown(machine)["push_gaps"] == 0


def test_freshness_is_proven_by_a_page_and_an_empty_look_writes_nothing(machine):
    machine.provider.deliver("new")
    machine.ring()
    machine.run(1)
    proven = machine.state.caught_up_at
    assert machine.clock.now() - proven <= 1
    machine.run(10)
    writes = machine.store.writes
    machine.run(3600, ticks=True)
    assert machine.store.writes == writes
    assert machine.state.caught_up_at == proven
    assert shown(machine)["freshness"]["seconds"] <= 900 + 60


def test_a_walk_that_goes_on_has_not_caught_up_until_its_last_page(machine):
    machine.provider.history_page = 2
    before = machine.state.caught_up_at
    for number in range(6):
        machine.provider.deliver(f"new{number}")
    machine.clock.advance(100)
    machine.ring()
    machine.deliver(machine.claim(kind="live"))
    assert machine.state.more
    assert machine.state.caught_up_at == before
    machine.run(10)
    assert machine.state.caught_up_at > before

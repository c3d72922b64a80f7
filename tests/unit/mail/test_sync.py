"""A mailbox is backfilled, followed, and told of: the engine end to end against a provider in memory."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.machine import MAILBOX, UID, Machine


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path, page_size=10)


def types(machine):
    return Counter(event.type for event in machine.log())


def test_a_connected_mailbox_is_backfilled_and_announced(machine):
    machine.followed(mails=35)
    assert machine.state.status == "live"
    assert machine.state.backfill.listed == 35
    assert types(machine) == {"mailbox.connected": 1, "email.received": 35, "sync.completed": 1}
    assert {event.origin for event in machine.log() if event.type == "email.received"} == {"backfill"}
    machine.verify()


def test_new_mail_is_received_live_once(machine):
    machine.followed(mails=3)
    machine.provider.deliver("new")
    machine.ring()
    machine.run(30)
    (event,) = [event for event in machine.log() if event.data.get("provider_message_id") == "new"]
    assert (event.type, event.origin) == ("email.received", "live")
    machine.verify()


def test_label_changes_trash_and_deletion_are_told_of(machine):
    machine.followed(mails=5)
    machine.provider.relabel("old1", remove=["UNREAD"])
    machine.provider.relabel("old2", add=["TRASH"], remove=["INBOX"])
    machine.provider.delete("old3")
    machine.ring()
    machine.run(30)
    assert types(machine)["email.updated"] == 2
    assert types(machine)["email.deleted"] == 1
    machine.verify()


def test_drafts_spam_and_trash_are_stored_and_not_announced_until_they_leave(machine):
    machine.provider.deliver("draft", "DRAFT")
    machine.provider.deliver("spam", "SPAM")
    machine.provider.deliver("self", "SENT", "INBOX")
    machine.followed()
    assert types(machine)["email.received"] == 0
    assert types(machine)["email.sent"] == 1
    machine.provider.relabel("draft", add=["SENT"], remove=["DRAFT"])
    machine.provider.relabel("spam", add=["INBOX"], remove=["SPAM"])
    machine.provider.relabel("spam", add=["SPAM"], remove=["INBOX"])
    machine.provider.relabel("spam", add=["INBOX"], remove=["SPAM"])
    machine.ring()
    machine.run(30)
    assert types(machine)["email.received"] == 1
    assert types(machine)["email.sent"] == 2
    machine.verify()


def test_changes_during_the_backfill_end_in_the_same_state(tmp_path):
    for seed in range(15):
        folder = tmp_path / str(seed)
        folder.mkdir()
        machine = Machine(folder, seed=seed, page_size=5)
        for number in range(40):
            machine.provider.deliver(f"m{number}", at=machine.clock.now() - 1000 + number)
        machine.connect()
        for number in range(30):
            for delivery in machine.queue.claim(machine.random.randint(1, 3)):
                machine.deliver(delivery)
            alive = list(machine.provider.messages)
            chosen = machine.random.choice(alive)
            match machine.random.randint(0, 3):
                case 0:
                    machine.provider.deliver(f"n{number}")
                case 1:
                    machine.provider.delete(chosen)
                case 2:
                    machine.provider.relabel(chosen, add=["STARRED"])
                case _:
                    machine.provider.relabel(chosen, remove=["UNREAD"])
            machine.ring()
            machine.clock.advance(machine.random.random())
        machine.run(120)
        assert machine.state.status == "live"
        machine.verify()


def test_an_empty_look_writes_nothing(machine):
    machine.followed(mails=2)
    before = machine.store.writes
    machine.ring()
    machine.run(30)
    assert machine.store.writes == before


def test_an_expired_cursor_leads_to_a_resync_that_ends_exact(machine):
    machine.followed(mails=30)
    machine.provider.relabel("old1", add=["STARRED"], remove=["UNREAD"])
    machine.provider.delete("old2")
    machine.provider.deliver("lost")
    machine.provider.expire_history()
    machine.provider.deliver("after")
    machine.provider.relabel("old3", remove=["INBOX"])
    machine.ring()
    machine.run(60)
    assert machine.state.resync is None
    assert machine.state.status == "live"
    assert machine.provider.calls["get"] <= 30 + 10
    machine.verify()


def test_a_resync_replaces_an_unfinished_backfill(machine):
    for number in range(60):
        machine.provider.deliver(f"m{number}", at=1.0)
    machine.connect()
    for _ in range(4):
        for delivery in machine.queue.claim(3):
            machine.deliver(delivery)
    assert not machine.state.backfill.done
    machine.provider.delete("m3")
    machine.provider.expire_history()
    machine.ring()
    machine.run(120)
    assert machine.state.status == "live"
    machine.verify()


def test_a_refused_message_becomes_a_gap_and_is_read_when_it_is_served(machine):
    machine.provider.refused.add("old1")
    machine.followed(mails=4)
    rows, _ = machine.accounts.gaps(UID, MAILBOX, None, 10)
    assert [(row["provider_message_id"], row["status"]) for row in rows] == [("old1", "open")]
    assert machine.state.messages == 3
    machine.provider.refused.clear()
    machine.run(60)
    rows, _ = machine.accounts.gaps(UID, MAILBOX, None, 10)
    assert rows[0]["status"] == "resolved"
    machine.verify()


def test_ten_refusals_in_a_row_stop_the_mailbox_visibly_and_lose_nothing(machine):
    machine.provider.refused.update(f"old{number}" for number in range(3, 20))
    machine.followed(mails=30)
    assert machine.state.status == "error"
    assert "10 messages in a row" in machine.state.last_error
    machine.provider.refused.clear()
    machine.run(3 * 3600, ticks=True)
    assert machine.state.status == "live"
    machine.verify()


def test_a_message_that_vanishes_between_list_and_get_leaves_no_trace(machine):
    machine.provider.unreadable.add("old1")
    machine.followed(mails=3)
    machine.provider.delete("old1")
    machine.ring()
    machine.run(200)
    machine.verify()
    assert machine.state.due_gaps is None


def test_a_rate_limit_puts_the_same_task_off_and_shows(machine):
    machine.followed(mails=2)
    machine.provider.deliver("new")
    machine.provider.limit_next = 40.0
    machine.ring()
    machine.run(10)
    assert machine.state.status == "rate_limited"
    machine.run(60)
    assert machine.state.status == "live"
    machine.verify()


def test_a_dead_grant_is_said_once_and_reconnecting_goes_on(machine):
    machine.followed(mails=2)
    machine.provider.dead = True
    machine.provider.deliver("meanwhile")
    for _ in range(3):
        machine.ring()
        machine.run(30)
    assert machine.state.status == "reauth_required"
    assert types(machine)["grant.reauth_required"] == 1
    machine.provider.dead = False
    machine.connect()
    machine.run(30)
    assert machine.state.status == "live"
    machine.verify()


def test_disconnecting_keeps_the_data_and_reconnecting_continues_the_stream(machine):
    machine.followed(mails=3)
    machine.accounts.disconnect(UID, "google")
    machine.run(10)
    assert machine.provider.channels == 0
    head = machine.state.head
    machine.provider.deliver("meanwhile")
    machine.provider.delete("old1")
    machine.ring()
    machine.run(30)
    assert machine.state.head == head
    machine.connect()
    machine.run(30)
    assert machine.log()[head].sequence == head + 1
    machine.verify()


def test_without_a_channel_the_mailbox_is_polled_every_half_minute(machine):
    machine.provider.channelled = False
    machine.followed(mails=2)
    machine.provider.deliver("new")
    machine.run(95, ticks=True)
    assert "new" in machine.documents()
    machine.verify()


def test_with_a_channel_a_lost_push_costs_at_most_one_period(machine):
    machine.followed(mails=2)
    machine.provider.deliver("new")
    machine.run(16 * 60, ticks=True)
    assert "new" in machine.documents()
    machine.verify()


def test_a_history_longer_than_a_page_is_walked_to_its_end(machine):
    machine.followed(mails=1)
    machine.provider.history_page = 3
    for number in range(20):
        machine.provider.deliver(f"new{number}")
    machine.ring()
    machine.run(60)
    machine.verify()
    assert machine.state.more is False


def test_the_channel_is_renewed_daily(machine):
    machine.followed()
    machine.run(3 * 86_400, ticks=True)
    assert 3 <= machine.provider.opened <= 5


def test_a_quiet_mailbox_keeps_a_cursor_that_does_not_age_and_skips_nothing(machine):
    machine.followed(mails=1)
    started = machine.state.cursor
    machine.provider._next()  # the provider's position moves on for reasons that are not ours
    machine.run(86_400 - 3600, ticks=True)
    assert machine.state.cursor == started
    machine.run(2 * 3600, ticks=True)
    assert machine.state.cursor != started
    machine.verify()


def test_an_outage_shows_as_error_after_ten_failures_and_heals_by_itself(machine):
    machine.followed(mails=1)
    machine.provider.deliver("new")
    machine.provider.down = True
    machine.ring()
    machine.run(2 * 3600, ticks=True)
    assert machine.state.status == "error"
    assert machine.state.retry_count >= 10
    machine.provider.down = False
    machine.run(3 * 3600, ticks=True)
    assert machine.state.status == "live"
    assert machine.state.due_chain is None
    machine.verify()

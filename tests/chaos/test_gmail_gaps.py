"""Gaps and poison: what Gmail refuses to serve is listed, asked for ever more rarely, and read or reported in the end."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from infra.local.verify import seconds
from tests.chaos.gmail_case import Case
from tests.world import ADDRESS

MINUTE, HOUR = 60.0, 3_600.0
PAUSES = (5.0, 5.0, 30.0, 120.0, 1_200.0, 3_600.0, 21_600.0, 86_400.0)
"""As docs/architecture.md says: after 5 seconds, then ever later, up to a day."""


@pytest.fixture
def world(tmp_path, monkeypatch):
    opened: list[Case] = []

    def build(seed: int = 1, **settings: Any) -> Case:
        opened.append(Case(tmp_path, monkeypatch, seed, **settings))
        return opened[-1]

    yield build
    for one in opened:
        one.close()


def refused(case: Case, subject: str, status: int = 403) -> str:
    """A mail arrives that Gmail will not serve."""
    id_ = case.deliver(subject)
    case.google.refuse(ADDRESS, id_, status)
    return id_


def attempts(case: Case, message: str) -> list[float]:
    """When a message was asked for; what is tried again at once counts as one attempt."""
    times = sorted({call.at for call in case.asked("messages.get") if call.id == message})
    return [time for index, time in enumerate(times) if index == 0 or time - times[index - 1] > 2]


def until_reported(case: Case) -> None:
    """The attempts are made, hours apart, and most of those hours nobody sees."""
    case.run(1.5 * HOUR)
    for _ in range(6):
        case.sleep(5.5 * HOUR)
        case.run(0.5 * HOUR)


@pytest.mark.parametrize("status", [400, 403, 500])
def test_a_refused_message_is_a_gap_with_its_reason_and_its_next_attempt_while_all_else_goes_on(world, status):
    case = world()
    case.followed(mails=5)
    before = case.deliver("before")
    poison = refused(case, "poison", status)
    after = case.deliver("after")
    case.run(4)
    [gap] = case.gaps().values()
    assert gap["provider_message_id"] == poison
    assert gap["status"] == "open"
    assert str(status) in gap["reason"]
    assert 0 < seconds(gap["next_at"]) - case.clock.now() <= 5
    assert case.mailbox()["gaps_due"] == gap["next_at"]
    assert case.told(poison) == []
    assert case.told(before) == case.told(after) == ["received"]
    assert case.mailbox()["status"] == "live"
    case.google.refuse(ADDRESS, poison, 0)
    case.run(60)
    case.judge()


def test_a_gap_is_retried_ever_more_rarely_and_resolved_when_the_message_is_served(world):
    case = world()
    case.followed(mails=5)
    poison = refused(case, "poison")
    case.run(25 * MINUTE)
    times = attempts(case, poison)
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert len(pauses) == 5
    for pause, planned in zip(pauses, PAUSES, strict=False):
        assert planned - 1 <= pause <= planned + 65, "a tick late at most"
    gap = case.gaps()[poison]
    assert (gap["status"], gap["attempts"]) == ("open", 5)
    assert case.told(poison) == []
    case.google.refuse(ADDRESS, poison, 0)
    case.run(61 * MINUTE)
    gap = case.gaps()[poison]
    assert (gap["status"], gap["next_at"]) == ("resolved", None)
    assert case.told(poison) == ["received"]
    assert case.mailbox()["gaps_due"] is None
    case.judge()


def test_a_gap_is_reported_after_the_last_attempt_and_its_chain_never_asks_for_it_again(world):
    case = world(tick_seconds=900.0, audit_seconds=0.0)  # audits do: tests/chaos/test_audit.py
    case.followed(mails=5)
    poison = refused(case, "poison")
    case.run(sum(PAUSES[:6]) + HOUR)
    assert case.gaps()[poison]["status"] == "open"
    until_reported(case)
    gap = case.gaps()[poison]
    assert (gap["status"], gap["next_at"], gap["attempts"]) == ("reported", None, len(PAUSES))
    assert "403" in gap["reason"]
    asked = len(attempts(case, poison))
    assert asked == len(PAUSES) + 1
    case.sleep(48 * HOUR)
    case.run(HOUR)
    assert len(attempts(case, poison)) == asked
    assert case.mailbox()["status"] == "live"
    case.judge()


@pytest.mark.parametrize("change", ["labels", "deletion", "expiry"])
def test_a_reported_message_that_turns_up_or_goes_after_all_is_no_gap_any_more(world, change):
    case = world(tick_seconds=900.0)
    case.followed(mails=5)
    poison = refused(case, "poison")
    until_reported(case)
    assert case.gaps()[poison]["status"] == "reported"
    match change:
        case "labels":
            case.google.refuse(ADDRESS, poison, 0)
            case.google.change_labels(ADDRESS, poison, ["STARRED"])
        case "deletion":
            case.google.delete(ADDRESS, poison)
        case _:
            case.google.refuse(ADDRESS, poison, 0)
            case.deliver("lost with the history")
            case.google.expire_history(ADDRESS)
    case.run(20 * MINUTE)
    assert case.told(poison) == ([] if change == "deletion" else ["received"])
    assert case.gaps()[poison]["status"] == "resolved"
    case.judge()


@pytest.mark.parametrize("change", ["labels", "deletion", "expiry"])
def test_what_happens_to_a_message_meanwhile_is_right_when_its_gap_is_resolved(world, change):
    case = world()
    case.followed(mails=5)
    poison = refused(case, "poison")
    case.run(50)
    match change:
        case "labels":
            case.google.change_labels(ADDRESS, poison, ["STARRED"], ["UNREAD"])
        case "deletion":
            case.google.delete(ADDRESS, poison)
        case _:
            case.deliver("lost with the history")
            case.google.expire_history(ADDRESS)
    case.run(30)
    if change != "deletion":
        case.google.refuse(ADDRESS, poison, 0)
    case.run(80 * MINUTE)
    assert case.told(poison) == ([] if change == "deletion" else ["received"])
    assert case.gaps()[poison]["status"] == "resolved"
    assert case.mailbox()["gaps_due"] is None
    case.judge()


def test_a_reported_message_that_changes_and_is_still_refused_is_asked_for_again(world):
    case = world(tick_seconds=900.0)
    case.followed(mails=5)
    poison = refused(case, "poison")
    until_reported(case)
    case.google.change_labels(ADDRESS, poison, ["STARRED"])
    case.run(20)
    assert case.gaps()[poison]["status"] == "open"
    case.google.refuse(ADDRESS, poison, 0)
    case.run(20 * MINUTE)
    assert case.told(poison) == ["received"]
    case.judge()


def test_a_message_that_is_refused_during_the_backfill_is_a_gap_too(world):
    case = world(page_size=10)
    case.google.add_mailbox(ADDRESS)
    poison = refused(case, "poison of old")
    case.connect(mails=30)
    case.run(60)
    assert case.mailbox()["backfill"]["done"]
    assert case.gaps()[poison]["status"] == "open"
    case.google.refuse(ADDRESS, poison, 0)
    case.run(15 * MINUTE)
    assert case.told(poison) == ["received"]
    case.judge()


@pytest.mark.parametrize("first_served", [True, False])
def test_ten_refused_messages_in_a_row_stop_the_mailbox_visibly_until_they_are_served(world, first_served):
    case = world(tick_seconds=300.0)
    case.followed(mails=5)
    served = [case.deliver("served")] if first_served else []
    poison = [refused(case, f"poison {number}") for number in range(12)]
    behind = case.deliver("behind them")
    case.run(2 * HOUR)
    mailbox = case.mailbox()
    assert mailbox["status"] == "error"
    assert "403" in mailbox["last_error"]
    assert all(case.told(id_) == [] for id_ in poison)
    asked = len(case.calls)
    case.run(3 * HOUR)
    assert 0 < len(case.calls) - asked < 3 * 13 * 2 * 4 * 13, "it is tried again, not hammered"
    for id_ in poison:
        case.google.refuse(ADDRESS, id_, 0)
    case.run(1.2 * HOUR)
    mailbox = case.mailbox()
    assert (mailbox["status"], mailbox["last_error"]) == ("live", None)
    assert [case.told(id_) for id_ in (*served, *poison, behind)] == [["received"]] * (len(served) + 13)
    case.judge()


def test_ten_refused_messages_in_a_row_stop_a_backfill_while_live_mail_still_comes(world):
    case = world(page_size=5, tick_seconds=300.0)
    case.google.add_mailbox(ADDRESS)
    poison = [refused(case, f"poison of old {number}") for number in range(12)]
    case.connect(mails=20)
    case.run(HOUR)
    mailbox = case.mailbox()
    assert mailbox["status"] == "error"
    assert "10 messages in a row" in mailbox["last_error"]
    assert not mailbox["backfill"]["done"]
    live = case.deliver("live")
    case.run(30)
    assert case.told(live) == ["received"]
    for id_ in poison:
        case.google.refuse(ADDRESS, id_, 0)
    case.run(1.5 * HOUR)
    assert case.mailbox()["status"] == "live"
    case.judge()


def test_refused_messages_among_served_ones_stop_nothing(world):
    case = world()
    case.followed(mails=5)
    poison = []
    for number in range(15):
        poison.append(refused(case, f"poison {number}"))
        case.deliver(f"served {number}")
    case.run(60)
    assert case.mailbox()["status"] == "live"
    assert {id_ for id_, gap in case.gaps().items() if gap["status"] == "open"} == set(poison)
    case.judge()

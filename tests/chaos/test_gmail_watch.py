"""Gmail's push arrangement: opened soon, renewed daily, never relied on, and stopped with the connection."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import orjson
import pytest
from werkzeug.test import Client

from infra.local.verify import seconds
from shared import queries, refs
from tests.chaos.gmail_case import Asked, Case
from tests.world import ADDRESS, MAILBOX, TOPIC

HOUR = 3_600.0
DAY = 24 * HOUR
OTHER_TOPIC = "projects/elsewhere/topics/gmail"


@pytest.fixture
def world(tmp_path, monkeypatch):
    opened: list[Case] = []

    def build(seed: int = 1, **settings: Any) -> Case:
        opened.append(Case(tmp_path, monkeypatch, seed, **{"tick_seconds": 300.0, **settings}))
        return opened[-1]

    yield build
    for one in opened:
        one.close()


def watches(case: Case) -> list[Asked]:
    return case.asked("watch")


def writes(case: Case) -> list[Any]:
    """All writes to the store from here on, as they come."""
    store, seen = case.ports.store, []
    commit = store.commit

    def committed(some):
        seen.extend(some)
        return commit(some)

    store.commit = committed
    return seen


def test_a_watch_is_opened_soon_after_connecting_unfiltered_and_its_end_is_visible(world):
    case = world()
    case.connect(mails=5)
    case.run(5)
    [watch] = watches(case)
    assert watch.at - case.connected_at < 1
    assert orjson.loads(watch.body) == {"topicName": TOPIC}, "a filter by label would hide changes"
    assert abs(seconds(case.mailbox()["channel_expires_at"]) - (watch.at + 7 * DAY)) < 1
    case.run(60)
    arrived = case.deliver("rung for")
    case.run(2)
    assert case.told(arrived) == ["received"], "far sooner than a poll"
    case.judge()


def test_a_watch_is_renewed_every_day_and_never_comes_near_its_end(world):
    case = world(tick_seconds=1_800.0)
    case.connect(mails=5)
    for _ in range(4):
        case.run(DAY)
        assert seconds(case.mailbox()["channel_expires_at"]) - case.clock.now() > 5 * DAY
    times = [watch.at for watch in watches(case)]
    between = [later - earlier for earlier, later in pairwise(times)]
    assert len(times) in (4, 5)
    assert all(DAY - HOUR <= gap <= DAY + 1_800 for gap in between)
    arrived = case.deliver("after all that")
    case.run(8)
    assert case.told(arrived) == ["received"]
    case.run(30)
    case.judge()


def test_different_mailboxes_renew_at_different_times(world):
    case = world()
    tokens = {}
    for address in ("bob@example.org", "cid@example.org", "dan@example.org"):
        tokens[address] = case.google.add_mailbox(address)["access_token"]
        status, link = case.call("oauth", "POST", "/oauth/google/start", {}, Authorization=f"Bearer {case.token}")
        assert status == 200, link
        browser = case.browser()
        page = browser.press(browser.open(link["consent_url"]), "Continue")
        assert browser.press(page, "Allow", account=address).status == 200
        browser.close()
    case.run(60)
    ids = [mailbox["id"] for mailbox in case.api("GET", "/mail/status")["mailboxes"]]
    assert len(ids) == 3
    opened = [watch.at for watch in watches(case)]
    assert max(opened) - min(opened) < 5, "they were connected together"
    case.calls.clear()
    case.run(DAY + 300)
    renewed = sorted(watch.at for watch in watches(case))
    assert len(renewed) == 3
    spread = sorted(queries.spread(id_, 3_600) for id_ in ids)
    assert renewed[-1] - renewed[0] >= (spread[-1] - spread[0]) - 300 > 0, "spread over an hour"


def test_the_push_that_each_renewal_causes_is_harmless(world):
    case = world()
    case.followed(mails=5)
    case.sleep(DAY - 2 * HOUR)
    case.deliver("so that the cursor is young")
    case.run(30)
    events, sent = case.events(), case.google.report()["pushes"]["sent"]
    case.calls.clear()
    written = writes(case)
    while not watches(case):
        case.run(60)
    case.run(10)
    assert case.google.report()["pushes"]["sent"] == sent + 1
    looks = case.asked("history.list")
    assert len(looks) >= 2, "it was rung, so it looked and looked again"
    assert case.asked("messages.get") == []
    assert case.events() == events
    [renewal] = [write for write in written if write.ref == refs.stream(MAILBOX)]
    assert set(renewal.data) <= {"channel", "due_channel", "due_at", "rev", "quota"}
    case.judge()


@pytest.mark.parametrize("late", [False, True])
def test_the_one_client_400_leads_to_stop_and_retry(world, late):
    case = world()
    if late:
        case.followed(mails=5)
        case.gmail("POST", "stop")
    mine = {"Authorization": f"Bearer {case.google.add_mailbox(ADDRESS)['access_token']}"}
    answer = Client(case.website).post("/gmail/v1/users/me/watch", json={"topicName": OTHER_TOPIC}, headers=mine)
    assert answer.status_code == 200
    case.calls.clear()
    if late:
        case.sleep(DAY - 600)
        case.run(1_200)
    else:
        case.connect(mails=5)
        case.run(30)
    said = [(call.method, call.status) for call in case.calls if call.method in ("watch", "stop")]
    assert said == [("watch", 400), ("stop", 204), ("watch", 200)]
    assert case.mailbox()["last_error"] is None
    arrived = case.deliver("rung for by us")
    case.run(2)
    assert case.told(arrived) == ["received"]
    case.run(30)
    case.judge()


def test_a_one_client_400_that_stays_is_a_visible_error_while_polling_goes_on(world):
    case = world(tick_seconds=60.0)
    case.faulty({"fault": "one_push_client", "probability": 1.0})
    case.connect(mails=5)
    case.run(HOUR)
    assert "push channel" in case.mailbox()["last_error"]
    assert case.mailbox()["channel_expires_at"] is None
    assert 4 <= len(case.asked("stop")) <= 10, "tried again now and then, not at once"
    arrived = case.deliver("polled for")
    case.run(45)
    assert case.told(arrived) == ["received"]
    case.faulty()
    case.run(15 * 60)
    assert case.mailbox()["last_error"] is None
    assert case.mailbox()["channel_expires_at"] is not None
    case.judge()


@pytest.mark.parametrize("from_the_beginning", [True, False])
def test_lost_topic_permission_is_a_clear_error_while_polling_goes_on(world, from_the_beginning):
    case = world(tick_seconds=60.0)
    if not from_the_beginning:
        case.followed(mails=5)
    case.google.deny_topic(TOPIC)
    if from_the_beginning:
        case.connect(mails=5)
        case.run(60)
    else:
        case.sleep(DAY - 600)
        case.run(1_200)
    error = case.mailbox()["last_error"]
    assert "No push channel" in error
    assert "403" in error
    assert case.mailbox()["status"] == "live", "it is followed all the same"
    arrived = case.deliver("without a push")
    case.run(45 if from_the_beginning else 16 * 60)
    assert case.told(arrived) == ["received"]
    case.google.allow_topic(TOPIC)
    case.run(15 * 60)
    assert case.mailbox()["last_error"] is None
    assert seconds(case.mailbox()["channel_expires_at"]) - case.clock.now() > 6 * DAY
    arrived = case.deliver("rung for again")
    case.run(2)
    assert case.told(arrived) == ["received"]
    case.run(30)
    case.judge()


def test_a_channel_that_ended_while_watch_was_refused_is_not_shown_and_polling_is_fast(world):
    case = world(tick_seconds=60.0)
    case.followed(mails=5)
    case.google.deny_topic(TOPIC)
    case.run(60)
    case.sleep(6.9 * DAY)
    case.run(60)
    assert case.mailbox()["channel_expires_at"], "it lives yet"
    case.run(3 * HOUR)
    assert case.mailbox()["channel_expires_at"] is None
    assert "No push channel" in case.mailbox()["last_error"]
    arrived = case.deliver("polled for")
    case.run(45)
    assert case.told(arrived) == ["received"]
    case.judge()


def test_a_channel_that_ended_while_watch_was_unavailable_is_not_relied_on(world):
    case = world(tick_seconds=60.0)
    case.followed(mails=5)
    case.faulty({"fault": "status", "status": 503, "methods": ["users.watch"], "probability": 1.0})
    case.sleep(6.9 * DAY)
    case.run(60)
    assert case.mailbox()["channel_expires_at"], "it lives yet"
    case.run(3 * HOUR)
    assert case.mailbox()["channel_expires_at"] is None
    assert case.mailbox()["last_error"]
    arrived = case.deliver("polled for")
    case.run(45)
    assert case.told(arrived) == ["received"]
    case.faulty()
    case.run(HOUR)
    assert case.mailbox()["last_error"] is None
    assert seconds(case.mailbox()["channel_expires_at"]) - case.clock.now() > 6 * DAY
    case.judge()


def test_without_a_topic_there_is_no_watch_and_the_mailbox_is_polled_every_30_seconds(world):
    case = world(gmail_topic="", tick_seconds=60.0)
    case.followed(mails=5)
    assert case.mailbox()["channel_expires_at"] is None
    case.run(20 * 60)
    looks = [call.at for call in case.asked("history.list")]
    between = [later - earlier for earlier, later in pairwise(looks)]
    assert 25 <= min(between) <= max(between) <= 35
    arrived = case.deliver("polled for")
    case.run(35)
    assert case.told(arrived) == ["received"]
    assert watches(case) == case.asked("stop") == []
    case.judge()


def test_disconnecting_stops_the_watch_and_reconnecting_opens_it_again(world):
    case = world()
    case.followed(mails=5)
    case.api("POST", "/mail/disconnect", {"provider": "google"})
    case.run(60)
    assert [call.status for call in case.asked("stop")] == [204]
    assert case.mailbox()["channel_expires_at"] is None
    wanted = case.google.report()["pushes"]["wanted"]
    missed = case.deliver("while nobody listened")
    case.run(2 * HOUR)
    case.sleep(DAY)
    case.run(600)
    assert case.google.report()["pushes"]["wanted"] == wanted, "Gmail rings no more"
    assert watches(case) == []
    assert case.told(missed) == []
    case.api("POST", "/mail/connect", {"provider": "google"})
    case.run(60)
    assert [call.status for call in watches(case)] == [200]
    assert seconds(case.mailbox()["channel_expires_at"]) - case.clock.now() > 6.9 * DAY
    assert case.told(missed) == ["received"]
    arrived = case.deliver("rung for again")
    case.run(2)
    assert case.told(arrived) == ["received"]
    case.run(30)
    [difference] = case.report().differences
    assert "mailbox.connected comes 2 times" in difference, "as it was"

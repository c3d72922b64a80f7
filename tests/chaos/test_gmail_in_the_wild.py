"""Everything that Google does to a mailbox which is followed, row by row; each ends with the independent verdict.

Over 300 lines: one table, whose rows share the world that they happen in and nothing else.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import orjson
import pytest

from infra.local.simulated.answers import Answer
from infra.local.verify import seconds
from tests.chaos.gmail_case import PUSH_FAULTS, Case, raw
from tests.world import ADDRESS

HOUR = 3_600.0
DAY = 24 * HOUR


@pytest.fixture
def world(tmp_path, monkeypatch):
    opened: list[Case] = []

    def build(seed: int = 1, **settings: Any) -> Case:
        opened.append(Case(tmp_path, monkeypatch, seed, **settings))
        return opened[-1]

    yield build
    for one in opened:
        one.close()


def lose_a_window(case: Case) -> None:
    """From here on nothing of what happens is seen, until the history is given back or has expired."""
    case.faulty({"fault": "status", "status": 503, "methods": ["users.history.list"], "probability": 1.0}, drop=1.0)


def expire(case: Case) -> None:
    """What has happened so far can never be asked for again; whatever was in the way of asking is gone."""
    case.google.expire_history(ADDRESS)
    case.faulty()


def resyncs(case: Case) -> int:
    return sum(event["type"] == "sync.completed" and event["data"]["kind"] == "resync" for event in case.events())


# History and pages


def test_history_404_leads_to_a_resync_and_never_to_now(world):
    case = world(page_size=10)
    case.followed(mails=25)
    kept, gone, read = (case.deliver(subject) for subject in ("kept", "gone", "read"))
    case.run(30)
    lose_a_window(case)
    lost = case.deliver("in the lost window")
    case.google.delete(ADDRESS, gone)
    case.google.change_labels(ADDRESS, read, ["STARRED"], ["UNREAD"])
    case.run(20)
    expire(case)
    case.calls.clear()
    case.run(20 * 60)
    assert case.asked("history.list")[0].status == 404
    assert len([call for call in case.asked("messages.list") if "labelIds" not in call.query]) >= 3, "all of it"
    assert resyncs(case) == 1
    assert case.told(lost) == ["received"]
    assert case.told(kept) == ["received"]
    assert case.told(gone) == ["received", "deleted"]
    assert case.told(read) == ["received", "updated"]
    assert [call.status for call in case.asked("messages.get") if call.id == gone] == [404]
    case.judge()


def test_an_invalid_page_token_restarts_the_listing_of_messages(world):
    case = world(page_size=10)
    case.faulty({"fault": "bad_page_token", "methods": ["users.messages.list"], "at": [2], "most": 1})
    case.connect(mails=50)
    case.run(60)
    listings = case.asked("messages.list")
    assert [call.status for call in listings].count(400) == 1
    assert ["pageToken" in call.query for call in listings].count(False) == 2, "it was begun anew once"
    assert case.mailbox()["backfill"]["done"]
    case.judge()


def test_an_invalid_page_token_restarts_the_listing_of_the_history(world):
    case = world()
    case.followed(mails=5)
    emptied: list[str] = []

    def empty_page(call):
        """Gmail may answer an empty page with a token, and may not know that token any more a moment later."""
        if emptied:
            return None
        emptied.append(call.target)
        return Answer(200, orjson.dumps({"nextPageToken": "stale", "historyId": "9999999"}))

    case.instead["history.list"] = empty_page
    arrived = case.deliver("behind an empty page")
    case.run(60)
    walk = case.asked("history.list")
    refused = next(index for index, call in enumerate(walk) if call.status == 400)
    assert walk[refused].query["pageToken"] == ["stale"]
    assert walk[refused + 1].query["startHistoryId"] == walk[0].query["startHistoryId"]
    assert "pageToken" not in walk[refused + 1].query
    assert resyncs(case) == 0
    assert case.told(arrived) == ["received"]
    case.judge()


def test_page_tokens_that_are_refused_for_long_stop_the_listing_until_new_ones_are_good(world):
    """What was refused once stays refused: only a listing that begins anew gets on."""
    case = world(page_size=10, tick_seconds=300.0)
    dead: set[str] = set()
    broken = True

    def refuse(call):
        token = call.target.partition("pageToken=")[2].partition("&")[0]
        if token and (broken or token in dead):
            dead.add(token)
            return Answer(400, orjson.dumps({"error": {"code": 400, "message": "Invalid pageToken"}}))
        return None

    case.instead["messages.list"] = refuse
    case.connect(mails=30)
    case.run(10 * 60)
    mailbox = case.mailbox()
    assert mailbox["status"] == "error"
    assert "page tokens" in mailbox["last_error"]
    assert len(case.asked("messages.list")) < 20
    new = case.deliver("followed all the same")
    case.run(60)
    assert case.told(new) == ["received"]
    broken = False
    case.run(1.2 * HOUR)
    assert (case.mailbox()["status"], case.mailbox()["last_error"]) == ("live", None)
    case.judge()


# failedPrecondition


def test_failed_precondition_for_some_calls_is_retried_and_nobody_notices(world):
    case = world(page_size=20)
    case.faulty(
        {"fault": "precondition", "methods": ["users.getProfile"], "at": [1], "label": "profile"},
        {"fault": "precondition", "methods": ["users.messages.list"], "at": [1, 4], "label": "list"},
        {"fault": "precondition", "methods": ["users.history.list"], "at": [1, 5], "label": "history"},
        {"fault": "precondition", "methods": ["users.messages.get"], "at": [1, 3, 9], "label": "get"},
    )
    case.connect(mails=60)
    seen = set()
    for number in range(60):
        case.run(1)
        if number == 40:
            case.deliver("meanwhile")
        seen.add((case.mailbox()["last_error"], case.mailbox()["retry_count"]))
    assert seen == {(None, 0)}
    assert case.gaps() == {}
    fired = case.google.report()["faults"]
    assert [fired[label] for label in ("profile", "list", "history", "get")] == [1, 2, 2, 3]
    case.judge()


@pytest.mark.parametrize("method", ["getProfile", "messages.list", "messages.get"])
def test_failed_precondition_for_all_calls_is_a_clear_error_tried_hourly_until_it_ends(world, method):
    case = world(tick_seconds=300.0)
    methods = [f"users.{method}", *(["users.threads.get"] if method == "messages.get" else [])]
    case.faulty({"fault": "precondition", "methods": methods, "probability": 1.0})
    case.connect(mails=30)
    case.run(HOUR)
    mailbox = case.mailbox()
    assert mailbox["status"] == "error"
    assert "Gmail" in mailbox["last_error"]
    assert "failedPrecondition" in mailbox["last_error"]
    assert case.count("email.received") == 0
    begun = case.clock.now()
    case.run(3 * HOUR)
    tried = Counter(int((call.at - begun) // HOUR) for call in case.asked(method) if call.at >= begun)
    assert set(tried) >= {0, 1, 2}, "every hour"
    assert case.mailbox()["status"] == "error"
    case.faulty()
    case.run(1.1 * HOUR)
    mailbox = case.mailbox()
    assert (mailbox["status"], mailbox["last_error"]) == ("live", None)
    case.run(10 * 60)
    case.judge()


# Messages that come and go


def test_messages_that_vanish_between_list_and_get_leave_nothing_behind(world):
    case = world(page_size=20)
    vanished: list[str] = []

    def vanish(_call):
        listed = [entry["id"] for entry in case.asked("messages.list")[-1].answer["messages"]]
        for id_ in listed[3:6]:
            case.google.delete(ADDRESS, id_)
            vanished.append(id_)

    case.after["messages.list"] = vanish
    case.connect(mails=40)
    case.run(5 * 60)
    assert len(vanished) == 6
    assert all(case.told(id_) == [] for id_ in vanished)
    assert {gap["status"] for gap in case.gaps().values()} <= {"resolved"}
    assert case.mailbox()["gaps_due"] is None
    case.judge()


@pytest.mark.parametrize("for_seconds", [3.0, 50.0])
def test_a_fresh_id_that_is_404_for_a_while_is_received_once_it_is_there(world, for_seconds):
    case = world()
    case.followed(mails=5)
    case.faulty({"fault": "fresh_404", "seconds": for_seconds, "probability": 1.0})
    fresh = case.deliver("fresh")
    case.run(5 * 60)
    assert next(call.status for call in case.asked("messages.get") if call.id == fresh) == 404
    assert case.told(fresh) == ["received"]
    assert case.gaps()[fresh]["status"] == "resolved"
    case.judge()


def test_a_fresh_id_that_stays_404_for_over_twenty_minutes_is_gone_without_an_event(world):
    case = world()
    case.followed(mails=5)
    case.instead["messages.get"] = lambda call: Answer(404, b"{}") if f"/{never}?" in call.target else None
    never = case.deliver("never seen")
    case.run(20 * 60)
    assert case.gaps()[never]["status"] == "open", "it may be there yet, by clocks that differ"
    case.run(5 * 60)
    assert case.gaps()[never]["status"] == "resolved"
    asked = len(case.asked("messages.get"))
    case.google.delete(ADDRESS, never)
    case.run(20 * 60)
    assert len(case.asked("messages.get")) == asked
    assert case.told(never) == []
    case.judge()


# Drafts and sending


def test_drafts_that_change_their_id_at_every_save_are_never_announced(world):
    case = world(page_size=10)
    messages = []
    case.google.add_mailbox(ADDRESS)
    draft, first = case.draft("version 0")
    messages.append(first)
    case.followed(mails=5)
    for number in range(1, 6):
        again, message = case.draft(f"version {number}", draft)
        assert again == draft
        messages.append(message)
        case.run(3)
    case.run(30)
    assert len(set(messages)) == 6
    assert [case.told(id_) for id_ in messages] == [[]] * 6
    stored = case.stored()
    assert [stored[id_]["subject"] for id_ in messages if id_ in stored] == ["version 5"]
    assert case.gaps().keys() <= set(messages)
    case.run(5 * 60)
    case.judge()


def test_a_sent_draft_is_sent_once_and_never_received(world):
    case = world()
    case.google.add_mailbox(ADDRESS)
    old_draft, old = case.draft("written before we came")
    case.followed(mails=5)
    draft, message = case.draft("written since")
    case.run(20)
    assert case.told(message) == case.told(old) == []
    assert case.google.send_draft(ADDRESS, draft) == message
    case.google.send_draft(ADDRESS, old_draft)
    case.run(20)
    assert case.told(message) == case.told(old) == ["sent"]
    to_self, itself = case.draft("note to self", to=[["Ann", ADDRESS]])
    case.google.send_draft(ADDRESS, to_self)
    case.run(20)
    assert case.told(itself) == ["sent"]
    assert case.stored()[itself]["labels"] == ["INBOX", "SENT", "UNREAD"]
    case.judge()


def test_a_scheduled_send_holds_up_no_mail_and_is_sent_when_its_time_comes(world):
    """Its date is in the future: whoever goes by the newest date waits for it and overlooks what comes meanwhile."""
    case = world(page_size=5, tick_seconds=600.0)
    case.google.add_mailbox(ADDRESS)
    tomorrow = case.clock.now() + DAY
    early, waiting = case.draft("scheduled before we came", received_at=tomorrow)
    case.followed(mails=12)
    late, scheduled = case.draft("scheduled since", received_at=tomorrow)
    case.run(20)
    arrived = [case.deliver(f"meanwhile {number}") for number in range(3)]
    case.run(20)
    assert [case.told(id_) for id_ in arrived] == [["received"]] * 3
    lose_a_window(case)
    lost = case.deliver("in a lost window")
    expire(case)
    case.run(20 * 60)
    assert case.told(lost) == ["received"]
    assert case.told(scheduled) == case.told(waiting) == []
    case.run(tomorrow - case.clock.now())
    case.google.send_draft(ADDRESS, early)
    case.google.send_draft(ADDRESS, late)
    case.run(60)
    assert case.told(scheduled) == case.told(waiting) == ["sent"]
    case.judge()


# Imports, chats, spam, trash


@pytest.mark.parametrize("while_backfilling", [False, True])
def test_imported_mail_with_an_old_date_comes_live_in_its_turn_and_counts_as_the_past(world, while_backfilling):
    case = world(page_size=10)
    case.faulty(latency=0.3)
    case.connect(mails=40)
    case.run(1.0 if while_backfilling else 90.0)
    assert case.mailbox()["backfill"]["done"] is not while_backfilling
    before = case.deliver("just before")
    case.run(10)
    old = {"raw": raw("from another age", "Mon, 02 Mar 2009 10:00:00 +0000"), "labelIds": ["INBOX", "UNREAD"]}
    begun = case.clock.now()
    imported = case.gmail("POST", "messages/import", old)["id"]
    case.run(10)
    after = case.deliver("just after")
    case.run(5 * 60)
    [event] = case.events_of(imported)
    assert event["type"] == "email.received"
    assert event["origin"] == "backfill", "the provider received it long before we came"
    assert event["data"]["msg_date"].startswith("2009-03-02T10:00:00")
    if not while_backfilling:
        assert seconds(event["time"]) - begun < 5, "it is told of at once"
        turns = [case.events_of(id_)[0]["sequence"] for id_ in (before, imported, after)]
        assert turns == sorted(turns)
    case.judge()


def test_chats_are_kept_and_never_announced(world):
    case = world()
    case.google.add_mailbox(ADDRESS)
    old = case.deliver("said before we came", "CHAT")
    case.followed(mails=5)
    new = case.deliver("said since", "CHAT")
    case.run(10)
    case.google.change_labels(ADDRESS, new, ["STARRED"])
    case.run(10)
    case.google.delete(ADDRESS, old)
    case.run(30)
    assert case.told(old) == case.told(new) == []
    assert case.stored()[new]["labels"] == ["CHAT", "STARRED"]
    case.judge()


def test_spam_rescued_is_received_then_and_only_then(world):
    case = world()
    case.google.add_mailbox(ADDRESS)
    old = case.deliver("offer of old", "SPAM", "UNREAD")
    case.followed(mails=5)
    new = case.deliver("offer of today", "SPAM", "UNREAD")
    case.run(10)
    assert case.told(old) == case.told(new) == []
    for spam in (old, new):
        case.google.change_labels(ADDRESS, spam, ["INBOX"], ["SPAM"])
    case.run(20)
    assert case.told(old) == case.told(new) == ["received"]
    case.google.change_labels(ADDRESS, new, ["SPAM"], ["INBOX"])
    case.run(10)
    case.google.change_labels(ADDRESS, new, ["INBOX"], ["SPAM"])
    case.run(10)
    assert case.told(new) == ["received", "updated", "updated"]
    case.judge()


def test_trash_restored_was_never_deleted(world):
    case = world()
    case.google.add_mailbox(ADDRESS)
    old = case.deliver("thrown away before we came", "TRASH")
    case.followed(mails=5)
    new = case.deliver("thrown away since")
    case.run(10)
    case.google.trash(ADDRESS, new)
    case.run(10)
    assert "TRASH" in case.stored()[new]["labels"]
    for trashed in (old, new):
        case.google.untrash(ADDRESS, trashed)
    case.run(10)
    assert case.told(new) == ["received", "updated", "updated"]
    assert case.told(old) == ["received"]
    assert case.count("email.deleted") == 0
    case.judge()


@pytest.mark.parametrize("seen", [True, False])
def test_a_mailbox_that_is_emptied_ends_empty_with_one_deletion_per_announced_mail(world, seen):
    case = world(page_size=10)
    case.followed(mails=40)
    announced = {id_ for id_, message in case.stored().items() if message["announced"]}
    if not seen:
        lose_a_window(case)
    case.google.empty(ADDRESS)
    if not seen:
        expire(case)
    case.run(20 * 60)
    assert case.stored() == {}
    assert case.mailbox()["messages"] == 0
    assert resyncs(case) == (0 if seen else 1)
    deleted = [event["data"]["provider_message_id"] for event in case.events() if event["type"] == "email.deleted"]
    assert Counter(deleted) == Counter(announced)
    case.deliver("the first of a new life")
    case.run(30)
    case.judge()


# Labels


def test_a_label_renamed_changes_no_message_and_writes_nothing(world):
    case = world()
    case.followed(mails=5)
    labelled = case.deliver("to be read later", "INBOX", "Later")
    case.run(30)
    before, events = case.stored(), case.events()
    case.google.rename_label(ADDRESS, "Later", "Never")
    case.run(20 * 60)
    assert case.stored() == before
    assert case.events() == events
    again = case.deliver("with the label's new name", "INBOX", "Never")
    case.run(30)
    stored = case.stored()
    assert stored[again]["labels"] == stored[labelled]["labels"], "it is the same label"
    case.judge()


@pytest.mark.parametrize("seen", [True, False])
def test_a_label_deleted_leaves_every_message_that_had_it(world, seen):
    case = world(page_size=10)
    case.google.add_mailbox(ADDRESS)
    old = [case.deliver(f"old {number}", "INBOX", "Project") for number in range(3)]
    case.followed(mails=20)
    new = case.deliver("new", "INBOX", "Project")
    case.run(30)
    if not seen:
        lose_a_window(case)
    case.google.delete_label(ADDRESS, "Project")
    if not seen:
        expire(case)
    case.run(20 * 60)
    stored = case.stored()
    for id_ in (*old, new):
        assert stored[id_]["labels"] == ["INBOX"]
        received, updated = case.events_of(id_)
        assert (received["type"], updated["type"]) == ("email.received", "email.updated")
        assert updated["data"]["changed"] == ["labels"]
    case.judge()


def test_a_label_deleted_while_a_resync_walks_the_labels_stops_nothing(world):
    case = world(page_size=10)
    case.followed(mails=20)
    labelled = case.deliver("new", "INBOX", "Project")
    case.run(30)
    lose_a_window(case)
    case.deliver("lost")

    def delete_label(_call):
        del case.after["labels.list"]
        case.google.delete_label(ADDRESS, "Project")

    case.after["labels.list"] = delete_label
    expire(case)
    case.run(20 * 60)
    assert case.stored()[labelled]["labels"] == ["INBOX"]
    case.judge()


# History ids


@pytest.mark.parametrize("base", [2**64 - 9_600, 10**20 - 9_600, 10**20])
def test_history_ids_of_21_digits_carry_a_whole_life_even_across_the_20th(world, base):
    case = world(history_base=base, page_size=10)
    case.google.add_mailbox(ADDRESS)
    _, drafted = case.draft("early draft")
    case.followed(mails=25)
    case.traffic(30, seconds=60)
    case.google.set_faults(PUSH_FAULTS)
    case.traffic(10, seconds=30)
    lose_a_window(case)
    case.traffic(6, seconds=12)
    expire(case)
    case.run(20 * 60)
    case.google.refuse(ADDRESS, refused := case.deliver("refused"), 500)
    case.run(30)
    case.google.refuse(ADDRESS, refused, 0)
    case.traffic(10, seconds=30)
    case.run(20 * 60)
    starts = [int(call.query["startHistoryId"][0]) for call in case.asked("history.list")]
    first, last = starts[0], starts[-1]
    assert base < first < last
    if base < 2**64:
        assert first < 2**64 < last
    if base == 10**20 - 9_600:
        assert (len(str(first)), len(str(last))) == (20, 21)
    assert resyncs(case) == 1
    assert case.told(drafted) == []
    assert case.told(refused) == ["received"]
    case.judge()


# Acceptance


@pytest.mark.parametrize("seed", range(1, 5))
def test_history_that_expires_in_the_middle_of_a_backfill_loses_doubles_and_deletes_nothing(world, seed):
    case = world(seed, page_size=10)
    no_history = {"fault": "status", "status": 503, "methods": ["users.history.list"], "probability": 1.0}
    case.faulty(no_history, **PUSH_FAULTS, latency=0.3, seed=seed)
    case.connect(mails=150)
    while case.mailbox()["backfill"]["listed"] < 40:
        case.run(0.5)
    early = case.stored()
    announced = [id_ for id_, message in early.items() if message["announced"]]
    unlisted = [mail["id"] for mail in case.google.truth(ADDRESS)["mails"] if mail["id"] not in early]
    gone = [*case.random.sample(announced, 5), *case.random.sample(unlisted, 5)]
    relabelled = case.random.sample(sorted(set(early) - set(gone)), 5)
    for id_ in gone:
        case.google.delete(ADDRESS, id_)
    for id_ in relabelled:
        case.google.change_labels(ADDRESS, id_, ["STARRED", "Lost"], ["UNREAD"])
    case.run(0.5)
    arrived = [case.deliver(f"in the lost window {number}") for number in range(4)]
    case.google.delete(ADDRESS, arrived[0])
    case.traffic(10, seconds=2)
    assert not case.mailbox()["backfill"]["done"]
    case.google.expire_history(ADDRESS)
    lost_until = case.clock.now()
    case.faulty(**PUSH_FAULTS, latency=0.3, seed=seed)
    case.traffic(20, seconds=40)
    case.run(40 * 60)
    assert resyncs(case) >= 1
    received = Counter(
        event["data"]["provider_message_id"] for event in case.events() if event["type"] == "email.received"
    )
    assert set(received.values()) == {1}
    not_found = {call.id: call.at for call in reversed(case.asked("messages.get")) if call.status == 404}
    deletions = told_deletions(case)
    assert deletions["swept"], "some were deleted in the lost window"
    delivered = {push.attributes["ce-id"]: push.at for push in reversed(case.received)}
    for event in deletions["swept"]:
        assert not_found[event["data"]["provider_message_id"]] <= delivered[event["id"]]
    for event in deletions["told"]:
        assert seconds(event["time"]) >= lost_until
    assert all(case.told(id_)[-1:] != ["updated"] for id_ in gone)
    case.judge()


def told_deletions(case: Case) -> dict[str, list[dict[str, Any]]]:
    """The deletion events: those of which Gmail's history told us, and those that a sweep has found."""
    told = {
        entry["message"]["id"]
        for call in case.asked("history.list")
        if call.status == 200
        for record in call.answer.get("history", ())
        for entry in record.get("messagesDeleted", ())
    }
    deletions: dict[str, list[dict[str, Any]]] = {"told": [], "swept": []}
    for event in case.events():
        if event["type"] == "email.deleted":
            deletions["told" if event["data"]["provider_message_id"] in told else "swept"].append(event)
    return deletions

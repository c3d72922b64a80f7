"""Mail that a client inserts, imports or sends, as the simulated Gmail takes it."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.unit.local.conftest import World
from tests.unit.local.handed_in import kinds, raw, run, status
from tests.unit.local.inprocess import ADDRESS, START, plan

OLD = "Tue, 14 Nov 2023 22:13:20 +0000"
OLD_MS = str(1_700_000_000_000)


def test_imported_mail_keeps_its_old_date_and_is_announced_like_new(world: World) -> None:
    cursor = world.cursor()
    (newer,) = world.sim.add_mails(ADDRESS, [plan()])
    mail = raw("From: b@x.example", "Subject: Old", f"Date: {OLD}") | {"labelIds": ["INBOX", "UNREAD"]}
    answer = run(world.users.messages().import_(userId="me", body=mail))
    assert answer["labelIds"] == ["INBOX", "UNREAD"]
    assert world.get(answer["id"])["internalDate"] == OLD_MS
    assert kinds(world.since(cursor)) == [("messagesAdded", newer, ()), ("messagesAdded", answer["id"], ())]
    assert world.list_ids() == [newer, answer["id"]]


def test_the_source_of_the_internal_date_can_be_chosen_and_has_defaults(world: World) -> None:
    messages = world.users.messages()
    mail = raw("From: b@x.example", f"Date: {OLD}")
    now = str(int(START * 1000))
    dates = [
        world.get(run(method(userId="me", body=mail, **more))["id"])["internalDate"]
        for method in (messages.insert, messages.import_)
        for more in ({}, {"internalDateSource": "dateHeader"}, {"internalDateSource": "receivedTime"})
    ]
    assert dates == [now, OLD_MS, now, OLD_MS, OLD_MS, now]
    undated = run(messages.import_(userId="me", body=raw("From: b@x.example")))
    assert world.get(undated["id"])["internalDate"] == now


def test_import_looks_for_spam_and_insert_does_not(world: World) -> None:
    messages = world.users.messages()
    mail = raw("From: b@x.example", "X-Spam-Flag: YES") | {"labelIds": ["INBOX"]}
    assert run(messages.import_(userId="me", body=mail))["labelIds"] == ["SPAM"]
    assert run(messages.import_(userId="me", body=mail, neverMarkSpam=True))["labelIds"] == ["INBOX"]
    assert run(messages.insert(userId="me", body=mail))["labelIds"] == ["INBOX"]


@pytest.mark.parametrize(
    "body",
    [
        {}, {"raw": ""}, {"raw": 7}, {"raw": "%%%"}, {"raw": base64.b64encode(b"\n\nno header").decode()},
        raw("Subject: x") | {"labelIds": ["Label_99"]}, raw("Subject: x") | {"labelIds": ["DRAFT"]},
        raw("Subject: x") | {"labelIds": "INBOX"}, raw("Subject: x") | {"threadId": "no-id"},
    ],
)  # fmt: skip
def test_a_message_that_makes_no_sense_is_refused(world: World, body: dict[str, Any]) -> None:
    cursor = world.cursor()
    assert status(world.users.messages().insert(userId="me", body=body)) == 400
    assert world.since(cursor) == []


def test_sent_mail_is_completed_and_labelled_sent(world: World) -> None:
    cursor = world.cursor()
    answer = run(world.users.messages().send(userId="me", body=raw("To: b@x.example", "Subject: Hi")))
    (mail,) = world.sim.truth(ADDRESS)["mails"]
    assert answer["labelIds"] == mail["labels"] == ["SENT"]
    assert (mail["sender"], mail["to"], mail["subject"]) == (ADDRESS, ["b@x.example"], "Hi")
    assert {"Date", "Message-ID"} <= set(mail["headers"])
    assert kinds(world.since(cursor)) == [("messagesAdded", answer["id"], ())]


def test_mail_to_oneself_is_in_the_inbox_too(world: World) -> None:
    answer = run(world.users.messages().send(userId="me", body=raw(f"To: b@x.example, Ann <{ADDRESS.upper()}>")))
    assert answer["labelIds"] == ["INBOX", "SENT", "UNREAD"]


def test_mail_to_nobody_is_not_sent(world: World) -> None:
    assert status(world.users.messages().send(userId="me", body=raw("Subject: x"))) == 400


def test_an_answer_joins_the_thread_that_is_named_or_referred_to(world: World) -> None:
    (first,) = world.sim.add_mails(ADDRESS, [plan("Question", headers={"Message-ID": "<q@x>"})])
    messages = world.users.messages()
    to = "To: b@x.example"
    named = run(messages.send(userId="me", body=raw(to) | {"threadId": first}))
    referring = run(messages.send(userId="me", body=raw(to, "References: <elsewhere@x> <q@x>")))
    answering = run(messages.send(userId="me", body=raw(to, "In-Reply-To: <q@x>")))
    unrelated = run(messages.send(userId="me", body=raw(to)))
    assert {answer["threadId"] for answer in (named, referring, answering)} == {first}
    assert unrelated["threadId"] == unrelated["id"]
    assert status(messages.send(userId="me", body=raw(to) | {"threadId": "00ff"})) == 404

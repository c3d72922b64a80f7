"""What Gmail does to a mailbox by itself, as far as the simulator can be told to; and very long history ids."""

from __future__ import annotations

from pathlib import Path

import pytest
from googleapiclient.errors import HttpError

from infra.local.google.app import create_app
from infra.local.google.simulator import GoogleSimulator
from tests.unit.local.conftest import World
from tests.unit.local.handed_in import kinds, run, status
from tests.unit.local.inprocess import ADDRESS, START, TOPIC, gmail_client, plan


def test_a_scheduled_mail_waits_in_the_future_without_inbox_and_is_sent_by_labels(world: World) -> None:
    (one,) = world.sim.add_mails(ADDRESS, [plan("Later", labels=[], received_at=START + 3_000)])
    (two,) = world.sim.add_mails(ADDRESS, [plan("Now")])
    assert world.list_ids() == [one, two]
    cursor = world.cursor()
    world.clock.time = START + 3_000
    world.sim.change_labels(ADDRESS, one, ["SENT"])
    assert kinds(world.since(cursor)) == [("labelsAdded", one, ("SENT",))]
    assert world.get(one)["internalDate"] == str(int((START + 3_000) * 1000))


def test_chats_appear_in_listings(world: World) -> None:
    (chat,) = world.sim.add_mails(ADDRESS, [plan("", labels=["CHAT"])])
    assert world.list_ids() == [chat]
    assert world.get(chat)["labelIds"] == ["CHAT"]


def test_rescued_spam_is_a_change_of_labels(world: World) -> None:
    (one,) = world.sim.add_mails(ADDRESS, [plan(labels=["SPAM"], received_at=START - 9_999)])
    cursor = world.cursor()
    run(world.users.messages().modify(userId="me", id=one, body={"addLabelIds": ["INBOX"], "removeLabelIds": ["SPAM"]}))
    assert kinds(world.since(cursor)) == [("labelsAdded", one, ("INBOX",)), ("labelsRemoved", one, ("SPAM",))]
    assert world.list_ids() == [one]


def test_a_mailbox_can_be_emptied(world: World) -> None:
    ids = world.sim.add_mails(ADDRESS, [plan() for _ in range(5)])
    cursor = world.cursor()
    assert world.app.test_client().post(f"/control/mailboxes/{ADDRESS}/empty").status_code == 200
    assert {message_id for _, message_id, _ in kinds(world.since(cursor))} == set(ids)
    assert world.list_ids(includeSpamTrash=True) == []
    assert world.sim.truth(ADDRESS)["mails"] == []


def test_a_topic_that_denies_gmail_refuses_the_watch_and_loses_the_pushes(world: World) -> None:
    world.watch()
    client = world.app.test_client()
    assert client.post("/control/topics/deny", json={"topic": TOPIC}).status_code == 200
    world.pushed.clear()
    world.sim.add_mails(ADDRESS, [plan()])
    assert world.pushed == []
    assert world.sim.report()["pushes"]["failed"] == 1
    with pytest.raises(HttpError, match="User not authorized to perform this action") as caught:
        world.watch()
    assert caught.value.status_code == 403
    world.sim.close()
    world.open()
    with pytest.raises(HttpError, match="User not authorized"):
        world.watch()
    world.app.test_client().post("/control/topics/allow", json={"topic": TOPIC})
    world.watch()
    assert len(world.pushed) == 1


@pytest.mark.parametrize("path", ["topics/deny", "topics/allow", f"mailboxes/{ADDRESS}/rename-label"])
def test_control_endpoints_say_what_they_lack(world: World, path: str) -> None:
    for body in ({}, {"topic": 7, "label": 7}):
        answer = world.app.test_client().post(f"/control/{path}", json=body)
        assert (answer.status_code, answer.get_json()["error"][-1]) == (400, ".")


BASE = 10**20


@pytest.fixture
def wide(world: World, tmp_path: Path) -> World:
    world.sim.close()
    raw_pushes: list[bytes] = []
    world.sim = GoogleSimulator(
        tmp_path / "wide.sqlite", world.clock, lambda _, data: raw_pushes.append(data), seed=7, history_base=BASE
    )
    world.raw_pushes = raw_pushes  # type: ignore[attr-defined]
    world.app = create_app(world.sim)
    world.users = gmail_client(world.app, world.sim.add_mailbox(ADDRESS)["access_token"]).users()
    return world


def test_history_ids_of_21_digits_are_shown_everywhere_and_taken_back(wide: World) -> None:
    start = wide.cursor()
    watched = wide.watch()
    (one,) = wide.sim.add_mails(ADDRESS, [plan()])
    (record,) = wide.since(start)
    thread = run(wide.users.threads().get(userId="me", id=one))
    (listed,) = run(wide.users.threads().list(userId="me"))["threads"]
    shown = [wide.get(one)["historyId"], thread["historyId"], listed["historyId"], record["id"], wide.cursor()]
    assert set(shown) == {record["id"]}
    assert len(record["id"]) == len(start) == len(watched["historyId"]) == 21
    assert int(record["id"]) > int(start) > BASE
    assert wide.raw_pushes[-1].endswith(f'"historyId":{record["id"]}}}'.encode())  # type: ignore[attr-defined]


def test_history_of_21_digits_pages_and_expires(wide: World) -> None:
    start = wide.cursor()
    ids = wide.sim.add_mails(ADDRESS, [plan() for _ in range(7)])
    history = wide.users.history()
    request, seen = history.list(userId="me", startHistoryId=start, maxResults=3), []
    while request is not None:
        answer = request.execute()
        seen += [record["messages"][0]["id"] for record in answer["history"]]
        request = history.list_next(request, answer)
    assert seen == ids
    wide.sim.expire_history(ADDRESS)
    assert status(history.list(userId="me", startHistoryId=start)) == 404
    assert status(history.list(userId="me", startHistoryId="7")) == 404
    assert wide.since("9" * 30) == []

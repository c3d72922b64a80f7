"""What clients do to messages and threads of the simulated Gmail, as its history tells it."""

from __future__ import annotations

import pytest

from tests.unit.local.conftest import World
from tests.unit.local.handed_in import kinds, run, status
from tests.unit.local.inprocess import ADDRESS, START, TOPIC, plan


def test_modify_answers_the_labels_that_there_are_now(world: World) -> None:
    (one,) = world.sim.add_mails(ADDRESS, [plan(labels=["INBOX", "Work"])])
    body = {"addLabelIds": ["STARRED"], "removeLabelIds": ["Label_1", "UNREAD"]}
    cursor = world.cursor()
    answer = run(world.users.messages().modify(userId="me", id=one, body=body))
    assert answer == {"id": one, "threadId": one, "labelIds": ["INBOX", "STARRED"]}
    assert kinds(world.since(cursor)) == [("labelsAdded", one, ("STARRED",)), ("labelsRemoved", one, ("Label_1",))]


@pytest.mark.parametrize("label", ["SENT", "DRAFT", "CHAT", "Label_7", "Work"])
def test_labels_that_only_gmail_sets_or_nobody_has_are_refused(world: World, label: str) -> None:
    (one,) = world.sim.add_mails(ADDRESS, [plan(labels=["Work", "SENT"])])
    for field in ("addLabelIds", "removeLabelIds"):
        assert status(world.users.messages().modify(userId="me", id=one, body={field: [label]})) == 400


def test_many_messages_change_at_once_and_unknown_ones_are_passed_over(world: World) -> None:
    one, two, three = world.sim.add_mails(ADDRESS, [plan() for _ in range(3)])
    cursor = world.cursor()
    messages = world.users.messages()
    run(messages.batchModify(userId="me", body={"ids": [one, "00ff", two], "removeLabelIds": ["UNREAD"]}))
    run(messages.batchDelete(userId="me", body={"ids": [two, "00ff", three, three]}))
    assert kinds(world.since(cursor)) == [
        ("labelsRemoved", one, ("UNREAD",)), ("labelsRemoved", two, ("UNREAD",)),
        ("messagesDeleted", two, ()), ("messagesDeleted", three, ()),
    ]  # fmt: skip
    assert status(messages.batchModify(userId="me", body={"ids": ["00ff"] * 1001})) == 400


def test_trash_and_back_and_gone(world: World) -> None:
    (one,) = world.sim.add_mails(ADDRESS, [plan()])
    messages = world.users.messages()
    assert run(messages.trash(userId="me", id=one))["labelIds"] == ["TRASH", "UNREAD"]
    assert run(messages.untrash(userId="me", id=one))["labelIds"] == ["INBOX", "UNREAD"]
    assert run(messages.delete(userId="me", id=one)) == ""
    for call in (messages.trash, messages.untrash, messages.delete, messages.get):
        assert status(call(userId="me", id=one)) == 404


def test_a_change_by_a_client_rings_like_any_other(world: World) -> None:
    (one,) = world.sim.add_mails(ADDRESS, [plan()])
    world.watch()
    world.pushed.clear()
    run(world.users.messages().modify(userId="me", id=one, body={"addLabelIds": ["STARRED"]}))
    assert world.pushed == [(TOPIC, {"emailAddress": ADDRESS, "historyId": int(world.cursor())})]


@pytest.fixture
def conversation(world: World) -> list[str]:
    return world.sim.add_mails(
        ADDRESS,
        [plan(f"Mail {age}", thread="t", received_at=START - age) for age in (30, 20, 10)] + [plan("Other")],
    )


def test_a_thread_has_all_its_messages_in_order_with_those_in_the_trash(world: World, conversation: list[str]) -> None:
    world.sim.trash(ADDRESS, conversation[1])
    thread = run(world.users.threads().get(userId="me", id=conversation[0], format="metadata"))
    assert [message["id"] for message in thread["messages"]] == conversation[:3]
    assert thread["messages"][0] == world.get(conversation[0], format="metadata")
    assert thread["historyId"] == world.get(conversation[1])["historyId"] == world.cursor()
    assert status(world.users.threads().get(userId="me", id="00ff")) == 404
    headers = {"Authorization": f"Bearer {world.tokens['access_token']}"}
    answer = world.app.test_client().get(f"/gmail/v1/users/me/threads/{conversation[0]}?format=raw", headers=headers)
    assert answer.status_code == 400  # which the client would not even send


def test_threads_are_as_new_as_their_newest_message_that_fits(world: World, conversation: list[str]) -> None:
    first, _, last, other = conversation
    world.sim.add_mails(ADDRESS, [plan("Aside", received_at=START - 20)])
    threads = world.users.threads()
    listed = run(threads.list(userId="me"))["threads"]
    assert [thread["id"] for thread in listed][:2] == [other, first]
    world.sim.trash(ADDRESS, last)
    world.sim.change_labels(ADDRESS, first, ["STARRED"])
    assert [thread["id"] for thread in run(threads.list(userId="me", labelIds=["STARRED"]))["threads"]] == [first]
    assert [thread["id"] for thread in run(threads.list(userId="me", labelIds=["TRASH"]))["threads"]] == [first]


def test_threads_come_in_pages_and_none_twice(world: World) -> None:
    world.sim.add_mails(ADDRESS, [plan(thread=f"t{n % 7}", received_at=START - n) for n in range(21)], silent=True)
    threads = world.users.threads()
    request, seen = threads.list(userId="me", maxResults=3), []
    while request is not None:
        answer = request.execute()
        seen.append([thread["id"] for thread in answer["threads"]])
        request = threads.list_next(request, answer)
    assert [len(page) for page in seen] == [3, 3, 1]
    assert len({thread for page in seen for thread in page}) == 7
    token = run(threads.list(userId="me", maxResults=3))["nextPageToken"]
    assert status(world.users.messages().list(userId="me", pageToken=token)) == 400


def test_a_thread_changes_as_a_whole(world: World, conversation: list[str]) -> None:
    threads = world.users.threads()
    key = {"userId": "me", "id": conversation[0]}
    starred = run(threads.modify(**key, body={"addLabelIds": ["STARRED"]}))
    assert [message["id"] for message in starred["messages"]] == conversation[:3]
    assert all("STARRED" in message["labelIds"] for message in starred["messages"])
    trashed = run(threads.trash(**key))
    assert all("TRASH" in message["labelIds"] for message in trashed["messages"])
    run(threads.untrash(**key))
    assert world.list_ids(labelIds=["INBOX"]) == [conversation[3], *reversed(conversation[:3])]
    run(threads.delete(**key))
    assert world.list_ids(includeSpamTrash=True) == [conversation[3]]
    assert status(threads.delete(**key)) == 404


def test_untrashing_a_thread_leaves_alone_what_was_not_in_the_trash(world: World) -> None:
    archived, trashed = world.sim.add_mails(ADDRESS, [plan(thread="t", labels=[label]) for label in ("SENT", "TRASH")])
    run(world.users.threads().untrash(userId="me", id=archived))
    assert world.get(archived)["labelIds"] == ["SENT"]
    assert world.get(trashed)["labelIds"] == ["INBOX"]


def test_a_refused_message_refuses_its_thread(world: World, conversation: list[str]) -> None:
    world.sim.refuse(ADDRESS, conversation[1], 500)
    assert status(world.users.threads().get(userId="me", id=conversation[0])) == 500
    assert run(world.users.threads().get(userId="me", id=conversation[3]))["id"] == conversation[3]

"""Every simulated Gmail method, driven by Google's own client."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import pytest
from googleapiclient.errors import HttpError
from werkzeug.exceptions import NotFound
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.test import Client

from infra.local.google.simulator import GoogleSimulator
from tests.unit.local.conftest import World
from tests.unit.local.inprocess import ADDRESS, START, TOPIC, gmail_client, plan


def _refused(call: Any) -> HttpError:
    with pytest.raises(HttpError) as caught:
        call.execute()
    return caught.value


def _reason(error: HttpError) -> str:
    return str(error.error_details[0]["reason"])


def test_profile_names_the_address_the_counts_and_the_cursor(world: World) -> None:
    world.sim.add_mails(ADDRESS, [plan(thread="t"), plan(thread="t"), plan()])
    profile = world.users.getProfile(userId="me").execute()
    assert profile["emailAddress"] == ADDRESS
    assert (profile["messagesTotal"], profile["threadsTotal"]) == (3, 2)
    assert profile["historyId"].isdecimal()


def test_messages_are_listed_newest_first_over_pages(world: World) -> None:
    ids = world.sim.add_mails(ADDRESS, [plan(received_at=START - age) for age in range(7)], silent=True)
    messages = world.users.messages()
    request = messages.list(userId="me", maxResults=3)
    pages = []
    while request is not None:
        answer = request.execute()
        pages.append([item["id"] for item in answer["messages"]])
        assert answer["resultSizeEstimate"] == 7
        request = messages.list_next(request, answer)
    assert [len(page) for page in pages] == [3, 3, 1]
    assert [message_id for page in pages for message_id in page] == ids


def test_a_mail_that_arrives_during_a_walk_shifts_no_page(world: World) -> None:
    ids = world.sim.add_mails(ADDRESS, [plan(received_at=START - 10 - age) for age in range(4)], silent=True)
    first = world.users.messages().list(userId="me", maxResults=2).execute()
    world.sim.add_mails(ADDRESS, [plan()])
    second = world.users.messages().list(userId="me", maxResults=2, pageToken=first["nextPageToken"]).execute()
    assert [item["id"] for item in first["messages"] + second["messages"]] == ids


def test_a_page_has_100_messages_unless_asked_and_never_more_than_500(world: World) -> None:
    world.sim.add_mails(ADDRESS, [plan() for _ in range(510)], silent=True)
    assert [len(world.list_ids(**more)) for more in ({}, {"maxResults": 10_000})] == [100, 500]


def test_spam_and_trash_are_listed_only_when_asked_for(world: World) -> None:
    inbox, spam, trash = world.sim.add_mails(
        ADDRESS, [plan(labels=[label]) for label in ("INBOX", "SPAM", "TRASH")], silent=True
    )
    assert world.list_ids() == [inbox]
    assert set(world.list_ids(includeSpamTrash=True)) == {inbox, spam, trash}
    assert world.list_ids(labelIds=["SPAM"]) == [spam]


def test_several_labels_have_to_be_present_together(world: World) -> None:
    both, _ = world.sim.add_mails(ADDRESS, [plan(labels=["INBOX", "STARRED"]), plan(labels=["INBOX"])])
    assert world.list_ids(labelIds=["INBOX", "STARRED"]) == [both]


def test_a_search_by_time_goes_by_the_second_across_pages_and_labels(world: World) -> None:
    at = [int(START) - 100 * number for number in range(5)]
    ids = world.sim.add_mails(ADDRESS, [plan(received_at=second, labels=["SPAM"]) for second in at], silent=True)
    search = {"q": f"after:{at[3]} before:{at[0]}", "includeSpamTrash": True}
    assert world.list_ids(**search) == ids[1:4]
    assert world.list_ids(**search, labelIds=["SPAM"]) == ids[1:4]
    assert world.list_ids(**search, labelIds=["INBOX"]) == []
    page = world.users.messages().list(userId="me", maxResults=2, **search).execute()
    assert world.list_ids(**search, maxResults=2, pageToken=page["nextPageToken"]) == ids[3:4]
    for wrong in ({"q": "after:5", "pageToken": page["nextPageToken"]}, {"q": "from:bob"}, {"q": "after:2026/11/01"}):
        error = _refused(world.users.messages().list(userId="me", **{"includeSpamTrash": True, **wrong}))
        assert (error.status_code, _reason(error)) == (400, "invalidArgument")


def test_an_empty_listing_has_no_messages_key(world: World) -> None:
    assert world.users.messages().list(userId="me").execute() == {"resultSizeEstimate": 0}


def test_a_foreign_page_token_is_refused(world: World) -> None:
    world.sim.add_mails(ADDRESS, [plan(), plan()])
    token = world.users.messages().list(userId="me", maxResults=1).execute()["nextPageToken"]
    for wrong in ({"pageToken": "nonsense"}, {"pageToken": token, "labelIds": ["INBOX"]}):
        error = _refused(world.users.messages().list(userId="me", **wrong))
        assert (error.status_code, _reason(error)) == (400, "invalidArgument")


def test_a_message_in_its_formats(world: World) -> None:
    (message_id,) = world.sim.add_mails(ADDRESS, [plan("Hi", body="Tom & Jerry's <house>", received_at=START)])
    minimal = world.get(message_id, format="minimal")
    metadata = world.get(message_id, format="metadata", metadataHeaders=["subject", "From"])
    full = world.get(message_id)
    assert minimal["labelIds"] == ["INBOX", "UNREAD"]
    assert minimal["internalDate"] == str(int(START * 1000))
    assert minimal["snippet"] == "Tom &amp; Jerry&#39;s &lt;house&gt;"
    assert minimal["sizeEstimate"] > 0
    assert minimal["historyId"] == world.cursor()
    assert "payload" not in minimal
    assert metadata["payload"]["headers"] == [
        {"name": "From", "value": "Bob <bob@example.net>"},
        {"name": "Subject", "value": "Hi"},
    ]
    assert {"From", "To", "Subject", "Message-ID"} <= {header["name"] for header in full["payload"]["headers"]}
    assert full["payload"]["mimeType"] == "text/plain"


def test_headers_are_served_encoded_and_without_line_breaks(world: World) -> None:
    (message_id,) = world.sim.add_mails(ADDRESS, [plan("Grüße " * 30 + "Ende")])
    (subject,) = world.get(message_id, format="metadata", metadataHeaders=["Subject"])["payload"]["headers"]
    assert "=?" in subject["value"]
    assert subject["value"].isascii()
    assert "\r" not in subject["value"]
    assert "\n" not in subject["value"]


def test_a_mail_without_labels_has_no_label_key(world: World) -> None:
    (message_id,) = world.sim.add_mails(ADDRESS, [plan(labels=[])])
    assert "labelIds" not in world.get(message_id)


def test_unknown_deleted_and_malformed_ids(world: World) -> None:
    (gone,) = world.sim.add_mails(ADDRESS, [plan()])
    world.sim.delete(ADDRESS, gone)
    for message_id, status in ((gone, 404), ("00ff", 404), ("no-id", 400)):
        assert _refused(world.users.messages().get(userId="me", id=message_id)).status_code == status


def test_a_refused_message_answers_its_status_until_that_is_lifted(world: World) -> None:
    (message_id,) = world.sim.add_mails(ADDRESS, [plan()])
    for status, reason in ((403, "forbidden"), (429, "rateLimitExceeded"), (500, "backendError")):
        world.sim.refuse(ADDRESS, message_id, status)
        error = _refused(world.users.messages().get(userId="me", id=message_id))
        assert (error.status_code, _reason(error)) == (status, reason)
    world.sim.refuse(ADDRESS, message_id, 0)
    assert world.get(message_id)["id"] == message_id


def test_history_tells_what_happened_in_typed_arrays(world: World) -> None:
    start = world.cursor()
    (one,) = world.sim.add_mails(ADDRESS, [plan()])
    world.sim.change_labels(ADDRESS, one, ["STARRED"], ["UNREAD"])
    world.sim.trash(ADDRESS, one)
    world.sim.untrash(ADDRESS, one)
    world.sim.delete(ADDRESS, one)
    added, relabelled, trashed, untrashed, deleted = world.since(start)
    message = {"id": one, "threadId": one}
    assert added["messages"] == [message]
    assert added["messagesAdded"] == [{"message": message | {"labelIds": ["INBOX", "UNREAD"]}}]
    assert relabelled["labelsAdded"][0]["labelIds"] == ["STARRED"]
    assert relabelled["labelsRemoved"][0]["labelIds"] == ["UNREAD"]
    assert relabelled["labelsAdded"][0]["message"]["labelIds"] == ["INBOX", "STARRED"]
    assert [trashed[key][0]["labelIds"] for key in ("labelsAdded", "labelsRemoved")] == [["TRASH"], ["INBOX"]]
    assert [untrashed[key][0]["labelIds"] for key in ("labelsAdded", "labelsRemoved")] == [["INBOX"], ["TRASH"]]
    assert deleted["messagesDeleted"][0]["message"]["id"] == one


def test_history_ids_are_strings_that_grow_with_gaps(world: World) -> None:
    start = world.cursor()
    world.sim.add_mails(ADDRESS, [plan() for _ in range(50)])
    ids = [record["id"] for record in world.since(start)]
    numbers = [int(start), *map(int, ids)]
    steps = {after - before for before, after in pairwise(numbers)}
    assert min(steps) >= 1
    assert len(steps) > 3
    assert ids[-1] == world.cursor()


def test_history_comes_in_pages(world: World) -> None:
    start = world.cursor()
    ids = world.sim.add_mails(ADDRESS, [plan() for _ in range(120)])
    history = world.users.history()
    request = history.list(userId="me", startHistoryId=start)
    seen = []
    sizes = []
    while request is not None:
        answer = request.execute()
        sizes.append(len(answer["history"]))
        seen += [record["messages"][0]["id"] for record in answer["history"]]
        request = history.list_next(request, answer)
    assert (sizes, seen) == ([100, 20], ids)


def test_an_empty_history_omits_the_key(world: World) -> None:
    cursor = world.cursor()
    assert world.users.history().list(userId="me", startHistoryId=cursor).execute() == {"historyId": cursor}


def test_a_change_that_changes_nothing_leaves_no_record(world: World) -> None:
    (one,) = world.sim.add_mails(ADDRESS, [plan()])
    cursor = world.cursor()
    world.sim.change_labels(ADDRESS, one, ["INBOX"], ["STARRED"])
    assert world.since(cursor) == []


def test_silent_mail_was_there_before_and_leaves_no_record(world: World) -> None:
    cursor = world.cursor()
    world.sim.add_mails(ADDRESS, [plan()], silent=True)
    assert world.since(cursor) == []
    assert len(world.list_ids()) == 1


def test_expired_and_malformed_cursors(world: World) -> None:
    old = world.cursor()
    world.sim.add_mails(ADDRESS, [plan()])
    world.sim.expire_history(ADDRESS)
    history = world.users.history()
    error = _refused(history.list(userId="me", startHistoryId=old))
    assert (error.status_code, _reason(error)) == (404, "notFound")
    assert world.since(world.cursor()) == []
    assert _refused(history.list(userId="me", startHistoryId="x")).status_code == 400
    assert _refused(history.list(userId="me", startHistoryId=world.cursor(), pageToken="x")).status_code == 400
    assert world.since("9" * 30) == []


def test_history_of_one_type_or_label(world: World) -> None:
    start = world.cursor()
    one, two = world.sim.add_mails(ADDRESS, [plan(), plan(labels=["SENT"])])
    world.sim.change_labels(ADDRESS, one, ["STARRED"], ["UNREAD"])
    (record,) = world.since(start, historyTypes=["labelRemoved"])
    assert set(record) == {"id", "messages", "labelsRemoved"}
    assert [record["messages"][0]["id"] for record in world.since(start, labelId="SENT")] == [two]


def test_labels_of_the_person_get_ids(world: World) -> None:
    (one,) = world.sim.add_mails(ADDRESS, [plan(labels=["INBOX", "Projects/Äpfel"])])
    labels = world.users.labels().list(userId="me").execute()["labels"]
    assert {"id": "INBOX", "name": "INBOX", "type": "system"} in labels
    assert {"id": "Label_1", "name": "Projects/Äpfel", "type": "user"} in labels
    assert world.get(one)["labelIds"] == ["INBOX", "Label_1"]
    assert world.list_ids(labelIds=["Label_1"]) == [one]


def test_watch_answers_cursor_and_expiry_and_rings_at_once(world: World) -> None:
    answer = world.watch()
    assert answer == {"historyId": world.cursor(), "expiration": str(int((START + 7 * 86_400) * 1000))}
    assert world.pushed == [(TOPIC, {"emailAddress": ADDRESS, "historyId": int(answer["historyId"])})]


def test_a_mailbox_has_one_push_arrangement(world: World) -> None:
    world.watch()
    world.watch()
    error = _refused(world.users.watch(userId="me", body={"topicName": "projects/other/topics/t"}))
    assert (error.status_code, _reason(error)) == (400, "failedPrecondition")
    world.users.stop(userId="me").execute()
    world.users.watch(userId="me", body={"topicName": "projects/other/topics/t"}).execute()


@pytest.mark.parametrize("topic", [None, 7, "gmail", "projects/p/subscriptions/s"])
def test_watch_wants_the_full_name_of_a_topic(world: World, topic: Any) -> None:
    assert _refused(world.users.watch(userId="me", body={"topicName": topic})).status_code == 400


def test_tokens_expire_and_belong_to_one_address(world: World) -> None:
    other = world.sim.add_mailbox("zoe@example.org")
    users = gmail_client(world.app, other["access_token"]).users()
    assert users.getProfile(userId="me").execute()["emailAddress"] == "zoe@example.org"
    assert users.getProfile(userId="zoe@example.org").execute()["emailAddress"] == "zoe@example.org"
    assert _refused(users.getProfile(userId=ADDRESS)).status_code == 403
    world.clock.time += 3600
    error = _refused(users.getProfile(userId="me"))
    assert (error.status_code, _reason(error)) == (401, "authError")
    stranger = gmail_client(world.app, "made-up").users()
    assert _refused(stranger.getProfile(userId="me")).status_code == 401


def test_fields_leaves_out_what_was_not_asked_for(world: World) -> None:
    (one,) = world.sim.add_mails(ADDRESS, [plan()])
    assert world.get(one, fields="id,payload/headers(name)")["payload"]["headers"][0] == {"name": "From"}
    answer = world.users.messages().list(userId="me", fields="messages/id,nextPageToken").execute()
    assert answer == {"messages": [{"id": one}]}
    assert _refused(world.users.messages().get(userId="me", id=one, fields="id,(")).status_code == 400


def test_an_unknown_parameter_or_method_is_refused(world: World) -> None:
    client = Client(world.app)
    headers = {"Authorization": f"Bearer {world.tokens['access_token']}"}
    assert client.get("/gmail/v1/users/me/profile?startHistoryID=1", headers=headers).status_code == 400
    assert client.get("/gmail/v1/users/me/settings/filters", headers=headers).status_code == 404
    assert client.get("/gmail/v1/users/me/messages//modify", headers=headers).status_code == 404
    assert client.get("/upload/gmail/v1/users/me/messages", headers=headers).status_code == 404
    assert client.get("/gmail/v1/users/me/profile").get_json()["error"]["status"] == "UNAUTHENTICATED"


def test_a_batch_answers_part_by_part_in_order(world: World) -> None:
    ids = world.sim.add_mails(ADDRESS, [plan(f"Mail {number}") for number in range(5)])
    world.sim.refuse(ADDRESS, ids[3], 429)
    client = gmail_client(world.app, world.tokens["access_token"])
    seen: list[tuple[str, Any]] = []
    batch = client.new_batch_http_request(
        callback=lambda key, answer, error: seen.append((key, answer["id"] if answer else error.status_code))
    )
    for message_id in [*ids, "00ff"]:
        batch.add(client.users().messages().get(userId="me", id=message_id, format="minimal"), request_id=message_id)
    batch.execute()
    assert seen == [(key, key) for key in ids[:3]] + [(ids[3], 429), (ids[4], ids[4]), ("00ff", 404)]
    assert world.sim.report()["requests"] == {"batch": 1, "users.messages.get": 6}


def test_a_mounted_simulator_serves_batches_whose_parts_name_whole_paths(world: World) -> None:
    (one,) = world.sim.add_mails(ADDRESS, [plan()])
    client = Client(DispatcherMiddleware(NotFound(), {"/google": world.app}))
    head = "--b\r\nContent-Type: application/http\r\nContent-ID: <x+1>\r\n\r\n"
    answer = client.post(
        "/google/batch",
        data=f"{head}GET /google/gmail/v1/users/me/messages/{one}?format=minimal HTTP/1.1\r\nAccept: */*\r\n\r\n--b--",
        headers={
            "Content-Type": "multipart/mixed; boundary=b",
            "Authorization": f"Bearer {world.tokens['access_token']}",
        },
    )
    assert "Content-ID: <response-x+1>" in answer.text
    assert "HTTP/1.1 200 OK" in answer.text
    assert f'"id":"{one}"' in answer.text


@pytest.mark.parametrize(
    ("kind", "body"), [("text/plain", ""), ("multipart/mixed; boundary=b", "--b\r\n\r\nx\r\n--b--")]
)
def test_what_is_no_batch_is_refused(world: World, kind: str, body: str) -> None:
    assert Client(world.app).post("/batch", data=body, headers={"Content-Type": kind}).status_code == 400


def test_the_token_endpoint_refreshes_until_the_grant_is_withdrawn(world: World) -> None:
    client = Client(world.app)
    form = {"grant_type": "refresh_token", "refresh_token": world.tokens["refresh_token"], "client_id": "c"}
    world.clock.time += 4000
    answer = client.post("/token", data=form)
    assert answer.get_json()["expires_in"] == 3600
    users = gmail_client(world.app, answer.get_json()["access_token"]).users()
    assert users.getProfile(userId="me").execute()["emailAddress"] == ADDRESS
    assert client.post("/token", data={"grant_type": "password"}).get_json()["error"] == "unsupported_grant_type"
    world.sim.revoke(ADDRESS)
    refused = client.post("/token", data=form)
    assert (refused.status_code, refused.get_json()["error"]) == (400, "invalid_grant")
    assert _refused(users.getProfile(userId="me")).status_code == 401


def test_discovery_names_the_token_endpoint_below_the_mount(world: World) -> None:
    answer = Client(world.app).get("/.well-known/openid-configuration", base_url="http://localhost:8080/google/")
    assert answer.get_json()["token_endpoint"] == "http://localhost:8080/google/token"


def test_latency_is_slept_per_call(world: World) -> None:
    world.sim.set_faults({"latency": 0.2})
    world.cursor()
    assert world.clock.slept == [0.2]


def test_requests_are_counted_per_method(world: World) -> None:
    world.cursor()
    world.list_ids()
    world.list_ids()
    assert world.sim.report()["requests"] == {"users.getProfile": 1, "users.messages.list": 2}


def test_a_restart_on_the_same_file_continues(world: World) -> None:
    (one,) = world.sim.add_mails(ADDRESS, [plan()])
    world.watch()
    world.sim.set_faults({"drop": 1.0})
    before = (world.sim.truth(ADDRESS), world.cursor())
    world.sim.close()
    world.pushed.clear()
    world.open()
    assert (world.sim.truth(ADDRESS), world.cursor()) == before
    (two,) = world.sim.add_mails(ADDRESS, [plan()])
    assert one != two
    assert world.pushed == []
    assert world.sim.report()["pushes"]["dropped"] == 1


def test_a_killed_process_loses_nothing_that_it_had_answered(world: World) -> None:
    program = (
        "import os, signal, sys, time\n"
        "from infra.local.google.simulator import GoogleSimulator\n"
        "class Clock:\n    now = staticmethod(time.time)\n"
        "sim = GoogleSimulator(sys.argv[1], Clock(), lambda topic, data: None, seed=7)\n"
        "mail = {'sender': ['', 'b@x.example']}\n"
        "for _ in range(30): print(*sim.add_mails(sys.argv[2], [mail]), flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    world.sim.close()
    killed = subprocess.run(
        [sys.executable, "-c", program, str(world.path), ADDRESS],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    world.open()
    assert killed.returncode == -9, killed.stderr
    assert [mail["id"] for mail in world.sim.truth(ADDRESS)["mails"]] == killed.stdout.split()
    assert len(killed.stdout.split()) == 30


def test_many_threads_share_a_simulator(world: World) -> None:
    cursor = world.cursor()

    def work(number: int) -> list[str]:
        ids = [world.sim.add_mails(ADDRESS, [plan(f"{number}")])[0] for _ in range(20)]
        for message_id in ids[:10]:
            world.sim.delete(ADDRESS, message_id)
        world.list_ids()
        return ids

    with ThreadPoolExecutor(6) as pool:
        ids = [message_id for part in pool.map(work, range(6)) for message_id in part]
    truth = world.sim.truth(ADDRESS)
    assert len(set(ids)) == 120
    assert (len(truth["mails"]), len(truth["deleted"])) == (60, 60)
    assert len(world.since(cursor, maxResults=500)) == 180


def test_the_same_seed_gives_the_same_mailbox(world: World, tmp_path: Any) -> None:
    twin = GoogleSimulator(tmp_path / "twin.sqlite", world.clock, lambda topic, data: None, seed=7)
    twin.add_mailbox(ADDRESS)
    for sim in (world.sim, twin):
        sim.add_mails(ADDRESS, [plan("Grüße"), plan("日本")])
    assert twin.truth(ADDRESS) == world.sim.truth(ADDRESS)
    twin.close()

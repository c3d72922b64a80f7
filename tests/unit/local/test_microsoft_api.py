"""Folders and messages of the simulated Graph: read, listed, marked, moved, sent and deleted over HTTP."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from tests.unit.local.inprocess import ADDRESS, START, plan
from tests.unit.local.outlook_box import OutlookBox, error

PERSON = {"emailAddress": {"name": "Bob", "address": "bob@example.net"}}


@pytest.fixture
def box(tmp_path: Path) -> Any:
    box = OutlookBox(tmp_path / "microsoft.sqlite")
    yield box
    box.sim.close()


def _arrive(box: OutlookBox, subject: str = "Hello", **fields: Any) -> str:
    return box.sim.add_mails(ADDRESS, [plan(subject, **fields)])[0]


def _wanted(*names: str) -> dict[str, Any]:
    return {"message": {"subject": "Out", "toRecipients": [{"emailAddress": {"address": name}} for name in names]}}


def test_me_is_the_owner(box: OutlookBox) -> None:
    me = box.get("/me")
    assert (me["mail"], me["userPrincipalName"]) == (ADDRESS, ADDRESS)
    assert box.get(f"/users/{ADDRESS}/mailFolders/inbox") == box.get("/me/mailFolders/inbox")
    assert error(box.ask("/users/someone@else.example/messages")) == (403, "ErrorAccessDenied")


def test_a_foreign_token_is_refused(box: OutlookBox) -> None:
    box.token = "nonsense"
    assert error(box.ask("/me")) == (401, "InvalidAuthenticationToken")


def test_a_revoked_account_answers_401(box: OutlookBox) -> None:
    box.sim.revoke(ADDRESS)
    assert box.ask("/me").status_code == 401


def test_every_mailbox_has_folders_that_are_known_by_name(box: OutlookBox) -> None:
    names = {row["displayName"] for row in box.get("/me/mailFolders")["value"]}
    assert names == {"Inbox", "Drafts", "Sent Items", "Deleted Items", "Junk Email", "Archive", "Outbox"}
    for known in ("inbox", "sentitems", "drafts", "junkemail", "deleteditems", "archive", "outbox"):
        assert box.folder(known) == box.folder(box.folder(known))


def test_folders_nest_and_are_listed_level_by_level_and_page_by_page(box: OutlookBox) -> None:
    top = box.post("/me/mailFolders", {"displayName": "Projects"})
    made = {box.post(f"/me/mailFolders/{top['id']}/childFolders", {"displayName": f"P{n}"})["id"] for n in range(12)}
    assert box.get(f"/me/mailFolders/{top['id']}")["childFolderCount"] == 12
    page = box.get(f"/me/mailFolders/{top['id']}/childFolders")
    rest = box.get(page["@odata.nextLink"])
    assert len(page["value"]) == 10
    assert "@odata.nextLink" not in rest
    assert {row["id"] for row in (*page["value"], *rest["value"])} == made
    assert {row["parentFolderId"] for row in rest["value"]} == {top["id"]}


def test_a_name_is_taken_once_per_level(box: OutlookBox) -> None:
    box.post("/me/mailFolders", {"displayName": "Projects"})
    assert error(box.ask("/me/mailFolders", "POST", {"displayName": "projects"})) == (409, "ErrorFolderExists")


def test_a_folder_keeps_its_id_when_it_is_renamed_and_moved(box: OutlookBox) -> None:
    folder = box.sim.create_folder(ADDRESS, "Old")
    renamed = box.ask(f"/me/mailFolders/{folder}", "PATCH", {"displayName": "New"}).get_json()
    moved = box.post(f"/me/mailFolders/{folder}/move", {"destinationId": "archive"})
    assert (renamed["id"], renamed["displayName"]) == (folder, "New")
    assert (moved["id"], moved["parentFolderId"]) == (folder, box.folder("archive"))


def test_a_folder_goes_for_good_with_all_that_it_holds(box: OutlookBox) -> None:
    [deep] = box.sim.add_mails(ADDRESS, [plan(folder="A/B")])
    folder = next(row["id"] for row in box.sim.folders(ADDRESS) if row["name"] == "A")
    assert box.ask(f"/me/mailFolders/{folder}", "DELETE").status_code == 204
    assert error(box.ask(f"/me/messages/{deep}")) == (404, "ErrorItemNotFound")
    assert {row["name"] for row in box.sim.folders(ADDRESS)}.isdisjoint({"A", "B"})
    assert box.sim.truth(ADDRESS)["deleted"] == [deep]


def test_distinguished_folders_stay(box: OutlookBox) -> None:
    for verb, path, body in (
        ("DELETE", "", None),
        ("PATCH", "", {"displayName": "Mine"}),
        ("POST", "/move", {"destinationId": "archive"}),
    ):
        answer = box.ask(f"/me/mailFolders/inbox{path}", verb, body)
        assert error(answer) == (403, "ErrorDeleteDistinguishedFolder")


def test_a_search_folder_says_what_it_is_and_holds_nothing_itself(box: OutlookBox) -> None:
    unread, _ = box.sim.add_mails(ADDRESS, [plan(), plan(labels=["INBOX"])])
    folder = box.sim.create_folder(ADDRESS, "Unread mail", search=True)
    assert box.get(f"/me/mailFolders/{folder}")["@odata.type"] == "#microsoft.graph.mailSearchFolder"
    assert [one["id"] for one in box.get(f"/me/mailFolders/{folder}/messages")["value"]] == [unread]
    assert box.ask(f"/me/messages/{unread}/move", "POST", {"destinationId": folder}).status_code == 409


def test_a_message_tells_what_it_is(box: OutlookBox) -> None:
    message = box.message(
        _arrive(box, "Grüße", cc=[["Zoë", "zoe@example.net"]], labels=["INBOX", "UNREAD", "STARRED"], date=START - 9)
    )
    assert message["subject"] == "Grüße"
    assert message["from"] == message["sender"] == PERSON
    assert message["ccRecipients"] == [{"emailAddress": {"name": "Zoë", "address": "zoe@example.net"}}]
    assert (message["isRead"], message["isDraft"], message["flag"]) == (False, False, {"flagStatus": "flagged"})
    assert (message["receivedDateTime"], message["sentDateTime"]) == ("2026-11-18T11:06:40Z", "2026-11-18T11:06:31Z")
    assert message["@odata.etag"] == f'W/"{message["changeKey"]}"'
    assert message["bodyPreview"] == "A few words."
    assert message["body"] == {"contentType": "text", "content": "A few words."}
    assert message["parentFolderId"] == box.folder("inbox")


def test_header_lines_come_only_when_asked_for_and_only_for_mail_from_outside(box: OutlookBox) -> None:
    inbound, sent = _arrive(box), _arrive(box, labels=["SENT"], sender=["Ann", ADDRESS])
    assert "internetMessageHeaders" not in box.message(inbound)
    headers = box.message(inbound, "internetMessageHeaders")["internetMessageHeaders"]
    assert headers[0]["name"] == "Received"
    assert {"name": "From", "value": "Bob <bob@example.net>"} in headers
    assert "internetMessageHeaders" not in box.message(sent, "internetMessageHeaders")


def test_only_what_is_selected_comes_and_nothing_unheard_of_can_be(box: OutlookBox) -> None:
    message = _arrive(box)
    assert set(box.message(message, "subject,isRead")) == {"@odata.etag", "id", "subject", "isRead"}
    assert error(box.ask(f"/me/messages/{message}?$select=colour")) == (400, "BadRequest")


def test_the_immutable_id_stays_and_the_other_one_changes_at_every_move(box: OutlookBox) -> None:
    message = _arrive(box)
    before = box.get(f"/me/messages/{message}", prefer="")["id"]
    box.post(f"/me/messages/{message}/move", {"destinationId": "archive"})
    after = box.get(f"/me/messages/{message}", prefer="")["id"]
    assert len({message, before, after}) == 3
    assert box.message(message)["id"] == message
    assert error(box.ask(f"/me/messages/{before}")) == (404, "ErrorItemNotFound")


def test_every_change_brings_another_change_key(box: OutlookBox) -> None:
    message = _arrive(box)
    keys = [box.message(message)["changeKey"]]
    for body in (
        {"isRead": True},
        {"categories": ["Red"]},
        {"flag": {"flagStatus": "flagged"}},
        {"importance": "high"},
    ):
        changed = box.ask(f"/me/messages/{message}", "PATCH", body).get_json()
        assert body.items() <= changed.items()
        keys.append(changed["changeKey"])
    box.post(f"/me/messages/{message}/move", {"destinationId": "archive"})
    keys.append(box.message(message)["changeKey"])
    assert len(set(keys)) == 6


def test_what_does_not_differ_is_no_change(box: OutlookBox) -> None:
    message = _arrive(box)
    before = box.message(message)
    box.ask(f"/me/messages/{message}", "PATCH", {"isRead": False})
    box.post(f"/me/messages/{message}/move", {"destinationId": "inbox"})
    assert box.message(message) == before


@pytest.mark.parametrize("body", [{"isRead": 1}, {"categories": "Red"}, {"flag": "flagged"}, {"importance": "huge"}])
def test_marks_that_make_no_sense_are_refused(box: OutlookBox, body: dict[str, Any]) -> None:
    assert error(box.ask(f"/me/messages/{_arrive(box)}", "PATCH", body)) == (400, "ErrorInvalidProperty")


def test_a_deletion_goes_to_deleted_items_first_and_from_there_for_good(box: OutlookBox) -> None:
    message = _arrive(box)
    assert box.ask(f"/me/messages/{message}", "DELETE").status_code == 204
    assert box.message(message)["parentFolderId"] == box.folder("deleteditems")
    assert box.ask(f"/me/messages/{message}", "DELETE").status_code == 204
    assert error(box.ask(f"/me/messages/{message}")) == (404, "ErrorItemNotFound")


def test_a_permanent_deletion_takes_one_step(box: OutlookBox) -> None:
    message = _arrive(box)
    box.post(f"/me/messages/{message}/permanentDelete", expected=204)
    assert not box.sim.is_alive(ADDRESS, message)


def test_a_copy_is_another_message(box: OutlookBox) -> None:
    message = _arrive(box)
    copy = box.post(f"/me/messages/{message}/copy", {"destinationId": "archive"})
    assert copy["id"] != message
    assert (copy["subject"], copy["parentFolderId"]) == ("Hello", box.folder("archive"))
    assert box.message(message)["parentFolderId"] == box.folder("inbox")


def test_messages_are_listed_newest_first_and_filtered(box: OutlookBox) -> None:
    ids = box.sim.add_mails(ADDRESS, [plan(received_at=START - age, labels=["INBOX"]) for age in range(7)], silent=True)
    box.sim.change_labels(ADDRESS, ids[2], add=["UNREAD"])
    listed = box.get("/me/messages?$select=subject&$top=5&$count=true")
    assert (listed["@odata.count"], [one["id"] for one in listed["value"]]) == (7, ids[:5])
    assert [one["id"] for one in box.get(listed["@odata.nextLink"])["value"]] == ids[5:]

    def found(expression: str) -> list[str]:
        return [one["id"] for one in box.get(f"/me/messages?$filter={expression}")["value"]]

    assert found("isRead eq false") == [ids[2]]
    assert found("receivedDateTime ge 2026-11-18T11:06:37Z and receivedDateTime lt 2026-11-18T11:06:39Z") == ids[2:4]
    assert box.ask("/me/messages?$filter=subject eq 'Hello'").status_code == 400


def test_a_list_shifts_when_mail_arrives_meanwhile(box: OutlookBox) -> None:
    ids = box.sim.add_mails(ADDRESS, [plan(received_at=START - 9 - age) for age in range(4)], silent=True)
    first = box.get("/me/messages?$top=2")
    _arrive(box)
    second = box.get(first["@odata.nextLink"])
    assert [one["id"] for one in first["value"] + second["value"]] == [ids[0], ids[1], ids[1], ids[2]]


def test_the_mime_content_and_the_attachments(box: OutlookBox) -> None:
    raw = (
        b"From: bob@example.net\r\nTo: ann@example.org\r\nSubject: two\r\nMIME-Version: 1.0\r\n"
        b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>hi</p>\r\n'
        b'--b\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; filename="a.pdf"\r\n\r\nPDF\r\n--b--\r\n'
    )
    [message] = box.sim.add_mails(ADDRESS, [{"raw": raw, "labels": ["INBOX"]}])
    assert box.ask(f"/me/messages/{message}/$value").data == raw
    assert box.message(message)["hasAttachments"]
    assert box.message(message, "body")["body"]["contentType"] == "html"
    [one] = box.get(f"/me/messages/{message}/attachments")["value"]
    assert (one["name"], base64.b64decode(one["contentBytes"])) == ("a.pdf", b"PDF")
    assert box.get(f"/me/messages/{message}/attachments/{one['id']}") == one


def test_a_draft_is_written_rewritten_and_sent_under_one_immutable_id(box: OutlookBox) -> None:
    draft = box.post("/me/messages", {"subject": "First", "toRecipients": [PERSON]})
    assert (draft["isDraft"], draft["parentFolderId"]) == (True, box.folder("drafts"))
    box.ask(f"/me/messages/{draft['id']}", "PATCH", {"subject": "Second"})
    box.clock.sleep(60)
    box.post(f"/me/messages/{draft['id']}/send", expected=202)
    sent = box.message(draft["id"])
    assert (sent["subject"], sent["isDraft"], sent["parentFolderId"]) == ("Second", False, box.folder("sentitems"))
    assert sent["sentDateTime"] == "2026-11-18T11:07:40Z"
    [mail] = box.sim.truth(ADDRESS)["mails"]
    assert {"SENT"} < set(mail["labels"])
    assert (mail["id"], mail["subject"], mail["to"]) == (draft["id"], "Second", ["bob@example.net"])


def test_a_draft_to_nobody_is_not_sent(box: OutlookBox) -> None:
    draft = box.post("/me/messages", {"subject": "Whom?"})
    assert error(box.ask(f"/me/messages/{draft['id']}/send", "POST")) == (400, "ErrorInvalidRecipients")


def test_mail_to_oneself_is_two_messages_of_one_conversation(box: OutlookBox) -> None:
    box.post("/me/sendMail", _wanted(ADDRESS), expected=202)
    here, there = box.get("/me/messages?$select=parentFolderId,conversationId,internetMessageHeaders")["value"]
    assert {here["parentFolderId"], there["parentFolderId"]} == {box.folder("inbox"), box.folder("sentitems")}
    assert here["conversationId"] == there["conversationId"]
    labels = [{"SENT", "INBOX"}.intersection(mail["labels"]) for mail in box.sim.truth(ADDRESS)["mails"]]
    assert labels == [{"SENT"}, {"INBOX"}]


def test_mail_is_sent_as_mime_too(box: OutlookBox) -> None:
    raw = base64.b64encode(b"To: bob@example.net\r\nSubject: mime\r\n\r\nhi").decode()
    answer = box.client.post(
        "/v1.0/me/sendMail", data=raw, headers={"Authorization": f"Bearer {box.token}", "Content-Type": "text/plain"}
    )
    assert answer.status_code == 202
    [mail] = box.sim.truth(ADDRESS)["mails"]
    assert (mail["subject"], mail["sender"]) == ("mime", ADDRESS)


def test_an_answer_is_in_the_conversation_of_what_it_answers(box: OutlookBox) -> None:
    one = _arrive(box, headers={"Message-ID": "<1@x.example>"})
    raw = b"From: b@x.example\nSubject: Re\nIn-Reply-To: <1@x.example>\n\nhi"
    [two] = box.sim.add_mails(ADDRESS, [{"raw": raw, "labels": ["INBOX"]}])
    assert box.message(two)["conversationId"] == box.message(one)["conversationId"]


def test_a_refused_message_answers_its_status_until_it_is_lifted(box: OutlookBox) -> None:
    message = _arrive(box)
    box.sim.refuse(ADDRESS, message, 500)
    assert box.ask(f"/me/messages/{message}").status_code == 500
    box.sim.refuse(ADDRESS, message, 0)
    assert box.message(message)["id"] == message


@pytest.mark.parametrize("path", ["/me/nothing", "/me/messages/x/y/z", "/nobody", "/me/messages//move"])
def test_what_is_no_resource_is_refused(box: OutlookBox, path: str) -> None:
    assert box.ask(path).status_code == 400


def test_a_token_for_metadata_alone_shows_no_bodies_and_changes_nothing(box: OutlookBox) -> None:
    message = _arrive(box)
    with box.sim.outlook.state.transaction() as db:
        db.execute("UPDATE tokens SET scopes = 'User.Read Mail.ReadBasic'")
    shown = box.message(message)
    assert shown["subject"] == "Hello"
    assert {"body", "bodyPreview"}.isdisjoint(shown)
    assert error(box.ask(f"/me/messages/{message}/$value")) == (403, "ErrorAccessDenied")
    assert error(box.ask(f"/me/messages/{message}", "PATCH", {"isRead": True})) == (403, "ErrorAccessDenied")

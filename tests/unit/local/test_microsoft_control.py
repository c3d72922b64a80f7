"""What drives the Microsoft simulator: the same operations in Python and over HTTP, its truth, and that all of it lasts."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import orjson
import pytest

from infra.local.generator import generate
from infra.local.importer.load import load
from infra.local.importer.read import Imported
from infra.local.microsoft.notifications import Heard
from infra.local.simulated.errors import BadPlan, ControlError, UnknownThing, UnreadableMail
from tests.unit.local.inprocess import ADDRESS, START, plan
from tests.unit.local.outlook_box import OutlookBox, delta

BOX = f"/control/mailboxes/{ADDRESS}"


@pytest.fixture
def box(tmp_path: Path) -> Any:
    box = OutlookBox(tmp_path / "microsoft.sqlite")
    yield box
    box.sim.close()


def _mail(box: OutlookBox, message_id: str) -> dict[str, Any]:
    [mail] = [mail for mail in box.sim.truth(ADDRESS)["mails"] if mail["id"] == message_id]
    return mail


def _labels(box: OutlookBox, message_id: str) -> set[str]:
    """The labels without that of the folder, whose id is nobody's business here."""
    return {label for label in _mail(box, message_id)["labels"] if not label.startswith("folder:")}


def test_the_life_of_a_mail_over_http(box: OutlookBox) -> None:
    raw = base64.b64encode(b"From: z@x.example\nSubject: raw\n\nhi").decode()
    body = {"mails": [plan(thread="t"), {"raw": raw, "labels": ["SENT"], "received_at": START - 5}], "silent": True}
    one, two = box.client.post(f"{BOX}/mails", json=body).get_json()["ids"]
    for operation, more in (
        ("labels", {"add": ["STARRED"], "remove": ["UNREAD"]}), ("trash", {}), ("untrash", {}), ("refuse", {"status": 500}),
    ):  # fmt: skip
        assert box.client.post(f"{BOX}/{operation}", json={"id": one, **more}).get_json() == {}
    box.client.post(f"{BOX}/delete", json={"id": two})
    truth = box.client.get(f"/control/truth/{ADDRESS}").get_json()
    assert truth["deleted"] == [two]
    assert truth["arrived"] == {one: START, two: START}
    [mail] = truth["mails"]
    assert (mail["refused"], mail["received_at"], mail["subject"]) == (True, START, "Hello")
    assert mail["labels"] == ["INBOX", "STARRED", f"folder:{box.folder('inbox')}"]
    assert mail["folder"] == box.folder("inbox")
    assert mail["headers"] == {
        "From": "Bob <bob@example.net>", "To": f"Ann <{ADDRESS}>", "Subject": "Hello",
        "Message-ID": box.sim.truth(ADDRESS)["mails"][0]["headers"]["Message-ID"], "Date": "Wed, 18 Nov 2026 11:06:40 -0000",
    }  # fmt: skip


def test_folders_over_http(box: OutlookBox) -> None:
    folder = box.client.post(f"{BOX}/create-folder", json={"name": "A"}).get_json()["id"]
    box.client.post(f"{BOX}/rename-folder", json={"id": folder, "name": "B"})
    box.client.post(f"{BOX}/move-folder", json={"id": folder, "parent": "archive"})
    [own] = [row for row in box.sim.folders(ADDRESS) if not row["well_known"]]
    assert own == {"id": folder, "name": "B", "parent": box.folder("archive"), "well_known": ""}
    [message] = box.sim.add_mails(ADDRESS, [plan()])
    box.client.post(f"{BOX}/move", json={"id": message, "folder": folder})
    assert _mail(box, message)["folder"] == folder
    box.client.post(f"{BOX}/delete-folder", json={"id": folder})
    assert box.sim.truth(ADDRESS)["deleted"] == [message]
    assert box.client.post(f"{BOX}/delete-folder", json={"id": folder}).status_code == 404
    assert box.client.post(f"{BOX}/delete-folder", json={"id": "inbox"}).status_code == 400


@pytest.mark.parametrize(
    ("labels", "folder", "expected"),
    [
        (["INBOX", "UNREAD"], "inbox", {"INBOX", "UNREAD"}),
        (["SENT"], "sentitems", {"SENT"}),
        (["INBOX", "SENT"], "sentitems", {"SENT"}),
        (["DRAFT"], "drafts", {"DRAFT"}),
        (["SPAM", "UNREAD"], "junkemail", {"SPAM", "UNREAD"}),
        (["TRASH", "INBOX"], "deleteditems", {"TRASH"}),
        ([], "archive", set()),
        (["STARRED", "IMPORTANT", "Later"], "archive", {"STARRED", "IMPORTANT", "category:Later"}),
        (["INBOX", "CATEGORY_PROMOTIONS"], "inbox", {"INBOX", "category:Promotions"}),
    ],
)
def test_labels_of_a_plan_become_a_folder_marks_and_categories(
    box: OutlookBox, labels: list[str], folder: str, expected: set[str]
) -> None:
    [message] = box.sim.add_mails(ADDRESS, [plan(labels=labels)])
    assert _mail(box, message)["folder"] == box.folder(folder)
    assert _labels(box, message) == expected


def test_a_plan_may_name_a_path_and_categories(box: OutlookBox) -> None:
    one, two = box.sim.add_mails(ADDRESS, [plan(folder="A/B", categories=["Red, blue"]), plan(folder="a/b")])
    assert _mail(box, one)["folder"] == _mail(box, two)["folder"]
    assert _labels(box, one) == {"UNREAD", "category:Red, blue"}
    assert [row["name"] for row in box.sim.folders(ADDRESS)][-2:] == ["A", "B"]


@pytest.mark.parametrize(
    ("add", "remove", "folder", "expected"),
    [
        ([], ["INBOX"], "archive", {"UNREAD"}),
        (["SPAM"], ["INBOX"], "junkemail", {"SPAM", "UNREAD"}),
        (["TRASH"], [], "deleteditems", {"TRASH", "UNREAD"}),
        (["STARRED", "Later"], ["UNREAD"], "inbox", {"INBOX", "STARRED", "category:Later"}),
        (["IMPORTANT"], ["Nothing"], "inbox", {"INBOX", "UNREAD", "IMPORTANT"}),
    ],
)
def test_changes_of_labels_become_moves_and_marks(
    box: OutlookBox, add: list[str], remove: list[str], folder: str, expected: set[str]
) -> None:
    [message] = box.sim.add_mails(ADDRESS, [plan()])
    box.sim.change_labels(ADDRESS, message, add, remove)
    assert _mail(box, message)["folder"] == box.folder(folder)
    assert _labels(box, message) == expected
    box.sim.change_labels(ADDRESS, message, ["INBOX", "UNREAD"], ["SPAM", "TRASH", "STARRED", "IMPORTANT", "Later"])
    assert _labels(box, message) == {"INBOX", "UNREAD"}


def test_mail_that_was_sent_is_sent_wherever_it_is_filed_and_mail_that_came_in_is_not(box: OutlookBox) -> None:
    sent, received = box.sim.add_mails(
        ADDRESS,
        [plan(labels=["SENT"], sender=["Ann", ADDRESS.title()]), plan(labels=["INBOX"], sender=["Ann", ADDRESS])],
    )
    for message in (sent, received):
        box.sim.move(ADDRESS, message, "archive")
    assert _labels(box, sent) == {"SENT"}
    assert _labels(box, received) == set()


def test_the_truth_of_sent_mail_holds_only_the_headers_that_fields_tell(box: OutlookBox) -> None:
    extra = {"List-Id": "x", "In-Reply-To": "<a@b>", "Message-ID": "<own@x.example>"}
    [message] = box.sim.add_mails(ADDRESS, [plan(labels=["SENT"], date=START - 60, headers=extra)])
    assert _mail(box, message)["headers"] == {
        "From": "Bob <bob@example.net>", "To": f"Ann <{ADDRESS}>", "Subject": "Hello", "Message-ID": "<own@x.example>",
        "Date": "Wed, 18 Nov 2026 11:05:40 -0000",
    }  # fmt: skip


def test_silent_mail_was_there_all_along(box: OutlookBox) -> None:
    _, link, _ = box.round(delta("inbox"))
    [message] = box.sim.add_mails(ADDRESS, [plan()], silent=True)
    assert box.round(link)[0] == []
    assert box.message(message)["id"] == message
    assert box.sim.truth(ADDRESS)["arrived"] == {}


def test_drafts_are_saved_again_and_sent(box: OutlookBox) -> None:
    draft = box.client.post(f"{BOX}/draft", json={"mail": plan("one", labels=[])}).get_json()["id"]
    assert box.sim.save_draft(ADDRESS, plan("two", labels=[]), draft) == {"id": draft, "message": draft}
    assert (_mail(box, draft)["subject"], _labels(box, draft)) == ("two", {"DRAFT"})
    assert box.client.post(f"{BOX}/send-draft", json={"id": draft}).get_json() == {"message": draft}
    assert _labels(box, draft) == {"SENT"}
    with pytest.raises(ControlError):
        box.sim.send_draft(ADDRESS, draft)


def test_an_emptied_mailbox_has_nothing_but_ids(box: OutlookBox) -> None:
    ids = box.sim.add_mails(ADDRESS, [plan(), plan()])
    box.client.post(f"{BOX}/empty")
    truth = box.sim.truth(ADDRESS)
    assert (truth["mails"], truth["deleted"]) == ([], ids)


def test_the_importer_fills_an_outlook_too(box: OutlookBox) -> None:
    items = [
        Imported(b"From: a@x.example\nSubject: hi\n\nhello", ("INBOX", "Kind, odd"), START - 9, "1"),
        Imported(b"", (), START, "2"),
    ]
    assert load(box.sim, ADDRESS, items) == (1, 1)
    truth = box.sim.truth(ADDRESS)
    assert "category:Kind, odd" in truth["mails"][0]["labels"]
    assert [entry["name"] for entry in truth["unreadable"]] == ["2"]


@pytest.mark.parametrize(
    ("mail", "error"),
    [
        ({"sender": "bob"}, BadPlan), (plan(folder=3), BadPlan), (plan(categories="red"), BadPlan),
        ({"raw": "%"}, BadPlan), ({"raw": ""}, UnreadableMail),
    ],
)  # fmt: skip
def test_of_mails_of_which_one_cannot_be_none_arrives(box: OutlookBox, mail: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        box.sim.add_mails(ADDRESS, [plan(), mail])
    assert box.sim.truth(ADDRESS)["mails"] == []


def test_what_is_not_there_is_refused(box: OutlookBox) -> None:
    for operation in (
        lambda: box.sim.trash(ADDRESS, "nope"), lambda: box.sim.move(ADDRESS, "nope", "inbox"),
        lambda: box.sim.add_mails("nobody@x.example", [plan()]), lambda: box.sim.expire_delta(ADDRESS, ["nope"]),
        lambda: box.sim.create_folder(ADDRESS, "A", "nope"), lambda: box.sim.folders("nobody@x.example"),
    ):  # fmt: skip
        with pytest.raises(UnknownThing):
            operation()


def test_a_folder_cannot_go_into_itself(box: OutlookBox) -> None:
    outer = box.sim.create_folder(ADDRESS, "A")
    inner = box.sim.create_folder(ADDRESS, "B", outer)
    with pytest.raises(ControlError):
        box.sim.move_folder(ADDRESS, outer, inner)


def test_everything_outlasts_the_process(box: OutlookBox) -> None:
    box.sim.add_mails(ADDRESS, list(generate(3, 25, ADDRESS, START)))
    box.sim.set_faults({"late": 1.0, "late_seconds": 9.0, "seed": 4})
    box.sim.set_quota({"concurrency": 4})
    _, link, _ = box.round(delta("inbox"))
    [late] = box.sim.add_mails(ADDRESS, [plan()])
    before = box.sim.truth(ADDRESS)
    box.sim.close()
    box.open()
    assert box.sim.truth(ADDRESS) == before
    assert box.sim.report()["quota"]["concurrency"] == 4
    assert box.ask(f"/me/messages/{late}").status_code == 404
    box.clock.sleep(9)
    assert [item["id"] for item in box.round(link)[0]] == [late]
    assert box.sim.set_faults({})["late"] == 0.0


def test_the_same_seed_makes_the_same_mailbox(tmp_path: Path) -> None:
    def made(name: str, seed: int) -> bytes:
        box = OutlookBox(tmp_path / name, seed)
        box.sim.add_mails(ADDRESS, list(generate(3, 25, ADDRESS, START)))
        answers = [box.sim.truth(ADDRESS), box.get("/me/mailFolders"), box.get(delta("inbox"))]
        box.sim.close()
        return orjson.dumps(answers)

    assert made("one", 1) == made("two", 1) != made("three", 2)


def test_a_subscriber_hears_of_every_kind_of_change(tmp_path: Path) -> None:
    heard: list[dict[str, Any]] = []

    def notify(url: str, body: bytes, headers: Any, query: Any) -> Heard:
        if query:
            return Heard(200, 0.0, query["validationToken"])
        heard.extend(orjson.loads(body)["value"])
        return Heard(202, 0.0)

    box = OutlookBox(tmp_path / "microsoft.sqlite", notify=notify)
    box.post(
        "/subscriptions",
        {
            "changeType": "created,updated,deleted", "notificationUrl": "https://hook.example/graph",
            "resource": "me/messages", "expirationDateTime": "2026-11-20T11:06:40Z", "clientState": "secret",
        },
    )  # fmt: skip
    [message] = box.sim.add_mails(ADDRESS, [plan()])
    box.sim.move(ADDRESS, message, "archive")
    box.sim.delete(ADDRESS, message)
    while (due := box.sim.pump()) is not None:
        box.clock.time = max(box.clock.time, due)
    assert sorted(notice["changeType"] for notice in heard) == ["created", "deleted", "updated"]
    assert {notice["resourceData"]["id"] for notice in heard} == {message}
    box.sim.close()

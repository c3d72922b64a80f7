"""What becomes of one message resource of Graph's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from shared.providers.base import Message, Refused, Upsert
from shared.providers.bounds import MAX_LABEL
from shared.providers.graph.normalise import Reader, normalise
from shared.settings import Settings
from tests.unit.providers.graph_playback import INBOX, ME, header, mail, person

HEADERS = Settings().headers
READER = Reader(HEADERS, ME, {INBOX: "INBOX", "AAsent=": "SENT", "AAdrafts=": "DRAFT"})


def read(raw: dict[str, Any], reader: Reader = READER) -> Message:
    result = normalise(raw, reader)
    assert isinstance(result, Upsert)
    return result.message


def labels(**fields: Any) -> set[str]:
    return set(read(mail("m1", **fields)).labels)


def test_an_ordinary_message() -> None:
    raw = mail(
        "m1",
        subject="Grüße",
        bodyPreview="Hello\r\nAnn",
        toRecipients=[person(ME, "Ann"), person("bob@x.org")],
        ccRecipients=[person("c@x.org")],
        bccRecipients=[person("d@x.org")],
        isRead=False,
        internetMessageHeaders=[
            header("Received", "from mx"),
            header("received", "from mx2"),
            header("FROM", "=?utf-8?q?B=C3=B6b?= <bob@example.org>"),
            header("Subject", "=?utf-8?q?Gr=C3=BC=C3=9Fe?="),
            header("X-Mailer", "not on the list"),
            header("List-Id", "<list.x.org>"),
        ],
    )
    assert read(raw) == Message(
        id="m1",
        thread_id="thread-m1",
        version="key-m1",
        labels=("INBOX", "UNREAD", f"folder:{INBOX}"),
        received_at=1_790_000_000.0,
        subject="Grüße",
        sender="bob@example.org",
        to=(ME, "bob@x.org"),
        cc=("c@x.org",),
        bcc=("d@x.org",),
        snippet="Hello Ann",
        headers={
            "From": "Böb <bob@example.org>",
            "To": f"Ann <{ME}>, bob@x.org",
            "Cc": "c@x.org",
            "Bcc": "d@x.org",
            "Subject": "Grüße",
            "Date": "Mon, 21 Sep 2026 14:13:19 -0000",
            "Message-ID": "<m1@example.org>",
            "List-Id": "<list.x.org>",
        },
    )


def test_headers_are_taken_as_they_were_sent_and_written_anew_only_where_there_are_none() -> None:
    sent = read(mail("m1", internetMessageHeaders=[header("Date", "Mon, 1 Jan 2024 00:00:00 +0100")], subject="Ours"))
    assert sent.headers["Date"] == "Mon, 1 Jan 2024 00:00:00 +0100"
    assert sent.headers["Subject"] == "Ours"


@pytest.mark.parametrize("headers", [None, [], {}, "x", [None, 7, {}, {"name": "To"}, {"name": 1, "value": 2}]])
def test_without_headers_all_come_from_what_graph_says(headers: Any) -> None:
    message = read(mail("m1", internetMessageHeaders=headers, replyTo=[person("r@x.org", 'R "x", Inc.')]))
    assert message.headers == {
        "From": "Bob <bob@example.org>",
        "To": f"Ann <{ME}>",
        "Reply-To": '"R \\"x\\", Inc." <r@x.org>',
        "Subject": "Mail m1",
        "Date": "Mon, 21 Sep 2026 14:13:19 -0000",
        "Message-ID": "<m1@example.org>",
    }


def test_only_headers_on_the_list_are_kept() -> None:
    reader = replace(READER, headers=("Subject", "Received", "X-Own"))
    raw = mail("m1", internetMessageHeaders=[header("received", "a"), header("Received", "b"), header("x-own", "c")])
    assert read(raw, reader).headers == {"Subject": "Mail m1", "Received": "a, b", "X-Own": "c"}


def test_where_graph_says_nothing_the_headers_do() -> None:
    names = [
        header("From", "Bob <bob@x.org>"),
        header("To", "t@x.org"),
        header("Cc", "c@x.org"),
        header("Bcc", "b@x.org"),
    ]
    raw = mail("m1", internetMessageHeaders=[*names, header("Subject", "=?utf-8?q?=C3=BC?=")])
    for field in ("from", "sender", "toRecipients", "ccRecipients", "bccRecipients", "subject"):
        del raw[field]
    message = read(raw)
    assert (message.sender, message.to, message.cc, message.bcc) == (
        "bob@x.org",
        ("t@x.org",),
        ("c@x.org",),
        ("b@x.org",),
    )
    assert message.subject == "ü"


def test_an_address_that_only_its_own_organisation_understands_is_none() -> None:
    x500 = person("/O=EXCHANGELABS/OU=EXCHANGE ADMINISTRATIVE GROUP (FYDIBOHF23SPDLT)/CN=RECIPIENTS/CN=ANN", "Ann")
    raw = mail("m1", sender=x500, toRecipients=[x500], **{"from": x500})
    message = read(raw)
    assert (message.sender, message.to) == ("bob@example.org", (ME,))
    assert read({**raw, "internetMessageHeaders": []}).sender == ""


def test_the_sender_is_whom_it_is_from_else_who_sent_it() -> None:
    assert read(mail("m1", sender=person("s@x.org"))).sender == "bob@example.org"
    assert read(mail("m1", sender=person("s@x.org"), **{"from": None})).sender == "s@x.org"


def test_a_message_has_one_label_of_its_folder_beside_the_folders_name() -> None:
    assert labels() == {f"folder:{INBOX}", "INBOX"}
    assert labels(parentFolderId="AAsent=") == {"folder:AAsent=", "SENT"}
    assert labels(parentFolderId="AAother=") == {"folder:AAother="}


def test_marks_are_labels() -> None:
    marked = labels(
        isRead=False,
        flag={"flagStatus": "flagged"},
        importance="high",
        categories=["Red category", "SENT", "folder:x", ""],
    )
    assert marked == {
        f"folder:{INBOX}", "INBOX", "UNREAD", "STARRED", "IMPORTANT",
        "category:Red category", "category:SENT", "category:folder:x",
    }  # fmt: skip


@pytest.mark.parametrize(
    "fields",
    [
        {"isRead": None}, {"isRead": 0}, {"isRead": "false"}, {"isDraft": "true"}, {"isDraft": 1}, {"importance": "low"},
        {"importance": ["high"]}, {"flag": None}, {"flag": "flagged"}, {"flag": {"flagStatus": "complete"}},
        {"categories": "x"}, {"categories": [7, None]},
    ],
)  # fmt: skip
def test_what_is_no_mark_is_none(fields: dict[str, Any]) -> None:
    assert labels(**fields) == {f"folder:{INBOX}", "INBOX"}


def test_a_draft_is_one_wherever_it_is_and_never_sent() -> None:
    own = {"from": person(ME), "internetMessageHeaders": None}
    assert labels(isDraft=True, parentFolderId="AAother=", **own) == {"folder:AAother=", "DRAFT"}


def test_what_a_person_has_sent_is_sent_wherever_it_is_filed() -> None:
    own = {"from": person("ANN@example.org"), "parentFolderId": "AAother="}
    assert labels(internetMessageHeaders=None, **own) == {"folder:AAother=", "SENT"}
    assert labels(internetMessageHeaders=[header("X-Own", "1")], **own) == {"folder:AAother=", "SENT"}
    received = [header("Received", "from mx")]
    assert labels(internetMessageHeaders=received, **own) == {"folder:AAother="}
    assert labels(internetMessageHeaders=None, **{**own, "from": person("bob@x.org")}) == {"folder:AAother="}


def test_without_an_address_nothing_is_sent_by_nobody() -> None:
    reader = replace(READER, address="")
    raw = mail("m1", internetMessageHeaders=None, sender=None, **{"from": None})
    assert "SENT" not in read(raw, reader).labels


def test_categories_leave_room_for_the_labels_that_mean_something() -> None:
    many = [f"{n:03}" + "\x1f" * 400 for n in range(2_000)]
    found = read(mail("m1", categories=many, isRead=False, subject="\x1f" * 10**6, bodyPreview="x" * 10**6)).labels
    assert {f"folder:{INBOX}", "INBOX", "UNREAD"} <= set(found)
    assert max(map(len, found)) == MAX_LABEL


@pytest.mark.parametrize(
    ("fields", "at"),
    [
        ({"receivedDateTime": "2026-09-21T14:13:20.1234567Z"}, 1_790_000_000.123456),
        ({"receivedDateTime": None}, 1_789_999_999.0),
        ({"receivedDateTime": "9999-12-31T23:59:59Z"}, 253_402_300_799.0),
        ({"receivedDateTime": "0001-01-01T00:00:00Z", "sentDateTime": "x"}, 1_700_000_000.0),
        ({"receivedDateTime": "2026-09-21T14:13:20", "sentDateTime": 7}, 1_700_000_000.0),
        ({"receivedDateTime": "\ud800" * 500, "sentDateTime": [], "internetMessageHeaders": None}, 0.0),
    ],
)
def test_when_it_came(fields: dict[str, Any], at: float) -> None:
    raw = mail("m1", internetMessageHeaders=[header("Date", "Tue, 14 Nov 2023 22:13:20 +0000")])
    assert read({**raw, **fields}).received_at == at


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"id": ""}, "The message has no usable id."),
        ({"id": None}, "The message has no usable id."),
        ({"id": "x" * 513}, "The message has no usable id."),
        ({"id": "a\0b"}, "The message has no usable id."),
        ({"changeKey": None}, "The message has no change key."),
        ({"changeKey": "x" * 513}, "The message has no change key."),
        ({"parentFolderId": None}, "The message is in no folder."),
        ({"parentFolderId": ""}, "The message is in no folder."),
        ({"parentFolderId": "x" * 250}, "The message is in no folder."),
        ({"parentFolderId": "a\nb"}, "The message is in no folder."),
    ],
)
def test_what_is_not_itself_is_refused(fields: dict[str, Any], reason: str) -> None:
    result = normalise({**mail("m1"), **fields}, READER)
    assert isinstance(result, Refused)
    assert result.reason == reason
    assert result.id == ("m1" if "id" not in fields else "")


@pytest.mark.parametrize("raw", [None, 7, "x", [], [mail("m1")]])
def test_what_is_no_object_is_refused_under_the_id_that_was_asked_for(raw: Any) -> None:
    assert normalise(raw, READER, "m1") == Refused("m1", "The message is not an object.")


def test_ids_are_told_apart_by_case() -> None:
    assert normalise(mail("M1"), READER, "m1") == Refused("m1", "The answer is about another message.")


def test_a_thread_that_cannot_be_named_is_none() -> None:
    assert read(mail("m1", conversationId="x" * 513)).thread_id == ""


def test_no_value_can_start_a_line_of_its_own() -> None:
    evil = "a\r\nBcc: evil@x.org"
    message = read(
        mail(
            "m1",
            subject=evil,
            internetMessageId=evil,
            internetMessageHeaders=[header("List-Id", evil)],
            toRecipients=[person("t@x.org\r\nBcc: e@x.org", evil)],
        )
    )
    assert not any("\n" in text or "\r" in text for text in (message.subject, *message.to, *message.headers.values()))

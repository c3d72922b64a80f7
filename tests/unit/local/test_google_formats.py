"""A message in the formats of the simulated Gmail: its bytes, its parts, its attachments."""

from __future__ import annotations

from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.local.google.payload import MAX_DEPTH, tree
from infra.local.simulated.errors import UnreadableMail
from infra.local.simulated.reading import from_raw, parse
from tests.unit.local.conftest import World
from tests.unit.local.handed_in import decoded, run, status
from tests.unit.local.inprocess import ADDRESS, plan


def payload(world: World, mail: bytes) -> Any:
    (message_id,) = world.sim.add_mails(ADDRESS, [{"raw": mail}])
    return world.get(message_id)["payload"]


def test_raw_is_the_mail_to_the_last_byte(world: World) -> None:
    mail = b"Subject: x\nFrom: a@x.example\n\nlines\r\nof \xff any kind\n\n"
    (message_id,) = world.sim.add_mails(ADDRESS, [{"raw": mail}])
    answer = world.get(message_id, format="raw")
    assert decoded({"data": answer["raw"]}) == mail
    assert "payload" not in answer
    assert answer["sizeEstimate"] == len(mail)


def test_a_planned_mail_has_its_body(world: World) -> None:
    (message_id,) = world.sim.add_mails(ADDRESS, [plan(body="Grüße\n\naus Köln")])
    body = world.get(message_id)["payload"]["body"]
    assert decoded(body).decode() == "Grüße\n\naus Köln"
    assert body["size"] == len(decoded(body))


def test_text_is_given_in_utf_8_whatever_its_charset_is(world: World) -> None:
    found = payload(world, b"Subject: x\nContent-Type: text/plain; charset=iso-2022-jp\n\n\x1b$BF|Dx\x1b(B\n")
    assert decoded(found["body"]).decode() == "日程\n"
    assert found["headers"][1]["value"] == "text/plain; charset=iso-2022-jp"


MIXED = b"""Subject: x
Content-Type: multipart/mixed; boundary=o

--o
Content-Type: multipart/alternative; boundary=i

--i

plain
--i
Content-Type: text/html

<p>html</p>
--i--
--o
Content-Type: application/pdf
Content-Disposition: attachment; filename*=utf-8''%C3%A4.pdf
Content-Transfer-Encoding: base64

JVBERg==
--o
Content-Type: message/rfc822

Subject: inner

within
--o--
"""


def test_parts_are_a_tree_with_ids_by_position(world: World) -> None:
    found = payload(world, MIXED)
    shape = [
        (part["partId"], part["mimeType"], [inner["partId"] for inner in part.get("parts", [])])
        for part in found["parts"]
    ]
    assert found["partId"] == ""
    assert shape == [
        ("0", "multipart/alternative", ["0.0", "0.1"]),
        ("1", "application/pdf", []),
        ("2", "message/rfc822", ["2.0"]),
    ]
    assert decoded(found["parts"][0]["parts"][1]["body"]) == b"<p>html</p>"
    assert found["parts"][2]["parts"][0]["headers"] == [{"name": "Subject", "value": "inner"}]


def test_an_attachment_is_behind_an_id_of_its_own(world: World) -> None:
    (message_id,) = world.sim.add_mails(ADDRESS, [{"raw": MIXED}])
    part = world.get(message_id)["payload"]["parts"][1]
    assert part["filename"] == "ä.pdf"
    assert (part["body"]["size"], "data" in part["body"]) == (4, False)
    attachments = world.users.messages().attachments()
    body = run(attachments.get(userId="me", messageId=message_id, id=part["body"]["attachmentId"]))
    assert decoded(body) == b"%PDF"
    assert status(attachments.get(userId="me", messageId=message_id, id="ANGjdJother")) == 400
    assert status(attachments.get(userId="me", messageId="00ff", id=part["body"]["attachmentId"])) == 404


def test_parts_nested_beyond_reason_are_left_out(world: World) -> None:
    mail = b"Subject: x\n"
    for level in range(2 * MAX_DEPTH):
        mail += b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (level, level)
    found = payload(world, mail + b"\nend")
    depth = 0
    while found.get("parts"):
        found = found["parts"][0]
        depth += 1
    assert depth == MAX_DEPTH


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=300),
    st.sampled_from([
        b"Subject: x\n\n", b"Content-Type: multipart/mixed; boundary=b\n\n--b\n", b"Content-Type: message/rfc822\n\n",
        b"Content-Type: text/plain; charset=", b"Content-Disposition: attachment; filename*0*=", b"Content-Type: ",
        b"Content-Transfer-Encoding: base64\nContent-Type: text/plain; charset=utf-16\n\n",
        b"Content-Transfer-Encoding: x-uuencode\n\nbegin 644 a\n",
    ]),
)  # fmt: skip
def test_any_mail_that_can_be_kept_can_be_shown(tail: bytes, head: bytes) -> None:
    try:
        mail = from_raw(head + tail)
    except UnreadableMail:
        return
    orjson.dumps(tree(parse(mail.raw), "00ff"))

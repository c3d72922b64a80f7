"""A message resource becomes a ``Message`` or a ``Refused``, whatever it holds."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from html import unescape
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.providers import headers as module
from shared.providers.base import Message, Refused, Upsert
from shared.providers.gmail.normalise import history_id, normalise
from shared.settings import Settings
from tests.unit.providers.gmail_playback import mail

HEADERS = Settings().headers


def read(raw: object, headers: tuple[str, ...] = HEADERS) -> Message:
    result = normalise(raw, headers)
    assert isinstance(result, Upsert), result
    return result.message


def headed(*headers: tuple[Any, Any], **fields: Any) -> dict[str, Any]:
    return mail("m1", payload={"headers": [{"name": name, "value": value} for name, value in headers]}, **fields)


SNIPPETS = st.lists(
    st.sampled_from(
        ["&lt;", "&gt;", "&amp;", "&quot;", "&#39;", "&", "lt;", "&lt", "&#x27;", "&nbsp;", "#39;", "a", " "]
    )
    | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=3),
    max_size=12,
).map("".join)


@given(SNIPPETS)
def test_a_snippet_is_unescaped_as_html_is(text: str) -> None:
    assert read(mail("m1", snippet=text)).snippet == unescape(text).replace("\0", "")


ADDRESSED = st.lists(
    st.sampled_from(["Ann <ann@x.org>", "=?utf-8?q?J=C3=B6rg,_J?= <j@x.org>", "root", '"a, b" <c@d>', "(", "<", ", "])
    | st.text(max_size=4),
    max_size=6,
).map("".join)


@given(ADDRESSED)
def test_an_address_header_reads_the_same_whether_it_is_remembered_or_not(value: str) -> None:
    raw = headed(*((name, value) for name in ("From", "To", "Cc", "Bcc", "Reply-To")))
    once, again = read(raw), read(raw)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_SHORT", -1)
        afresh = read(raw)
    assert once == again == afresh


def test_an_ordinary_message() -> None:
    raw = headed(
        ("From", '"Doe, Jo" <Jo@Example.org>'),
        ("to", "ann@example.org, Team: a@x.org, b@x.org;"),
        ("CC", "=?utf-8?q?J=C3=B6rg?= <j@x.org>"),
        ("Subject", "=?utf-8?q?Gr=C3=BC?=\r\n =?utf-8?q?=C3=9Fe?="),
        ("Date", "Fri, 20 Nov 2026 14:00:00 +0100"),
        ("Message-Id", "<1@x.org>"),
        ("X-Mailer", "not on the list"),
        labelIds=["UNREAD", "INBOX", "INBOX"],
        snippet="Tom &amp; Jerry&#39;s",
        historyId="123456789012345678901",
    )
    assert read(raw) == Message(
        id="m1",
        thread_id="tm1",
        version="123456789012345678901",
        labels=("INBOX", "UNREAD"),
        received_at=1_790_000_000.0,
        subject="Grüße",
        sender="Jo@Example.org",
        to=("ann@example.org", "a@x.org", "b@x.org"),
        cc=("j@x.org",),
        bcc=(),
        snippet="Tom & Jerry's",
        headers={
            "From": '"Doe, Jo" <Jo@Example.org>',
            "To": "ann@example.org, Team: a@x.org, b@x.org;",
            "Cc": "Jörg <j@x.org>",
            "Subject": "Grüße",
            "Date": "Fri, 20 Nov 2026 14:00:00 +0100",
            "Message-ID": "<1@x.org>",
        },
    )


def test_next_to_nothing_is_enough() -> None:
    message = read({"id": "m1", "historyId": 5})
    assert (message.version, message.subject, message.sender, message.received_at) == ("5", "", "", 0.0)
    assert message.headers == {}
    assert message.truncated == ()


@pytest.mark.parametrize(
    ("raw", "id", "word"),
    [
        (None, "", "object"),
        ([], "", "object"),
        ({}, "", "no id"),
        ({"id": ""}, "", "no id"),
        ({"id": 5, "historyId": "1"}, "", "no id"),
        ({"id": "\0", "historyId": "1"}, "", "no id"),
        ({"id": "x" * 513, "historyId": "1"}, "x" * 512, "too long"),
        ({"id": "a", "threadId": "x" * 513, "historyId": "1"}, "a", "too long"),
        ({"id": "a"}, "a", "history id"),
        ({"id": "a", "historyId": "-1"}, "a", "history id"),
        ({"id": "a", "historyId": 1e20}, "a", "history id"),
        ({"id": "a", "historyId": True}, "a", "history id"),
        ({"id": "a", "historyId": "٣"}, "a", "history id"),
    ],
)
def test_what_is_no_message_is_refused(raw: object, id: str, word: str) -> None:
    result = normalise(raw, HEADERS)
    assert isinstance(result, Refused)
    assert result.id == id
    assert word in result.reason


@pytest.mark.parametrize("raw", [None, {}, {"id": "other", "historyId": "1"}])
def test_an_answer_about_something_else_is_refused_under_the_id_that_was_asked_for(raw: object) -> None:
    result = normalise(raw, HEADERS, "wanted")
    assert isinstance(result, Refused)
    assert result.id == "wanted"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("7", "7"),
        (7, "7"),
        ("007", "7"),
        ("0", "0"),
        (10**63, str(10**63)),
        (10**64, None),
        ("9" * 65, None),
        ("7\n", None),
        (None, None),
    ],
)
def test_history_ids(value: object, expected: str | None) -> None:
    assert history_id(value) == expected


@pytest.mark.parametrize(
    ("internal", "date", "received_at"),
    [
        ("1790000000123", "Fri, 20 Nov 2026 14:00:00 +0000", 1_790_000_000.123),
        (1790000000123, None, 1_790_000_000.123),
        ("-1000", None, -1.0),
        (None, "Fri, 20 Nov 2026 14:00:00 +0100", 1_795_179_600.0),
        ("", "20 Nov 2026 13:00 -0000", 1_795_179_600.0),
        ("x", "no date", 0.0),
        ("9" * 18, None, 0.0),
        ("9" * 5_000, None, 0.0),
        (10**400, None, 0.0),
        (float("nan"), "Thu, 01 Jan 99999 00:00:00 +0000", 0.0),
        (float("inf"), "Fri, 99 Foo 2026 99:99:99 +9999999", 0.0),
        ([], "," * 100, 0.0),
        (None, None, 0.0),
    ],
)
def test_the_time_of_arrival(internal: object, date: str | None, received_at: float) -> None:
    assert read(headed(("Date", date), internalDate=internal)).received_at == received_at


def test_repeated_headers() -> None:
    message = read(
        headed(("From", "no address here"), ("from", "a@x.org"), ("From", "b@x.org"), ("Subject", "1"), ("Subject", "2"),
               ("To", "a@x.org"), ("To", "a@x.org"), ("References", "<1>"), ("References", "<2>"))
    )  # fmt: skip
    assert message.sender == "a@x.org"
    assert message.subject == "1"
    assert message.to == ("a@x.org", "a@x.org")
    assert message.headers["References"] == "<1>, <2>"
    assert message.headers["Subject"] == "1, 2"


def test_the_fields_of_a_message_do_not_depend_on_the_allow_list() -> None:
    raw = headed(("From", "a@x.org"), ("To", "b@x.org"), ("Subject", "S"), ("Message-ID", "<1>"))
    message = read(raw, ("message-ID",))
    assert (message.sender, message.to, message.subject) == ("a@x.org", ("b@x.org",), "S")
    assert message.headers == {"message-ID": "<1>"}


@pytest.mark.parametrize(
    "payload",
    [None, [], "x", {"headers": None}, {"headers": {}}, {"headers": [None, 1, "x", [], {}]},
     {"headers": [{"name": 1, "value": "x"}, {"name": "To", "value": None}, {"name": None}, {"name": "Subject", "value": {}}]}],
)  # fmt: skip
def test_wrong_types_are_as_good_as_nothing(payload: object) -> None:
    message = read(mail("m1", payload=payload, labelIds=[None, 1, "A", ["B"], ""], snippet=5, threadId=None))
    assert (message.labels, message.snippet, message.thread_id, message.to, message.headers) == (("A",), "", "", (), {})


def test_strings_become_valid() -> None:
    message = read(
        headed(
            ("Subject", "a\ud800b\0c\ud83d\ude00"),
            ("To", "x\udfff@y.org"),
            snippet="&#0;&#xd800;\0",
            labelIds=["L\ud800"],
        )
    )
    assert message.subject == "a\ufffdbc😀"
    assert message.to == ("x\ufffd@y.org",)
    assert message.snippet == "\ufffd\ufffd"
    assert message.labels == ("L\ufffd",)


BOUNDED = [
    ("subject", headed(("Subject", "s" * 10_001)), lambda m: len(m.subject) == 10_000),
    ("snippet", headed(snippet="&amp;" * 2_001), lambda m: m.snippet == "&" * 2_000),
    ("headers", headed(("References", "r" * 100_001)), lambda m: len(m.headers["References"]) == 100_000),
    ("labels", headed(labelIds=[f"L{number}" for number in range(1_001)]), lambda m: len(m.labels) == 1_000),
    ("labels", headed(labelIds=["l" * 257]), lambda m: m.labels == ("l" * 256,)),
    ("to", headed(("To", "a" * 1_000 + "@x.org, b@x.org")), lambda m: m.to == ("b@x.org",)),
]


@pytest.mark.parametrize(("name", "raw", "holds"), BOUNDED)
def test_bounds_are_named_where_they_cut(name: str, raw: dict[str, Any], holds: Any) -> None:
    message = read(raw)
    assert holds(message)
    assert name in message.truncated


def weight(message: Message) -> int:
    return len(json.dumps(asdict(message), ensure_ascii=False, separators=(",", ":")).encode())


def test_ten_thousand_recipients_stay() -> None:
    people = [f'"Person, {number}" <person{number}@example.org>' for number in range(10_000)]
    raw = headed(("To", ", ".join(people)))
    message = read(raw)
    assert len(message.to) == 10_000
    assert message.truncated == ("headers",)
    assert weight(message) < 600_000


def test_too_many_recipients_are_cut_from_the_end() -> None:
    people = ", ".join(f"person{number}@example.org" for number in range(20_000))
    message = read(headed(("To", "first@x.org"), ("Cc", people), ("Bcc", people), ("Subject", "\x1f" * 10_000)))
    assert message.to == ("first@x.org",)
    assert message.cc[:2] == ("person0@example.org", "person1@example.org")
    assert 10_000 < len(message.cc) < 20_000
    assert message.bcc == ()
    assert message.truncated == ("cc", "bcc", "headers")
    assert 590_000 < weight(message) < 600_000


def test_heavy_headers_leave_room_for_each_other() -> None:
    message = read(
        headed(("References", "\x1f" * 100_000), ("List-Id", "\x1f" * 100_000), ("Subject", "S"), ("Message-ID", "<1>"))
    )
    assert message.headers["Message-ID"] == "<1>"
    assert len(message.headers["References"]) == len(message.headers["List-Id"]) > 15_000
    assert weight(message) < 600_000


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
texts = st.lists(
    st.sampled_from(
        [
            "a@x.org",
            ",",
            "<",
            ">",
            '"',
            "=?utf-8?q?=C3=BC?=",
            "\ud800",
            "\0",
            "\r\n ",
            "\n",
            "é",
            ":",
            ";",
            "(",
            "&#xd800;",
            "&#0;",
        ]
    )
).map("".join)
entries = st.fixed_dictionaries({"name": st.sampled_from(HEADERS) | json_values, "value": texts | json_values})
semi_valid = st.fixed_dictionaries(
    {"id": st.just("m1") | json_values, "historyId": st.just("5") | st.integers() | json_values},
    optional={
        "threadId": st.text() | json_values,
        "labelIds": st.lists(st.text() | json_values) | json_values,
        "snippet": texts | json_values,
        "internalDate": st.integers().map(str) | st.integers() | json_values,
        "payload": st.fixed_dictionaries({"headers": st.lists(entries) | json_values}) | json_values,
    },
)


def assert_sound(result: Upsert | Refused) -> None:
    if isinstance(result, Refused):
        assert result.reason
        result.id.encode()
        return
    message = result.message
    encoded = json.dumps(asdict(message), ensure_ascii=False, allow_nan=False).encode()  # fails on a lone surrogate
    assert b"\\u0000" not in encoded
    assert len(encoded) < 600_000
    assert message.id
    assert message.version.isdigit()
    assert message.labels == tuple(sorted(set(message.labels)))
    assert set(message.truncated) <= {spec.name for spec in fields(Message)}


@given(json_values)
def test_any_json_gives_an_answer(raw: object) -> None:
    assert_sound(normalise(raw, HEADERS))


@settings(max_examples=300)
@given(semi_valid)
def test_any_message_of_a_sort_gives_an_answer(raw: dict[str, Any]) -> None:
    assert_sound(normalise(raw, HEADERS))
    assert_sound(normalise(raw, HEADERS, "m1"))

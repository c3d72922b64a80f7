"""Plans become real MIME, and real MIME leads back to the plan."""

from __future__ import annotations

import email
import random
from email.header import decode_header, make_header
from email.policy import compat32, default

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.local.simulated import canonical
from infra.local.simulated.errors import BadPlan, UnreadableMail
from infra.local.simulated.mime import render
from infra.local.simulated.plan import Plan
from infra.local.simulated.reading import from_plan, from_raw
from infra.local.simulated.words import decode_words, encode_words

TEXTS = (
    "Hello", "", "Grüße aus Köln", "日程", "添付の資料をご確認ください" * 20, "שלום מכולם", "🎉 party 🎉",
    "a =?utf-8?Q?trap?= b",
    "Price: 20 € – “last call”", "x" * 300, "plain words " * 30 + "end", "tab\tand  double  spaces",
    "Re: [list] ; draft=2_final",
    "C:\\users\\new", "\\u0041 ünd",
)  # fmt: skip
PEOPLE = (
    ("Ann Baker", "a@x.example"), ("Doe, Jane", "b@x.example"), ('Tom "Tiger" Reed', "c@x.example"),
    ("", "d@x.example"),
    ("Müller, Änne", "e@x.example"),
    ("山田 太郎", "f@x.example"), ("accounts (EMEA)", "g@x.example"),
    ("back\\slash", "h@x.example"), ("René “Rey” D’Arcy", "i@x.example"),
)  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("seed", range(8))
def test_every_text_survives_encoding(text: str, seed: int) -> None:
    words = encode_words(text, random.Random(seed))
    written = " ".join(words)
    assert written.isascii()
    assert not any(" " in word for word in words)
    assert decode_words(written) == text
    assert str(make_header(decode_header(written))) == text


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp"))), st.integers(0, 99))
def test_any_text_survives_encoding(text: str, seed: int) -> None:
    assert decode_words(" ".join(encode_words(text, random.Random(seed)))) == text


def test_several_charsets_and_both_encodings_are_used() -> None:
    seen = {
        word[2 : word.index("?", 2) + 2] for seed in range(60) for word in encode_words("Café", random.Random(seed))
    }
    assert {"utf-8?B", "utf-8?Q", "iso-8859-1?Q", "windows-1252?Q"} == seen
    words = [word for seed in range(60) for word in encode_words("日程", random.Random(seed))]
    assert any(word.startswith("=?shift_jis?B?") for word in words)


@pytest.mark.parametrize("seed", range(12))
def test_a_rendered_mail_says_what_was_planned(seed: int) -> None:
    plan = Plan(
        PEOPLE[4], "Grüße " * 30 + "Ende", PEOPLE, PEOPLE[:3], PEOPLE[5:], date=1_700_000_000.0, body="Añb\n\nc"
    )
    raw = render(plan, "<id@x>", random.Random(seed))
    assert all(len(line) <= 78 for line in raw.split(b"\r\n"))
    message = email.message_from_bytes(raw, policy=default)
    assert message["subject"] == plan.subject
    assert [(person.display_name, person.addr_spec) for person in message["to"].addresses] == list(PEOPLE)
    assert message["date"].datetime.timestamp() == plan.date
    assert message.get_content() == "Añb\n\nc"


@pytest.mark.parametrize("seed", range(12))
def test_the_served_headers_lead_back_to_the_truth(seed: int) -> None:
    plan = Plan(
        PEOPLE[1], TEXTS[8], PEOPLE, headers=(("List-Id", "News <n.x>"), ("References", "<a@b> " * 30 + "<c@d>"))
    )
    planned = from_plan(plan, "<id@x>", random.Random(seed))
    read = from_raw(render(plan, "<id@x>", random.Random(seed)))
    assert planned.headers == read.headers
    assert planned.truth["to"] == read.truth["to"] == [address for _, address in PEOPLE]
    assert planned.truth["subject"] == read.truth["subject"] == TEXTS[8]
    assert set(planned.truth["headers"]) == {"From", "To", "Subject", "Message-ID", "List-Id", "References"}
    served = {name: decode_words(value) for name, value in planned.headers if name in planned.truth["headers"]}
    assert canonical.same_headers(planned.truth["headers"], served)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ('"Doe, Jane" <b@x>', "Doe, Jane <b@x>"),
        ('"Tom \\"T\\" Reed" <c@x>', 'Tom "T" Reed <c@x>'),
        ("<d@x>, e@x", "d@x,e@x"),
        ("a  b\tc\x00", " a b c"),
    ],
)
def test_what_may_differ(ours: str, theirs: str) -> None:
    assert canonical.same_text(ours, theirs)
    assert canonical.same_headers({"To": ours, "Cc": ""}, {"To": theirs})


@pytest.mark.parametrize(
    ("ours", "theirs"), [("a@x, b@x", "b@x, a@x"), ("Hello", "hello"), ("A <a@x>", "A <b@x>"), ("a", "b")]
)
def test_what_may_not_differ(ours: str, theirs: str) -> None:
    assert not canonical.same_text(ours, theirs)
    assert not canonical.same_headers({"To": ours}, {"To": theirs})


@pytest.mark.parametrize(
    ("truth", "answer", "same"),
    [("a\ufffdb", "aÿb", True), ("a\ufffd\ufffdb", "ab", True), ("\ufffd", "?", True), ("a\ufffdb", "aÿc", False),
     ("a\ufffdb\ufffdc", "axbyc", True), ("a\ufffdb\ufffdc", "axyc", False), ("ab\ufffdba", "aba", False)],
)  # fmt: skip
def test_what_no_charset_explains_may_be_shown_in_any_way(truth: str, answer: str, same: bool) -> None:
    assert canonical.same_text(truth, answer) is same


@pytest.mark.parametrize(
    "data",
    [
        {}, {"sender": "x"}, {"sender": ["A", "no address"]}, {"sender": ["A", "a@x\r\nBcc: b@x"]},
        {"sender": ["A", "a@x"], "to": 7},
        {"sender": ["A", "a@x"], "labels": "INBOX"}, {"sender": ["A", "a@x"], "date": "today"},
        {"sender": ["A", "a@x"], "typo": 1},
        {"sender": ["A", "a@x"], "headers": {"X": "a\r\nb"}}, {"sender": ["A", "a@x"], "received_at": -1},
    ],
)  # fmt: skip
def test_a_plan_that_makes_no_sense_is_refused(data: dict[str, object]) -> None:
    with pytest.raises(BadPlan):
        Plan.from_json(data)


def test_an_imported_mail_is_read_as_pythons_email_package_reads_it() -> None:
    mail = from_raw(
        b"From: =?iso-8859-1?Q?J=FCrgen?= <j@x.example>\r\nTo: Team: a@x.example, \"B, C\" <b@x.example>;\r\n"
        b"TO: d@x.example\r\nSubject: =?utf-8?B?w7w=?=\r\n =?utf-8?B?w6Q=?=\r\nX-Other: 1\r\n"
        b"Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>no</p>\r\n"
        b"--b\r\nContent-Type: text/plain; charset=latin-1\r\n\r\nT\xfcr\r\n  zu\r\n--b--\r\n"
    )  # fmt: skip
    assert mail.truth == {
        "subject": "üä",
        "sender": "j@x.example",
        "to": ["a@x.example", "b@x.example", "d@x.example"],
        "cc": [],
        "bcc": [],
        "snippet": "Tür zu",
        "headers": {
            "From": "Jürgen <j@x.example>",
            "To": 'Team: a@x.example, "B, C" <b@x.example>;, d@x.example',
            "Subject": "üä",
        },
    }
    assert ("Subject", "=?utf-8?B?w7w=?= =?utf-8?B?w6Q=?=") in mail.headers


def test_a_declaration_that_no_parser_knows_does_not_make_a_mail_unreadable() -> None:
    raw = b"From: a@x.example\nContent-Type: text/html\n\n<p>before</p><![foo[ after"
    assert from_raw(raw).truth["snippet"] == "before"


def test_half_a_character_in_a_header_is_no_text_and_no_reason_to_refuse_the_mail() -> None:
    truth = from_raw(b"From: a@x.example\nSubject: =?utf-7?Q?a+2AA-b?=\n\n").truth
    assert truth["subject"] == "a\N{REPLACEMENT CHARACTER}b"


def test_a_mail_of_html_alone_has_a_snippet_without_markup() -> None:
    raw = b"Content-Type: text/html\n\n<style>p {}</style><p>Tom &amp; <b>Jerry</b></p><script>x</script>"
    assert from_raw(raw).truth["snippet"] == "Tom & Jerry"


@pytest.mark.parametrize("raw", [b"", b" \r\n\t\n", b"\n\nonly a body\n", b"no header here"])
def test_what_is_no_mail_is_unreadable_with_a_reason(raw: bytes) -> None:
    with pytest.raises(UnreadableMail, match=r"empty|no header"):
        from_raw(raw)


HOSTILE = (
    b"Subject: \xff\xfe\x00raw\r\n\r\n\xff",
    b"Subject: =?utf-8?B?####?= =?nonsense?Q?=FF=FE?= =?utf-8?Q?=E2=82?=\r\n\r\n",
    b"From: <<<>>>,,;:@\r\nTo: \"unclosed <a@x\r\n\r\n",
    b"To: " + b"a@x.example, " * 10_000 + b"z@x.example\r\n\r\n",
    b"Subject: " + b"x" * 1_000_000 + b"\r\n\r\n",
    b"Content-Type: text/plain; charset=\x00\xff\r\nContent-Transfer-Encoding: base64\r\nSubject: x\r\n\r\n!!!",
    b"Content-Type: multipart/mixed\r\nSubject: x\r\n\r\n--\r\n--\r\n",
    b"--b\r\n".join([b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"] * 200),
    b"Date: Fri, 99 Foo 99999 99:99:99 +9999\r\n\r\n",
    b"A:\nB:\nC:",
)  # fmt: skip


@pytest.mark.parametrize("raw", HOSTILE)
def test_hostile_bytes_are_read_as_far_as_they_go(raw: bytes) -> None:
    mail = from_raw(raw)
    for name, value in mail.headers:
        assert (name + value).encode("utf-8")


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=400),
    st.sampled_from([b"", b"Subject: ", b"From: ", b"To: =?utf-8?", b"Content-Type: multipart/"]),
)
def test_any_bytes_are_read_or_refused(tail: bytes, head: bytes) -> None:
    try:
        mail = from_raw(head + tail)
    except UnreadableMail:
        return
    str(mail.truth).encode("utf-8")


def test_the_parser_behind_the_truth_is_pythons() -> None:
    raw = b"Subject: =?utf-8?Q?a=C3=A4?= and\r\n more\r\n\r\n"
    message = email.message_from_bytes(raw, policy=compat32)
    expected = str(make_header(decode_header(message["Subject"].replace("\r\n", ""))))
    assert from_raw(raw).truth["subject"] == expected

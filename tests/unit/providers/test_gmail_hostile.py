"""Ten thousand hostile messages: the normaliser always answers, and reads what Python's email package can read.

Python "can read" a header if its parser (``email.policy.default``) neither raises nor notes a defect. Where it can, we
say the same, except for what is named in ``_beyond_python`` and ``_Person``; nothing else may differ.
"""

from __future__ import annotations

import codecs
import email
import html
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC
from email.headerregistry import Address, BaseHeader
from email.message import EmailMessage
from email.policy import SMTP, default
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infra.local.simulated import canonical
from infra.local.simulated.errors import UnreadableMail
from infra.local.simulated.reading import from_raw
from shared.events.envelope import iso
from shared.providers import bounds
from shared.providers.base import Message, Refused, Upsert
from shared.providers.gmail.normalise import normalise
from shared.providers.headers import STRUCTURAL
from shared.settings import Settings
from tests.unit.providers import hostile_mail

HEADERS = Settings().headers
_STEADY = settings(derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
_ADDRESSES = {"from", "to", "cc", "bcc", "reply-to"}
_LONGEST = 3_000  # characters of a header that is compared; Python's parser takes seconds on the longest


def _answer(raw: object) -> Upsert | Refused:
    """Normalise twice, and judge what has to hold of every answer."""
    result = normalise(raw, HEADERS)
    assert normalise(raw, HEADERS) == result
    assert normalise(raw, HEADERS, "elsewhere").id == "elsewhere"
    if isinstance(result, Refused):
        assert result.reason
        assert len(result.id.encode()) <= 4 * bounds.MAX_ID
        return result
    message = result.message
    written = json.dumps(asdict(message), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    assert len(written.encode()) <= bounds.MAX_MESSAGE_BYTES  # a lone surrogate would raise here
    assert "\\u0000" not in written
    people = (message.sender, *message.to, *message.cc, *message.bcc)
    assert 0 < len(message.id) <= bounds.MAX_ID
    assert len(message.thread_id) <= bounds.MAX_ID
    assert re.fullmatch(r"0|[1-9][0-9]{0,63}", message.version)
    assert len(message.subject) <= bounds.MAX_SUBJECT
    assert len(message.snippet) <= bounds.MAX_SNIPPET
    assert max(map(len, people)) <= bounds.MAX_ADDRESS
    assert max(map(len, message.headers.values()), default=0) <= bounds.MAX_HEADER
    assert message.labels == tuple(sorted(set(message.labels)))
    assert len(message.labels) <= bounds.MAX_LABELS
    assert all(0 < len(label) <= bounds.MAX_LABEL for label in message.labels)
    assert set(message.headers) <= set(HEADERS)
    assert set(message.truncated) <= {spec.name for spec in fields(Message)}
    lines = (message.subject, *people, *message.headers.values())
    assert not any("\r" in line or "\n" in line for line in lines), "no value can start a header of its own"
    assert iso(message.received_at)
    _assert_settled(message)
    return result


def _assert_settled(message: Message) -> None:
    """A message that was normalised is left as it is when it is normalised again.

    Not meant: a decoded text that looks encoded (it would be decoded once more), and one that was cut.
    """
    if message.truncated or any("=?" in text for text in (message.snippet, *message.headers.values())):
        return
    headers = [{"name": name, "value": value} for name, value in message.headers.items()]
    again = normalise(
        {
            "id": message.id,
            "threadId": message.thread_id,
            "historyId": message.version,
            "labelIds": list(message.labels),
            "internalDate": message.received_at * 1000,
            "snippet": html.escape(message.snippet),
            "payload": {"headers": headers},
        },
        HEADERS,
    )
    assert isinstance(again, Upsert)
    assert _settled(again.message) == _settled(message)


def _settled(message: Message) -> Message:
    """Without what several headers of one name lose when they have become one, and without blanks in front."""
    headers = {name: value.lstrip(" \t") for name, value in message.headers.items()}
    return replace(message, sender="", to=(), cc=(), bcc=(), subject="", headers=headers, truncated=())


@dataclass(frozen=True)
class _Person:
    """A mailbox as it is compared.

    Python 3.11 takes the quotes from ``"q"@x.org`` even where they are needed (``""@x.org``); we keep what was written.
    Python before 3.13 keeps the blank between two encoded words of a name, which RFC 2047 takes away; no blank counts.
    """

    name: str
    address: str

    @classmethod
    def of(cls, name: str, address: str) -> _Person:
        local, _, domain = address.rpartition("@")
        if len(local) > 1 and local[0] == local[-1] == '"':
            local = re.sub(r"\\(.)", r"\1", local[1:-1])
        return cls("".join(canonical.text(name).split()), f"{local}@{domain}")


_WORD = re.compile(r"=\?([^?]*)\?[bBqQ]\?(.*?)\?=", re.DOTALL)
_NO_CHARSETS = {"idna", "punycode", "unicode-escape", "raw-unicode-escape", "undefined"}
_MARKED = re.compile(r"=\?utf[-_](16|32|8[-_]sig)\?", re.IGNORECASE)
_ENDLESS = re.compile(r"=\?[^?]*\?[qQ]\?=[0-9A-Fa-f]{2}(?:(?!\?=).)*\Z", re.DOTALL)
_EXOTIC_SPACE = re.compile(r"[^\S \t]")
_WORD_IN_ADDRESS = re.compile(r"=\?[^?]*\?[bBqQ]\?[^?]*\?=\s*@|@\s*=\?")


def _beyond_python(name: str, value: str, read: str) -> str:
    """Why what Python reads from a header is not what the header says; '' where it has to be right."""
    if len(value) > _LONGEST:
        return "too long to wait for"
    for charset, inside in _WORD.findall(value):
        if "=?" in inside:
            return "an encoded word begins inside of another one: RFC 2047 has no such thing, both guess"
        if _unknown(charset.partition("*")[0]):
            return "Python knows no such charset and assumes one without noting a defect"
        if charset.lower().replace("_", "-") in _NO_CHARSETS:
            return "a codec of Python's that is no charset, which no mail may reach"
    if _ENDLESS.search(value):
        return "Python takes an encoded word without an end for one that is whole"
    if _WORD.search(read):
        return "Python has left an encoded word undecoded without noting a defect"
    if len(_MARKED.findall(value)) > 1:
        return "each word has a byte order mark, and words of one charset are joined before they are decoded"
    if name in _ADDRESSES and _WORD_IN_ADDRESS.search(value):
        return "Python decodes an encoded word within an address; RFC 2047 forbids both"
    if name in _ADDRESSES and _EXOTIC_SPACE.search(value):
        return "Python takes a no-break space and the like for a letter, and then drops it from the address"
    return ""


def _unknown(charset: str) -> bool:
    try:
        return not codecs.lookup(charset)._is_text_encoding
    except (LookupError, ValueError):
        return True


def _python_reads(name: str, value: str) -> BaseHeader | None:
    """Python's reading of one header; None where it cannot read it, or where ``_beyond_python`` holds."""
    if len(value) > _LONGEST:
        return None
    try:
        header = default.header_factory(name, value)
        defects = (*header.defects, *header._parse_tree.all_defects)  # for text, only the tree knows of them
        readable = not defects and not _beyond_python(name, value, str(header))
    except Exception:
        return None  # it raises all sorts of errors on hostile values; then it cannot read them
    return header if readable else None


def _people(header: BaseHeader) -> list[_Person]:
    return [_Person.of(address.display_name, address.addr_spec) for address in header.addresses]


def _assert_as_python_reads(served: Sequence[tuple[str, str]], message: Message) -> int:
    """Compare every field that Python can read whole; answer how many were compared."""
    values: dict[str, list[str]] = {}
    for name, value in served:
        values.setdefault(name.lower(), []).append(value)
    compared = 0
    for name in {name.lower() for name in (*HEADERS, *STRUCTURAL)} & values.keys():
        headers = [_python_reads(name, value) for value in values[name]]
        if not all(headers):
            continue
        compared += 1
        kept = next(value for key, value in message.headers.items() if key.lower() == name)
        if name in _ADDRESSES:
            people = [person for header in headers for person in _people(header)]
            _assert_people(name, people, kept, message)
            continue
        if name == "date":  # which Python writes anew, so that the moment is what can be compared
            assert len(headers) > 1 or default.header_factory("date", kept).datetime == headers[0].datetime
        elif "headers" not in message.truncated:
            assert canonical.same_text(", ".join(map(str, headers)), kept)
        if name == "subject" and "subject" not in message.truncated:
            assert canonical.same_text(str(headers[0]), message.subject)
    return compared


def _assert_people(name: str, people: list[_Person], kept: str, message: Message) -> None:
    ours = {"from": None, "reply-to": None}.get(name, getattr(message, name, None))
    if ours is not None and name not in message.truncated:
        assert [_Person.of("", address) for address in ours] == [_Person.of("", person.address) for person in people]
    if name == "from" and "sender" not in message.truncated:
        assert _Person.of("", message.sender) == _Person.of("", people[0].address if people else "")
    again = _python_reads(name, kept)
    if again is not None and "headers" not in message.truncated:
        assert _people(again) == people, "who reads the value that we keep finds the same people under the same names"


@settings(_STEADY, max_examples=6_000)
@given(hostile_mail.resources)
def test_any_message_resource_gives_an_answer_that_agrees_with_python(raw: Any) -> None:
    result = _answer(raw)
    if isinstance(result, Upsert):
        entries = raw["payload"]["headers"] if _is_headed(raw) else []
        served = [(entry["name"], entry["value"]) for entry in entries if _is_entry(entry)]
        _assert_as_python_reads(_as_json_carries(served), result.message)


def _is_headed(raw: Any) -> bool:
    return isinstance(raw.get("payload"), dict) and isinstance(raw["payload"].get("headers"), list)


def _is_entry(entry: Any) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("name"), str) and isinstance(entry.get("value"), str)


def _as_json_carries(served: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Values as valid Unicode on one line, which is what Python's parser asks for."""
    return [(name, _one_line(value)) for name, value in served]


def _one_line(value: str) -> str:
    unicode = value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").replace("\0", "")
    return re.sub(r"\r\n|[\r\n]", lambda found: "" if _blank_follows(found) else " ", unicode).lstrip(" \t")


def _blank_follows(found: re.Match[str]) -> bool:
    return found.string[found.end() : found.end() + 1] in (" ", "\t", "")


@settings(_STEADY, max_examples=4_000)
@given(hostile_mail.raw_messages)
def test_any_bytes_give_an_answer_that_agrees_with_python(raw: bytes) -> None:
    try:
        served = from_raw(raw).headers
    except UnreadableMail:
        return
    result = _answer(_resource(served))
    assert isinstance(result, Upsert)
    _assert_as_python_reads(served, result.message)
    _assert_date(raw, result.message)


def _resource(served: Sequence[tuple[str, str]]) -> dict[str, Any]:
    return {
        "id": "m1",
        "historyId": "5",
        "payload": {"headers": [{"name": name, "value": value} for name, value in served]},
    }


def _assert_date(raw: bytes, message: Message) -> None:
    """Without a date of Gmail's own, the sender's is taken; the first that can be read and that a calendar can print."""
    dates = [value for name, value in email.message_from_bytes(raw).raw_items() if name.lower() == "date"]
    header = _python_reads("date", _one_line(str(dates[0]))) if dates and str(dates[0]).isascii() else None
    moment = header.datetime if header is not None else None
    if moment is not None and moment.year > 1900:
        assert message.received_at == moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()


_NAMES = st.text(st.sampled_from("abc ÄßÑ日本\u202e½,:;<>()@.\"\\'=?_"), max_size=40).map(str.strip)
_LOCALS = st.sampled_from(("a", "a.b", "a+b=c", "o'k", "q r", "a@b", "a,b", '"', "*", "x" * 20))
_DOMAINS = st.sampled_from(("x.org", "xn--bcher-kva.de", "localhost", "a.b.c.example", "y" * 20 + ".example"))
_ADDRESSEES = st.builds(lambda name, local, domain: Address(name, local, domain), _NAMES, _LOCALS, _DOMAINS)
_SUBJECTS = st.text(st.sampled_from("abc ÄßÑ日本\u202e½,:;<>()@.\"\\'=?_-\xa0"), max_size=150)


@settings(_STEADY, max_examples=200)
@given(
    subject=_SUBJECTS,
    sender=_ADDRESSEES,
    to=st.lists(_ADDRESSEES, max_size=10),
    cc=st.lists(_ADDRESSEES, max_size=3),
    date=st.datetimes(timezones=st.timezones() | st.just(UTC)),
)
def test_what_the_email_package_writes_is_read_as_it_reads_it(
    subject: str, sender: Address, to: list[Address], cc: list[Address], date: Any
) -> None:
    written = EmailMessage(policy=SMTP)
    for name, value in (("Subject", subject), ("From", sender), ("To", to), ("Cc", cc), ("Date", date)):
        if value:
            written[name] = value
    raw = written.as_bytes()
    if b"?q?=2C?=" in raw:  # some versions of the writer encode a comma between two people, which joins them
        return
    mail = from_raw(raw)
    result = _answer(_resource(mail.headers))
    assert isinstance(result, Upsert)
    message = result.message
    read = email.message_from_bytes(raw, policy=default)
    assert [_Person.of("", address) for address in message.to] == [
        _Person.of("", address.addr_spec) for address in (read["to"].addresses if to else ())
    ]
    assert _assert_as_python_reads(mail.headers, message) >= 1
    _assert_date(raw, message)
    assert canonical.same_text(mail.truth["subject"], message.subject)
    assert (mail.truth["sender"], mail.truth["to"], mail.truth["cc"]) == (
        message.sender, list(message.to), list(message.cc)
    )  # fmt: skip
    if not any("\\" in value for value in message.headers.values()):  # one's own or one that escapes: it cannot tell
        assert canonical.same_headers(mail.truth["headers"], message.headers)


@pytest.mark.parametrize(
    ("value", "addresses"),
    [
        ("<a(comment)@x.org>", ("a@x.org",)),
        ("<a@(comment)x.org>, b@x.org", ("a@x.org", "b@x.org")),
        ('Jo J. <(c) "q r" @ x.org>', ('"q r"@x.org',)),
        ("<@relay.org: a ((n) c) @x.org>", ("a@x.org",)),
    ],
)
def test_comments_and_blanks_within_angle_brackets_are_no_part_of_an_address(value: str, addresses: Any) -> None:
    result = normalise(_resource([("To", value)]), HEADERS)
    assert isinstance(result, Upsert)
    assert result.message.to == addresses


@pytest.mark.parametrize(
    ("value", "subject"),
    [
        ("=?utf-8?q?a?=\xa0=?utf-8?q?b?=", "a\xa0b"),
        ("=?utf-8?q?a?= \u2028 =?utf-8?q?b?=", "a \u2028 b"),
        ("=?utf-8?q?a?= \t =?utf-8?q?b?=", "ab"),
        ("=?utf-8-sig?q?=EF=BB=BFa?=", "a"),
        ("=?utf_8_sig?b?77u/YQ==?=", "a"),
        ("=?mac-croatian?q?=A9?=", "Š"),
    ],
)
def test_only_white_space_of_mail_goes_from_between_encoded_words(value: str, subject: str) -> None:
    result = normalise(_resource([("Subject", value)]), HEADERS)
    assert isinstance(result, Upsert)
    assert result.message.subject == subject

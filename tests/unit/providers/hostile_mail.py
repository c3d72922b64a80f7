"""Mail as an attacker, a broken exporter and thirty years of mail programs would write it, for hypothesis.

Everything is strung together from tables of awkward pieces, each chosen by one byte of a drawn ``bytes``: that is one
draw for a whole message, which is many times faster than a draw for each piece, and shrinks as well. In a raw message
``\\udc80`` to ``\\udcff`` are raw bytes; in JSON they are lone surrogates.
"""

from __future__ import annotations

import base64
import quopri
import re
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st


def _nested(depth: int) -> Any:
    value: Any = "deep"
    for level in range(depth):
        value = [value] if level % 2 else {"headers": value, "value": value}
    return value


CHARSETS = (
    "utf-8", "UTF8", "utf-8*en", "us-ascii", "iso-8859-1", "latin1", "windows-1252", "cp1251", "koi8-r", "koi8-u",
    "shift_jis", "iso-2022-jp", "euc-jp", "euc-kr", "ks_c_5601-1987", "gb2312", "gbk", "gb18030", "big5", "hz",
    "utf-7", "utf-16", "utf-16le", "utf-32", "utf-8-sig", "tis-620", "cp874", "macintosh", "mac-croatian", "palmos",
    "x-unknown", "unknown-8bit", "iso-8859-8-i", "idna", "punycode", "unicode_escape", "rot13", "undefined", "zlib",
)  # fmt: skip
_TEXTS = (
    "a",
    "Jö",
    "日本",
    "Жук",
    "a, b",
    '"x" <e@x>',
    "(c)",
    "=?",
    "\n",
    "x\r\nBcc: e@x",
    "\x01",
    "\u202ea",
    "½€",
    "_",
    "",
)


def _word(charset: str, text: str, encoding: str, cut: int) -> str:
    try:
        octets = text.encode(charset.partition("*")[0], "ignore")
    except (LookupError, UnicodeError):
        octets = text.encode()
    octets = octets[: len(octets) - cut]
    payload = base64.b64encode(octets) if encoding in "bB" else quopri.encodestring(octets, quotetabs=True, header=True)
    return f"=?{charset}?{encoding}?{payload.decode().replace('=' + chr(10), '').replace('?', '=3F')}?="


WORDS = tuple(
    _word(charset, _TEXTS[(7 * at + 3 * more) % len(_TEXTS)], "bQqB"[(at + more) % 4], cut=(at + more) % 5 == 0)
    for at, charset in enumerate(CHARSETS)
    for more in range(3)
)
"""Encoded words in every charset; every fifth has lost its last byte."""

BROKEN_WORDS = (
    "=?utf-8?q?no end", "=?utf-8?x?a?=", "=?utf-8?b?R?=", "=?utf-8?b?4pw=?=", "=?utf-8?b?kw==?=", "=?utf-8?q?=C0=AF?=",
    "=?utf-8?b?R3LDvMO*fZQ?=", "=?=?utf-8?q?a?=?q?b?=", "=?utf-8?q?=?utf-8?q?a?=?=", "=?utf-8?q?a b?=", "=?utf-8?q?=ZZ?=",
    "=?utf-8?q?a=00b?=", "=?utf-8?q?=ED=A0=80?=", "=?utf-7?q?+2AA-?=", "=?" + "x" * 65 + "?q?a?=", "=??q?a?=",
    "=?utf-8?q?\udcff?=", "=?\udcff?q?a?=", "=?utf-8?q?" + "=C3=BC" * 40 + "?=", "=?", "?=", "=?utf-8?", "?q?", "=C3",
)  # fmt: skip
SPACE = (" ", " ", " ", "  ", "\t", "\r\n ", "\n\t", "\r\n", "\r", "\x0b", "\xa0", "\u2028", "\x85")
PLAIN = (
    "a", "b c", "Re: ", "é", "日本", "𝒳", "\u202e", "\u200f", "\ufeff", "\u200b", "\0", "\x01", "\x7f", "\ud800", "\udc80",
    "\udcff\udcfe", "\udcc3\udcbc", "\ud83d\ude00", "&amp;", "&#0;", "&#xd800;", "%00", "\\", "'", "X-Evil: 1",
    "\r\nX-Evil: 1", "\r\n\r\nbody",
)  # fmt: skip
MARKS = (",", ", ", ",", ";", ":", "<", ">", '"', "(", ")", "@", ".", "[", "]", "\\", "=", "?", "_")
MEMBERS = (
    "a@x.org", "b.c@y.example", "<a@x.org>", "Jo <a@x.org>", '"Doe, Jo" <j@x.org>', r'"J \"the, one\" D" <j@x.org>',
    "Mr. X <x@y.org>", '"john doe"@x.org', '"q"@x.org', '"a@b"@x.org', '""@x.org', "a@[127.0.0.1]", "a@[IPv6:::1]",
    "<@relay.org,@other.org:a@x.org>", "Team: a@x.org, B <b@x.org>;", "undisclosed-recipients:;", "a@x.org (A, at work)",
    "(a (nested) comment) a@x.org", r"(an \) paren) a@x.org", "<a(c)@(d)x.org>", '< "q r" @ x.org >', "a . b @ x . org",
    "müller@bücher.de", "m@xn--bcher-kva.de", "用户@例子.中国", "<>", "<root>", "MAILER-DAEMON", "a@x@y", "a@", "@x.org",
    '"unclosed <a@x.org>', "(unclosed a@x.org", "<a@x.org", "a@x.org>", "a@x.org b@x.org", "Müller, Jörg <j@x.org>",
    "=?utf-8?q?M=C3=BCller=2C_J?= <j@x.org>", "=?utf-8?q?=3Cevil=40x=2Eorg=3E=2C?= <a@x.org>", "=?utf-8?q?a=40x=2Eorg?=",
    '"=?utf-8?q?a=2C?=" <a@x.org>', "a@=?utf-8?q?x?=", "x" * 70 + "@" + "y" * 260 + ".org", "a@" + "b." * 200 + "org",
)  # fmt: skip
DATES = (
    "Fri, 20 Nov 2026 14:00:00 +0100", "20 Nov 2026 13:00 -0000", "Fri, 20 Nov 26 14:00:00 EST", "1 Jan 70 00:00 GMT",
    "Fri, 20 Nov 2026 14:00:00 +0100 (CET)", "Fri Nov 20 14:00:00 2026", "2026-11-20T14:00:00Z", "31 Feb 2026 10:00 Z",
    "Fri, 99 Foo 2026 99:99:99 +9999999", "Thu, 01 Jan 99999 00:00:00 +0000", "1 Jan 1 00:00 +0000", "1 Jan 1899 00:00",
    "20-Nov-2026 14.00.00", "20 Nov 99999999999 14:00", "20 Nov 2026 23:59:60 +0000", "20 Nov 2026 24:00 -2400", "tomorrow",
    "20 Nov ٢٠٢٦ 14:00", "Fri,", ",", "-", "20 Nov 2026 14:00:00.5 +0530", "0", "1790000000",
)  # fmt: skip
NAMES = (
    "From", "To", "Cc", "Bcc", "Reply-To", "Subject", "Date", "Message-ID", "In-Reply-To", "References", "List-Id",
    "List-Unsubscribe", "Auto-Submitted", "Subject", "To", "To", "From", "Cc", "TO", "subject", "message-id", "Sender",
    "X-Other", "Content-Type", "MIME-Version", "Received", "X-Gmail-Labels", "X" * 200,
)  # fmt: skip
JUNK = (
    None, True, False, 0, -1, 1, 10**400, -(2**63), 1e308, float("nan"), float("inf"), "", "x", "\0", "\ud800", "é" * 3_000,
    [], {}, [None], [[[]]], {"id": 1}, _nested(400), ["INBOX", 5, None, ["A"]], "9" * 5_000, {"headers": {}},
    {"headers": [None]},
)  # fmt: skip
HISTORY_IDS = (
    *("5", "123456789012345678901", "007", 7, "9" * 64, "0") * 8,
    "9" * 65, "-1", -1, "1e3", 1.5, " 5", "٣", 10**70,
)  # fmt: skip
IDS = (*("m1",) * 40, "i" * 512, "i" * 513, "\0", "i\ud800", 5, None)
TIMES = ("1790000000123", "-1000", "9" * 18, "x", 1.5, "", None, 10**400, float("nan"), True)
LABELS = ("INBOX", "UNREAD", "Label_1", "\ud800", "\0", "", "L" * 300, 5, None, "INBOX")

_PHRASE = (WORDS, WORDS, SPACE, SPACE, PLAIN, BROKEN_WORDS, MARKS)
_PEOPLE = (MEMBERS, MEMBERS, MEMBERS, MARKS[:4], SPACE, MARKS, WORDS, PLAIN)
_MOMENT = (DATES, DATES, SPACE, MARKS, PLAIN)
_TABLES = {"date": _MOMENT} | dict.fromkeys(("from", "to", "cc", "bcc", "reply-to", "sender"), _PEOPLE)
_NO_BYTE = re.compile("[\ud800-\udc7f\udd00-\udfff]")


class _Choices:
    """Reads drawn bytes as choices; when they are used up, the first of everything is chosen."""

    def __init__(self, drawn: bytes) -> None:
        self._rest = iter(drawn)

    def below(self, limit: int) -> int:
        return next(self._rest, 0) % limit

    def of(self, table: Sequence[Any]) -> Any:
        return table[self.below(len(table))]

    def text(self, tables: Sequence[Sequence[str]], most: int, between: str = "") -> str:
        return between.join(self.of(self.of(tables)) for _ in range(self.below(most)))

    def field(self) -> tuple[str, str]:
        """A header; one in three is put together as it should be, so that Python's parser can read it more often."""
        name: str = self.of(NAMES)
        kind = name.lower()
        if self.below(3):
            return name, self.text(_TABLES.get(kind, _PHRASE), 9)
        if kind == "date":
            return name, self.of(DATES)
        return name, self.text((MEMBERS,), 4, ", ") if kind in _TABLES else self.text((WORDS, PLAIN), 6, " ")


def _entry(choices: _Choices) -> Any:
    odd = choices.below(64)
    if odd == 1:
        return choices.of(JUNK)
    if odd == 2:
        return {"name": choices.of(JUNK + NAMES), "value": choices.of(JUNK)}
    name, value = choices.field()
    return {"name": name, "value": value * {3: 100, 4: 1_500}.get(odd, 1)}


def _resource(drawn: bytes) -> Any:
    choices = _Choices(drawn)
    if choices.below(64) == 1:
        return choices.of(JUNK)
    resource: dict[str, Any] = {
        "id": choices.of(IDS),
        "historyId": choices.of(HISTORY_IDS),
        "threadId": choices.of(IDS),
        "internalDate": choices.of(TIMES),
        "labelIds": [choices.of(LABELS) for _ in range(choices.below(6))],
        "snippet": choices.text((WORDS, PLAIN, SPACE), 4),
        "payload": {"headers": [_entry(choices) for _ in range(choices.below(8))]},
    }
    odd = choices.below(8)
    if odd == 1:
        del resource[choices.of(tuple(resource))]
    elif odd == 2:
        resource[choices.of(tuple(resource))] = choices.of(JUNK)
    return resource


_RESTS = (
    b"\r\n", b"\n\nbody", b"", b"\r\n\r\n\xff\x00", b" folded\r\n\r\n", b"no colon\r\n\r\nbody", b"\x00\r\n",
    b": nameless\r\n\r\n",
    b"Subject\r\n", b"Subject : a\r\n\r\n", b"From nobody Thu Jan  1 00:00:00 1970\r\nSubject: x\r\n\r\n", b"--b\r\n--b--",
    b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n--b", b"Content-Type: \xff/\x00; charset=\xfe\r\n\r\n\xfe",
    b"Content-Type: text/html; charset=utf-7\r\n\r\n<p>+2AA-", b"Content-Transfer-Encoding: base64\r\n\r\n!!!",
)  # fmt: skip


def message_of(drawn: bytes) -> bytes:
    """The message that these bytes choose."""
    choices = _Choices(drawn)
    end = choices.of(("\r\n", "\n", "\r\n", "\n", "\r"))
    head = "".join(f"{name}: {value}{end}" for name, value in (choices.field() for _ in range(choices.below(8))))
    return _NO_BYTE.sub("\ufffd", head).encode("utf-8", "surrogateescape") + choices.of(_RESTS)


_drawn = st.binary(min_size=48, max_size=160)
resources = _drawn.map(_resource)
"""Gmail message resources, most of them of the right shape."""

raw_messages = _drawn.map(message_of)
"""Bytes that somebody might call a mail."""

"""Encoded words are decoded as RFC 2047 says, and as their senders meant where they do not follow it."""

from __future__ import annotations

from email.header import Header, decode_header, make_header

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.providers.text import clean, unfold
from shared.providers.words import decode

TABLE = [
    ("plain", "plain"),
    ("=?utf-8?q?Gr=C3=BC=C3=9Fe?=", "Grüße"),
    ("=?UTF-8?B?R3LDvMOfZQ==?=", "Grüße"),
    ("=?iso-8859-1?Q?caf=E9?= au lait", "café au lait"),
    ("=?iso-2022-jp?b?GyRCRnxLXBsoQg==?=", "日本"),
    ("=?utf-8*de?q?Gr=C3=BCn?=", "Grün"),  # RFC 2231: with a language
    ("=?utf-8?q?a_b=20c?=", "a b c"),
    ("=?utf-8?q?a?= =?utf-8?q?b?=", "ab"),  # white space between encoded words is none
    ("=?utf-8?q?a?=   =?latin1?q?=E9?=", "aé"),
    ("=?utf-8?q?a?= b =?utf-8?q?c?=", "a b c"),
    ("=?utf-8?q?a?= ", "a "),
    ("=?utf-8?b?4pw=?= =?utf-8?b?kw==?=", "✓"),  # a character cut in half
    ("Re:=?utf-8?q?_x?=", "Re: x"),
    ("=?utf-8?q??=", ""),
    # broken ones
    ("=?utf-8?q?no end", "=?utf-8?q?no end"),
    ("=?utf-8?x?abc?=", "=?utf-8?x?abc?="),
    ("=?utf-8?q?What??=", "What?"),
    ("=?utf-8?q?with space?=", "with space"),
    ("=?utf-8?q?=C3=28?=", "\ufffd("),
    ("=?utf-8?q?=ZZ?=", "=ZZ"),
    ("=?utf-8?b?R3LDvMOfZQ?=", "Grüße"),  # no padding
    ("=?utf-8?b?R3LD vMO*fZQ==?=", "Grüße"),  # rubbish inside
    ("=?utf-8?b?R?=", ""),
    ("=?us-ascii?q?caf=C3=A9?=", "café"),  # not ASCII, after all
    ("=?nonsense?q?caf=C3=A9?=", "café"),
    ("=?nonsense?q?caf=E9?=", "café"),
    ("=?rot13?q?abc?=", "abc"),  # Python's codecs that are no charsets
    ("=?unicode_escape?q?=5Cx41?=", "\\x41"),
    ("=?punycode?q?abc-?=", "abc-"),
    ("=?gb2312?b?gTCEMQ==?=", "\u00b7".encode("gb18030").decode("gb18030") and b"\x810\x841".decode("gb18030")),
    ("=?utf-8?q?a=0D=0AX-Evil:_1?=", "a  X-Evil: 1"),  # no line break comes out
    ("=?utf-8?q?a=00b?=", "ab"),
    ("=?utf-8?q?\ud800?=", "\ufffd"),
]


@pytest.mark.parametrize(("value", "text"), TABLE)
def test_a_value_gives_its_text(value: str, text: str) -> None:
    assert decode(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("=?utf-8?q?M=C3=BCller=2C_J?= <j@x>", '"Müller, J" <j@x>'),
        ("=?utf-8?q?M=C3=BCller?= <j@x>", "Müller <j@x>"),
        ('"=?utf-8?q?M=C3=BCller=2C_J?=" <j@x>', '"Müller, J" <j@x>'),
        ("=?utf-8?q?=22=2C?= <j@x>", r'"\"," <j@x>'),
    ],
)
def test_a_decoded_name_stays_one_name(value: str, text: str) -> None:
    assert decode(value, quote=True) == text


@given(st.text(max_size=200), st.sampled_from(["utf-8", "utf-16", "iso-8859-1", "iso-2022-jp", "big5", "koi8-u"]))
def test_what_the_email_package_writes_is_read_back(text: str, charset: str) -> None:
    text = clean("".join(character if character.isprintable() else " " for character in text))
    try:
        text.encode(charset)
    except UnicodeError:
        charset = "utf-8"
    folded = Header(text, charset).encode()
    expected = str(make_header(decode_header(folded)))
    assert decode(unfold(folded)) == (expected if folded.startswith("=?") else unfold(expected))


@given(
    st.text()
    | st.lists(st.sampled_from(["=?", "?=", "?", "utf-8", "b", "q", "=", "=C3", " ", "R3L", "\n", '"', "é"])).map(
        "".join
    )
)
def test_nothing_raises_and_the_text_is_valid(value: str) -> None:
    for quote in (False, True):
        text = decode(clean(unfold(value)), quote=quote)
        assert "\0" not in text
        text.encode()


def test_no_more_is_decoded_than_there_is_use_for() -> None:
    text = decode("=?utf-8?q?aaaaaaaaaa?= x " * 10_000, enough=1_000)
    assert 1_000 < len(text) < 1_100


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("a\r\n b", "a b"),
        ("a\n\tb", "a\tb"),
        ("a\r\nb", "a b"),
        (" a", "a"),
        ("a\r\n", "a"),
        ("a\r\n\r\n b", "a  b"),
        ("\r\n a", "a"),
    ],
)
def test_folding_is_undone(value: str, line: str) -> None:
    assert unfold(value) == line

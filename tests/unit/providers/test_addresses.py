"""Address headers become bare addresses: as RFC 5322 means them, and as well as possible where it is violated."""

from __future__ import annotations

import time
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import formataddr

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.providers.addresses import bare

WELL_FORMED = [
    ("ann@example.org", ["ann@example.org"]),
    ("Ann@Example.ORG", ["Ann@Example.ORG"]),
    ("Ann <ann@example.org>", ["ann@example.org"]),
    ('"Doe, Jo" <jo@x.org>, bob@y.org', ["jo@x.org", "bob@y.org"]),
    (r'"Jo \"the, one\" Doe" <jo@x.org>', ["jo@x.org"]),
    ("=?utf-8?q?M=C3=BCller=2C_J?= <j@x.org>", ["j@x.org"]),
    ("ann@x.org, ann@x.org", ["ann@x.org", "ann@x.org"]),
    ("ann@x.org (Ann, at work)", ["ann@x.org"]),
    ("(a (nested) comment) ann@x.org", ["ann@x.org"]),
    (r"(an escaped \) paren) ann@x.org", ["ann@x.org"]),
    ("Team: a@x.org, Bo <b@x.org>;", ["a@x.org", "b@x.org"]),
    ("Team: a@x.org;, c@x.org", ["a@x.org", "c@x.org"]),
    ("undisclosed-recipients:;", []),
    ('"john doe"@x.org', ['"john doe"@x.org']),
    ("ann@[127.0.0.1]", ["ann@[127.0.0.1]"]),
    ("<@relay.org,@other.org:ann@x.org>", ["ann@x.org"]),
    ("ann . smith @ x . org", ["ann.smith@x.org"]),
    ("Müller <müller@exämple.org>", ["müller@exämple.org"]),
    ("", []),
]

MALFORMED = [
    ("a@x.org; b@x.org", ["a@x.org", "b@x.org"]),  # Outlook's separator
    ("a@x.org,,b@x.org,", ["a@x.org", "b@x.org"]),
    ("Müller, Jörg <j@x.org>", ["j@x.org"]),  # a comma that lost its quotes
    ("ann@x.org <bob@y.org>", ["bob@y.org"]),  # an address as a name is a name
    ("<ann@x.org, bob@y.org", ["ann@x.org", "bob@y.org"]),
    ('"Ann <ann@x.org>, bob@y.org', ["ann@x.org", "bob@y.org"]),  # a quote that never closes hides nobody
    ("( ann@x.org, bob@y.org", ["ann@x.org", "bob@y.org"]),
    ("Jo <a@x.org> <b@x.org>", ["a@x.org", "b@x.org"]),
    ("a@x.org b@x.org", ["a@x.org", "b@x.org"]),
    ("<>", []),
    ("@", []),
    ("ann@", []),
    ("@x.org", []),
    ("Mailer Daemon", []),
    ("MAILER-DAEMON", ["MAILER-DAEMON"]),
    ("<root>", ["root"]),
    ("root, ann@x.org", ["ann@x.org"]),
    ("=?utf-8?q?evil=40x=2Eorg?=", []),  # an encoded word is a name, whatever it decodes to
    ("=?utf-8?q?=3Cevil=40x=2Eorg=3E=2C?= <ann@x.org>", ["ann@x.org"]),
]


@pytest.mark.parametrize(("value", "addresses"), WELL_FORMED + MALFORMED)
def test_a_value_gives_its_addresses(value: str, addresses: list[str]) -> None:
    assert bare(value) == addresses


local = st.from_regex(r"[A-Za-z0-9!#$%&'*+/=^_{|}~-]{1,8}(\.[a-z0-9]{1,5})?", fullmatch=True).filter(
    lambda text: "=?" not in text
)
addresses = st.builds("{}@{}.org".format, local, st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True))
names = st.text(st.sampled_from("abc ÄßÑ日本,;:<>()@.\"\\[]'"), max_size=12).map(str.strip)
people = st.lists(st.tuples(names, addresses), min_size=1, max_size=8)


@given(people)
def test_what_the_email_package_writes_is_read_back(people: list[tuple[str, str]]) -> None:
    message = EmailMessage()
    message["To"] = [Address(name, addr_spec=address) for name, address in people]
    assert bare(", ".join(formataddr(person) for person in people)) == [address for _, address in people]
    assert bare(str(message["To"])) == [address.addr_spec for address in message["To"].addresses]


@given(st.text(st.sampled_from('a@x.,;:<>()[]"\\ \n=?'), max_size=60))
def test_nothing_raises_and_nothing_is_made_up(value: str) -> None:
    for address in bare(value):
        assert address
        rest = iter(value)
        assert all(character in rest for character in address), (
            "the characters of an address stand in the value, in order"
        )


@pytest.mark.parametrize(
    "member",
    [
        "p{}@x.org",
        "P {} <p{}@x.org>",
        '"P, {}" <p{}@x.org>',
        r'"P \" {}" (c) <p{}@x.org>',
        "=?utf-8?q?=C3=BC{}?= <p{}@x.org>",
    ],
)
def test_ten_thousand_recipients(member: str) -> None:
    value = ", ".join(member.format(number, number) for number in range(10_000))
    assert len(bare(value)) == 10_000


@pytest.mark.parametrize(
    "unit",
    [
        '"',
        '"\\',
        "(",
        "()(",
        "(a",
        "<",
        '<"\\',
        "@.",
        "@ . . ",
        " ",
        ":",
        "[",
        "a [ ",
        "a b ",
        '"a"b,',
        '"a\\"',
        ',"\\"',
        '<"\\",',
    ],
)
def test_time_is_linear_in_the_length(unit: str) -> None:
    def seconds(size: int) -> float:
        value = unit * (size // len(unit))
        best = float("inf")
        for _ in range(3):
            started = time.process_time()
            bare(value)
            best = min(best, time.process_time() - started)
        return best

    # A machine that does other things may be several times slower for a while, but linear is 32 and quadratic 1,024.
    assert seconds(256_000) < 256 * max(seconds(8_000), 0.001)

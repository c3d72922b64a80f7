"""A mail as the simulator keeps it: its bytes, the headers it will serve, and the truth that a faithful client reads.

For a planned mail the truth is the plan. For an imported one it is what Python's email package reads from the bytes,
however broken they are.

How the truth is to be compared, field by field, is in ``canonical``: ``same_text`` for subject, snippet and every
value of ``headers`` (``same_headers``), equality for the rest. In ``headers`` of a planned mail the values of From, To,
Cc and Bcc read ``Name <address>, Name <address>`` with decoded names and no quoting (a bare address where there is no
name); all other values are the decoded header. Of a header that occurs more than once the values are joined by ``, ``.
Addresses in ``sender``, ``to``, ``cc``, ``bcc`` are bare, in header order, all occurrences of the header together.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesHeaderParser, BytesParser
from email.policy import compat32
from email.utils import getaddresses, parsedate_to_datetime
from typing import Any

from infra.local.simulated.body import snippet_of, squeeze
from infra.local.simulated.errors import UnreadableMail
from infra.local.simulated.mime import render
from infra.local.simulated.plan import Person, Plan
from infra.local.simulated.words import decode_words

KEPT_HEADERS = (
    "From", "To", "Cc", "Bcc", "Reply-To", "Subject", "Date", "Message-ID", "In-Reply-To", "References", "List-Id",
    "List-Unsubscribe", "Auto-Submitted",
)  # fmt: skip
_MAX_HEAD = 2 * 1024 * 1024
_MAX_ANCESTORS = 50


@dataclass(frozen=True, slots=True)
class Mail:
    """What is stored of one mail.

    ``thread_keys`` may lead to the conversation that it belongs to, most telling first; by ``own_key`` later mail finds
    its conversation ('' where it has no Message-ID). ``people`` are the senders and recipients by header, with decoded names.
    """

    raw: bytes
    headers: tuple[tuple[str, str], ...]
    truth: dict[str, Any]
    mime_type: str
    thread_keys: tuple[str, ...]
    own_key: str
    people: Mapping[str, Sequence[Person]]
    """Who is in From, To, Cc, Bcc and Reply-To, with decoded names."""


def from_plan(plan: Plan, message_id: str, chance: random.Random) -> Mail:
    """Render a plan and keep what was meant."""
    raw = render(plan, message_id, chance)
    served = served_headers(parse(raw))
    extra = {_canonical_name(name): value for name, value in plan.headers}
    meant = {
        "From": spelled([plan.sender]),
        "To": spelled(plan.to),
        "Cc": spelled(plan.cc),
        "Bcc": spelled(plan.bcc),
        "Subject": plan.subject,
        "Date": dict(served).get("Date", ""),
        "Message-ID": message_id,
    } | extra
    truth = {
        "subject": plan.subject,
        "sender": plan.sender[1],
        "to": [address for _, address in plan.to],
        "cc": [address for _, address in plan.cc],
        "bcc": [address for _, address in plan.bcc],
        "snippet": squeeze(plan.body),
        "headers": {name: meant[name] for name in KEPT_HEADERS if meant.get(name)},
    }
    keys = (f"plan:{plan.thread}",) if plan.thread is not None else ()
    people: dict[str, Sequence[Person]] = {"From": [plan.sender], "To": plan.to, "Cc": plan.cc, "Bcc": plan.bcc}
    people["Reply-To"] = _addresses(served, "Reply-To")
    return Mail(raw, tuple(served), truth, "text/plain", keys, f"mid:{meant['Message-ID']}", people)


def from_raw(raw: bytes) -> Mail:
    """Read any bytes. Raises ``UnreadableMail`` with the reason where there is no mail in them."""
    if not raw.strip():
        raise UnreadableMail("It is empty.")
    try:
        return _read(raw)
    except UnreadableMail:
        raise
    except Exception as error:
        # Python's email package promises no particular exception for hostile bytes; whichever it is, it is the reason.
        raise UnreadableMail(f"It cannot be parsed: {type(error).__name__}.") from error


def date_of(raw: bytes) -> float | None:
    """The time that a mail's Date header names, None where it has no usable one. Raises ``UnreadableMail``."""
    try:
        message = BytesHeaderParser(policy=compat32).parsebytes(raw[:_MAX_HEAD])
        return date_among(served_headers(message))
    except Exception as error:
        raise UnreadableMail(f"Its header cannot be parsed: {type(error).__name__}.") from error


def date_among(served: Sequence[tuple[str, str]]) -> float | None:
    """The time that the Date header among served ones names, None where it has no usable one."""
    return _date(next((value for name, value in served if name.lower() == "date"), ""))


def _read(raw: bytes) -> Mail:
    message = parse(raw)
    served = served_headers(message)
    if not served:
        raise UnreadableMail("It has no header, so it is not a mail.")
    if sum(len(name) + len(value) for name, value in served) > _MAX_HEAD:
        raise UnreadableMail("Its header is larger than 2 MiB.")
    first: dict[str, str] = {}
    for name, value in served:
        first.setdefault(_canonical_name(name), value)
    people = {name: _addresses(served, name) for name in ("From", "To", "Cc", "Bcc", "Reply-To")}
    truth = {
        "subject": decode_words(first.get("Subject", "")),
        "sender": next((address for _, address in people["From"]), ""),
        "to": [address for _, address in people["To"]],
        "cc": [address for _, address in people["Cc"]],
        "bcc": [address for _, address in people["Bcc"]],
        "snippet": snippet_of(message),
        "headers": _kept(served),
    }
    own = first.get("Message-ID", "").split()[:1]
    return Mail(
        raw,
        tuple(served),
        truth,
        message.get_content_type(),
        _thread_keys(first),
        f"mid:{own[0]}" if own else "",
        people,
    )


def parse(raw: bytes) -> Message:
    """Take a mail apart, as far as it can be."""
    return BytesParser(policy=compat32).parsebytes(raw)


def served_headers(message: Message) -> list[tuple[str, str]]:
    """Header names and values as Gmail serves them: still encoded, line breaks taken out, valid Unicode."""
    return [
        (_unicode(name), _unicode(value).replace("\r", "").replace("\n", "")) for name, value in message.raw_items()
    ]


def _unicode(value: object) -> str:
    raw = str(value).encode("utf-8", "surrogateescape")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("windows-1252", "replace")


def _canonical_name(name: str) -> str:
    return next((kept for kept in KEPT_HEADERS if kept.lower() == name.strip().lower()), name)


def _addresses(served: Sequence[tuple[str, str]], name: str) -> list[Person]:
    values = [value for other, value in served if _canonical_name(other) == name]
    return [(decode_words(shown), address) for shown, address in _lenient_addresses(values) if address]


def _lenient_addresses(values: list[str]) -> list[Person]:
    try:
        return getaddresses(values, strict=False)  # type: ignore[call-arg,unused-ignore]
    except TypeError:  # Python before 3.11.10 knows no strict mode
        return getaddresses(values)


def _kept(served: Sequence[tuple[str, str]]) -> dict[str, str]:
    kept: dict[str, str] = {}
    for name, value in ((_canonical_name(name), decode_words(value)) for name, value in served):
        if name in KEPT_HEADERS:
            kept[name] = f"{kept[name]}, {value}" if name in kept else value
    return kept


def spelled(people: Sequence[Person]) -> str:
    """People as the truth of a header has them: decoded, without quoting."""
    return ", ".join(f"{name} <{address}>" if name else address for name, address in people)


def _thread_keys(first: dict[str, str]) -> tuple[str, ...]:
    named = first.get("X-GM-THRID", "").strip()
    if named:
        return (f"thrid:{named}",)
    ancestors = f"{first.get('References', '')} {first.get('In-Reply-To', '')}".split()
    return tuple(f"mid:{key}" for key in dict.fromkeys(ancestors[:_MAX_ANCESTORS]))


def _date(value: str) -> float | None:
    try:
        moment = parsedate_to_datetime(value).timestamp()
    except (TypeError, ValueError, IndexError, OverflowError, OSError):
        return None
    return moment if 0 < moment < 2**32 else None

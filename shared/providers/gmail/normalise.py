"""Turn one Gmail message resource into a ``Message``, whatever it holds: hostile mail is the ordinary case here.

``normalise`` never raises. What cannot be read becomes empty where the message is still itself without it, and
``Refused`` (which the engine records as a gap) where it is not: without its id, or without the history id that orders
it. Everything is bounded, so that one message always fits into one document and one event.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

from shared.providers.base import Message, Refused, Upsert
from shared.providers.gmail import words
from shared.providers.gmail.addresses import bare
from shared.providers.gmail.bounds import MAX_HEADER, MAX_ID, MAX_SNIPPET, fit
from shared.providers.gmail.dates import mail_date
from shared.providers.gmail.text import clean, unfold

STRUCTURAL = ("From", "To", "Cc", "Bcc", "Subject", "Date")
"""The headers that a ``Message`` is made of; they have to be asked for whatever the allow-list says."""

_ADDRESSES = frozenset(("from", "to", "cc", "bcc", "reply-to", "sender"))
_EARLIEST, _LATEST = -2_208_988_800.0, 253_402_300_799.0  # the years 1900 to 9999: what everything behind us can print
_MILLISECONDS = re.compile(r"-?[0-9]{1,18}\Z")
_HISTORY_ID = re.compile(r"(?=[0-9])0*+([0-9]{0,64})\Z")
# All that Gmail escapes. The ampersand is the last one: what it leaves behind is text.
_ENTITIES = {"&#39;": "'", "&quot;": '"', "&lt;": "<", "&gt;": ">", "&amp;": "&"}
_SHORT = 200  # characters of an address header that is worth remembering
_SNIPPET_SOURCE = 20 * MAX_SNIPPET  # unescaping shortens; this much always fills the bound or is all of it


def normalise(raw: object, headers: Sequence[str], expected_id: str | None = None) -> Upsert | Refused:
    """Read a message resource (format ``metadata``); ``headers`` is the allow-list in its canonical spelling.

    With ``expected_id``, a resource without an id or of another message is refused under the id that was asked for.
    """
    if not isinstance(raw, Mapping):
        return Refused(expected_id or "", "The message is not an object.")
    id, thread_id = _string(raw.get("id")), _string(raw.get("threadId"))
    version = history_id(raw.get("historyId"))
    if problem := _problem(id, thread_id, version, expected_id):
        return Refused(expected_id or id[:MAX_ID], problem)
    allowed, wanted = _canonical(headers if type(headers) is tuple else tuple(headers))
    fields = _fields(raw.get("payload"), wanted)
    subject = _decoded(fields["subject"]) if "subject" in fields else []
    kept = {
        name: _addressed(fields[key]) if key in _ADDRESSES
        else ", ".join(subject if key == "subject" else _decoded(fields[key]))
        for key, name in allowed if key in fields
    }  # fmt: skip
    message = Message(
        id,
        thread_id,
        version or "",
        _labels(raw.get("labelIds")),
        _received_at(raw.get("internalDate"), fields.get("date", ())),
        subject[0] if subject else "",
        (_recipients(fields["from"]) or ("",))[0] if "from" in fields else "",
        _recipients(fields["to"]) if "to" in fields else (),
        _recipients(fields["cc"]) if "cc" in fields else (),
        _recipients(fields["bcc"]) if "bcc" in fields else (),
        _snippet(raw.get("snippet")),
        kept,
    )
    return Upsert(fit(message))


def history_id(value: object) -> str | None:
    """Read a history id, a string or a number, as plain decimal digits; None for anything else.

    They can exceed 64 bits (docs/gmail.md, 1) and are compared as integers, never as text, hence no leading zeros.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value) if 0 <= value < 10**64 else None
    found = _HISTORY_ID.match(value) if isinstance(value, str) else None
    return found[1] or "0" if found else None


def _problem(id: str, thread_id: str, version: str | None, expected_id: str | None) -> str:
    if not id:
        return "The message has no id."
    if expected_id is not None and id != expected_id:
        return "The answer is about another message."
    if len(id) > MAX_ID or len(thread_id) > MAX_ID:
        return "The id is too long."
    return "" if version else "The message has no history id."


@lru_cache(maxsize=16)
def _canonical(headers: tuple[str, ...]) -> tuple[tuple[tuple[str, str], ...], dict[str, str]]:
    """The allow-list as (lower-case name, name), and the lower-case name of every header that is kept.

    The latter is by the usual spellings as well, which spares most headers the conversion.
    """
    allowed = {name.lower(): name for name in headers}
    return tuple(allowed.items()), {
        spelling: name.lower() for name in (*STRUCTURAL, *headers) for spelling in (name, name.lower())
    }


def _fields(payload: object, wanted: Mapping[str, str]) -> dict[str, list[str]]:
    """Collect the raw values that matter, unfolded, by lower-case header name."""
    fields: dict[str, list[str]] = {}
    entries = payload.get("headers") if isinstance(payload, dict) else None
    for entry in entries if isinstance(entries, list) else ():
        if not isinstance(entry, dict):
            continue
        name, value = entry.get("name"), entry.get("value")
        if not isinstance(name, str) or not isinstance(value, str):
            continue
        key = wanted.get(name) or wanted.get(name.lower())
        if key is None:
            continue
        # Most values are printable: nothing in them is folded, and nothing has to be replaced.
        text = value.lstrip(" ") if value.isprintable() else unfold(clean(value))
        if key in fields:
            fields[key].append(text)
        else:
            fields[key] = [text]
    return fields


def _decoded(values: list[str]) -> list[str]:
    if len(values) == 1 and "=?" not in values[0]:
        return values
    return [words.decode(value, enough=MAX_HEADER) for value in values]


def _addressed(values: list[str]) -> str:
    """An address header as people read it."""
    if len(values) == 1 and len(values[0]) <= _SHORT:
        return _remembered(values[0])[0]
    return ", ".join([words.decode(value, quote=True, enough=MAX_HEADER) for value in values])


def _recipients(values: list[str]) -> tuple[str, ...]:
    if len(values) == 1 and len(values[0]) <= _SHORT:
        return _remembered(values[0])[1]
    return tuple([address for value in values for address in bare(value)])


@lru_cache(maxsize=1024)
def _remembered(value: str) -> tuple[str, tuple[str, ...]]:
    """An address header as people read it, and its addresses: the same few are in most of a mailbox."""
    return words.decode(value, quote=True, enough=MAX_HEADER), tuple(bare(value))


def _labels(value: object) -> tuple[str, ...]:
    labels = {clean(label) for label in value if isinstance(label, str)} if isinstance(value, list) else set()
    labels.discard("")
    return tuple(sorted(labels))


def _received_at(internal_date: object, dates: Sequence[str]) -> float:
    """Take Gmail's own date (docs/gmail.md, 8), else the sender's, else 0, which is no date at all."""
    milliseconds: float | None = None
    if isinstance(internal_date, str) and _MILLISECONDS.match(internal_date):
        milliseconds = int(internal_date)
    elif isinstance(internal_date, (int, float)) and not isinstance(internal_date, bool):
        milliseconds = internal_date
    if milliseconds is not None and _EARLIEST * 1000 <= milliseconds <= _LATEST * 1000:
        return milliseconds / 1000
    for text in dates:
        seconds = mail_date(text)
        if seconds is not None and _EARLIEST <= seconds <= _LATEST:
            return seconds
    return 0.0


def _snippet(value: object) -> str:
    text = _string(value)[:_SNIPPET_SOURCE]
    if "&" not in text:
        return text
    known = [entity for entity in _ENTITIES if entity in text]
    if text.count("&") == sum(map(text.count, known)):
        for entity in known:
            text = text.replace(entity, _ENTITIES[entity])
        return text
    return clean(html.unescape(text))


def _string(value: object) -> str:
    return clean(value) if isinstance(value, str) else ""

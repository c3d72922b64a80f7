"""Turn one Gmail message resource into a ``Message``, whatever it holds: hostile mail is the ordinary case here.

``normalise`` never raises. What cannot be read becomes empty where the message is still itself without it, and
``Refused`` (which the engine records as a gap) where it is not: without its id, or without the history id that orders
it. Everything is bounded, so that one message always fits into one document and one event.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence

from shared.providers.base import Message, Refused, Upsert
from shared.providers.bounds import MAX_ID, MAX_SNIPPET, fit
from shared.providers.dates import EARLIEST, LATEST, first_date
from shared.providers.headers import canonical, collect, decoded, kept, recipients
from shared.providers.text import clean

_MILLISECONDS = re.compile(r"-?[0-9]{1,18}\Z")
_HISTORY_ID = re.compile(r"(?=[0-9])0*+([0-9]{0,64})\Z")
# All that Gmail escapes. The ampersand is the last one: what it leaves behind is text.
_ENTITIES = {"&#39;": "'", "&quot;": '"', "&lt;": "<", "&gt;": ">", "&amp;": "&"}
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
    allowed, wanted = canonical(headers if type(headers) is tuple else tuple(headers))
    payload = raw.get("payload")
    fields = collect(payload.get("headers") if isinstance(payload, dict) else None, wanted)
    subject = decoded(fields["subject"]) if "subject" in fields else []
    message = Message(
        id,
        thread_id,
        version or "",
        _labels(raw.get("labelIds")),
        _received_at(raw.get("internalDate"), fields.get("date", ())),
        subject[0] if subject else "",
        (recipients(fields["from"]) or ("",))[0] if "from" in fields else "",
        recipients(fields["to"]) if "to" in fields else (),
        recipients(fields["cc"]) if "cc" in fields else (),
        recipients(fields["bcc"]) if "bcc" in fields else (),
        _snippet(raw.get("snippet")),
        kept(fields, allowed),
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
    if milliseconds is not None and EARLIEST * 1000 <= milliseconds <= LATEST * 1000:
        return milliseconds / 1000
    return first_date(dates)


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

"""Read what a provider's server answers, without trust: JSON, and its errors in all their shapes.

Google's errors come as ``errors[].reason``, ``status`` or ``details[].reason``, Graph's as ``code`` and ``innerError.code``,
OAuth's as ``error``, to which Microsoft adds numbers (AADSTS70008); a wait comes as ``Retry-After`` in seconds or as a date,
as Google's ``RetryInfo``, or in Gmail's words ("Retry after 2026-11-20T14:00:00Z"). Whatever is missing or of
the wrong type is as good as not said.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from shared.providers.dates import iso_date, mail_date
from shared.providers.http.failure import Failure

MALFORMED = "malformedAnswer"
"""The reason of a success whose body is not the JSON object that was promised."""

MAX_ANSWER_BYTES = 32_000_000
"""What an answer may weigh; a heavier one is malformed."""

_MAX_ERROR_BYTES = 100_000
_MAX_ENTRIES = 20
_MAX_WAIT = 3_600.0  # look again within the hour, whatever a header says
_BIG_NUMBER = re.compile(rb"[:,\[]\s*+-?[0-9]{19}")
_REASON = re.compile(r"(?:[A-Za-z_]{1,64}|AADSTS[0-9]{4,9})\Z")
_NUMBERED = re.compile(r"AADSTS[0-9]{4,9}\b")
_SECONDS = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)s?\Z")
_RETRY_AFTER = re.compile(r"retry after ([0-9t:.-]{10,40}z?)")


def parse(content: bytes) -> Any:
    """Parse JSON, lone surrogates and integers over 64 bits included; None if it is none.

    orjson refuses the former and rounds the latter, so a doubtful text goes to the slower library.
    """
    if len(content) > MAX_ANSWER_BYTES:
        return None
    if not _BIG_NUMBER.search(content):
        try:
            return orjson.loads(content)
        except orjson.JSONDecodeError:
            pass  # not a verdict yet: the library below is more lenient
    try:
        return json.loads(content.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None


def read_failure(status: int, headers: Mapping[str, str], content: bytes, now: float) -> Failure:
    """Read what an answer says about itself, in any of the shapes above. Never raises."""
    body = parse(content) if len(content) <= _MAX_ERROR_BYTES else None
    if isinstance(body, list) and body:  # some batch and streaming front ends wrap the error in a list
        body = body[0]
    body = body if isinstance(body, Mapping) else {}
    error = body.get("error")
    parts = error if isinstance(error, Mapping) else body
    message = parts.get("message")
    message = message[:1_000].lower() if isinstance(message, str) else ""
    return Failure(
        status,
        tuple(dict.fromkeys(filter(_REASON.match, _reasons(error, body)))),
        message,
        _wait(headers, parts.get("details"), message, now),
    )


def _reasons(error: object, body: Mapping[str, Any]) -> Iterator[str]:
    if isinstance(error, str):  # OAuth: {"error": "invalid_grant"}
        yield from _numbered(body)
        yield error
    if not isinstance(error, Mapping):
        return
    for key in ("errors", "details"):
        entries = error.get(key)
        for entry in entries[:_MAX_ENTRIES] if isinstance(entries, list) else ():
            reason = entry.get("reason") if isinstance(entry, Mapping) else None
            if isinstance(reason, str):
                yield reason
    inner = error.get("innerError", error.get("innererror"))
    for said in (error.get("status"), error.get("code"), inner.get("code") if isinstance(inner, Mapping) else None):
        if isinstance(said, str):
            yield said


def _numbered(body: Mapping[str, Any]) -> Iterator[str]:
    """Microsoft's numbers for what is wrong, which say more than OAuth's words."""
    codes, text = body.get("error_codes"), body.get("error_description")
    for code in codes[:_MAX_ENTRIES] if isinstance(codes, list) else ():
        if isinstance(code, int) and not isinstance(code, bool) and abs(code) < 10**9:
            yield f"AADSTS{code}"
    if isinstance(text, str):
        yield from _NUMBERED.findall(text[:1_000])[:_MAX_ENTRIES]


def _wait(headers: Mapping[str, str], details: object, message: str, now: float) -> float | None:
    """Find how long to wait: the header in seconds or as a date, ``RetryInfo``, or Gmail's "Retry after <time>"."""
    header = str(headers.get("retry-after", ""))
    until = mail_date(header)
    candidates = [_duration(header), None if until is None else until - now]
    for detail in details[:_MAX_ENTRIES] if isinstance(details, list) else ():
        if isinstance(detail, Mapping):
            candidates.append(_duration(detail.get("retryDelay")))
    if found := _RETRY_AFTER.search(message):
        until = iso_date(found[1].upper())
        candidates.append(None if until is None else until - now)
    wait = next((candidate for candidate in candidates if candidate is not None), None)
    return None if wait is None else min(max(wait, 0.0), _MAX_WAIT)


def _duration(value: object) -> float | None:
    found = _SECONDS.match(value.strip()) if isinstance(value, str) else None
    return float(found[1]) if found else None

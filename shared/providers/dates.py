"""Read the dates that strangers write; whatever is none gives None."""

from __future__ import annotations

import calendar
from collections.abc import Iterable
from datetime import datetime
from email.utils import parsedate_tz

EARLIEST, LATEST = -2_208_988_800.0, 253_402_300_799.0  # the years 1900 to 9999: what everything behind us can print
_LONGEST = 200
_ODD = (ArithmeticError, LookupError, TypeError, ValueError)  # the parsers' answers to nonsense vary by Python version


def mail_date(text: str) -> float | None:
    """Read an RFC 5322 (or HTTP) date as seconds since the epoch; one without a zone is taken as UTC."""
    try:
        parsed = parsedate_tz(text[:_LONGEST])
        if parsed is None:
            return None
        return float(calendar.timegm((*parsed[:6], 0, 1, 0)) - (parsed[9] or 0))
    except _ODD:
        return None


def iso_date(text: str) -> float | None:
    """Read an ISO 8601 time with a zone as seconds since the epoch."""
    try:
        moment = datetime.fromisoformat(text[:_LONGEST])
        return moment.timestamp() if moment.tzinfo else None
    except _ODD:
        return None


def first_date(texts: Iterable[str]) -> float:
    """The first of some mail dates that everything behind us can print; 0, which is no date at all, where none is one."""
    for text in texts:
        seconds = mail_date(text)
        if seconds is not None and EARLIEST <= seconds <= LATEST:
            return seconds
    return 0.0

"""An mbox read as a stream: one message in memory at a time, whatever the file's size, and nothing stops it.

A line that begins with ``From `` starts a message if it looks the part (it ends in a date) or if a header field follows
it, and if it stands at the beginning, behind an empty line, or is beyond doubt (both signs). Bodies with unescaped
``From `` lines survive, and so do separators that lost their date.
"""

from __future__ import annotations

import errno
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

MAX_MESSAGE = 64 * 1024 * 1024
_MAX_LINE = 1024 * 1024
_DATED = re.compile(
    rb"From .*\b(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) +(\d{1,2}) +(\d\d?:\d\d(?::\d\d)?)"
    rb"(?: +(?:[A-Z]{1,5}|[+-]\d{4}))* +(\d{4})(?: +[+-]\d{4})?\s*$"
)
_FIELD = re.compile(rb"[!-9;-~]+[ \t]*:")
_QUOTED = re.compile(rb"^>(>*From )", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Piece:
    """One message of an mbox: its number from 1, its bytes (cut where it is too large), its separator's date."""

    number: int
    raw: bytes
    dated: float | None
    too_large: bool


def looks_like_mbox(head: bytes) -> bool:
    """Whether the first bytes of a file are those of an mbox."""
    return head.lstrip(b"\xef\xbb\xbf\r\n").startswith(b"From ")


def opened(path: Path) -> BinaryIO:
    """Open a regular file; a pipe or a device might never end. Raises ``OSError``."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "It is no regular file", str(path))
    return path.open("rb")


def pieces(path: Path) -> Iterator[Piece]:
    """Cut a file into messages. Raises ``OSError`` when the file cannot be read."""
    with opened(path) as file:
        yield from _pieces(file)


def _pieces(file: BinaryIO) -> Iterator[Piece]:
    number = 0
    dated: float | None = None
    lines: list[bytes] = []
    size = 0
    blank = True
    for line, following in _with_next(file):
        if _starts(line, following, blank):
            if number or any(part.strip() for part in lines):
                yield _piece(max(number, 1), lines, dated, size)
                number = max(number, 1)
            number, dated, lines, size = number + 1, _date(line), [], 0
            blank = False
            continue
        blank = not line.strip(b"\r\n")
        size += len(line)
        if size <= MAX_MESSAGE:
            lines.append(line)
    if number or any(part.strip() for part in lines):
        yield _piece(max(number, 1), lines, dated, size)


def _with_next(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    line = file.readline(_MAX_LINE).removeprefix(b"\xef\xbb\xbf")
    while line:
        following = file.readline(_MAX_LINE)
        yield line, following
        line = following


def _starts(line: bytes, following: bytes, blank: bool) -> bool:
    if not line.startswith(b"From "):
        return False
    dated = _DATED.match(line[:1000]) is not None
    headed = _FIELD.match(following[:1000]) is not None
    return (dated or headed) if blank else (dated and headed)


def _date(line: bytes) -> float | None:
    found = _DATED.match(line[:1000])
    if found is None:
        return None
    month, day, clock, year = (part.decode("ascii") for part in found.groups())
    clock = clock if clock.count(":") == 2 else f"{clock}:00"
    try:
        moment = datetime.strptime(f"{month} {day} {clock} {year}", "%b %d %H:%M:%S %Y").replace(tzinfo=UTC)
    except ValueError:
        return None
    return moment.timestamp() if moment.year >= 1971 else None


def _piece(number: int, lines: list[bytes], dated: float | None, size: int) -> Piece:
    raw = b"".join(lines)
    return Piece(number, _QUOTED.sub(rb"\1", raw) if b">From " in raw else raw, dated, size > MAX_MESSAGE)

"""Google's batch format by hand: many GETs in one multipart body, and its answer taken apart again (docs/gmail.md, 17).

The answer's parts may come in any order, and each says by its Content-ID which call it answers: ours with ``response-``
before it. Only where no part says so do they count by position, and then only if there are as many as calls. A part that
is missing, doubled or unreadable answers nothing; one under a name that we did not give is not ours.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

BOUNDARY = "brainstem_batch"
CONTENT_TYPE = f"multipart/mixed; boundary={BOUNDARY}"

_BEFORE_NAME = f"--{BOUNDARY}\r\nContent-Type: application/http\r\nContent-ID: <brainstem-"
_BEFORE_TARGET = ">\r\n\r\nGET "
_AFTER_TARGET = " HTTP/1.1\r\n\r\n\r\n"
_END = f"--{BOUNDARY}--\r\n"

_BOUNDARY_OF = re.compile(r'boundary=(?:"([^"]{1,200})"|([^\s";,]{1,200}))', re.IGNORECASE)
_NAME = re.compile(rb"\ncontent-id:([^\r\n]*)", re.IGNORECASE)
_OURS = re.compile(rb"\s*<?(?:response-)?brainstem-([0-9]{1,3})>?\s*\Z")
_STATUS = re.compile(rb"\s*HTTP/[0-9.]{1,3} ([1-5][0-9][0-9])[ \r\n]")
_RETRY_AFTER = re.compile(rb"\nretry-after:[ \t]*([^\r\n]{1,100})", re.IGNORECASE)


@dataclass(slots=True)
class Part:
    """The answer to one call: status, body, and its Retry-After header ('' for none)."""

    status: int
    body: bytes
    retry_after: str = ""


def build(targets: Sequence[str]) -> bytes:
    """Write a batch of GETs, each given as path and query in ASCII; they are named by their positions."""
    calls = [
        f"{_BEFORE_NAME}{position}{_BEFORE_TARGET}{target}{_AFTER_TARGET}" for position, target in enumerate(targets)
    ]
    return ("".join(calls) + _END).encode("ascii")


def parse(content: bytes, content_type: str, calls: int) -> list[Part | None]:
    """Answer what came for each of so many calls, None where that cannot be told. Never raises."""
    boundary = _BOUNDARY_OF.search(content_type)
    if boundary is None:
        return [None] * calls
    delimiter = b"\n--" + (boundary[1] or boundary[2]).encode("utf-8", "replace")
    named: dict[int, Part | None] = {}
    nameless: list[Part | None] = []
    any_names = False
    for piece in (b"\n" + content).split(delimiter)[1:]:
        if piece.startswith(b"--"):
            break
        end = _head_end(piece, 0)
        name = _NAME.search(piece, 0, end)
        if name is None:
            nameless.append(_part(piece, end))
            continue
        any_names = True
        ours = _OURS.match(name[1])
        if ours is not None and (position := int(ours[1])) < calls:
            named[position] = None if position in named else _part(piece, end)
    if any_names:
        return [named.get(position) for position in range(calls)]
    return nameless if len(nameless) == calls else [None] * calls


def _part(piece: bytes, start: int) -> Part | None:
    """Read the HTTP answer that begins at ``start``; None for what is none."""
    status = _STATUS.match(piece, start)
    if status is None:
        return None
    end = _head_end(piece, status.end() - 1)
    code = int(status[1])
    if code == 200:
        return Part(200, piece[end:])
    wait = _RETRY_AFTER.search(piece, start, end)
    return Part(code, piece[end:], wait[1].decode("latin-1") if wait else "")


def _head_end(piece: bytes, start: int) -> int:
    """Answer where a head's blank line has ended, the end of the piece if it has none."""
    strict = piece.find(b"\r\n\r\n", start)
    lenient = piece.find(b"\n\n", start, strict if strict >= 0 else len(piece))
    if lenient >= 0:
        return lenient + 2
    return strict + 4 if strict >= 0 else len(piece)

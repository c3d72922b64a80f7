"""Google's batch format: many HTTP requests in one multipart body, answered part by part in the same order.

The outer answer is 200 whatever happened inside; each part carries its own status and ``Content-ID: <response-…>``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TypeAlias

from infra.local.google.errors import GoogleError

Part: TypeAlias = Callable[[str, str, str, bytes], tuple[str, bytes]]
"""(verb, target, authorization, body) -> (status line, JSON body)."""

MAX_CALLS = 100
_BOUNDARY = re.compile(r'boundary="?([^";]+)"?')
_ANSWER_BOUNDARY = "batch_simulator"


def run_batch(body: bytes, content_type: str, run: Part) -> tuple[bytes, str]:
    """Run every part and answer body and content type. Raises ``GoogleError`` 400 for what is no batch."""
    boundary = _BOUNDARY.search(content_type)
    if boundary is None:
        raise GoogleError(400, "Failed to parse batch request, error: missing boundary.")
    parts = list(_parts(body, boundary[1].encode("latin-1")))
    if not parts or len(parts) > MAX_CALLS:
        raise GoogleError(400, f"The batch request has {len(parts)} calls in it; from 1 to {MAX_CALLS} are allowed.")
    pieces: list[bytes] = []
    for content_id, verb, target, authorization, inner in parts:
        status, answer = run(verb, target, authorization, inner)
        head = f"--{_ANSWER_BOUNDARY}\r\nContent-Type: application/http\r\n"
        if content_id:
            head += f"Content-ID: <response-{content_id.strip('<>')}>\r\n"
        head += f"\r\nHTTP/1.1 {status}\r\nContent-Type: application/json; charset=UTF-8\r\n"
        head += f"Content-Length: {len(answer)}\r\n\r\n"
        pieces.append(head.encode("latin-1") + answer + b"\r\n")
    pieces.append(f"--{_ANSWER_BOUNDARY}--\r\n".encode())
    return b"".join(pieces), f"multipart/mixed; boundary={_ANSWER_BOUNDARY}"


def _parts(body: bytes, boundary: bytes) -> Iterator[tuple[str, str, str, str, bytes]]:
    for piece in body.replace(b"\r\n", b"\n").split(b"--" + boundary)[1:]:
        if piece.startswith(b"--"):
            return
        outer, _, request = piece.lstrip(b"\n").partition(b"\n\n")
        head, _, inner = request.partition(b"\n\n")
        line, _, fields = head.decode("latin-1").partition("\n")
        words = line.split(" ")
        if len(words) < 2:
            raise GoogleError(400, "Failed to parse batch request, error: a part is no HTTP request.")
        target = re.sub(r"^https?://[^/]+", "", words[1])
        yield (
            _field(outer.decode("latin-1"), "content-id"), words[0], target, _field(fields, "authorization"),
            inner.rstrip(b"\n"),
        )  # fmt: skip


def _field(head: str, name: str) -> str:
    for line in head.split("\n"):
        key, _, value = line.partition(":")
        if key.strip().lower() == name:
            return value.strip()
    return ""

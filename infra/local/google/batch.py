"""Google's batch format: many HTTP requests in one multipart body, answered part by part in the same order.

The outer answer is 200 whatever happened inside; each part carries its own status and ``Content-ID: <response-…>``.
Only a fault lets parts go missing, change places or lose that name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TypeAlias

from infra.local.google.errors import GoogleError
from infra.local.simulated.answers import Answer

Part: TypeAlias = Callable[[str, str, str, bytes], Answer]
"""(verb, target, authorization, body) -> the answer."""

Arrange: TypeAlias = Callable[[list[tuple[str, Answer]]], list[tuple[str, Answer]]]
"""What of the answers, each with its part's Content-ID or '', is sent, and in which order."""

MAX_CALLS = 100
_BOUNDARY = re.compile(r'boundary="?([^";]+)"?')
_ANSWER_BOUNDARY = "batch_simulator"


def run_batch(body: bytes, content_type: str, run: Part, arrange: Arrange = list) -> tuple[bytes, str]:
    """Run every part and answer body and content type. Raises ``GoogleError`` 400 for what is no batch."""
    boundary = _BOUNDARY.search(content_type)
    if boundary is None:
        raise GoogleError(400, "Failed to parse batch request, error: missing boundary.")
    parts = list(_parts(body, boundary[1].encode("latin-1")))
    if not parts or len(parts) > MAX_CALLS:
        raise GoogleError(400, f"The batch request has {len(parts)} calls in it; from 1 to {MAX_CALLS} are allowed.")
    answers = [(name, run(verb, target, token, inner)) for name, verb, target, token, inner in parts]
    pieces = [_piece(content_id, answer) for content_id, answer in arrange(answers)]
    pieces.append(f"--{_ANSWER_BOUNDARY}--\r\n".encode())
    return b"".join(pieces), f"multipart/mixed; boundary={_ANSWER_BOUNDARY}"


def _piece(content_id: str, answer: Answer) -> bytes:
    head = f"--{_ANSWER_BOUNDARY}\r\nContent-Type: application/http\r\n"
    if content_id:
        head += f"Content-ID: <response-{content_id.strip('<>')}>\r\n"
    head += f"\r\nHTTP/1.1 {answer.status}\r\nContent-Type: {answer.content_type}\r\n"
    for name, value in answer.headers:
        head += f"{name}: {value}\r\n"
    head += f"Content-Length: {len(answer.body)}\r\n\r\n"
    return head.encode("latin-1") + answer.body + b"\r\n"


def _parts(body: bytes, boundary: bytes) -> Iterator[tuple[str, str, str, str, bytes]]:
    """Content-ID, verb, target, authorization, body of every part."""
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

"""A mail's MIME structure as Gmail shows it: a tree of parts, texts within it, everything else behind attachment ids.

Texts are given in UTF-8 whatever charset the mail is in, while its headers still name that one: Gmail does so (reports
on clients that decoded twice). Attachment ids are not said to last, but here they do.
"""

from __future__ import annotations

import base64
from email.message import Message
from typing import Any

from infra.local.simulated.body import content_of, text_of
from infra.local.simulated.reading import served_headers
from infra.local.simulated.words import decode_words

Json = dict[str, Any]

MAX_DEPTH = 50
_MARK = "ANGjdJ"


def tree(message: Message, message_id: str) -> Json:
    """The payload of ``format=full``; what is nested deeper than ``MAX_DEPTH`` is left out."""
    return _part(message, "", message_id, 0)


def attachment(message: Message, message_id: str, attachment_id: str) -> Json | None:
    """The body of one attachment, None where the mail has no such."""
    for part_id, part in _leaves(message, "", 0):
        if _is_attachment(part) and _attachment_id(message_id, part_id) == attachment_id:
            data = content_of(part)
            return {"size": len(data), "data": base64url(data)}
    return None


def base64url(data: bytes) -> str:
    """Bytes as Google's APIs write them."""
    return base64.urlsafe_b64encode(data).decode()


def _part(part: Message, part_id: str, message_id: str, depth: int) -> Json:
    answer: Json = {
        "partId": part_id,
        "mimeType": part.get_content_type(),
        "filename": _filename(part),
        "headers": [{"name": name, "value": value} for name, value in served_headers(part)],
    }
    children = _children(part, part_id, depth)
    if children is None:
        return answer | {"body": _body(part, part_id, message_id)}
    answer["body"] = {"size": 0}
    answer["parts"] = [_part(child, child_id, message_id, depth + 1) for child_id, child in children]
    return answer


def _body(part: Message, part_id: str, message_id: str) -> Json:
    if _is_attachment(part):
        return {"attachmentId": _attachment_id(message_id, part_id), "size": len(content_of(part))}
    data = text_of(part).encode("utf-8", "replace")
    return {"size": len(data)} | ({"data": base64url(data)} if data else {})


def _children(part: Message, part_id: str, depth: int) -> list[tuple[str, Message]] | None:
    """The parts inside a part, None where there can be none."""
    if not part.is_multipart():
        return None
    inner = part.get_payload()
    if depth >= MAX_DEPTH or not isinstance(inner, list):
        return []
    before = f"{part_id}." if part_id else ""
    return [(f"{before}{position}", child) for position, child in enumerate(inner) if isinstance(child, Message)]


def _leaves(part: Message, part_id: str, depth: int) -> list[tuple[str, Message]]:
    children = _children(part, part_id, depth)
    if children is None:
        return [(part_id, part)]
    return [leaf for child_id, child in children for leaf in _leaves(child, child_id, depth + 1)]


def _is_attachment(part: Message) -> bool:
    return part.get_content_maintype() != "text" or bool(_filename(part))


def _attachment_id(message_id: str, part_id: str) -> str:
    return _MARK + base64url(f"{message_id}:{part_id}".encode()).rstrip("=")


def _filename(part: Message) -> str:
    try:
        name = part.get_filename("")
    except (LookupError, TypeError, ValueError):
        return ""  # a parameter that nobody can read names nothing
    return decode_words(name.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))

"""Opaque cursors: a position in a list, in a form that clients pass back and do not take apart.

The check binds a cursor to its list and its caller, so that a mistyped, cut or foreign one is refused instead of read as
another place. It is no signature, and need not be one: a forged cursor leads nowhere but into the caller's own lists.
"""

from __future__ import annotations

import base64
import binascii
import hashlib

import orjson

from shared.errors import InvalidRequest

MAX_CHARS = 8_192


def encode(scope: str, position: str) -> str:
    """The cursor of a position in the list that ``scope`` names."""
    text = orjson.dumps([1, position, _check(scope, position)])
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


def decode(scope: str, cursor: str) -> str:
    """The position back. Raises ``InvalidRequest`` for anything that ``encode`` did not answer for this scope."""
    try:
        if len(cursor) > MAX_CHARS:
            raise ValueError("over-long")
        padded = (cursor + "=" * (-len(cursor) % 4)).encode("ascii")
        form, position, check = orjson.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        if form != 1 or not isinstance(position, str) or check != _check(scope, position):
            raise ValueError("not of this list")
        if encode(scope, position) != cursor:
            raise ValueError("not in the form that was given out")
    except (ValueError, TypeError, binascii.Error):
        raise InvalidRequest("The cursor is not one that this list has given out.", field="after") from None
    return position


def _check(scope: str, position: str) -> str:
    return hashlib.sha256(f"{scope}\n{position}".encode()).hexdigest()[:12]

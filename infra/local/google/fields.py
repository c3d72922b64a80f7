"""Partial responses: the ``fields`` parameter of Google's APIs, such as ``id,payload(headers)`` or ``messages/id``.

It is honoured so that a client which forgets to ask for a field does not get it here either.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, TypeAlias

from infra.local.google.errors import GoogleError

Mask: TypeAlias = dict[str, Any]
_MAX_DEPTH = 10


def select(value: Any, expression: str) -> Any:
    """Keep only what the expression names. Raises ``GoogleError`` 400 for one that cannot be read."""
    return _apply(value, _parsed(expression))


def _apply(value: Any, mask: Mask) -> Any:
    if not mask:
        return value
    if isinstance(value, list):
        return [_apply(item, mask) for item in value]
    if not isinstance(value, dict):
        return value
    if "*" in mask:
        return {name: _apply(item, mask["*"]) for name, item in value.items()}
    return {name: _apply(item, mask[name]) for name, item in value.items() if name in mask}


@lru_cache(maxsize=256)
def _parsed(expression: str) -> Mask:
    mask, rest = _list(expression.replace(" ", ""), 0)
    if rest:
        raise _bad(expression)
    return mask


def _list(text: str, depth: int) -> tuple[Mask, str]:
    if depth > _MAX_DEPTH:
        raise _bad(text)
    mask: Mask = {}
    while True:
        text = _path(text, mask, depth)
        if not text.startswith(","):
            return mask, text
        text = text[1:]


def _path(text: str, mask: Mask, depth: int) -> str:
    here = mask
    while True:
        length = next((at for at, mark in enumerate(text) if mark in "(),/"), len(text))
        name, text = text[:length], text[length:]
        if not name:
            raise _bad(text)
        here = here.setdefault(name, {})
        if not text.startswith("/"):
            break
        text = text[1:]
    if not text.startswith("("):
        return text
    inner, rest = _list(text[1:], depth + 1)
    if not rest.startswith(")"):
        raise _bad(text)
    here.update(inner)
    return rest[1:]


def _bad(text: str) -> GoogleError:
    return GoogleError(400, f"Request contains an invalid argument: fields near '{text[:20]}'.", "invalidParameter")

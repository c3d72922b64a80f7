"""What may be written as a document, its JSON, and how a reference splits: the rules that all stores share."""

from __future__ import annotations

import math
import re
from typing import Any, TypeAlias

import orjson

from shared.errors import TooLarge
from shared.ports import MAX_DOCUMENT_BYTES, Data

MAX_DEPTH = 100
MAX_SEGMENT_BYTES = 1500

Row: TypeAlias = tuple[str, str, str]
"""Parent (``users/u``, empty at the root), group (``mailboxes``), key (``m``)."""

_TEXT = frozenset({str})
_NESTS = frozenset({dict, list})
_PLAIN = frozenset({str, bool, type(None)})
_FORBIDDEN = re.compile(r"[\x00-\x1f]")


def split(ref: str) -> Row:
    """Take a document's reference apart. Raises ``ValueError`` unless it names a document."""
    segments = ref.split("/")
    if len(segments) % 2 or not all(map(_is_segment, segments)) or _FORBIDDEN.search(ref):
        raise ValueError("A reference is collection/id pairs, each part 1 to 1500 bytes without control characters.")
    return "/".join(segments[:-2]), segments[-2], segments[-1]


def join(parent: str, group: str, key: str) -> str:
    """The reference of a row."""
    return f"{parent}/{group}/{key}" if parent else f"{group}/{key}"


def encode(data: Data) -> str:
    """The compact JSON of a document. Raises ``ValueError`` for what no document may hold, and ``TooLarge``."""
    return dump(data).decode()


def dump(data: Data) -> bytes:
    """The compact JSON of a document, as bytes. Raises as ``encode`` does."""
    if type(data) is not dict:
        raise ValueError("A document is a dict.")
    _check(data, MAX_DEPTH)
    text = _dump(data)
    if len(text) > MAX_DOCUMENT_BYTES:
        raise TooLarge("A document is over its limit.")
    return text


def dump_nested(value: list[Any] | dict[str, Any]) -> bytes:
    """The compact JSON of one field of a document. Raises ``ValueError`` for what no document may hold."""
    _check(value, MAX_DEPTH - 1)
    return _dump(value)


def weight(text: str) -> int:
    """The bytes of a JSON text."""
    return len(text) if text.isascii() else len(text.encode())


def scalar(value: Any) -> str:
    """The JSON of a value that a query compares with. Raises ``ValueError`` for what no document may hold."""
    if not isinstance(value, str | int | float):
        raise ValueError("A query compares with strings, numbers and booleans.")
    _check_scalar(value)
    return _dump(value).decode()


def _dump(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError as error:
        raise ValueError("A document holds something that is not JSON.") from error


def _check(value: list[Any] | dict[str, Any], depth: int) -> None:
    """Look at all values of one depth at a time: a segment of the log holds thousands."""
    level: list[list[Any] | dict[str, Any]] = [value]
    for _ in range(depth):
        items: list[Any] = []
        for nest in level:
            if isinstance(nest, list):
                items += nest
                continue
            if not _TEXT.issuperset(map(type, nest)) and not all(isinstance(name, str) for name in nest):
                raise ValueError("A document has a key that is not a string.")
            items += nest.values()
        if _PLAIN.issuperset(map(type, items)):
            return
        others = [item for item in items if type(item) not in _PLAIN]
        level = [item for item in others if type(item) in _NESTS]
        if len(level) < len(others):
            for item in others:
                if type(item) not in _NESTS:
                    _check_scalar(item)
        if not level:
            return
    raise ValueError("A document is nested too deeply.")


def _check_scalar(value: Any) -> None:
    if isinstance(value, str) or value is None or value is True or value is False:
        return  # orjson itself refuses lone surrogates
    if isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise ValueError("A document holds an integer beyond 64 bits.")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("A document holds a number that is not finite.")
    else:
        raise ValueError(f"A document cannot hold a {type(value).__name__}.")


def _is_segment(text: str) -> bool:
    try:
        return 0 < len(text.encode()) <= MAX_SEGMENT_BYTES and text not in (".", "..")
    except UnicodeEncodeError:
        return False

"""Documents into Firestore's protobuf, written by hand as it is on the wire.

The library's own encoding costs twenty times as much, and filling in raw messages field by field still twice: a mail has
fifteen fields, whose heads depend on nothing but name and length and so are made once. Tests hold every value against what
protobuf itself makes of it.

What a query may ask for stays native: scalars, and lists of scalars. A value that nests deeper is stored as its JSON in a
``bytesValue``, a type that no document of ours has. That is ten times cheaper to write and to read (a log segment holds a
page of events), needs no index entry per leaf, and carries what Firestore has no shape for: a list in a list, an empty or
reserved name inside, more than twenty levels.

Names of top-level fields that begin with ``_``, and the empty one, are stored behind ``_u``: Firestore refuses some of
them, and ``_w`` is ours (``shared.adapters.cloud.store`` says what for).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from math import isfinite
from struct import Struct
from typing import Any, TypeAlias

import orjson
from google.cloud.firestore_v1 import types

from shared.adapters import documents
from shared.ports import MAX_DOCUMENT_BYTES, Data

Raw: TypeAlias = Any
"""A raw protobuf message; the generated classes behind proto-plus carry no types."""

TOUCH = "_w"
"""The field that tells one write from the next; readers never see it."""

_ESCAPE = "_u"
_RESERVED_ID = re.compile(r"(?:^|/)__[^/]*__(?:/|$)")
_SIMPLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TEXT = frozenset({str})
_SCALARS = frozenset({str, int, float, bool, type(None)})
_BYTES = 0x92  # the first octet of a ``bytesValue``
_ESCAPED = 6  # bytes of JSON that one octet on the wire can stand for; a nested value is JSON already
_FEW, _SHORT = 4, 200  # strings of a list that is worth remembering, and characters of them all
_double = Struct("<d").pack
_Value = types.Value.pb()


def stored_name(name: str) -> str:
    """The name under which a top-level field is stored."""
    return _ESCAPE + name if not name or name[0] == "_" else name


def original_name(stored: str) -> str:
    """The name of a stored field as its writer knows it."""
    return stored.removeprefix(_ESCAPE)


def field_path(stored: str) -> str:
    """A stored top-level name as masks and filters spell it."""
    if _SIMPLE.fullmatch(stored):
        return stored
    escaped = stored.replace("\\", "\\\\").replace("`", "\\`")
    return f"`{escaped}`"


def document_name(root: str, ref: str) -> str:
    """The full resource name of a reference. Raises ``ValueError`` unless it names a document that Firestore can hold."""
    collection, _, key = ref.rpartition("/")
    if key.isalnum() and key.isascii() and len(key) <= documents.MAX_SEGMENT_BYTES:
        _ensure_name(f"{collection}/x")  # such a key says nothing that x does not, and a page shares its collection
    else:
        _ensure_name(ref)
    return f"{root}/{ref}"


@lru_cache(maxsize=256)
def _ensure_name(ref: str) -> None:
    documents.split(ref)
    if "__" in ref and _RESERVED_ID.search(ref):
        raise ValueError("A reference holds a part of the form __x__, which Firestore reserves.")


def fill(document: Raw, data: Data) -> int:
    """Put fields into a protobuf document; answer their weight, or that of the heaviest that they could be.

    The weight, in bytes of compact JSON, is worked out only where it could be over the limit of a document. Raises
    ``ValueError`` for what no document may hold and ``TooLarge``; ``document`` is then to be thrown away.
    """
    if type(data) is not dict or not _TEXT.issuperset(map(type, data)):
        raise ValueError("A document is a dict whose keys are strings.")
    parts: list[bytes] = []
    nested = 0
    try:
        for name, value in data.items():
            if type(value) is str:
                wire = value.encode()
                parts += (_text_field(name, len(wire)), wire)
                continue
            wire = _value(value)
            parts += (_field(name, len(wire)), wire)
            if wire[0] == _BYTES:
                nested += len(wire)
    except UnicodeEncodeError:
        raise ValueError("A document holds text that no UTF-8 can hold.") from None
    fields = b"".join(parts)
    most = _ESCAPED * (len(fields) - nested) + nested + 2
    if most > MAX_DOCUMENT_BYTES:
        most = len(documents.dump(data))
    document.MergeFromString(fields)
    return most


def value_of(value: Any) -> Raw:
    """A protobuf value that holds one value. Raises ``ValueError`` for what no document may hold."""
    return _Value.FromString(_value(value))


def _value(value: Any) -> bytes:
    """One value as it is on the wire: the number and type of the field of ``google.firestore.v1.Value``, and its content."""
    kind = type(value)
    if kind is str:
        text: bytes = value.encode()
        return _text_head(len(text)) + text
    if kind is list and _TEXT.issuperset(map(type, value)):
        return _texts(tuple(value)) if len(value) <= _FEW and len("".join(value)) <= _SHORT else _array(value)
    if kind is list and _SCALARS.issuperset(map(type, value)):
        return _array(value)
    if kind is list or kind is dict:
        raw = documents.dump_nested(value)
        return b"\x92\x01" + _varint(len(raw)) + raw
    if kind is bool:
        return b"\x08\x01" if value else b"\x08\x00"
    if kind is int:
        if not -(2**63) <= value < 2**63:
            raise ValueError("A document holds an integer beyond 64 bits.")
        return b"\x10" + _varint(value % 2**64)
    if kind is float:
        if not isfinite(value):
            raise ValueError("A document holds a number that is not finite.")
        return b"\x19" + _double(value)
    if value is None:
        return b"\x58\x00"
    return _value(orjson.loads(documents.dump({"": value}))[""])  # an enum, or another child of a plain type


def _array(values: Sequence[Any]) -> bytes:
    wires = [_value(value) for value in values]
    content = b"".join([b"\x0a" + _varint(len(wire)) + wire for wire in wires])
    return b"\x4a" + _varint(len(content)) + content


@lru_cache(maxsize=512)
def _texts(values: tuple[str, ...]) -> bytes:
    """A short list of strings: labels and recipients come again and again."""
    return _array(values)


@lru_cache(maxsize=4096)
def _text_field(name: str, size: int) -> bytes:
    """What precedes the bytes of a string that is a field of a document."""
    head = _text_head(size)
    return _field(name, len(head) + size) + head


@lru_cache(maxsize=4096)
def _field(name: str, size: int) -> bytes:
    """What precedes a value of a size in ``google.firestore.v1.Document``: the head of the entry, its key, the value's head."""
    key = stored_name(name).encode()
    start = b"\x0a" + _varint(len(key)) + key + b"\x12" + _varint(size)
    return b"\x12" + _varint(len(start) + size) + start


def _text_head(size: int) -> bytes:
    return b"\x8a\x01" + _varint(size)


@lru_cache(maxsize=1024)
def _varint(number: int) -> bytes:
    octets = bytearray()
    while number > 0x7F:
        octets.append(number & 0x7F | 0x80)
        number >>= 7
    octets.append(number)
    return bytes(octets)

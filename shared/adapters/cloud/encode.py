"""Documents into Firestore's protobuf, built by hand: the library's own encoding costs ten times as much.

What a query may ask for stays native: scalars, and lists of scalars. A value that nests deeper is stored as its JSON in a
``bytesValue``, a type that no document of ours has. That is ten times cheaper to write and to read (a log segment holds a
page of events), needs no index entry per leaf, and carries what Firestore has no shape for: a list in a list, an empty or
reserved name inside, more than twenty levels.

Names of top-level fields that begin with ``_``, and the empty one, are stored behind ``_u``: Firestore refuses some of
them, and ``_w`` is ours (``shared.adapters.cloud.store`` says what for).
"""

from __future__ import annotations

import re
from typing import Any, TypeAlias

import orjson
from google.cloud.firestore_v1 import types

from shared.adapters import documents
from shared.ports import Data

Raw: TypeAlias = Any
"""A raw protobuf message; the generated classes behind proto-plus carry no types."""

TOUCH = "_w"
"""The field that tells one write from the next; readers never see it."""

_ESCAPE = "_u"
_RESERVED_ID = re.compile(r"(?:^|/)__.*?__(?:/|$)")
_SIMPLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SCALARS = frozenset({str, int, float, bool, type(None)})
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
    documents.split(ref)
    if "__" in ref and _RESERVED_ID.search(ref):
        raise ValueError("A reference holds a part of the form __x__, which Firestore reserves.")
    return f"{root}/{ref}"


def fill(fields: Raw, data: Data) -> int:
    """Put a document into a protobuf map of values and answer the bytes of its compact JSON.

    Raises ``ValueError`` for what no document may hold and ``TooLarge``; ``fields`` is then to be thrown away.
    """
    size = documents.weight(documents.encode(data))
    for name, value in data.items():
        place(fields[stored_name(name)], value)
    return size


def place(target: Raw, value: Any) -> None:
    """Put one checked value into a protobuf value."""
    kind = type(value)
    if kind is str:
        target.string_value = value
    elif kind is bool:
        target.boolean_value = value
    elif kind is int:
        target.integer_value = value
    elif kind is float:
        target.double_value = value
    elif value is None:
        target.null_value = 0
    elif kind is list and _SCALARS.issuperset(map(type, value)):
        target.array_value.SetInParent()
        values = target.array_value.values
        for item in value:
            place(values.add(), item)
    elif kind is list or kind is dict:
        target.bytes_value = orjson.dumps(value)
    else:
        place(target, orjson.loads(orjson.dumps(value)))  # an enum, or another child of a plain type


def value_of(value: Any) -> Raw:
    """A protobuf value that holds one checked value."""
    target = _Value()
    place(target, value)
    return target

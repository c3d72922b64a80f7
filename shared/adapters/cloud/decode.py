"""Firestore's protobuf into documents; the other half of ``encode``."""

from __future__ import annotations

import re
from typing import Any

import orjson

from shared.adapters.cloud.encode import TOUCH, Raw, original_name
from shared.ports import Data, Doc

_VERSION = re.compile(r"([0-9]{1,11})\.([0-9]{9})")


def doc(raw: Raw, skip: int) -> Doc:
    """The document in a protobuf document; ``skip`` is the length of what precedes the reference in its name."""
    return Doc(raw.name[skip:], data(raw.fields), version(raw.update_time))


def data(fields: Raw) -> Data:
    """The fields that the document's writer wrote."""
    found: Data = {}
    for name, raw in fields.items():
        if name[0] != "_":
            found[name] = _value(raw)
        elif name != TOUCH:
            found[original_name(name)] = _value(raw)
    return found


def version(time: Raw) -> str:
    """The version that a time of change stands for: its seconds and nanoseconds."""
    return f"{time.seconds}.{time.nanos:09d}"


def into_time(expect: str, time: Raw) -> bool:
    """Put the time that a version stands for into a protobuf timestamp; False where no document has such a version."""
    found = _VERSION.fullmatch(expect)
    if found is None:
        return False
    time.seconds, time.nanos = int(found[1]), int(found[2])
    return True


def _value(raw: Raw) -> Any:
    kind = raw.WhichOneof("value_type")
    if kind == "string_value":
        return raw.string_value
    if kind == "integer_value":
        return raw.integer_value
    if kind == "bytes_value":
        return orjson.loads(raw.bytes_value)
    if kind == "double_value":
        return raw.double_value
    if kind == "boolean_value":
        return raw.boolean_value
    if kind == "null_value":
        return None
    if kind == "array_value":
        return [_value(item) for item in raw.array_value.values]
    raise ValueError("A document holds a value that Brainstem did not write.")

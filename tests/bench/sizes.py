"""How large documents and messages are by the rules that Google bills by.

Firestore (docs/firestore/storage-size): a string is its UTF-8 bytes and one; a document is its name, its fields and 32 bytes;
a name is its parts and 16 bytes; an entry of a single-field index is both names (document, parent), the field and 32 bytes.
Fields are taken as ``shared.adapters.cloud.encode`` stores them. A document that was ever rewritten also has the field
``_w``, 11 bytes that are left out here.

Pub/Sub (pubsub/pricing): a message is its data, its attributes, 20 bytes for the time and its id; a request, 1,000 at least.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from infra.cloud.indexes import configuration
from shared.adapters.cloud.encode import stored_name, value_of
from shared.ports import BusMessage, Data
from shared.queries import SHAPES

DOCUMENT_BYTES, NAME_BYTES, ENTRY_BYTES = 32, 16, 32
NUMBER_BYTES = 8
TIME_BYTES, MESSAGE_ID_BYTES = 20, 17
LEAST_REQUEST = 1_000
INDEXED = [
    (override["collectionGroup"], override["fieldPath"])
    for override in configuration(SHAPES)["fieldOverrides"]
    if override["indexes"]
]
"""Single-field indexes. The composite ones hold mailboxes, gaps and consents, a few entries per mailbox."""


def document(ref: str, data: Data) -> int:
    """Bytes of a document with its entries in single-field indexes."""
    size = _name(ref) + sum(_field(name, value) for name, value in data.items()) + DOCUMENT_BYTES
    parts = ref.split("/")
    for group, field in INDEXED:
        if group == parts[-2] and field in data:
            size += _name(ref) + _name("/".join(parts[:-2])) + _field(field, data[field]) + ENTRY_BYTES
    return size


def documents(database: Path | sqlite3.Connection) -> Counter[str]:
    """Bytes of all documents of an embedded store, by collection id."""
    connection = sqlite3.connect(database) if isinstance(database, Path) else database
    sizes: Counter[str] = Counter()
    for parent, group, key, data in connection.execute("SELECT parent, grp, key, data FROM doc"):
        sizes[group] += document("/".join(filter(None, (parent, group, key))), orjson.loads(data))
    if isinstance(database, Path):
        connection.close()
    return sizes


def waiting(database: Path) -> int:
    """Bytes of the messages that an embedded bus holds for its subscriptions."""
    connection = sqlite3.connect(database)
    rows = connection.execute("SELECT data, attributes, key FROM push").fetchall()
    connection.close()
    return sum(message(BusMessage(data, orjson.loads(attributes)), key) for data, attributes, key in rows)


def message(one: BusMessage, key: str = "") -> int:
    """Bytes of one message."""
    attributes = sum(len(name.encode()) + len(value.encode()) for name, value in one.attributes.items())
    return len(one.data) + attributes + len(key.encode()) + TIME_BYTES + MESSAGE_ID_BYTES


def published(messages: Sequence[BusMessage], key: str = "") -> int:
    """Billed bytes of one publish request."""
    return max(LEAST_REQUEST, sum(message(one, key) for one in messages))


def pushed(messages: Sequence[BusMessage], key: str = "") -> int:
    """Billed bytes of pushing messages to one subscription, each in a request of its own."""
    return sum(max(LEAST_REQUEST, message(one, key)) for one in messages)


def _name(ref: str) -> int:
    return sum(_string(part) for part in ref.split("/") if part) + NAME_BYTES


def _field(name: str, value: Any) -> int:
    return _string(stored_name(name)) + _value(value_of(value))


def _value(raw: Any) -> int:
    match raw.WhichOneof("value_type"):
        case "string_value":
            return _string(raw.string_value)
        case "bytes_value":
            return len(raw.bytes_value)
        case "array_value":
            return sum(map(_value, raw.array_value.values))
        case "integer_value" | "double_value":
            return NUMBER_BYTES
        case _:
            return 1


def _string(text: str) -> int:
    return len(text.encode()) + 1

"""Messages as the API shows them, in each of its formats."""

from __future__ import annotations

import html
import re
import sqlite3
from collections.abc import Sequence
from typing import Any

import orjson

from infra.local.google.asked import Asked, Json
from infra.local.google.errors import GoogleError, not_found
from infra.local.google.payload import base64url, tree
from infra.local.simulated.bodies import unpack
from infra.local.simulated.reading import parse
from infra.local.simulated.state import split

FORMATS = ("full", "minimal", "metadata", "raw")
_ID = re.compile(r"[0-9a-f]{1,16}")
_COLUMNS = "m.id, m.thread, m.received, m.history, m.shown_labels, m.mime_type, m.size, m.headers, m.truth, m.refused"
# Named, because SQLite would rather walk a whole mailbox by age than sort the few messages of a thread.
_INDEX = {"id": "messages_by_id", "thread": "messages_by_thread"}


def valid_id(value: str) -> str:
    """Let the id of a message or thread pass. Raises ``GoogleError`` 400 for what cannot be one."""
    if not _ID.fullmatch(value):
        raise GoogleError(400, "Invalid id value", "invalidArgument")
    return value


def rows(
    db: sqlite3.Connection, address: str, column: str, value: str, form: str, order: str = ""
) -> list[sqlite3.Row]:
    """The messages that show and have this id or thread, with what the format needs."""
    source = f"messages m INDEXED BY {_INDEX[column]}"
    columns = _COLUMNS
    if form in ("full", "raw"):
        source += " JOIN bodies b ON b.message = m.rowid"
        columns += ", b.raw"
    return db.execute(
        f"SELECT {columns} FROM {source} WHERE m.address = ? AND m.{column} = ? AND m.shown = 1 {order}",
        (address, value),
    ).fetchall()


def read(asked: Asked, message_id: str, form: str) -> Json:
    """One message in a format. Raises ``GoogleError`` 404, or what the simulator was told to answer."""
    found = asked.gmail.read(asked.address, lambda db: rows(db, asked.address, "id", message_id, form))
    if not found:
        raise not_found()
    return show(asked, found[0], form)


def show(asked: Asked, row: sqlite3.Row, form: str) -> Json:
    """A row of ``rows`` as JSON. Raises ``GoogleError`` where the simulator was told to refuse this message."""
    if row["refused"]:
        raise GoogleError(row["refused"], "The simulator was told to refuse this message.")
    answer = summary(row["id"], row["thread"], row["shown_labels"])
    answer["snippet"] = escaped(orjson.loads(row["truth"])["snippet"])
    if form == "raw":
        answer["raw"] = base64url(unpack(row["raw"]))
    elif form == "full":
        answer["payload"] = tree(parse(unpack(row["raw"])), row["id"])
    elif form == "metadata":
        wanted = {name.lower() for name in asked.query.get("metadataHeaders", ())}
        answer["payload"] = {"mimeType": row["mime_type"], "headers": _headers(orjson.loads(row["headers"]), wanted)}
    answer["sizeEstimate"] = row["size"]
    answer["historyId"] = asked.gmail.shown_history(row["history"])
    answer["internalDate"] = str(row["received"])
    return answer


def summary(message_id: str, thread: str, labels: str) -> Json:
    """What most methods answer of a message: ids and labels, of which Gmail leaves the key out where there are none."""
    answer: Json = {"id": message_id, "threadId": thread}
    if labels:
        answer["labelIds"] = split(labels)
    return answer


def escaped(text: str) -> str:
    """A snippet as Gmail writes it."""
    return html.escape(text).replace("&#x27;", "&#39;")


def _headers(headers: Sequence[dict[str, Any]], wanted: set[str]) -> list[dict[str, Any]]:
    return [header for header in headers if not wanted or header["name"].lower() in wanted]

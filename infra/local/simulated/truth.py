"""What a faithful client should know about a mailbox, taken from plans and changes and never from what the API served.

::

    {"mails": [{"id", "thread_id", "labels": [sorted ids], "subject", "sender", "to": [], "cc": [], "bcc": [],
                "snippet", "headers": {name: decoded value}, "received_at": float, "refused": bool}, …alive ones],
     "deleted": [ids],
     "arrived": {id: when it last changed},     mails that were loaded silently and never changed are absent
     "visible": {id: when the API began to show that change},    later than ``arrived`` only for an early push
     "unreadable": [{"name", "reason"}]}

``infra.local.simulated.reading`` says how the fields are to be compared.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import orjson

from infra.local.simulated.state import State, split

Labels: TypeAlias = Callable[[str], dict[str, Any]]
"""What a stored value of ``labels`` says of a mail."""

_CHUNK = 500


def plain_labels(stored: str) -> dict[str, Any]:
    """The labels of a mail as ``joined`` stores them."""
    return {"labels": split(stored)}


def whole(state: State, address: str, labels: Labels = plain_labels) -> dict[str, Any]:
    """The truth of one mailbox. Raises ``UnknownThing``."""
    answer: dict[str, Any] = orjson.loads(b"".join(pieces(state, address, labels)))
    return answer


def pieces(state: State, address: str, labels: Labels = plain_labels) -> Iterator[bytes]:
    """The truth as JSON, piece by piece; taken at one moment only if nothing changes meanwhile."""
    deleted: list[str] = []
    arrived: dict[str, float] = {}
    visible: dict[str, float] = {}
    yield b'{"mails":['
    first = True
    last = 0
    while rows := _chunk(state, address, last):
        last = rows[-1]["rowid"]
        alive = [orjson.dumps(_mail(row, labels)) for row in rows if row["alive"]]
        deleted += [row["id"] for row in rows if not row["alive"]]
        arrived |= {row["id"]: row["changed"] for row in rows if row["changed"] is not None}
        visible |= {row["id"]: row["visible"] for row in rows if row["visible"] is not None}
        if alive:
            yield (b"" if first else b",") + b",".join(alive)
            first = False
    with state.reading() as db:
        unreadable = db.execute("SELECT name, reason FROM unreadable WHERE address = ?", (address,)).fetchall()
    rest = {"deleted": deleted, "arrived": arrived, "visible": visible, "unreadable": [dict(row) for row in unreadable]}
    yield b"]," + orjson.dumps(rest)[1:]


def _chunk(state: State, address: str, after: int) -> list[sqlite3.Row]:
    with state.reading() as db:
        rows: list[sqlite3.Row] = db.execute(
            "SELECT rowid, id, thread, labels, received, truth, refused, alive, changed, visible FROM messages"
            " WHERE rowid > ? AND address = ? ORDER BY rowid LIMIT ?",
            (after, address, _CHUNK),
        ).fetchall()
    return rows


def _mail(row: sqlite3.Row, labels: Labels) -> dict[str, Any]:
    fixed = {
        "id": row["id"],
        "thread_id": row["thread"],
        **labels(row["labels"]),
        "received_at": row["received"] / 1000,
        "refused": bool(row["refused"]),
    }
    fields: dict[str, Any] = orjson.loads(row["truth"])
    return fixed | fields

"""A message as Graph shows it: by which id, with which of its properties, to whom."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from typing import Any

import orjson

from infra.local.microsoft import folders
from infra.local.microsoft.asked import Asked
from infra.local.microsoft.content import body_of, moment
from infra.local.microsoft.errors import invalid, not_found, refused
from infra.local.microsoft.identity_scopes import READS
from infra.local.microsoft.ids import change_key
from infra.local.simulated.bodies import unpack
from infra.local.simulated.chance import digest

Json = dict[str, Any]

_BODIES = frozenset({"body", "bodyPreview", "uniqueBody"})
_ONLY_ASKED_FOR = frozenset({"internetMessageHeaders", "uniqueBody"})
PROPERTIES = frozenset(
    {"id", "createdDateTime", "lastModifiedDateTime", "changeKey", "categories", "receivedDateTime", "sentDateTime",
     "hasAttachments", "internetMessageId", "internetMessageHeaders", "subject", "bodyPreview", "importance",
     "parentFolderId", "conversationId", "conversationIndex", "isDeliveryReceiptRequested", "isReadReceiptRequested",
     "isRead", "isDraft", "webLink", "inferenceClassification", "body", "uniqueBody", "sender", "from", "toRecipients",
     "ccRecipients", "bccRecipients", "replyTo", "flag"}
)  # fmt: skip


def selected(expression: str) -> tuple[str, ...]:
    """The properties that a $select names, () for all. Raises ``GraphError`` 400 for one that there is not."""
    by_name = {name.lower(): name for name in PROPERTIES}
    names = [name.strip() for name in expression.split(",") if name.strip()]
    for name in names:
        if name.lower() not in by_name:
            raise invalid(f"Could not find a property named '{name[:60]}' on type 'microsoft.graph.message'.")
    return tuple(by_name[name.lower()] for name in names)


def find(db: sqlite3.Connection, address: str, message_id: str) -> sqlite3.Row:
    """A message that shows, by either of its ids. Raises ``GraphError`` 404."""
    row: sqlite3.Row | None = db.execute(
        "SELECT rowid, * FROM messages WHERE address = ? AND (id = ? OR shown_mutable = ?) AND shown IS NOT NULL",
        (address, message_id, message_id),
    ).fetchone()
    if row is None:
        raise not_found()
    return row


def deleted(db: sqlite3.Connection, asked: Asked, message_id: str) -> sqlite3.Row | None:
    """A message that is gone and can be read by its immutable id all the same, for a while, among the deleted ones."""
    hindrances, address = asked.outlook.hindrances, asked.address
    if not asked.immutable or not hindrances.plan.recoverable:
        return None
    row: sqlite3.Row | None = db.execute(
        "SELECT rowid, * FROM messages WHERE address = ? AND id = ? AND shown IS NULL AND alive = 0",
        (address, message_id),
    ).fetchone()
    now = asked.outlook.clock.now()
    if row is None or not row["visible"] <= now < row["visible"] + hindrances.plan.recoverable_seconds:
        return None
    return row if hindrances.strikes("recoverable", address, message_id) else None


def readable(row: sqlite3.Row) -> sqlite3.Row:
    """The same unless reading it is refused. Raises ``GraphError``."""
    if row["refused"]:
        raise refused(row["refused"])
    return row


def message(db: sqlite3.Connection, asked: Asked, row: sqlite3.Row, wanted: Collection[str] = ()) -> Json:
    """One message with the wanted properties, or with all; id and etag are always there."""
    state, fixed = orjson.loads(row["shown"] or row["state"]), orjson.loads(row["fixed"])
    if row["shown"] is None:
        purged = digest(asked.outlook.changes.seed, "purged", row["id"])[0] % 4 == 0
        kept = "recoverableitemspurges" if purged else "recoverableitemsdeletions"
        state |= {"folder": folders.find(db, asked.address, kept)["id"], "key": state["key"] + 1}
    key = change_key(asked.outlook.changes.seed, row["id"], state["key"])
    whole: Json = fixed | {
        "id": row["id"] if asked.immutable else state["mutable"],
        "changeKey": key,
        "categories": state["categories"],
        "receivedDateTime": moment(row["received"] / 1000),
        "lastModifiedDateTime": moment(state["modified"]),
        "importance": state["importance"],
        "parentFolderId": state["folder"],
        "conversationId": row["thread"],
        "isRead": state["isRead"],
        "isDraft": state["isDraft"],
        "isDeliveryReceiptRequested": None if state["inbound"] else False,
        "isReadReceiptRequested": False,
        "inferenceClassification": "focused",
        "webLink": f"https://outlook.office365.com/owa/?ItemID={row['id'][-12:]}",
        "flag": {"flagStatus": state["flag"]},
    }
    chosen = set(wanted) or PROPERTIES - _ONLY_ASKED_FOR
    if READS.isdisjoint(asked.scopes):
        chosen -= _BODIES
    if row["shown"] is None:
        chosen -= {"body", "uniqueBody"}  # nobody keeps its bytes here
    if chosen & {"body", "uniqueBody"}:
        raw = unpack(db.execute("SELECT raw FROM bodies WHERE message = ?", (row["rowid"],)).fetchone()["raw"])
        whole["body"] = body_of(raw, asked.preferences.get("outlook.body-content-type") == "text")
        whole["uniqueBody"] = whole["body"]
    return {"@odata.etag": f'W/"{key}"', "id": whole["id"]} | {
        name: value for name, value in whole.items() if name in chosen
    }

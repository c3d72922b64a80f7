"""Messages: listed, read, marked, moved, copied, thrown away; their MIME content and their attachments."""

from __future__ import annotations

import base64
import sqlite3
from typing import Any

from infra.local.microsoft import folders
from infra.local.microsoft.asked import MOST, Asked, Json, Plain, Route, text_in
from infra.local.microsoft.composing import CONTENT, from_json
from infra.local.microsoft.content import attachment_bytes, attachments, body_of
from infra.local.microsoft.errors import invalid, not_found
from infra.local.microsoft.listing import conditions, direction
from infra.local.microsoft.mailbox import FLAGS, IMPORTANCE
from infra.local.microsoft.shown import deleted, find, message, readable, selected
from infra.local.simulated.bodies import unpack


def everywhere(asked: Asked) -> Json:
    """GET /me/messages."""
    return _list(asked, "me/messages")


def inside(asked: Asked) -> Json:
    """GET /me/mailFolders/{id}/messages."""
    return _list(asked, f"me/mailFolders/{asked.words[0]}/messages", asked.words[0])


def get(asked: Asked) -> Json:
    """GET /me/messages/{id}."""
    return shown(asked, asked.words[-1])


def shown(asked: Asked, message_id: str) -> Json:
    """One message as the client wants it, by either of its ids."""
    wanted = selected(asked.one("select"))

    def look(db: sqlite3.Connection) -> Json:
        row = deleted(db, asked, message_id)
        return message(db, asked, readable(find(db, asked.address, message_id)) if row is None else row, wanted)

    return asked.outlook.read(asked.address, look)


def value(asked: Asked) -> Plain:
    """GET /me/messages/{id}/$value: the MIME content."""
    return Plain(_raw(asked), "text/plain")


def attachment_list(asked: Asked) -> Json:
    """GET /me/messages/{id}/attachments."""
    return {"value": _attachments(asked)}


def attachment(asked: Asked) -> Json:
    """GET /me/messages/{id}/attachments/{id}."""
    found = next((one for one in _attachments(asked) if one["id"] == asked.words[1]), None)
    if found is None:
        raise not_found()
    return found


def patch(asked: Asked) -> Json:
    """PATCH /me/messages/{id}: marks; of a draft also its content."""
    body = asked.json()
    marks = _marks(body)
    message_id = known(asked)
    if content := {name: part for name, part in body.items() if name in CONTENT}:
        _rewrite(asked, message_id, content)
    with asked.outlook.change(asked.address) as mailbox:
        mailbox.mark(message_id, **marks)
    return shown(asked, message_id)


def delete(asked: Asked) -> None:
    """DELETE /me/messages/{id}: into Deleted Items, from there for good."""
    message_id = known(asked)
    with asked.outlook.change(asked.address) as mailbox:
        mailbox.discard(message_id)


def delete_for_good(asked: Asked) -> None:
    """POST /me/messages/{id}/permanentDelete."""
    message_id = known(asked)
    with asked.outlook.change(asked.address) as mailbox:
        mailbox.delete(message_id)


def move(asked: Asked) -> Json:
    """POST /me/messages/{id}/move."""
    message_id, destination = known(asked), text_in(asked.json(), "destinationId")
    with asked.outlook.change(asked.address) as mailbox:
        mailbox.move(message_id, destination)
    return shown(asked, message_id)


def copy(asked: Asked) -> Json:
    """POST /me/messages/{id}/copy."""
    message_id, destination = known(asked), text_in(asked.json(), "destinationId")
    with asked.outlook.change(asked.address) as mailbox:
        made = mailbox.copy(message_id, destination)
    return shown(asked, made)


def known(asked: Asked) -> str:
    """The immutable id of the message that a call is about. Raises ``GraphError`` 404."""
    return str(asked.outlook.read(asked.address, lambda db: find(db, asked.address, asked.words[0])["id"]))


def _list(asked: Asked, path: str, folder: str = "") -> Json:
    size, skip = min(asked.number("top", 10, 1), MOST), asked.number("skip", 0)
    wanted = selected(asked.one("select"))
    where, values = conditions(asked.one("filter"))
    order = direction(asked.one("orderby"))

    def look(db: sqlite3.Connection) -> tuple[list[Json], bool, int]:
        inside, place = "shown_folder IS NOT NULL", [asked.address]
        if folder:
            row = folders.find(db, asked.address, folder)
            inside, place = ("shown_read = 0 AND " + inside, place) if row["search"] else (
                "shown_folder = ?", [asked.address, row["id"]]
            )  # fmt: skip
        rows = db.execute(
            f"SELECT rowid, * FROM messages WHERE address = ? AND {inside}{where}"
            f" ORDER BY received {order}, id {order} LIMIT ? OFFSET ?",
            (*place, *values, size + 1, skip),
        ).fetchall()
        count = 0
        if asked.one("count") == "true":
            count = db.execute(
                f"SELECT COUNT(*) FROM messages WHERE address = ? AND {inside}{where}", (*place, *values)
            ).fetchone()[0]
        return [message(db, asked, row, wanted) for row in rows[:size]], len(rows) > size, count

    page, more, count = asked.outlook.read(asked.address, look)
    answer: Json = {"@odata.count": count} if asked.one("count") == "true" else {}
    answer["value"] = page
    if more:
        same = {f"${name}": asked.one(name) for name in ("select", "top", "filter", "orderby") if asked.one(name)}
        answer["@odata.nextLink"] = asked.link(path, same | {"$skip": str(skip + size)})
    return answer


def _raw(asked: Asked) -> bytes:
    def look(db: sqlite3.Connection) -> bytes:
        row = readable(find(db, asked.address, asked.words[0]))
        return unpack(db.execute("SELECT raw FROM bodies WHERE message = ?", (row["rowid"],)).fetchone()["raw"])

    return asked.outlook.read(asked.address, look)


def _attachments(asked: Asked) -> list[Json]:
    raw = _raw(asked)
    return [
        one | {"id": f"{asked.words[0][:40]}-{number}", "contentBytes": base64.b64encode(content).decode()}
        for number, (one, content) in enumerate(zip(attachments(raw), attachment_bytes(raw), strict=True))
    ]


def _marks(body: Json) -> dict[str, Any]:
    marks: dict[str, Any] = {}
    if "isRead" in body:
        if not isinstance(body["isRead"], bool):
            raise invalid("isRead must be true or false.", "ErrorInvalidProperty")
        marks["isRead"] = body["isRead"]
    if "categories" in body:
        names = body["categories"]
        if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
            raise invalid("categories must be a list of names.", "ErrorInvalidProperty")
        marks["categories"] = list(dict.fromkeys(names))
    if "flag" in body:
        flag = body["flag"].get("flagStatus") if isinstance(body["flag"], dict) else None
        marks["flag"] = _one_of(flag, FLAGS, "flagStatus")
    if "importance" in body:
        marks["importance"] = _one_of(body["importance"], IMPORTANCE, "importance")
    return marks


def _one_of(value: object, allowed: tuple[str, ...], name: str) -> str:
    if value not in allowed:
        raise invalid(f"{name} must be one of {', '.join(allowed)}.", "ErrorInvalidProperty")
    return str(value)


def _rewrite(asked: Asked, message_id: str, content: Json) -> None:
    """Put new content into a draft; what the client leaves out stays."""
    before = asked.outlook.read(asked.address, lambda db: message(db, asked, find(db, asked.address, message_id)))
    before["body"] = body_of(_raw(asked), text_only=False)
    mail = from_json(asked, {name: before.get(name) for name in CONTENT} | content)(message_id)
    with asked.outlook.change(asked.address) as mailbox:
        mailbox.rewrite(message_id, mail)


ROUTES = (
    Route("messages.list", "GET", "messages", everywhere),
    Route("messages.list", "GET", "mailFolders/{id}/messages", inside),
    Route("messages.get", "GET", "messages/{id}", get),
    Route("messages.get", "GET", "mailFolders/{id}/messages/{id}", get),
    Route("messages.patch", "PATCH", "messages/{id}", patch, scope="write"),
    Route("messages.delete", "DELETE", "messages/{id}", delete, scope="write"),
    Route("messages.permanentDelete", "POST", "messages/{id}/permanentDelete", delete_for_good, 204, scope="write"),
    Route("messages.move", "POST", "messages/{id}/move", move, 201, scope="write"),
    Route("messages.copy", "POST", "messages/{id}/copy", copy, 201, scope="write"),
    Route("messages.value", "GET", "messages/{id}/$value", value, scope="read"),
    Route("attachments.list", "GET", "messages/{id}/attachments", attachment_list, scope="read"),
    Route("attachments.get", "GET", "messages/{id}/attachments/{id}", attachment, scope="read"),
)

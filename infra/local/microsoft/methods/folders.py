"""Folders: listed level by level, read, created, renamed, moved and deleted."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from infra.local.microsoft import folders
from infra.local.microsoft.asked import MOST, Asked, Json, Route, text_in
from infra.local.microsoft.errors import invalid, refused

_SEARCH = "#microsoft.graph.mailSearchFolder"


def top(asked: Asked) -> Json:
    """GET /me/mailFolders: those at the top."""
    return _list(asked, folders.ROOT, "me/mailFolders")


def children(asked: Asked) -> Json:
    """GET /me/mailFolders/{id}/childFolders."""
    return _list(asked, asked.words[0], f"me/mailFolders/{asked.words[0]}/childFolders")


def get(asked: Asked) -> Json:
    """GET /me/mailFolders/{id}."""
    return _read(asked, asked.words[0])


def create(asked: Asked) -> Json:
    """POST /me/mailFolders and /me/mailFolders/{id}/childFolders."""
    body = asked.json()
    name = text_in(body, "displayName")
    with asked.outlook.change(asked.address) as mailbox:
        made = mailbox.create_folder(name, asked.words[0] if asked.words else "", body.get("@odata.type") == _SEARCH)
    return _read(asked, made)


def patch(asked: Asked) -> Json:
    """PATCH /me/mailFolders/{id}: another displayName."""
    name = text_in(asked.json(), "displayName")
    _require_own(asked)
    with asked.outlook.change(asked.address) as mailbox:
        mailbox.rename_folder(asked.words[0], name)
    return _read(asked, asked.words[0])


def move(asked: Asked) -> Json:
    """POST /me/mailFolders/{id}/move."""
    destination = text_in(asked.json(), "destinationId")
    _require_own(asked)
    with asked.outlook.change(asked.address) as mailbox:
        mailbox.move_folder(asked.words[0], destination)
    return _read(asked, asked.words[0])


def delete(asked: Asked) -> None:
    """DELETE /me/mailFolders/{id}: with all it holds."""
    _require_own(asked)
    with asked.outlook.change(asked.address) as mailbox:
        mailbox.delete_folder(asked.words[0])


def narrowed(folder: Json, select: str) -> Json:
    """Only what a $select names of a folder, and its id."""
    names = {name.strip() for name in select.split(",") if name.strip()}
    return {name: value for name, value in folder.items() if not names or name in names | {"id", "@odata.type"}}


def _require_own(asked: Asked) -> None:
    known = asked.outlook.read(asked.address, lambda db: folders.find(db, asked.address, asked.words[0])["known"])
    if known:
        raise refused(403, "ErrorDeleteDistinguishedFolder", "Distinguished folders cannot be changed.")


def _read(asked: Asked, key: str) -> Json:
    def look(db: sqlite3.Connection) -> Json:
        return narrowed(folders.shown(db, folders.find(db, asked.address, key)), asked.one("select"))

    return asked.outlook.read(asked.address, look)


def _list(asked: Asked, key: str, path: str) -> Json:
    size, skip = min(asked.number("top", 10, 1), MOST), asked.number("skip", 0)
    if asked.one("filter"):
        raise invalid("The query filter contains one or more invalid nodes.", "ErrorInvalidUrlQueryFilter")

    def look(db: sqlite3.Connection) -> tuple[Sequence[Json], bool]:
        inside = folders.children(db, asked.address, folders.find(db, asked.address, key)["id"])
        page = [narrowed(folders.shown(db, row), asked.one("select")) for row in inside[skip : skip + size]]
        return page, len(inside) > skip + size

    page, more = asked.outlook.read(asked.address, look)
    answer: Json = {"value": page}
    if more:
        answer["@odata.nextLink"] = asked.link(path, _onwards(asked, skip + size))
    return answer


def _onwards(asked: Asked, skip: int) -> dict[str, str]:
    same = {f"${name}": asked.one(name) for name in ("select", "top") if asked.one(name)}
    return same | {"$skip": str(skip)}


ROUTES = (
    Route("mailFolders.list", "GET", "mailFolders", top),
    Route("mailFolders.create", "POST", "mailFolders", create, 201, scope="write"),
    Route("mailFolders.get", "GET", "mailFolders/{id}", get),
    Route("mailFolders.patch", "PATCH", "mailFolders/{id}", patch, scope="write"),
    Route("mailFolders.delete", "DELETE", "mailFolders/{id}", delete, scope="write"),
    Route("mailFolders.move", "POST", "mailFolders/{id}/move", move, 201, scope="write"),
    Route("childFolders.list", "GET", "mailFolders/{id}/childFolders", children),
    Route("childFolders.create", "POST", "mailFolders/{id}/childFolders", create, 201, scope="write"),
)

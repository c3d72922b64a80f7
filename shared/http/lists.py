"""Lists as the API answers them: a page of results, and an opaque cursor to the next."""

from __future__ import annotations

from typing import Any, TypeAlias

from flask import Response

from shared.events.envelope import iso
from shared.http import cursors, fields
from shared.http.app import json_answer

Listed: TypeAlias = tuple[list[dict[str, Any]], str | None]
"""A page of results and the position behind it, which the API turns into a cursor."""


def position(scope: str) -> str | None:
    """Where the request wants to go on in the list that ``scope`` names. Raises ``errors.InvalidRequest``."""
    cursor = fields.parameter("after")
    return None if cursor is None else cursors.decode(scope, cursor)


def page(name: str, scope: str, listed: Listed) -> Response:
    """The answer."""
    results, behind = listed
    return json_answer({name: results, "next": None if behind is None else cursors.encode(scope, behind)})


def sessions(rows: list[dict[str, Any]], current: str | None) -> Response:
    """The answer with a person's sessions; ``current`` is the id of the caller's own."""
    return json_answer({"sessions": [session(row, current) for row in rows]})


def session(row: dict[str, Any], current: str | None) -> dict[str, Any]:
    """A session as answers show it."""
    times = {name: iso(row[name]) for name in ("created_at", "used_at", "expires_at")}
    return {**row, **times, "current": row["id"] == current}

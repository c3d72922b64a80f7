"""users.labels: a person's labels can be made, renamed and deleted; Google's own only looked at."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from infra.local.google import labels as labels_of
from infra.local.google.asked import Asked, Json, Route
from infra.local.google.errors import GoogleError, not_found
from infra.local.simulated.errors import ControlError, UnknownThing

_LOOKS = {
    "messageListVisibility": ("show", "hide"),
    "labelListVisibility": ("labelShow", "labelShowIfUnread", "labelHide"),
}
_LONGEST = 225


def list_labels(asked: Asked) -> Json:
    """users.labels.list."""
    return {"labels": asked.gmail.read(asked.address, lambda db: labels_of.listing(db, asked.address))}


def get(asked: Asked) -> Json:
    """users.labels.get: with counts."""
    label = asked.part(1)
    return asked.gmail.read(asked.address, lambda db: _known(db, asked.address, label) | _counts(db, asked, label))


def create(asked: Asked) -> Json:
    """users.labels.create."""
    body = asked.json()
    name, look = _name(body), _look(body)
    with _refusing_taken_names(), asked.gmail.change(asked.address) as mailbox:
        label = mailbox.create_label(name, look)
    return asked.gmail.read(asked.address, lambda db: _known(db, asked.address, label))


def update(asked: Asked) -> Json:
    """users.labels.update: name and look are replaced."""
    body = asked.json()
    return _change(asked, _name(body), _look(body))


def patch(asked: Asked) -> Json:
    """users.labels.patch: what is not given stays."""
    body = asked.json()
    known = asked.gmail.read(asked.address, lambda db: _known(db, asked.address, asked.part(1)))
    look = {field: known[field] for field in (*_LOOKS, "color") if field in known} | _look(body)
    return _change(asked, _name(known | body), look)


def delete(asked: Asked) -> None:
    """users.labels.delete: every message loses it."""
    label = asked.part(1)
    _require_own(label, "Invalid delete request")
    asked.gmail.read(asked.address, lambda db: _known(db, asked.address, label))
    with asked.gmail.change(asked.address) as mailbox:
        mailbox.delete_label(label)


def _change(asked: Asked, name: str, look: Json) -> Json:
    label = asked.part(1)
    _require_own(label, "Invalid update request")
    asked.gmail.read(asked.address, lambda db: _known(db, asked.address, label))
    with _refusing_taken_names(), asked.gmail.change(asked.address) as mailbox:
        mailbox.rename_label(label, name, look)
    return asked.gmail.read(asked.address, lambda db: _known(db, asked.address, label))


def _known(db: sqlite3.Connection, address: str, label: str) -> Json:
    if label in labels_of.SYSTEM_LABELS:
        return labels_of.shown(label)
    try:
        row = labels_of.find(db, address, label)
    except UnknownThing:
        raise not_found() from None
    if row["id"] != label:
        raise not_found()
    return labels_of.shown(row)


def _require_own(label: str, message: str) -> None:
    if label in labels_of.SYSTEM_LABELS:
        raise GoogleError(400, message, "invalidArgument")


@contextmanager
def _refusing_taken_names() -> Iterator[None]:
    try:
        yield
    except ControlError:
        raise GoogleError(409, "Label name exists or conflicts") from None


def _counts(db: sqlite3.Connection, asked: Asked, label: str) -> Json:
    row = db.execute(
        "SELECT COUNT(*) AS messagesTotal, COUNT(DISTINCT thread) AS threadsTotal,"
        " COUNT(CASE WHEN instr(shown_labels, ',UNREAD,') > 0 THEN 1 END) AS messagesUnread,"
        " COUNT(DISTINCT CASE WHEN instr(shown_labels, ',UNREAD,') > 0 THEN thread END) AS threadsUnread"
        " FROM messages WHERE address = ? AND shown = 1 AND instr(shown_labels, ?) > 0",
        (asked.address, f",{label},"),
    ).fetchone()
    return dict(row)


def _name(body: Json) -> str:
    name = body.get("name")
    if not isinstance(name, str) or not name.strip() or len(name) > _LONGEST:
        raise GoogleError(400, "Invalid label name", "invalidArgument")
    return name.strip()


def _look(body: Json) -> Json:
    """How a label is to look: only what is given."""
    look: dict[str, Any] = {}
    for field, allowed in _LOOKS.items():
        if (value := body.get(field)) is not None:
            if value not in allowed:
                raise GoogleError(400, f"Invalid value at 'label.{field}'", "invalidArgument")
            look[field] = value
    color = body.get("color")
    if color is not None:
        if not isinstance(color, dict) or set(color) - {"textColor", "backgroundColor"}:
            raise GoogleError(400, "Invalid value at 'label.color'", "invalidArgument")
        look["color"] = color
    return look


ROUTES = (
    Route("users.labels.list", "GET", "labels", list_labels),
    Route("users.labels.get", "GET", "labels/{id}", get),
    Route("users.labels.create", "POST", "labels", create),
    Route("users.labels.update", "PUT", "labels/{id}", update),
    Route("users.labels.patch", "PATCH", "labels/{id}", patch),
    Route("users.labels.delete", "DELETE", "labels/{id}", delete),
)

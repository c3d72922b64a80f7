"""users.messages: listing, reading, labels, trash, deletion.

Of the search language in ``q`` only ``after:`` and ``before:`` with seconds are understood; the rest is refused rather than
ignored.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Sequence

from infra.local.google.asked import Asked, Json, Route, names
from infra.local.google.errors import GoogleError, not_found
from infra.local.google.labels import listing
from infra.local.google.mailbox import Mailbox
from infra.local.google.pages import MessagesPage
from infra.local.google.payload import attachment
from infra.local.google.shown import FORMATS, read, rows, summary, valid_id
from infra.local.simulated.bodies import unpack
from infra.local.simulated.reading import parse

_SECONDS = re.compile("[0-9]{1,12}")

UNTOUCHABLE = frozenset({"SENT", "DRAFT", "CHAT"})
"""Labels that only Gmail itself sets and takes away."""


def get(asked: Asked) -> Json:
    """users.messages.get."""
    return read(asked, valid_id(asked.part(1)), asked.choice("format", *FORMATS))


def get_attachment(asked: Asked) -> Json:
    """users.messages.attachments.get."""
    message_id = valid_id(asked.part(1))
    found = asked.gmail.read(asked.address, lambda db: rows(db, asked.address, "id", message_id, "raw"))
    if not found:
        raise not_found()
    body = attachment(parse(unpack(found[0]["raw"])), message_id, asked.part(3))
    if body is None:
        raise GoogleError(400, "Invalid attachment token", "invalidArgument")
    return body


def list_messages(asked: Asked) -> Json:
    """users.messages.list: newest first, without spam and trash unless asked for."""
    limit = asked.limit()
    page = page_of(asked, "messages")
    return asked.gmail.read(asked.address, lambda db: _listed(db, asked.address, page, limit))


def page_of(asked: Asked, kind: str) -> MessagesPage:
    """Which messages are asked for, and from where on. Raises ``GoogleError`` 400."""
    labels = sorted(set(asked.query.get("labelIds", ())))
    everything = asked.flag("includeSpamTrash")
    return MessagesPage.parse(asked.one("pageToken"), kind, labels, everything, _span(asked.one("q")))


def modify(asked: Asked) -> Json:
    """users.messages.modify."""
    message_id = valid_id(asked.part(1))
    add, remove = wanted_labels(asked)
    return changed(asked, message_id, lambda mailbox: mailbox.relabel(message_id, add, remove))


def batch_modify(asked: Asked) -> None:
    """users.messages.batchModify: ids that do not exist are passed over."""
    ids = [valid_id(message_id) for message_id in names(asked.json(), "ids")]
    add, remove = wanted_labels(asked)
    with asked.gmail.change(asked.address) as mailbox:
        for message_id in _existing(mailbox, ids):
            mailbox.relabel(message_id, add, remove)


def trash(asked: Asked) -> Json:
    """users.messages.trash."""
    message_id = valid_id(asked.part(1))
    return changed(asked, message_id, lambda mailbox: mailbox.trash(message_id))


def untrash(asked: Asked) -> Json:
    """users.messages.untrash."""
    message_id = valid_id(asked.part(1))
    return changed(asked, message_id, lambda mailbox: mailbox.untrash(message_id))


def delete(asked: Asked) -> None:
    """users.messages.delete."""
    message_id = valid_id(asked.part(1))
    with asked.gmail.change(asked.address) as mailbox:
        mailbox.delete(message_id)


def batch_delete(asked: Asked) -> None:
    """users.messages.batchDelete: "no guarantees that messages were not already deleted or even existed at all"."""
    ids = [valid_id(message_id) for message_id in names(asked.json(), "ids")]
    with asked.gmail.change(asked.address) as mailbox:
        for message_id in _existing(mailbox, ids):
            mailbox.delete(message_id)


def changed(asked: Asked, message_id: str, change: Callable[[Mailbox], None]) -> Json:
    """Change one message and answer what it is now."""
    with asked.gmail.change(asked.address) as mailbox:
        change(mailbox)
        row = mailbox.message(message_id)
    return summary(row["id"], row["thread"], row["labels"])


def wanted_labels(asked: Asked) -> tuple[list[str], list[str]]:
    """The labels to add and to remove. Raises ``GoogleError`` 400 for what is no label or not to be touched."""
    body = asked.json()
    add, remove = (names(body, field, most=100) for field in ("addLabelIds", "removeLabelIds"))
    check_labels(asked, [*add, *remove], UNTOUCHABLE)
    return add, remove


def check_labels(asked: Asked, labels: Sequence[str], forbidden: frozenset[str]) -> None:
    """Let labels pass that exist and are not forbidden. Raises ``GoogleError`` 400."""
    known = asked.gmail.read(asked.address, lambda db: {label["id"] for label in listing(db, asked.address)})
    for label in labels:
        if label in forbidden or label not in known:
            raise GoogleError(400, f"Invalid label: {label[:40]}", "invalidArgument")


def _span(search: str) -> tuple[int | None, int | None]:
    """The times, in seconds, after and before which messages are asked for. Raises ``GoogleError`` 400 for other words."""
    times: dict[str, int] = {}
    for word in search.split():
        name, _, value = word.partition(":")
        if name not in ("after", "before") or not _SECONDS.fullmatch(value):
            raise GoogleError(400, "This simulator searches by after: and before: in seconds only.", "invalidArgument")
        times[name] = int(value)
    return times.get("after"), times.get("before")


def _existing(mailbox: Mailbox, ids: Sequence[str]) -> list[str]:
    return [message_id for message_id in dict.fromkeys(ids) if mailbox.has(message_id)]


def _listed(db: sqlite3.Connection, address: str, page: MessagesPage, limit: int) -> Json:
    where, values = page.condition(address)
    found = db.execute(
        f"SELECT id, thread, received FROM messages WHERE {where} ORDER BY received DESC, id DESC LIMIT ?",
        (*values, limit + 1),
    ).fetchall()
    answer: Json = {}
    if found:
        answer["messages"] = [{"id": row["id"], "threadId": row["thread"]} for row in found[:limit]]
    if len(found) > limit:
        answer["nextPageToken"] = page.after(found[limit - 1]["received"], found[limit - 1]["id"])
    # An estimate in name and deed: labels and the exclusion of spam and trash are left out of the count.
    total = db.execute("SELECT COUNT(*) FROM messages WHERE address = ? AND shown = 1", (address,)).fetchone()[0]
    answer["resultSizeEstimate"] = total if found else 0
    return answer


LIST_PARAMETERS = frozenset({"includeSpamTrash", "labelIds", "maxResults", "pageToken", "q"})
GET_PARAMETERS = frozenset({"format", "metadataHeaders"})

ROUTES = (
    Route("users.messages.list", "GET", "messages", list_messages, LIST_PARAMETERS),
    Route("users.messages.get", "GET", "messages/{id}", get, GET_PARAMETERS),
    Route("users.messages.attachments.get", "GET", "messages/{id}/attachments/{id}", get_attachment),
    Route("users.messages.modify", "POST", "messages/{id}/modify", modify),
    Route("users.messages.batchModify", "POST", "messages/batchModify", batch_modify),
    Route("users.messages.trash", "POST", "messages/{id}/trash", trash),
    Route("users.messages.untrash", "POST", "messages/{id}/untrash", untrash),
    Route("users.messages.delete", "DELETE", "messages/{id}", delete),
    Route("users.messages.batchDelete", "POST", "messages/batchDelete", batch_delete),
)

"""users.threads: conversations, as old as their newest message."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

import orjson

from infra.local.google.asked import Asked, Json, Route
from infra.local.google.errors import not_found
from infra.local.google.mailbox import Mailbox
from infra.local.google.methods.messages import GET_PARAMETERS, LIST_PARAMETERS, page_of, wanted_labels
from infra.local.google.pages import MessagesPage
from infra.local.google.shown import escaped, rows, show, summary, valid_id


def get(asked: Asked) -> Json:
    """users.threads.get: all messages in order, those in the trash as well.

    A message that the simulator was told to refuse refuses its thread, or it could be read in spite of that.
    """
    thread = valid_id(asked.part(1))
    form = asked.choice("format", "full", "metadata", "minimal")
    order = "ORDER BY m.received, m.id"
    found = asked.gmail.read(asked.address, lambda db: rows(db, asked.address, "thread", thread, form, order))
    if not found:
        raise not_found()
    latest = max(row["history"] for row in found)
    return {
        "id": thread,
        "historyId": asked.gmail.shown_history(latest),
        "messages": [show(asked, row, form) for row in found],
    }


def list_threads(asked: Asked) -> Json:
    """users.threads.list: by their newest message that fits, newest first."""
    limit = asked.limit()
    page = page_of(asked, "threads")
    found = asked.gmail.read(asked.address, lambda db: _listed(db, asked.address, page, limit + 1))
    answer: Json = {}
    if found:
        answer["threads"] = [
            {
                "id": row["thread"],
                "snippet": escaped(orjson.loads(row["truth"])["snippet"]),
                "historyId": asked.gmail.shown_history(row["latest"]),
            }
            for row in found[:limit]
        ]
    if len(found) > limit:
        answer["nextPageToken"] = page.after(found[limit - 1]["received"], found[limit - 1]["id"])
    return answer | {"resultSizeEstimate": len(found)}


def modify(asked: Asked) -> Json:
    """users.threads.modify: the same change to every message."""
    add, remove = wanted_labels(asked)
    return _each(asked, lambda mailbox, message_id: mailbox.relabel(message_id, add, remove))


def trash(asked: Asked) -> Json:
    """users.threads.trash."""
    return _each(asked, lambda mailbox, message_id: mailbox.trash(message_id))


def untrash(asked: Asked) -> Json:
    """users.threads.untrash: only what is in the trash comes back."""

    def restore(mailbox: Mailbox, message_id: str) -> None:
        if ",TRASH," in mailbox.message(message_id)["labels"]:
            mailbox.untrash(message_id)

    return _each(asked, restore)


def delete(asked: Asked) -> None:
    """users.threads.delete: every message of it."""
    thread = valid_id(asked.part(1))
    with asked.gmail.change(asked.address) as mailbox:
        for message_id in mailbox.thread(thread):
            mailbox.delete(message_id)


def _each(asked: Asked, change: Callable[[Mailbox, str], None]) -> Json:
    thread = valid_id(asked.part(1))
    with asked.gmail.change(asked.address) as mailbox:
        ids = mailbox.thread(thread)
        for message_id in ids:
            change(mailbox, message_id)
        found = [mailbox.message(message_id) for message_id in ids]
    return {"id": thread, "messages": [summary(row["id"], row["thread"], row["labels"]) for row in found]}


def _listed(db: sqlite3.Connection, address: str, page: MessagesPage, limit: int) -> list[sqlite3.Row]:
    where, values = page.condition(address, "m.")
    newer, newer_values = page.fitting(address, "n.")
    return db.execute(
        "SELECT m.id, m.thread, m.received, m.truth, (SELECT MAX(history) FROM messages h WHERE h.address = m.address"
        f" AND h.thread = m.thread AND h.shown = 1) AS latest FROM messages m WHERE {where} AND NOT EXISTS"
        f" (SELECT 1 FROM messages n INDEXED BY messages_by_thread WHERE {newer} AND n.thread = m.thread"
        " AND (n.received, n.id) > (m.received, m.id)) ORDER BY m.received DESC, m.id DESC LIMIT ?",
        (*values, *newer_values, limit),
    ).fetchall()


ROUTES = (
    Route("users.threads.list", "GET", "threads", list_threads, LIST_PARAMETERS),
    Route("users.threads.get", "GET", "threads/{id}", get, GET_PARAMETERS),
    Route("users.threads.modify", "POST", "threads/{id}/modify", modify),
    Route("users.threads.trash", "POST", "threads/{id}/trash", trash),
    Route("users.threads.untrash", "POST", "threads/{id}/untrash", untrash),
    Route("users.threads.delete", "DELETE", "threads/{id}", delete),
)

"""users.getProfile, users.history.list, users.watch and users.stop: what a client follows a mailbox by."""

from __future__ import annotations

import re
import sqlite3
from typing import Any

import orjson

from infra.local.google.asked import Asked, Json, Route, names
from infra.local.google.errors import GoogleError, not_found
from infra.local.google.ledger import find_mailbox, reveal
from infra.local.google.pages import HistoryPage
from infra.local.google.pushes import Notice

WATCH_SECONDS = 7 * 86_400
_TOPIC = re.compile(r"projects/[^/]+/topics/[^/]+")
_TYPES = {
    "messageAdded": "messagesAdded",
    "messageDeleted": "messagesDeleted",
    "labelAdded": "labelsAdded",
    "labelRemoved": "labelsRemoved",
}


def profile(asked: Asked) -> Json:
    """users.getProfile."""

    def look(db: sqlite3.Connection) -> Json:
        counts = db.execute(
            "SELECT COUNT(*) AS messages, COUNT(DISTINCT thread) AS threads FROM messages WHERE address = ?"
            " AND shown = 1",
            (asked.address,),
        ).fetchone()
        return {
            "emailAddress": asked.address,
            "messagesTotal": counts["messages"],
            "threadsTotal": counts["threads"],
            "historyId": asked.gmail.shown_history(find_mailbox(db, asked.address)["shown"]),
        }

    return asked.gmail.read(asked.address, look)


def history(asked: Asked) -> Json:
    """users.history.list: the records after ``startHistoryId``, oldest first; 404 when it is too old."""
    start = asked.one("startHistoryId")
    if not start.isdecimal() or not start.isascii():
        raise GoogleError(400, "Invalid value for startHistoryId", "invalidArgument")
    types = {_TYPES.get(name, "") for name in asked.query.get("historyTypes", ())}
    if "" in types:
        raise GoogleError(400, "Invalid value for historyTypes", "invalidArgument")
    page = HistoryPage.parse(asked.one("pageToken"), asked.gmail.asked_history(start))
    limit = asked.limit()
    return asked.gmail.read(asked.address, lambda db: _history(db, asked, page, limit, types))


def watch(asked: Asked) -> Json:
    """users.watch: one arrangement per mailbox; asking again with the same topic renews; a notification follows."""
    body = asked.json()
    topic = body.get("topicName")
    if not isinstance(topic, str) or not _TOPIC.fullmatch(topic):
        raise GoogleError(400, "Invalid topicName does not match projects/*/topics/*", "invalidArgument")
    if asked.gmail.topics.denied(topic):
        raise GoogleError(
            403, f"Error sending test message to Cloud PubSub {topic} : User not authorized to perform this action."
        )
    behavior = body.get("labelFilterBehavior") or body.get("labelFilterAction") or "include"
    if behavior not in ("include", "exclude"):
        raise GoogleError(400, "Invalid label filter", "invalidArgument")
    labels = names(body, "labelIds")
    state, now = asked.gmail.state, asked.gmail.clock.now()
    until = now + WATCH_SECONDS
    with state.transaction() as db:
        reveal(state, db, asked.address, now)
        row = find_mailbox(db, asked.address)
        if row["topic"] not in (None, topic) and row["watch_until"] > now:
            raise GoogleError(
                400,
                "Only one user push notification client allowed per developer (call /stop then try again)",
                "failedPrecondition",
                "FAILED_PRECONDITION",
            )
        db.execute(
            "UPDATE mailboxes SET topic = ?, watch_until = ?, watch_labels = ?, watch_exclude = ? WHERE address = ?",
            (topic, until, orjson.dumps(labels), behavior == "exclude", asked.address),
        )
    shown = asked.gmail.shown_history(row["shown"])
    asked.gmail.pushes.announce_watch(Notice(topic, asked.address, int(shown)), now)
    asked.gmail.pushes.send_due(now)
    return {"historyId": shown, "expiration": str(int(until * 1000))}


def stop(asked: Asked) -> None:
    """users.stop: no more notifications; stopping twice is no error."""
    with asked.gmail.state.transaction() as db:
        db.execute("UPDATE mailboxes SET topic = NULL, watch_until = 0 WHERE address = ?", (asked.address,))


def _history(db: sqlite3.Connection, asked: Asked, page: HistoryPage, limit: int, types: set[str]) -> Json:
    mailbox = find_mailbox(db, asked.address)
    if page.start < mailbox["oldest"]:
        raise not_found()
    where = "address = ? AND id > ? AND id <= ?"
    values: list[Any] = [asked.address, page.position, mailbox["shown"]]
    if types:
        where += " AND (" + " OR ".join("instr(types, ?) > 0" for _ in types) + ")"
        values += [f",{name}," for name in sorted(types)]
    if label := asked.one("labelId"):
        where += " AND instr(labels, ?) > 0"
        values.append(f",{label},")
    rows = db.execute(
        f"SELECT id, body FROM history WHERE {where} ORDER BY id LIMIT ?", (*values, limit + 1)
    ).fetchall()
    # Ahead of what can be queried yet, as Gmail's may be.
    answer: Json = {"historyId": asked.gmail.shown_history(mailbox["history"])}
    if rows:
        answer["history"] = [
            {"id": asked.gmail.shown_history(row["id"])} | _record(orjson.loads(row["body"]), types)
            for row in rows[:limit]
        ]
    if len(rows) > limit:
        answer["nextPageToken"] = page.after(rows[limit - 1]["id"])
    return answer


def _record(record: Json, types: set[str]) -> Json:
    return {name: value for name, value in record.items() if not types or name == "messages" or name in types}


ROUTES = (
    Route("users.getProfile", "GET", "profile", profile),
    Route(
        "users.history.list", "GET", "history", history,
        frozenset({"startHistoryId", "historyTypes", "labelId", "maxResults", "pageToken"}),
    ),
    Route("users.watch", "POST", "watch", watch),
    Route("users.stop", "POST", "stop", stop),
)  # fmt: skip

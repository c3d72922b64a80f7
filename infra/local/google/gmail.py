"""The Gmail methods: what each answers, after Google's description of the API (discovery revision 20261005).

``messages.get`` with ``format=full`` has no bodies, because none are kept, and ``format=raw`` is refused for the same
reason; ``q`` is not understood and refused rather than ignored.
"""

from __future__ import annotations

import html
import re
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

import orjson

from infra.local.google.errors import GoogleError, not_found
from infra.local.google.labels import listing
from infra.local.google.mailbox import find_mailbox, reveal
from infra.local.google.pages import HistoryPage, MessagesPage
from infra.local.google.pushes import Notice, Pushes
from infra.local.google.state import State, split
from shared.ports import Clock

Query: TypeAlias = Mapping[str, Sequence[str]]
Json: TypeAlias = dict[str, Any]
Answer = TypeVar("Answer")

WATCH_SECONDS = 7 * 86_400
_MESSAGE_ID = re.compile(r"[0-9a-f]{1,16}")
_TOPIC = re.compile(r"projects/[^/]+/topics/[^/]+")
_TYPES = {
    "messageAdded": "messagesAdded",
    "messageDeleted": "messagesDeleted",
    "labelAdded": "labelsAdded",
    "labelRemoved": "labelsRemoved",
}


class Gmail:
    """Answers for one state. Every method takes the address that the token belongs to; all raise ``GoogleError``."""

    def __init__(self, state: State, clock: Clock, pushes: Pushes) -> None:
        self._state = state
        self._clock = clock
        self._pushes = pushes

    def profile(self, address: str) -> Json:
        """users.getProfile."""
        return self._read(address, lambda db: _profile(db, address))

    def messages(self, address: str, query: Query) -> Json:
        """users.messages.list: newest first, without spam and trash unless asked for."""
        limit = _limit(query)
        labels = sorted(set(query.get("labelIds", ())))
        everything = _flag(query, "includeSpamTrash")
        if query.get("q"):
            raise GoogleError(400, "This simulator does not search: q is not supported.", "invalidArgument")
        page = MessagesPage.parse(_one(query, "pageToken"), labels, everything)
        return self._read(address, lambda db: _messages(db, address, page, limit))

    def message(self, address: str, message_id: str, query: Query) -> Json:
        """users.messages.get."""
        form = _one(query, "format") or "full"
        if form not in ("minimal", "metadata", "full"):
            raise GoogleError(400, f"Invalid value for format: {form[:20]}", "invalidArgument")
        if not _MESSAGE_ID.fullmatch(message_id):
            raise GoogleError(400, "Invalid id value", "invalidArgument")
        row = self._read(address, lambda db: _message_row(db, address, message_id))
        if row["refused"]:
            raise GoogleError(row["refused"], "The simulator was told to refuse this message.")
        return _message(row, form, {name.lower() for name in query.get("metadataHeaders", ())})

    def history(self, address: str, query: Query) -> Json:
        """users.history.list: the records after ``startHistoryId``, oldest first; 404 when it is too old."""
        start = _one(query, "startHistoryId")
        if not start.isdecimal() or not start.isascii():
            raise GoogleError(400, "Invalid value for startHistoryId", "invalidArgument")
        types = {_TYPES.get(name, "") for name in query.get("historyTypes", ())}
        if "" in types:
            raise GoogleError(400, "Invalid value for historyTypes", "invalidArgument")
        page = HistoryPage.parse(_one(query, "pageToken"), int(start))
        limit = _limit(query)
        label = _one(query, "labelId")
        return self._read(address, lambda db: _history(db, address, page, limit, types, label))

    def labels(self, address: str) -> Json:
        """users.labels.list."""
        return {"labels": self._read(address, lambda db: listing(db, address))}

    def watch(self, address: str, body: Json) -> Json:
        """users.watch: one arrangement per mailbox; asking again with the same topic renews; a notification follows."""
        topic = body.get("topicName")
        if not isinstance(topic, str) or not _TOPIC.fullmatch(topic):
            raise GoogleError(400, "Invalid topicName does not match projects/*/topics/*", "invalidArgument")
        behavior = body.get("labelFilterBehavior") or body.get("labelFilterAction") or "include"
        labels = body.get("labelIds") or []
        if behavior not in ("include", "exclude") or not isinstance(labels, list):
            raise GoogleError(400, "Invalid label filter", "invalidArgument")
        now = self._clock.now()
        until = now + WATCH_SECONDS
        with self._state.transaction() as db:
            reveal(self._state, db, address, now)
            row = find_mailbox(db, address)
            if row["topic"] not in (None, topic) and row["watch_until"] > now:
                raise GoogleError(
                    400,
                    "Only one user push notification client allowed per developer (call /stop then try again)",
                    "failedPrecondition",
                    "FAILED_PRECONDITION",
                )
            db.execute(
                "UPDATE mailboxes SET topic = ?, watch_until = ?, watch_labels = ?, watch_exclude = ?"
                " WHERE address = ?",
                (topic, until, orjson.dumps(labels), behavior == "exclude", address),
            )
        self._pushes.announce_watch(Notice(topic, address, row["shown"]), now)
        self._pushes.send_due(now)
        return {"historyId": str(row["shown"]), "expiration": str(int(until * 1000))}

    def stop(self, address: str) -> None:
        """users.stop: no more notifications; stopping twice is no error."""
        with self._state.transaction() as db:
            db.execute("UPDATE mailboxes SET topic = NULL, watch_until = 0 WHERE address = ?", (address,))

    def _read(self, address: str, look: Callable[[sqlite3.Connection], Answer]) -> Answer:
        if address in self._state.hidden_until:
            with self._state.transaction() as db:
                reveal(self._state, db, address, self._clock.now())
        with self._state.reading() as db:
            return look(db)


def _profile(db: sqlite3.Connection, address: str) -> Json:
    counts = db.execute(
        "SELECT COUNT(*) AS messages, COUNT(DISTINCT thread) AS threads FROM messages WHERE address = ? AND shown = 1",
        (address,),
    ).fetchone()
    return {
        "emailAddress": address,
        "messagesTotal": counts["messages"],
        "threadsTotal": counts["threads"],
        "historyId": str(find_mailbox(db, address)["shown"]),
    }


def _messages(db: sqlite3.Connection, address: str, page: MessagesPage, limit: int) -> Json:
    where, values = page.condition(address)
    rows = db.execute(
        f"SELECT id, thread, received FROM messages WHERE {where} ORDER BY received DESC, id DESC LIMIT ?",
        (*values, limit + 1),
    ).fetchall()
    answer: Json = {}
    if rows:
        answer["messages"] = [{"id": row["id"], "threadId": row["thread"]} for row in rows[:limit]]
    if len(rows) > limit:
        answer["nextPageToken"] = page.after(rows[limit - 1]["received"], rows[limit - 1]["id"])
    # An estimate in name and deed: labels and the exclusion of spam and trash are left out of the count.
    total = db.execute("SELECT COUNT(*) FROM messages WHERE address = ? AND shown = 1", (address,)).fetchone()[0]
    answer["resultSizeEstimate"] = total if rows else 0
    return answer


def _message_row(db: sqlite3.Connection, address: str, message_id: str) -> sqlite3.Row:
    row: sqlite3.Row | None = db.execute(
        "SELECT id, thread, received, history, shown_labels, mime_type, size, headers, truth, refused FROM messages"
        " WHERE address = ? AND id = ? AND shown = 1",
        (address, message_id),
    ).fetchone()
    if row is None:
        raise not_found()
    return row


def _message(row: sqlite3.Row, form: str, wanted: set[str]) -> Json:
    answer: Json = {"id": row["id"], "threadId": row["thread"]}
    if row["shown_labels"]:
        answer["labelIds"] = split(row["shown_labels"])  # Gmail leaves the key out for a mail without labels
    answer["snippet"] = _escaped(orjson.loads(row["truth"])["snippet"])
    if form != "minimal":
        headers = orjson.loads(row["headers"])
        payload: Json = {
            "partId": "",
            "mimeType": row["mime_type"],
            "filename": "",
            "headers": headers,
            "body": {"size": 0},
        }
        if form == "metadata":
            if wanted:
                headers = [header for header in headers if header["name"].lower() in wanted]
            payload = {"mimeType": row["mime_type"], "headers": headers}
        answer["payload"] = payload
    answer["sizeEstimate"] = row["size"]
    answer["historyId"] = str(row["history"])
    answer["internalDate"] = str(row["received"])
    return answer


def _history(db: sqlite3.Connection, address: str, page: HistoryPage, limit: int, types: set[str], label: str) -> Json:
    mailbox = find_mailbox(db, address)
    if page.start < mailbox["oldest"]:
        raise not_found()
    where = "address = ? AND id > ? AND id <= ?"
    values: list[Any] = [address, page.position, mailbox["shown"]]
    if types:
        where += " AND (" + " OR ".join("instr(types, ?) > 0" for _ in types) + ")"
        values += [f",{name}," for name in sorted(types)]
    if label:
        where += " AND instr(labels, ?) > 0"
        values.append(f",{label},")
    rows = db.execute(
        f"SELECT id, body FROM history WHERE {where} ORDER BY id LIMIT ?", (*values, limit + 1)
    ).fetchall()
    answer: Json = {"historyId": str(mailbox["history"])}  # ahead of what can be queried yet, as Gmail's may be
    if rows:
        answer["history"] = [_record(orjson.loads(row["body"]), types) for row in rows[:limit]]
    if len(rows) > limit:
        answer["nextPageToken"] = page.after(rows[limit - 1]["id"])
    return answer


def _record(record: Json, types: set[str]) -> Json:
    return {name: value for name, value in record.items() if not types or name in ("id", "messages") or name in types}


def _escaped(text: str) -> str:
    return html.escape(text).replace("&#x27;", "&#39;")


def _one(query: Query, name: str) -> str:
    values = query.get(name, ())
    return values[-1] if values else ""


def _flag(query: Query, name: str) -> bool:
    value = _one(query, name).lower()
    if value not in ("", "true", "false"):
        raise GoogleError(400, f"Invalid value for {name}", "invalidArgument")
    return value == "true"


def _limit(query: Query) -> int:
    value = _one(query, "maxResults")
    if value and not (value.isascii() and value.isdecimal()):
        raise GoogleError(400, "Invalid value for maxResults", "invalidArgument")
    return min(int(value) or 100, 500) if value else 100

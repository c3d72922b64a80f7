"""users.drafts: a draft keeps its id while each save gives it another message; sending turns that into a sent one."""

from __future__ import annotations

import sqlite3

import orjson

from infra.local.google.asked import Asked, Json, Route
from infra.local.google.errors import GoogleError, not_found
from infra.local.google.mailbox import Mailbox
from infra.local.google.methods.incoming import require_recipient
from infra.local.google.methods.messages import LIST_PARAMETERS, page_of
from infra.local.google.pages import MessagesPage
from infra.local.google.shown import FORMATS, read, summary
from infra.local.google.submission import Submission, submitted_draft

_LABELS = ("DRAFT",)


def create(asked: Asked) -> Json:
    """users.drafts.create."""
    submission = _required(submitted_draft(asked)[1])
    arrival = submission.arrival(_LABELS, asked.gmail.clock.now())
    with asked.gmail.change(asked.address) as mailbox:
        if submission.thread:
            mailbox.thread(submission.thread)
        message_id = mailbox.add(arrival)
        return _shown(mailbox, mailbox.draft_of(message_id), message_id)


def get(asked: Asked) -> Json:
    """users.drafts.get."""
    draft = asked.part(1)
    form = asked.choice("format", *FORMATS)
    return {"id": draft, "message": read(asked, _message_of(asked, draft), form)}


def list_drafts(asked: Asked) -> Json:
    """users.drafts.list: newest first, without those in the trash unless asked for."""
    limit = asked.limit()
    page = page_of(asked, "drafts")
    found = asked.gmail.read(asked.address, lambda db: _listed(db, asked.address, page, limit + 1))
    answer: Json = {}
    if found:
        answer["drafts"] = [
            {"id": row["draft"], "message": {"id": row["id"], "threadId": row["thread"]}} for row in found[:limit]
        ]
    if len(found) > limit:
        answer["nextPageToken"] = page.after(found[limit - 1]["received"], found[limit - 1]["id"])
    return answer | {"resultSizeEstimate": len(found)}


def update(asked: Asked) -> Json:
    """users.drafts.update: replaces the content, and with it the message."""
    draft = asked.part(1)
    submission = _required(submitted_draft(asked)[1])
    arrival = submission.arrival(_LABELS, asked.gmail.clock.now())
    with asked.gmail.change(asked.address) as mailbox:
        return _shown(mailbox, draft, mailbox.save_draft(draft, arrival))


def send(asked: Asked) -> Json:
    """users.drafts.send: what is handed in is saved first, then sent."""
    draft, submission = submitted_draft(asked)
    if not draft:
        raise GoogleError(400, "Missing draft id", "invalidArgument")
    with asked.gmail.change(asked.address) as mailbox:
        if submission is not None:
            mailbox.save_draft(draft, submission.arrival(_LABELS, asked.gmail.clock.now()))
        require_recipient(orjson.loads(mailbox.message(mailbox.drafted(draft))["truth"]))
        row = mailbox.message(mailbox.send_draft(draft))
        return summary(row["id"], row["thread"], row["labels"])


def delete(asked: Asked) -> None:
    """users.drafts.delete: for good, not to the trash."""
    with asked.gmail.change(asked.address) as mailbox:
        mailbox.delete(mailbox.drafted(asked.part(1)))


def _required(submission: Submission | None) -> Submission:
    if submission is None:
        raise GoogleError(400, "Missing draft message", "invalidArgument")
    return submission


def _shown(mailbox: Mailbox, draft: str, message_id: str) -> Json:
    row = mailbox.message(message_id)
    return {"id": draft, "message": summary(row["id"], row["thread"], row["labels"])}


def _message_of(asked: Asked, draft: str) -> str:
    def look(db: sqlite3.Connection) -> str:
        row = db.execute("SELECT message FROM drafts WHERE address = ? AND id = ?", (asked.address, draft)).fetchone()
        if row is None:
            raise not_found()
        return str(row["message"])

    return asked.gmail.read(asked.address, look)


def _listed(db: sqlite3.Connection, address: str, page: MessagesPage, limit: int) -> list[sqlite3.Row]:
    where, values = page.condition(address, "m.")
    return db.execute(
        "SELECT d.id AS draft, m.id, m.thread, m.received FROM drafts d CROSS JOIN messages m ON m.address = d.address"
        f" AND m.id = d.message WHERE d.address = ? AND {where} ORDER BY m.received DESC, m.id DESC LIMIT ?",
        (address, *values, limit),
    ).fetchall()


ROUTES = (
    Route("users.drafts.create", "POST", "drafts", create, upload=True),
    Route("users.drafts.get", "GET", "drafts/{id}", get, frozenset({"format"})),
    Route("users.drafts.list", "GET", "drafts", list_drafts, LIST_PARAMETERS - {"labelIds"}),
    Route("users.drafts.update", "PUT", "drafts/{id}", update, upload=True),
    Route("users.drafts.send", "POST", "drafts/send", send, upload=True),
    Route("users.drafts.delete", "DELETE", "drafts/{id}", delete),
)

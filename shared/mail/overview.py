"""What a person sees of mailboxes: how they are, what is in them, what could not be read. It changes nothing."""

from __future__ import annotations

from typing import Any, TypeAlias

from shared import queries, refs
from shared.errors import NotFound
from shared.events.envelope import iso
from shared.mail import message as mail
from shared.mail.context import Context, load
from shared.mail.findings import Audited
from shared.mail.health import deadlines, freshness, unpublished_seconds
from shared.mail.schedule import Schedule
from shared.mail.state import MailboxState, read_state
from shared.ports import Data, Doc

Listed: TypeAlias = tuple[list[dict[str, Any]], str | None]
"""A page, and after which document the next one starts; None at the end."""

_RUNNING = ("connecting", "backfilling", "live", "resyncing", "rate_limited")


def status(ctx: Context, uid: str) -> dict[str, Any]:
    """How the user's mailboxes are; times as ISO 8601, lag in seconds, outbox in events."""
    states = [read_state(doc) for doc in ctx.store.query(queries.mailboxes_of(uid))]
    states = [state for state in states if not state.erasing]
    return {
        "user_id": uid,
        "running_syncs": [state.id for state in states if state.status in _RUNNING],
        "mailboxes": [_shown(state, ctx.schedule, ctx.clock.now()) for state in states],
    }


def messages(ctx: Context, uid: str, mailbox: str, after: str | None, limit: int) -> Listed:
    """A page of a mailbox's messages; pages can be short, since tombstones and placeholders are left out."""
    state = _owned(ctx, uid, mailbox)

    def shown(doc: Doc) -> dict[str, Any]:
        fields = mail.public(mailbox, state.provider, doc.data)
        origin = mail.origin_of(state, doc.data)
        shown = {"mailbox": fields.pop("inbox_id"), **fields, "origin": origin, "announced": doc.data["announced"]}
        return {**shown, "truncated": cut} if (cut := mail.cut_fields(doc.data)) else shown

    docs = ctx.store.query(queries.messages_of(mailbox, limit, after))
    return [shown(doc) for doc in docs if doc.data["state"] == mail.PRESENT], _next(docs, limit)


def gaps(ctx: Context, uid: str, mailbox: str, after: str | None, limit: int) -> Listed:
    """A page of a mailbox's gaps, whatever became of them.

    Only audits ask for a reported message again; a later change of it can bring it, or its deletion, all the same.
    """
    _owned(ctx, uid, mailbox)
    docs = ctx.store.query(queries.gaps_of(mailbox, limit, after))
    reported = [refs.message(mailbox, doc.data["id"]) for doc in docs if doc.data["status"] == "reported"]
    found = ctx.store.get(reported) if reported else {}
    known = {doc.data["id"] for doc in found.values() if doc.data["state"] != mail.PLACEHOLDER}

    def shown(data: Data) -> dict[str, Any]:
        return {
            "mailbox": mailbox,
            "provider_message_id": data["id"],
            "reason": data["reason"],
            "status": "resolved" if data["id"] in known else data["status"],
            "attempts": data["attempts"],
            "next_at": None if data["next_at"] is None else iso(data["next_at"]),
            "first_at": iso(data["first_at"]),
        }

    return [shown(doc.data) for doc in docs], _next(docs, limit)


def _next(docs: list[Doc], limit: int) -> str | None:
    return refs.key(docs[-1].ref) if len(docs) == limit else None


def _owned(ctx: Context, uid: str, mailbox: str) -> MailboxState:
    loaded = load(ctx, mailbox) if refs.owner(mailbox) == uid else None
    if loaded is None or loaded.state.erasing:
        raise NotFound("There is no such mailbox.")
    return loaded.state


def _shown(state: MailboxState, schedule: Schedule, at: float) -> dict[str, Any]:
    fresh = freshness(state, schedule, at)
    return {
        "id": state.id,
        "provider": state.provider,
        "address": state.address,
        "status": state.status,
        "messages": state.messages,
        "created_at": iso(state.created_at),
        "updated_at": iso(state.updated_at),
        "last_synced_at": _time(state.last_synced_at),
        "last_error": state.last_error,
        "retry_count": state.retry_count,
        "lag": state.lag,
        "outbox": state.head - state.published,
        "sequence": state.head,
        "backfill": {
            "done": state.backfill.done,
            "listed": state.backfill.listed,
            "total": state.backfill.total,
        },
        "resync": None if state.resync is None else {"phase": state.resync.phase, "listed": state.resync.listed},
        "quota": {"spent": state.quota.spent, "today": state.quota.spent_on(at)},
        "gaps_due": _time(state.due_gaps),
        "channel_expires_at": _time(state.channel.expires_at if state.channel else None),
        "freshness": {
            "seconds": fresh.seconds,
            "resolution": fresh.resolution,
            "proven_at": _time(fresh.proven_at),
            "presumed_at": _time(fresh.presumed_at),
        },
        "outbox_seconds": unpublished_seconds(state, at),
        "deadlines": [
            {"chain": deadline.chain, "due_at": iso(deadline.due_at), "overdue": deadline.overdue}
            for deadline in deadlines(state, schedule, at)
        ],
        "rescues": state.rescue,
        "push_gaps": state.push_gaps,
        "audit": None if state.audited is None else _audit(state.audited),
    }


def _audit(audited: Audited) -> dict[str, Any]:
    findings = audited.findings
    return {
        "audited_at": iso(audited.at),
        "since": iso(audited.since),
        "audited": findings.compared,
        "missing": findings.missing,
        "differing": findings.differing,
        "gone": findings.gone,
        "gaps": findings.gaps,
        "repaired": findings.repaired,
        "unasked": findings.unasked,
        "ratio": round(findings.ratio, 6),
    }


def _time(value: float | None) -> str | None:
    return None if value is None else iso(value)

"""Gaps: messages that could not be read, each asked for again until it is read, gone, or reported."""

from __future__ import annotations

from dataclasses import dataclass, replace

from shared import queries, refs
from shared.mail import message as mail
from shared.mail.apply import CLOCKS_DIFFER, SETTLED_AFTER, anew, apply, finish
from shared.mail.context import Account, Context, Loaded
from shared.mail.fold import TOO_LARGE, Work, fits
from shared.mail.state import MailboxState, healthy
from shared.mail.tasks import StepTask
from shared.ports import Data, Doc, Update, Write
from shared.providers.base import Change, Deleted, Fetched, Refused, Upsert, newer

AT_ONCE = 50
ASKED_TOGETHER = 5
"""Few enough that an adapter does not take a batch of lasting refusals for an outage of the provider."""

RETRIES = (5.0, 30.0, 120.0, 1_200.0, 3_600.0, 21_600.0, 86_400.0)
"""Seconds to the next attempt, by the number of attempts made; after the last one the gap is reported."""

GONE_AFTER = SETTLED_AFTER + CLOCKS_DIFFER
"""Seconds for which a 404 may mean "not yet" (docs/gmail.md, 4), by the clocks of whoever opened the gap and whoever judges
it: of these two one may be slow and the other fast, so that less has passed than they say, but never less than it takes."""

GONE_ATTEMPTS = 5
"""So many times it has to be asked for, too: where nobody could ask for long, the time alone says little."""


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What one answer makes of a gap: its new fields, and the change that the fold has to see."""

    fields: Data
    change: Change | None = None


def retry(ctx: Context, loaded: Loaded, _task: StepTask) -> bool:
    """Ask for the gaps that are due; False when somebody wrote meanwhile and it has to be judged again."""
    state = loaded.state
    at = ctx.clock.now()
    found = ctx.store.query(queries.open_gaps(state.id, AT_ONCE + 1))
    due = [doc for doc in found[:AT_ONCE] if doc.data["next_at"] <= at]
    waiting = [doc.data["next_at"] for doc in found[len(due) :]]
    verdicts: list[_Verdict] = []
    account = Account(ctx, state, "background")
    if due:
        ids = [doc.data["id"] for doc in due]
        answers = [answer for few in in_fews(ids) for answer in _fetched(account, few)]
        known = ctx.store.get([refs.message(state.id, id_) for id_ in ids])
        verdicts = [
            _judge(doc, answer, known.get(refs.message(state.id, answer.id)), at)
            for doc, answer in zip(due, answers, strict=True)
        ]
    waiting += [verdict.fields["next_at"] for verdict in verdicts if verdict.fields["status"] == "open"]
    next_at = min(waiting, default=None)

    def advance(current: MailboxState) -> MailboxState:
        return healthy(replace(current, due_gaps=next_at), "gaps", at)

    writes: tuple[Write, ...] = tuple(
        Update(doc.ref, verdict.fields, doc.version) for doc, verdict in zip(due, verdicts, strict=True)
    )
    changes = tuple(verdict.change for verdict in verdicts if verdict.change is not None)
    # A gap that another chain has opened again since is a Conflict: then this look is spent, whatever the cursor says. Where
    # versions have no order only that counts: a message that somebody has written since is read again.
    unordered = account.provider.per_folder
    work = Work("gaps", at, changes, advance, writes=writes, unordered=unordered, loose=unordered)
    applied = apply(ctx, loaded, work, (lambda _: None) if unordered else anew, account)
    if applied is None:
        return False
    finish(ctx, applied)
    return True


def in_fews(ids: list[str]) -> list[list[str]]:
    """Messages that may all be refused, as many at a time as can be asked for."""
    return [ids[start : start + ASKED_TOGETHER] for start in range(0, len(ids), ASKED_TOGETHER)]


def resolved(gap: Doc) -> Update:
    """What closes a gap whose message has been read otherwise."""
    return Update(gap.ref, _closed(gap.data["attempts"], "resolved"), gap.version)


def _fetched(account: Account, ids: list[str]) -> tuple[Fetched, ...]:
    return account.call(lambda provider, access: provider.fetch(access, ids))


def _judge(gap: Doc, answer: Fetched, message: Doc | None, at: float) -> _Verdict:
    attempts = gap.data["attempts"] + 1
    if isinstance(answer, Refused):
        return _again(attempts, answer.reason[:500], at)
    if isinstance(answer, Upsert):
        reason = _unfit(answer, gap, message)
        return _Verdict(_closed(attempts, "resolved"), answer) if reason is None else _again(attempts, reason, at)
    if message is not None and message.data["state"] == mail.TOMBSTONE:
        return _Verdict(_closed(attempts, "resolved"))
    if not answer.certain and (at - gap.data["first_at"] < GONE_AFTER or attempts < GONE_ATTEMPTS):
        return _again(attempts, gap.data["reason"], at)
    gone = Deleted(answer.id, message.data["version"]) if message is not None else None
    return _Verdict(_closed(attempts, "resolved"), gone)


def _unfit(answer: Upsert, gap: Doc, message: Doc | None) -> str | None:
    """Why a message that was served cannot be stored: too large, or from before the change that left a placeholder."""
    if not fits(answer.message):
        return TOO_LARGE
    waiting = message is not None and message.data["state"] == mail.PLACEHOLDER
    if message is not None and waiting and newer(message.data["version"], answer.message.version):
        return str(gap.data["reason"])
    return None


def _again(attempts: int, reason: str, at: float) -> _Verdict:
    if attempts > len(RETRIES):
        return _Verdict({**_closed(attempts, "reported"), "reason": reason})
    fields = {"attempts": attempts, "status": "open", "next_at": at + RETRIES[attempts - 1], "reason": reason}
    return _Verdict(fields)


def _closed(attempts: int, status: str) -> Data:
    return {"attempts": attempts, "status": status, "next_at": None}

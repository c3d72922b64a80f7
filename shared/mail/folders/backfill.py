"""Backfill over folders: the first round of each, one page a step, beside live sync.

A folder's first round ends with the cursor that live sync follows it by, so there is no listing that could be walked beside
it: what the rounds name is the past. A page of a round that had to begin anew is kept for the sweep, like one of a resync.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from shared.errors import Paced
from shared.events import types
from shared.mail.apply import Applied, anew, apply, finish
from shared.mail.backfill import GIVE_WAY_SECONDS, PROGRESS_EVERY
from shared.mail.context import Context, Loaded
from shared.mail.fold import Notice, Work
from shared.mail.folders import first_round, resync
from shared.mail.state import STUCK_AFTER, MailboxState, healthy
from shared.mail.tasks import StepTask, continue_chain, page_of
from shared.ports import Doc


def walk(ctx: Context, loaded: Loaded, task: StepTask) -> bool:
    """Take one page of a folder's past; False when it was spent."""
    state = loaded.state
    if state.backfill.done:
        return True
    if task.page != page_of(state, "backfill"):
        continue_chain(ctx.tasks, state, "backfill")
        return True
    if not state.cursor:
        continue_chain(ctx.tasks, state, "live")
        raise Paced("Live sync has yet to read which folders there are.", retry_after=GIVE_WAY_SECONDS)
    docs = first_round.unread(ctx, state)
    applied = _page(ctx, loaded, task, docs) if docs else _end(ctx, loaded, task)
    if applied is None:
        return False
    after = applied.loaded.state
    finish(ctx, applied, task.published, None if after.backfill.done else "backfill")
    return True


def _page(ctx: Context, loaded: Loaded, task: StepTask, docs: Sequence[Doc]) -> Applied | None:
    before = loaded.state.backfill

    def advance(current: MailboxState, listed: int, at: float) -> MailboxState:
        return _turned(current, at, listed=current.backfill.listed + listed)

    def notices(listed: int) -> tuple[Notice, ...]:
        if (before.page + 1) % PROGRESS_EVERY:
            return ()
        return (Notice(types.PROGRESS, {"kind": "backfill", "listed": before.listed + listed, "total": before.total}),)

    return first_round.take(ctx, loaded, task, docs, "backfill", advance, notices)


def _end(ctx: Context, loaded: Loaded, task: StepTask) -> Applied | None:
    """Every folder that can be has been read to its end; what began anew or went away meanwhile is left to a resync."""
    state, at = loaded.state, ctx.clock.now()
    marked = first_round.are_left(ctx, state, state.resyncs + 1)

    def advance(current: MailboxState) -> MailboxState:
        ended = _turned(current, at, done=True)
        return resync.begun(ended, at) if marked else ended

    notice = Notice(types.COMPLETED, {"kind": "backfill", "listed": state.backfill.listed})
    return apply(ctx, loaded, Work("backfill", at, advance=advance, notices=(notice,)), anew, None, task.published)


def _turned(state: MailboxState, at: float, **position: object) -> MailboxState:
    backfill = replace(state.backfill, page=state.backfill.page + 1, **position)  # type: ignore[arg-type]
    due = None if backfill.done else at + STUCK_AFTER
    return healthy(replace(state, backfill=backfill, last_synced_at=at, due_chain=due), "backfill", at)

"""One step of one mailbox: what a task does, and what becomes of it when it cannot.

::

    task -> load mailbox -> gone, other epoch, not active ......... done (an open channel is stopped)
                 |
                 +-> connect | live | backfill | resync | gaps | channel | erase
                          | token, provider page, documents, fold, commit, publish, successor
                          |
            applied ......... done, acknowledged
            spent ........... another step was faster: look again, or leave it to the walk that goes on
            CursorExpired ... resync
            RateLimited ..... the same task later; until then no step of the mailbox calls the provider
            ReauthRequired .. reauth_required, said once, then silence
            refused, stopped  error, visible; looked at again every hour
            unavailable ..... raised: the queue tries again, with backoff

A step may die at any point: whatever it has not done is done by the task's next attempt, by a doorbell, or by the tick.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from shared.errors import (
    BrainstemError,
    ConfigurationError,
    CursorExpired,
    ProviderRefused,
    ProviderUnavailable,
    RateLimited,
    ReauthRequired,
    Retry,
)
from shared.events import types
from shared.mail import backfill, channel, connect, erase, gaps, live, resync
from shared.mail.apply import apply, finish
from shared.mail.context import Context, Loaded, amend_mailbox, load
from shared.mail.fold import Notice, Work
from shared.mail.state import ERROR_RECHECK, STUCK_AFTER, MailboxState
from shared.mail.tasks import StepTask, put_off, settle

LOOKS = 4
"""How often a step looks again after others were faster, before the queue brings it back."""

DEFAULT_PAUSE = 30.0
"""Seconds to wait where the provider limits without saying for how long."""

FAILURES_IN_ROW = 10
"""After so many failed looks in a row the mailbox shows as in error."""

CHAINS: dict[str, Callable[[Context, Loaded, StepTask], bool]] = {
    "connect": connect.connect,
    "live": live.look,
    "backfill": backfill.walk,
    "resync": resync.walk,
    "gaps": gaps.retry,
    "channel": channel.renew,
    "erase": erase.erase,
}


def step(ctx: Context, task: StepTask) -> None:
    """Take one step. Returning acknowledges the task; raises what the queue has to bring back."""
    for _ in range(LOOKS):
        loaded = load(ctx, task.mailbox)
        if loaded is None or task.epoch not in (None, loaded.state.epoch):
            return
        if not loaded.state.active and task.kind != "erase":
            if loaded.state.channel is not None or task.rung:
                channel.stop(ctx, loaded)
            return
        if loaded.state.resume_at is not None and loaded.state.resume_at > ctx.clock.now():
            put_off(ctx.tasks, task, loaded.state.resume_at)
            return
        if _attempt(ctx, loaded, task):
            if task.rung:
                settle(ctx.tasks, ctx.clock, task.mailbox)
            return
        if task.kind == "live":
            current = load(ctx, task.mailbox)
            if current is not None and live.resume(ctx, current.state, task):
                return
    raise Retry("Other steps kept moving the mailbox; this one is brought back.")


def _attempt(ctx: Context, loaded: Loaded, task: StepTask) -> bool:
    """One look; False when it was spent. What the provider refuses is dealt with here, once for all chains."""
    try:
        return CHAINS[task.kind](ctx, loaded, task)
    except CursorExpired:
        return resync.start(ctx, loaded)
    except RateLimited as limited:
        _pause(ctx, loaded, task, limited)
    except ReauthRequired as dead:
        return _reauth(ctx, loaded, dead)
    except (ProviderRefused, ConfigurationError) as refused:
        _stop(ctx, loaded, refused)
    except ProviderUnavailable as unavailable:
        _note(ctx, loaded, unavailable)
        raise
    return True


def _pause(ctx: Context, loaded: Loaded, task: StepTask, limited: RateLimited) -> None:
    until = ctx.clock.now() + (limited.retry_after if limited.retry_after is not None else DEFAULT_PAUSE)

    def decide(current: MailboxState) -> MailboxState:
        due = None if current.due_chain is None else max(current.due_chain, until + STUCK_AFTER)
        return replace(current, status="rate_limited", last_error=limited.code, resume_at=until, due_chain=due)

    _amend(ctx, loaded, decide)
    put_off(ctx.tasks, task, until)


def _reauth(ctx: Context, loaded: Loaded, dead: ReauthRequired) -> bool:
    """Say once that the person has to reconnect; every later step ends before it starts."""
    at = ctx.clock.now()

    def ended(current: MailboxState) -> MailboxState:
        return replace(
            current, status="reauth_required", connected=False, last_error=dead.message, due_chain=None, due_live=None
        )

    notice = Notice(types.REAUTH_REQUIRED, {"address": loaded.state.address})
    work = Work("notice", at, advance=ended, notices=(notice,))
    applied = apply(ctx, loaded, work, lambda current: current.status == "reauth_required")
    if applied is None:
        return False
    finish(ctx, applied)
    return True


def _stop(ctx: Context, loaded: Loaded, refused: BrainstemError) -> None:
    """A visible reason in place of endless retries; the tick looks again every hour."""
    at = ctx.clock.now()
    _amend(
        ctx,
        loaded,
        lambda current: replace(
            current,
            status="error",
            last_error=refused.message,
            retry_count=current.retry_count + 1,
            due_chain=at + ERROR_RECHECK,
        ),
    )


def _note(ctx: Context, loaded: Loaded, unavailable: ProviderUnavailable) -> None:
    """Count the failure where people see it; the queue goes on trying, also when it has become an error."""

    at = ctx.clock.now()

    def decide(current: MailboxState) -> MailboxState:
        noted = replace(current, last_error=unavailable.message, retry_count=current.retry_count + 1)
        if noted.retry_count < FAILURES_IN_ROW:
            return noted
        return replace(noted, status="error", due_chain=current.due_chain or at + ERROR_RECHECK)

    _amend(ctx, loaded, decide)


def _amend(ctx: Context, loaded: Loaded, change: Callable[[MailboxState], MailboxState]) -> None:
    """Note something in the mailbox, unless it has a new epoch, which is none of this step's business."""
    epoch = loaded.state.epoch

    def decide(current: MailboxState) -> MailboxState:
        return change(current) if current.epoch == epoch and current.active else current

    amend_mailbox(ctx, loaded.state.id, decide)

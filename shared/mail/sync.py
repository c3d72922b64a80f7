"""One step of one mailbox: what a task does, and what becomes of it when it cannot.

::

    task -> load mailbox -> gone, other epoch, not active ......... done (an open channel is stopped)
                 |
                 +-> connect | live | backfill | resync | gaps | audit | channel | erase
                          | token, provider page, documents, fold, commit, publish, successor
                          |
            applied ......... done, acknowledged
            spent ........... another step was faster: look again, or leave it to the walk that goes on
            CursorExpired ... resync
            Paced ........... the same task later: the mailbox has used what it may for now
            RateLimited ..... the same task later; until then no step of the mailbox calls the provider
            ReauthRequired .. reauth_required, said once, then silence
            refused, stopped  error, visible; that chain is tried again every hour
            unavailable ..... the same task later, with backoff; visible

A step may die at any point: whatever it has not done is done by the task's next attempt, by a doorbell, or by the tick.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from shared.errors import (
    BrainstemError,
    Busy,
    ConfigurationError,
    CursorExpired,
    Paced,
    ProviderError,
    ProviderRefused,
    ProviderUnavailable,
    RateLimited,
    ReauthRequired,
    TooLarge,
)
from shared.events import types
from shared.identity.trail import Trail
from shared.mail import audit, backfill, channel, connect, erase, gaps, live, resync
from shared.mail.apply import apply, finish
from shared.mail.context import Context, Loaded, amend_mailbox, load
from shared.mail.fold import Notice, Work
from shared.mail.folders import backfill as folders_backfill
from shared.mail.folders import resync as folders_resync
from shared.mail.folders import rounds
from shared.mail.quota import drained
from shared.mail.state import ERROR_RECHECK, STUCK_AFTER, MailboxState, settled, troubled
from shared.mail.tasks import BUCKET, StepTask, put_off, settle

LOOKS = 4
"""How often a step looks again after others were faster, before the queue brings it back."""

DEFAULT_PAUSE = 30.0
"""Seconds to wait where the provider limits without saying for how long."""

LONGEST_PAUSE = 300.0
"""Up to so many seconds the pauses between failed attempts grow, doubling from 1."""

FAILURES_IN_ROW = 10
"""After so many failed steps in a row a chain shows as in error; it is tried on all the same."""

Step = Callable[[Context, Loaded, StepTask], bool]

CHAINS: dict[str, Step] = {
    "connect": connect.connect,
    "live": live.look,
    "backfill": backfill.walk,
    "resync": resync.walk,
    "gaps": gaps.retry,
    "audit": audit.walk,
    "channel": channel.renew,
    "erase": erase.erase,
}

CHAINS_OVER_FOLDERS: dict[str, Step] = {
    **CHAINS,
    "live": rounds.look,
    "backfill": folders_backfill.walk,
    "resync": folders_resync.walk,
}
"""Where the provider tells of changes for each folder apart."""


def step(ctx: Context, task: StepTask) -> None:
    """Take one step. Returning acknowledges the task; raises what the queue has to bring back."""
    for _ in range(LOOKS):
        loaded = load(ctx, task.mailbox)
        if loaded is None or not _wanted(ctx, loaded, task):
            return
        taken = _attempt(ctx, loaded, task)
        if taken is None:
            return
        if not taken and task.kind == "live":
            current = load(ctx, task.mailbox)
            taken = current is not None and live.resume(ctx, current.state, task)
        if taken:
            if task.rung and not _per_folder(ctx, loaded):
                settle(ctx.tasks, ctx.clock, task.mailbox)
            return
    raise Busy("Other steps kept moving the mailbox; this one is brought back.")


def _wanted(ctx: Context, loaded: Loaded, task: StepTask) -> bool:
    """Whether the mailbox is in a state for this step; what else follows from that state is done here."""
    state = loaded.state
    if task.epoch not in (None, state.epoch):
        return False
    if task.kind == "erase":
        return True
    if not state.active:
        # A dead grant can stop nothing, and until the person reconnects the provider is not called at all.
        if state.status != "reauth_required" and (state.may_ring or task.rung):
            channel.stop(ctx, loaded)
        return False
    if not state.verified and task.kind != "connect":
        return False  # connecting comes first, and starts every chain itself
    if state.resume_at is not None and state.resume_at > ctx.clock.now():
        put_off(ctx.tasks, task, state, state.resume_at)
        return False
    return True


def _attempt(ctx: Context, loaded: Loaded, task: StepTask) -> bool | None:
    """One look; False when it was spent, None when it went wrong, which is dealt with here, once for all chains."""
    try:
        if _per_folder(ctx, loaded):
            return CHAINS_OVER_FOLDERS[task.kind](ctx, loaded, task)
        try:
            return CHAINS[task.kind](ctx, loaded, task)
        except CursorExpired:
            return resync.start(ctx, loaded)
    except Paced as paced:
        put_off(ctx.tasks, task, loaded.state, ctx.clock.now() + (paced.retry_after or 0.0))
    except RateLimited as limited:
        _pause(ctx, loaded, task, limited)
    except ReauthRequired as dead:
        return _reauth(ctx, loaded, dead)
    except (ProviderRefused, ConfigurationError, TooLarge) as refused:
        _stop(ctx, loaded, task, refused)
    except ProviderUnavailable as unavailable:
        _fail(ctx, loaded, task, unavailable)
    return None


def _per_folder(ctx: Context, loaded: Loaded) -> bool:
    provider = ctx.providers.get(loaded.state.provider)
    return provider is not None and provider.per_folder


def _pause(ctx: Context, loaded: Loaded, task: StepTask, limited: RateLimited) -> None:
    """No step of the mailbox calls the provider until it wants to be called again."""
    asked = limited.retry_after if limited.retry_after is not None else DEFAULT_PAUSE
    until = ctx.clock.now() + max(asked, _backoff(task.failures))

    provider = ctx.providers.get(loaded.state.provider)
    limits = None if provider is None else provider.limits

    def decide(current: MailboxState) -> MailboxState:
        charged = _charged(current, limited)
        paused = replace(_later(charged, task.kind, until), resume_at=until)
        return settled(replace(paused, quota=drained(charged.quota, limits, until)))

    _amend(ctx, loaded, decide)
    put_off(ctx.tasks, _failed(task), loaded.state, until, max(BUCKET, _backoff(task.failures)))


def _reauth(ctx: Context, loaded: Loaded, dead: ReauthRequired) -> bool:
    """Say once that the person has to reconnect; every later step ends before it starts."""
    at = ctx.clock.now()

    def ended(current: MailboxState) -> MailboxState:
        silent = replace(current, status="reauth_required", connected=False, due_chain=None, due_live=None)
        return troubled(silent, "grant", dead.message)

    notice = Notice(types.REAUTH_REQUIRED, {"address": loaded.state.address})
    entry = Trail(ctx.store, ctx.clock).entry(loaded.state.uid, "reauth", by="provider", mailbox=loaded.state.id)
    work = Work("notice", at, advance=ended, notices=(notice,), writes=(entry,))
    applied = apply(ctx, loaded, work, lambda current: current.status == "reauth_required")
    if applied is None:
        return False
    finish(ctx, applied)
    return True


def _stop(ctx: Context, loaded: Loaded, task: StepTask, refused: BrainstemError) -> None:
    """A visible reason in place of endless retries; the chain is tried again every hour."""
    until = ctx.clock.now() + ERROR_RECHECK

    def decide(current: MailboxState) -> MailboxState:
        if isinstance(refused, backfill.TokensRefused):
            current = backfill.from_the_top(current)
        due = _due(_charged(current, refused), task.kind, until)
        return troubled(due, task.kind, refused.message, stopped=True)

    _amend(ctx, loaded, decide)


def _fail(ctx: Context, loaded: Loaded, task: StepTask, unavailable: ProviderUnavailable) -> None:
    """Count the failure where people see it, and put the same task off; many that fail alike share one.

    A doorbell during an outage waits as long as those before it: each trying anew would ask ten times as often.
    """
    known = loaded.state.troubles.get(task.kind)
    pause = _backoff(max(task.failures, known.count if known else 0))
    until = ctx.clock.now() + pause

    def decide(current: MailboxState) -> MailboxState:
        before = current.troubles.get(task.kind)
        stopped = before is not None and before.count + 1 >= FAILURES_IN_ROW
        later = _later(_charged(current, unavailable), task.kind, until)
        return troubled(later, task.kind, unavailable.message, stopped)

    _amend(ctx, loaded, decide)
    put_off(ctx.tasks, _failed(task), loaded.state, until, max(BUCKET, pause))


def _charged(state: MailboxState, error: BrainstemError) -> MailboxState:
    """The mailbox, charged with what was asked before it failed."""
    account = error.account if isinstance(error, ProviderError) else None
    return state if account is None else account.charged(state)


def _failed(task: StepTask) -> StepTask:
    return replace(task, failures=task.failures + 1)


def _backoff(failures: int) -> float:
    return min(LONGEST_PAUSE, float(2 ** min(failures, 10)))


def _later(state: MailboxState, kind: str, until: float) -> MailboxState:
    """The chain's deadline moved on where it has one, so that nobody takes it for dead while it waits."""
    return _due(state, kind, until + STUCK_AFTER) if getattr(state, _DEADLINES[kind]) is not None else state


def _due(state: MailboxState, kind: str, at: float) -> MailboxState:
    """The mailbox with another deadline for one chain."""
    match _DEADLINES[kind]:
        case "due_live":
            return replace(state, due_live=at)
        case "due_gaps":
            return replace(state, due_gaps=at)
        case "due_channel":
            return replace(state, due_channel=at)
        case "due_audit":
            return replace(state, due_audit=at)
    return replace(state, due_chain=at)


_DEADLINES = {
    "connect": "due_chain",
    "backfill": "due_chain",
    "resync": "due_chain",
    "erase": "due_chain",
    "live": "due_live",
    "gaps": "due_gaps",
    "audit": "due_audit",
    "channel": "due_channel",
}


def _amend(ctx: Context, loaded: Loaded, change: Callable[[MailboxState], MailboxState]) -> None:
    """Note something in the mailbox, unless it has a new epoch, which is none of this step's business."""
    epoch = loaded.state.epoch

    def decide(current: MailboxState) -> MailboxState:
        return change(current) if current.epoch == epoch and current.active else current

    amend_mailbox(ctx, loaded.state.id, decide)

"""Live sync: following the changes of a mailbox from its anchor on, whatever made somebody look."""

from __future__ import annotations

from dataclasses import replace

from shared.mail.apply import apply, finish
from shared.mail.context import Account, Context, Loaded
from shared.mail.fold import Work
from shared.mail.state import STUCK_AFTER, MailboxState, followed, healthy
from shared.mail.tasks import StepTask, continue_chain, page_of
from shared.observability import logs
from shared.providers.base import Page, Upsert

CURSOR_AGE = 86_400.0
"""In a quiet mailbox the cursor is moved once a day: Gmail's are valid for "at least a week" (docs/gmail.md, 1)."""

APPEARED_AFTER = 60.0
"""Seconds after which a change that a provider's cursor covers can surely be queried; pushes are 1 to 3 s early."""

PUSHED_WITHIN = 60.0
"""Seconds after its arrival within which a push tells of a mail, if it comes at all; mostly it takes two."""

_LOG = logs.named(__name__)


def look(ctx: Context, loaded: Loaded, task: StepTask) -> bool:
    """Take one page of changes; False when another look was faster and this one has to be taken again.

    An empty look writes nothing.
    """
    state = loaded.state
    account = Account(ctx, state)
    cursor = followed(state)
    page = account.call(lambda provider, access: provider.changes(access, cursor))
    at = ctx.clock.now()
    late = _unpushed(state, page, task, at)
    work = Work("live", at, page.changes, lambda current: _advanced(current, page, at, late is not None))
    applied = apply(ctx, loaded, work, lambda current: current.cursor, account, task.published)
    if applied is None:
        return False
    if late is not None:
        _LOG.info("push_missed", "A mail was found that no push had told of.", mailbox_id=state.id, seconds=late)
    if page.more:
        finish(ctx, applied, task.published, successor="live")
    elif applied.segments or task.published > state.published or left_over(applied.loaded.state):
        finish(ctx, applied, task.published)
    return True


def resume(ctx: Context, state: MailboxState, task: StepTask) -> bool:
    """After a look was overtaken: whether somebody else's walk goes on, so that this one can end.

    Where it is this one's page that is still to be taken, nobody else's does: its name is this very task's.
    """
    if not state.more:
        return task.page is not None
    if task.page == page_of(state, "live"):
        return False
    continue_chain(ctx.tasks, state, "live", task.published)
    return True


def left_over(state: MailboxState) -> bool:
    """Whether events wait for the bus and no walk is under way whose next page takes them along.

    A step whose publishing failed comes back to an empty look; without this its events would wait for the tick.
    """
    return state.published < state.head and state.backfill.done and state.resync is None


def _unpushed(state: MailboxState, page: Page, task: StepTask, at: float) -> float | None:
    """How old the oldest mail is of a page that no push has led to although one should have; None for any other page.

    Only a look that begins on its own, by poll or settle, can tell, and only by mail: other changes carry no time. What
    was received before the cursor last moved is old mail that was imported, and no sign of anything.
    """
    if task.rung or task.page is not None or state.channel is None:
        return None
    times = [change.message.received_at for change in page.changes if isinstance(change, Upsert)]
    late = at - min((time for time in times if time >= state.cursor_at), default=at)
    return round(late, 3) if late > PUSHED_WITHIN else None


def _advanced(state: MailboxState, page: Page, at: float, unpushed: bool) -> MailboxState:
    if not page.changes and not page.more:
        after = healthy(_aged(replace(state, more=False, due_live=None), page.cursor, at), "live", at)
        return after if after == state else replace(after, caught_up_at=at)
    arrivals = [at - change.message.received_at for change in page.changes if isinstance(change, Upsert)]
    return healthy(
        replace(
            state,
            cursor=page.cursor,
            cursor_at=at,
            ahead=None,
            pages=state.pages + 1,
            more=page.more,
            caught_up_at=state.caught_up_at if page.more else at,
            push_gaps=state.push_gaps + unpushed,
            due_live=at + STUCK_AFTER if page.more else None,
            last_synced_at=at,
            lag=max(0.0, round(max(arrivals), 3)) if arrivals else state.lag,
        ),
        "live",
        at,
    )


def _aged(state: MailboxState, cursor: str, at: float) -> MailboxState:
    """An empty look moves no cursor, except an old one, and then to where a look at least a minute ago stood.

    What an empty page says of the provider's position may be ahead of changes that are still to appear.
    """
    if at - state.cursor_at <= CURSOR_AGE or cursor == state.cursor:
        return state
    if state.ahead is None:
        return replace(state, ahead=cursor, ahead_at=at)
    if at - state.ahead_at < APPEARED_AFTER:
        return state
    return replace(state, cursor=state.ahead, cursor_at=at, ahead=None, pages=state.pages + 1)

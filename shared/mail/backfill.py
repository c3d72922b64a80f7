"""Backfill: walking the past, newest first, one page a step, beside live sync."""

from __future__ import annotations

from dataclasses import replace

from shared import queries, refs
from shared.errors import PageExpired, ProviderRefused
from shared.events import types
from shared.mail.apply import apply, finish
from shared.mail.context import Account, Context, Loaded
from shared.mail.fold import Notice, Work
from shared.mail.live import ring_gaps
from shared.mail.state import STUCK_AFTER, Backfill, MailboxState, healthy
from shared.mail.tasks import StepTask, continue_chain, page_of
from shared.providers.base import Change, Listing

MAX_RESTARTS = 5
"""So often a listing may start over because its page token is refused."""

PROGRESS_EVERY = 10
"""Pages between two ``sync.progress`` events."""


def walk(ctx: Context, loaded: Loaded, task: StepTask) -> bool:
    """Take one page of the past; False when it was spent."""
    state = loaded.state
    if state.backfill.done:
        return True
    if task.page != page_of(state, "backfill"):
        continue_chain(ctx.tasks, state, "backfill")  # our page is in: perhaps its successor never was enqueued
        return True
    account = Account(ctx, state)
    at = ctx.clock.now()
    if state.backfill.listing:
        work, optimistic = _listed(ctx, account, state, at), True
    else:
        work, optimistic = _swept(ctx, account, state, at), False
    applied = apply(ctx, loaded, work, lambda current: current.backfill.page, account, task.published, optimistic)
    if applied is None:
        return False
    after = applied.loaded.state
    finish(ctx, applied, task.published, None if after.backfill.done else "backfill")
    ring_gaps(ctx, state, after)
    return True


def _listed(ctx: Context, account: Account, state: MailboxState, at: float) -> Work:
    """One page of the listing; a token that the provider refuses restarts it, which costs gets and loses nothing."""
    token = state.backfill.token
    try:
        listing = account.call(lambda provider, access: provider.list_ids(access, token, ctx.page_size))
    except PageExpired as expired:
        restarts = restarted(state.backfill.restarts, expired)
        return Work("backfill", at, advance=lambda now: _turned(now, at, token=None, listed=0, restarts=restarts))
    ensure_progress(token, listing)
    changes = account.call(lambda provider, access: provider.fetch(access, listing.ids)) if listing.ids else ()
    return Work("backfill", at, changes, lambda current: _past(current, listing, at), _progress(state, listing))


def _swept(ctx: Context, account: Account, state: MailboxState, at: float) -> Work:
    """Once the listing has ended: read what live sync heard of and no listing named, page by page."""
    docs = ctx.store.query(queries.placeholders_of(state.id, ctx.page_size, state.backfill.after))
    ids = [doc.data["id"] for doc in docs]
    changes: tuple[Change, ...] = account.call(lambda provider, access: provider.fetch(access, ids)) if ids else ()
    if len(docs) == ctx.page_size:
        return Work("backfill", at, changes, lambda current: _turned(current, at, after=refs.key(docs[-1].ref)))
    notice = Notice(types.COMPLETED, {"kind": "backfill", "listed": state.backfill.listed})
    return Work("backfill", at, changes, lambda current: _turned(current, at, done=True), (notice,))


def restarted(restarts: int, expired: PageExpired) -> int:
    """Count one more restart of a listing. Raises ``ProviderRefused`` where it never gets to its end."""
    if restarts >= MAX_RESTARTS:
        raise ProviderRefused("The provider keeps refusing its own page tokens.") from expired
    return restarts + 1


def ensure_progress(token: str | None, listing: Listing) -> None:
    """Refuse a listing that leads back to the page it came from: it would never end."""
    if listing.next is not None and listing.next == token:
        raise ProviderRefused("The provider names the same page of its listing again.")


def _past(state: MailboxState, listing: Listing, at: float) -> MailboxState:
    listed = state.backfill.listed + len(listing.ids)
    return _turned(state, at, token=listing.next, listing=listing.next is not None, listed=listed)


def _turned(state: MailboxState, at: float, **position: object) -> MailboxState:
    """The mailbox one page further; every page counts, so that a successor's name is never used twice."""
    backfill: Backfill = replace(state.backfill, page=state.backfill.page + 1, **position)  # type: ignore[arg-type]
    after = replace(state, backfill=backfill, last_synced_at=at, due_chain=None if backfill.done else at + STUCK_AFTER)
    return healthy(after, "backfill", at)


def _progress(state: MailboxState, listing: Listing) -> tuple[Notice, ...]:
    if (state.backfill.page + 1) % PROGRESS_EVERY:
        return ()
    listed = state.backfill.listed + len(listing.ids)
    return (Notice(types.PROGRESS, {"kind": "backfill", "listed": listed, "total": state.backfill.total}),)

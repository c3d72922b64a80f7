"""Backfill: walking the past, newest first, one page a step, beside live sync."""

from __future__ import annotations

from dataclasses import replace

from shared import queries, refs
from shared.errors import Paced, PageExpired, ProviderRefused
from shared.events import types
from shared.mail.apply import apply, finish
from shared.mail.context import Account, Context, Loaded, amend_mailbox
from shared.mail.fold import Notice, Work
from shared.mail.state import STUCK_AFTER, Backfill, MailboxState, healthy
from shared.mail.tasks import StepTask, continue_chain, page_of, portion
from shared.providers.base import Change, Listing, Upsert

MAX_RESTARTS = 5
"""So often a listing may start over because its page token is refused."""

PROGRESS_EVERY = 10
"""Pages between two ``sync.progress`` events."""

EARLY_AT_MOST = 1_000
"""So many messages that came along with their thread are stored with one page, and remembered until the listing names them."""

GIVE_WAY, GIVE_WAY_SECONDS = 12, 5.0
"""How often in a row, and for how long, a page is put off in favour of a live walk that has not ended."""


def walk(ctx: Context, loaded: Loaded, task: StepTask) -> bool:
    """Take one page of the past; False when it was spent."""
    state = loaded.state
    if state.backfill.done:
        return True
    if task.page != page_of(state, "backfill"):
        continue_chain(ctx.tasks, state, "backfill")  # our page is in: perhaps its successor never was enqueued
        return True
    give_way(ctx, loaded, task)
    account = Account(ctx, state, "background")
    if state.backfill.listing:
        work, optimistic = _listed(ctx, account, state, portion(ctx.page_size, task)), True
    else:
        work, optimistic = _swept(ctx, account, state, portion(ctx.page_size, task)), False
    applied = apply(ctx, loaded, work, lambda current: current.backfill.page, account, task.published, optimistic)
    if applied is None:
        return False
    after = applied.loaded.state
    finish(ctx, applied, task.published, None if after.backfill.done else "backfill")
    return True


def _listed(ctx: Context, account: Account, state: MailboxState, size: int) -> Work:
    """One page of the listing; a token that the provider refuses restarts it, which costs gets and loses nothing."""
    token = state.backfill.token
    try:
        listing = account.call(lambda provider, access: provider.list_ids(access, token, size))
    except PageExpired as expired:
        restarts, at = restarted(state.backfill.restarts, expired), ctx.clock.now()
        return Work("backfill", at, advance=lambda now: _turned(now, at, token=None, listed=0, restarts=restarts))
    ensure_progress(token, listing)
    changes, early = _fetched(account, listing, state.backfill.early)
    at = ctx.clock.now()
    return Work("backfill", at, changes, lambda current: _past(current, listing, early, at), _progress(state, listing))


def _fetched(account: Account, listing: Listing, early: tuple[str, ...]) -> tuple[tuple[Change, ...], tuple[str, ...]]:
    """Read what the page names and no earlier page has stored; answer it, and what is stored early from then on."""
    stored = set(early)
    named = dict(zip(listing.ids, listing.threads, strict=True)) if listing.threads else dict.fromkeys(listing.ids, "")
    unread = [id_ for id_ in named if id_ not in stored]
    threads = [named[id_] for id_ in unread] if listing.threads else []
    changes: tuple[Change, ...] = ()
    if unread:
        changes = account.call(lambda provider, access: provider.fetch(access, unread, threads))
    answers, others = changes[: len(unread)], changes[len(unread) :]
    newest = max((answer.message.received_at for answer in answers if isinstance(answer, Upsert)), default=0.0)
    # What is newer than the page was stored with an earlier one, or is live sync's: storing it again would be a conflict.
    ahead = [
        other
        for other in others
        if isinstance(other, Upsert) and other.id not in named and other.message.received_at <= newest
    ]
    if len(ahead) > EARLY_AT_MOST:
        # A thread of thousands is no reason for a step of thousands: those that will be named next are enough.
        ahead = sorted(ahead, key=lambda other: other.message.received_at)[-EARLY_AT_MOST:]
    still = [id_ for id_ in (*early, *(other.id for other in ahead)) if id_ not in named]
    # What is forgotten here is only read once more when the listing names it.
    return (*answers, *ahead), tuple(dict.fromkeys(still))[-EARLY_AT_MOST:]


def _swept(ctx: Context, account: Account, state: MailboxState, size: int) -> Work:
    """Once the listing has ended: read what live sync heard of and no listing named, page by page."""
    docs = ctx.store.query(queries.placeholders_of(state.id, size, state.backfill.after))
    ids = [doc.data["id"] for doc in docs]
    changes: tuple[Change, ...] = account.call(lambda provider, access: provider.fetch(access, ids)) if ids else ()
    at = ctx.clock.now()
    if len(docs) == size:
        return Work("backfill", at, changes, lambda current: _turned(current, at, after=refs.key(docs[-1].ref)))
    notice = Notice(types.COMPLETED, {"kind": "backfill", "listed": state.backfill.listed})
    return Work("backfill", at, changes, lambda current: _turned(current, at, done=True), (notice,))


class TokensRefused(ProviderRefused):
    """The provider keeps refusing its own page tokens."""


def from_the_top(state: MailboxState) -> MailboxState:
    """The mailbox with the listing that is under way to begin anew: a token that was refused may never be good again."""
    if state.resync is not None:
        return replace(state, resync=replace(state.resync, token=None))
    return replace(state, backfill=replace(state.backfill, token=None, listed=0))


def give_way(ctx: Context, loaded: Loaded, task: StepTask) -> None:
    """Let live sync go first while it has more to read than its share of the quota allows. Raises ``Paced``.

    Only here, between two pages, is it known that the background spends nothing, so only here it can be lent.
    """
    state = loaded.state
    provider = ctx.providers.get(state.provider)
    if provider is None or provider.limits is None or not state.more or task.waits >= GIVE_WAY:
        return
    until = ctx.clock.now() + GIVE_WAY_SECONDS

    def lent(current: MailboxState) -> MailboxState:
        if current.epoch != state.epoch or not current.more or current.quota.lent_until >= until:
            return current
        return replace(current, quota=replace(current.quota, lent_until=until))

    amend_mailbox(ctx, state.id, lent, loaded)
    raise Paced("Live sync has more to read.", retry_after=GIVE_WAY_SECONDS)


def restarted(restarts: int, expired: PageExpired) -> int:
    """Count one more restart of a listing. Raises ``TokensRefused`` where it never gets to its end."""
    if restarts >= MAX_RESTARTS:
        raise TokensRefused from expired
    return restarts + 1


def ensure_progress(token: str | None, listing: Listing) -> None:
    """Refuse a listing that leads back to the page it came from: it would never end."""
    if listing.next is not None and listing.next == token:
        raise ProviderRefused("The provider names the same page of its listing again.")


def _past(state: MailboxState, listing: Listing, early: tuple[str, ...], at: float) -> MailboxState:
    listed = state.backfill.listed + len(listing.ids)
    ended = listing.next is None
    return _turned(state, at, token=listing.next, listing=not ended, listed=listed, early=() if ended else early)


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

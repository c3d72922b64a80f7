"""The first step of a connection: whose mailbox it is, from where on it is followed, and both chains set going."""

from __future__ import annotations

from dataclasses import replace

from shared import refs
from shared.errors import ProviderRefused
from shared.events import types
from shared.mail.apply import apply, finish
from shared.mail.context import Account, Context, Loaded
from shared.mail.fold import Notice, Work
from shared.mail.state import STUCK_AFTER, MailboxState, healthy
from shared.mail.tasks import StepTask, continue_chain, enqueue_once
from shared.ports import Create, Doc, Update, Write
from shared.providers.base import Profile

MAILBOXES_PER_ADDRESS = 100


def connect(ctx: Context, loaded: Loaded, task: StepTask) -> bool:
    """Anchor a new mailbox, or take an old one up where its cursor stands; False when it has to be tried again."""
    state = loaded.state
    if state.connected and state.status != "connecting":
        _go(ctx, state)  # our commit is in: perhaps the chains never were enqueued
        return True
    account = Account(ctx, state)
    at = ctx.clock.now()  # before the anchor is taken: a mail received from here on is live, whichever chain finds it
    profile = account.call(lambda provider, token: provider.profile(token))
    address = profile.address.lower()
    if state.address is not None and state.address != address:
        raise ProviderRefused("These tokens belong to another account than the mailbox; connect with the right one.")
    route = refs.route(state.provider, address)
    doc = ctx.store.get([route]).get(route)
    work = Work(
        "notice",
        at,
        advance=lambda current: _connected(current, profile, address, at),
        notices=() if state.connected else (Notice(types.CONNECTED, {"address": address}),),
        writes=_routed(route, doc, state.id),
    )
    # The route may be written by another user's mailbox of the same address: then read everything again.
    applied = apply(ctx, loaded, work, lambda current: current.rev)
    if applied is None:
        return False
    finish(ctx, applied, task.published)
    _go(ctx, applied.loaded.state)
    return True


def _connected(state: MailboxState, profile: Profile, address: str, at: float) -> MailboxState:
    state = replace(state, connected=True, address=address, due_chain=None, last_synced_at=at)
    if state.cursor is None:
        state = replace(
            state,
            anchor=profile.cursor,
            cursor=profile.cursor,
            cursor_at=at,
            followed_since=at,
            backfill=replace(state.backfill, total=profile.total),
        )
    if not state.backfill.done or state.resync is not None:
        state = replace(state, due_chain=at + STUCK_AFTER)
    return healthy(state)


def _go(ctx: Context, state: MailboxState) -> None:
    enqueue_once(ctx.tasks, state, "channel", "connect")
    continue_chain(ctx.tasks, state, "live")
    if not state.backfill.done:
        continue_chain(ctx.tasks, state, "backfill")
    if state.resync is not None:
        continue_chain(ctx.tasks, state, "resync")
    if state.due_gaps is not None:
        enqueue_once(ctx.tasks, state, "gaps", f"{state.due_gaps:.0f}", state.due_gaps)


def _routed(ref: str, doc: Doc | None, mailbox: str) -> tuple[Write, ...]:
    if doc is None:
        return (Create(ref, {"mailboxes": [mailbox]}),)
    mailboxes = doc.data["mailboxes"]
    if mailbox in mailboxes:
        return ()
    if len(mailboxes) >= MAILBOXES_PER_ADDRESS:
        raise ProviderRefused("Too many users have connected this address.")
    return (Update(ref, {"mailboxes": [*mailboxes, mailbox]}, doc.version),)

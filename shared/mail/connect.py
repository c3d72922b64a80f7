"""The first step of a connection: whose mailbox it is, from where on it is followed, and both chains set going."""

from __future__ import annotations

from dataclasses import replace

from shared import refs
from shared.errors import BrainstemError, ProviderRefused, ReauthRequired
from shared.events import types
from shared.mail.apply import anew, apply, finish
from shared.mail.context import Account, Context, Loaded
from shared.mail.fold import Notice, Work
from shared.mail.state import STUCK_AFTER, MailboxState, healthy, troubled
from shared.mail.tasks import StepTask, continue_chain, enqueue_gaps, enqueue_once
from shared.ports import Create, Delete, Doc, Update, Write
from shared.providers.base import Profile

MAILBOXES_PER_ADDRESS = 100
CHANNEL_DEADLINE = 600.0


def connect(ctx: Context, loaded: Loaded, task: StepTask) -> bool:
    """Anchor a new mailbox, or take an old one up where its cursor stands; False when it has to be tried again."""
    state = loaded.state
    if state.verified:
        _go(ctx, state)  # our commit is in: perhaps the chains never were enqueued
        return True
    account = Account(ctx, state if state.candidate is None else replace(state, grant_id=state.candidate))
    at = ctx.clock.now()  # before the anchor is taken: a mail received from here on is live, whichever chain finds it
    try:
        profile = account.call(lambda provider, access: provider.profile(access))
        if state.candidate is not None:  # a grant that was verified before opens what it did, even under a new address
            ensure_same_account(state, profile)
    except (ProviderRefused, ReauthRequired) as refused:
        if state.candidate is None or state.address is None:
            raise
        return _keep_the_old_grant(ctx, loaded, refused, at)
    if state.candidate is not None:
        ctx.grants.inherit(state.uid, state.candidate, state.grant_id)
    address = profile.address.lower()
    route = refs.route(state.provider, address)
    old = route if state.address is None else refs.route(state.provider, state.address)
    routes = ctx.store.get([route, old])
    work = Work(
        "notice",
        at,
        advance=lambda current: _connected(current, profile, address, at),
        notices=() if state.connected else (Notice(types.CONNECTED, {"address": address}),),
        writes=(
            *_routed(route, routes.get(route), state.id),
            *(unrouted(routes.get(old), state.id) if old != route else ()),
            *_replaced(state),
        ),
    )
    applied = apply(ctx, loaded, work, anew, account)
    if applied is None:
        return False
    finish(ctx, applied, task.published)
    _go(ctx, applied.loaded.state)
    return True


def _connected(state: MailboxState, profile: Profile, address: str, at: float) -> MailboxState:
    state = replace(
        state,
        connected=True,
        verified=True,
        grant_id=state.candidate or state.grant_id,
        candidate=None,
        address=address,
        folders=profile.folders,
        due_chain=None,
        due_channel=at + CHANNEL_DEADLINE,
        last_synced_at=at,
    )
    if state.cursor is None:
        state = replace(
            state,
            anchor=profile.cursor,
            cursor=profile.cursor,
            cursor_at=at,
            followed_since=at,
            caught_up_at=at,
            backfill=replace(state.backfill, total=profile.total),
        )
    if not state.backfill.done or state.resync is not None:
        state = replace(state, due_chain=at + STUCK_AFTER)
    return healthy(state, "connect", at)


def ensure_same_account(state: MailboxState, profile: Profile) -> None:
    """Raise ``ProviderRefused`` when a grant opens another account than the one the mailbox has followed."""
    if state.address is not None and state.address != profile.address.lower():
        raise ProviderRefused("These tokens belong to another account than the mailbox; connect with the right one.")


def _keep_the_old_grant(ctx: Context, loaded: Loaded, refused: BrainstemError, at: float) -> bool:
    """New tokens that do not open the account change nothing: they go, it is said why, and the old grant goes on.

    False: the step has to be taken again, with the grant that the mailbox had.
    """

    def kept(current: MailboxState) -> MailboxState:
        return troubled(replace(current, candidate=None, due_chain=at + STUCK_AFTER), "tokens", refused.message)

    gone = Delete(refs.grant(loaded.state.uid, str(loaded.state.candidate)))
    apply(ctx, loaded, Work("notice", at, advance=kept, writes=(gone,)), anew)
    return False


def _replaced(state: MailboxState) -> tuple[Write, ...]:
    """The grant that a verified candidate takes the place of goes with it."""
    return () if state.candidate is None else (Delete(refs.grant(state.uid, state.grant_id)),)


def _go(ctx: Context, state: MailboxState) -> None:
    enqueue_once(ctx.tasks, state, "channel", "connect")
    continue_chain(ctx.tasks, state, "live")
    if not state.backfill.done and state.cursor:  # where the folders have yet to be read, live sync does that first
        continue_chain(ctx.tasks, state, "backfill")
    if state.resync is not None:
        continue_chain(ctx.tasks, state, "resync")
    if state.due_gaps is not None:
        enqueue_gaps(ctx.tasks, state, state.due_gaps)


def _routed(ref: str, doc: Doc | None, mailbox: str) -> tuple[Write, ...]:
    if doc is None:
        return (Create(ref, {"mailboxes": [mailbox]}),)
    mailboxes = doc.data["mailboxes"]
    if mailbox in mailboxes:
        return ()
    if len(mailboxes) >= MAILBOXES_PER_ADDRESS:
        raise ProviderRefused("Too many users have connected this address.")
    return (Update(ref, {"mailboxes": [*mailboxes, mailbox]}, doc.version),)


def unrouted(doc: Doc | None, mailbox: str) -> tuple[Write, ...]:
    """What takes a mailbox out of the document of an address that it no longer follows."""
    if doc is None or mailbox not in doc.data["mailboxes"]:
        return ()
    others = [name for name in doc.data["mailboxes"] if name != mailbox]
    return (Update(doc.ref, {"mailboxes": others}, doc.version) if others else Delete(doc.ref, doc.version),)

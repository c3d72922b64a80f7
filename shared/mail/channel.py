"""Channels: opening, renewing, replacing and stopping a provider's push arrangement.

A channel without an id is the account's: opening it again renews it, and it rings by the account's address. One with an id
rings by that id, which a document of its own leads to the mailboxes. Both are written in one commit with the mailbox, so a
channel that rings for us is on record. Where it has to be replaced the new one is opened and written down first, then the
mailbox is rung for what neither may have told of, and only then is the old one closed; by its id the mailbox can be rung
until a later replacement. Mailboxes that follow one account share its channel.

A channel that was opened for a mailbox which has been disconnected meanwhile is stopped again, here when the commit fails,
and by the next doorbell, or the adapter's next opening, where even that was cut short.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import replace

from shared import queries, refs
from shared.cas import ATTEMPTS
from shared.errors import (
    Busy,
    ConfigurationError,
    Conflict,
    ProviderError,
    ProviderRefused,
    ProviderUnavailable,
    ReauthRequired,
    StoreError,
    Unknown,
)
from shared.mail.connect import unrouted
from shared.mail.context import Account, Context, Loaded, amend_mailbox, load, with_rev
from shared.mail.doorbell import digest
from shared.mail.state import ChannelState, MailboxState, difference, healthy, read_state, troubled
from shared.mail.tasks import StepTask, ring
from shared.observability import logs
from shared.ports import Create, Doc, Update, Write
from shared.providers.base import Channel

RENEW_AFTER = 86_400.0
"""A channel without an id is renewed so often at least: "recommend once per day" (docs/gmail.md, 5)."""

LIFETIME = 7 * 86_400.0
"""So long a channel lives at most that nobody could write down (docs/gmail.md, 5; docs/graph.md, 7)."""

RETRY_AFTER = 600.0
JITTER = 3_600
SECRET_BYTES = 32
IDS_KEPT = 3
"""By the ids of so many channels, the present one and those before it, a mailbox can be rung."""

_LOG = logs.named(__name__)


def renew(ctx: Context, loaded: Loaded, _task: StepTask) -> bool:
    """Open the mailbox's channel, prolong or replace it; without one configured the mailbox is polled instead."""
    account = Account(ctx, loaded.state)
    if loaded.state.channel is not None and loaded.state.channel.replaces is not None:
        _settle(ctx, account, loaded.state)  # a step before this one was cut short
        again = load(ctx, loaded.state.id)
        if again is None or not again.state.active or again.state.epoch != loaded.state.epoch:
            return True
        loaded = again
    state = loaded.state
    at = ctx.clock.now()
    others = () if state.channel is not None and not state.channel.id else _others(ctx, state)
    current = _current(state, others)
    secret = base64.urlsafe_b64encode(ctx.clock.entropy(SECRET_BYTES)).decode()
    try:
        channel = account.call(lambda provider, access: provider.open_channel(access, current, secret))
    except ProviderRefused as refused:
        _refused(ctx, loaded, at, refused.message)
        return True
    except ProviderUnavailable:
        amend_mailbox(ctx, state.id, lambda current: _own(current, state, _without_an_ended_one(current, at)), loaded)
        raise
    if channel is None:
        amend_mailbox(ctx, state.id, lambda current: _own(current, state, _unchannelled(current, at)), loaded)
        return True
    opened = ChannelState(channel.id, channel.expires_at, _renew_at(state, channel, at))
    if channel.id and channel.id != _id(state):
        return _put_in_place(ctx, loaded, account, opened, digest(secret), others)

    def decide(current: MailboxState) -> MailboxState:
        if current.channel == opened:
            return current
        renewed = healthy(replace(current, channel=opened, due_channel=opened.renew_at), "channel", at)
        return _own(current, state, account.charged(renewed))

    after = amend_mailbox(ctx, state.id, decide, loaded)
    if after is None or not after.active or (channel.id and _id(after) != channel.id):
        _close(ctx, account, state, channel)
    return True


def stop(ctx: Context, loaded: Loaded) -> None:
    """Stop the channel of a mailbox that is no longer followed; also when none is on record, for it may ring.

    A grant that no longer works cannot stop it: then it ends by itself, within its lifetime.
    """
    state = loaded.state
    # One that was opened and never written down ends within its lifetime after the time at which it was due.
    channel = state.channel or ChannelState("", (state.due_channel or 0.0) + LIFETIME, 0.0)
    # Last whatever else of ours leads here: of one that was opened, and whose answer was garbled, nobody knows the id.
    for id_ in dict.fromkeys((channel.replaces or channel.id, channel.id, "")):
        try:
            _close(ctx, Account(ctx, state), state, Channel(id_, channel.expires_at))
        except (ProviderError, ConfigurationError) as error:
            if not isinstance(error, ReauthRequired) and ctx.clock.now() < channel.expires_at:
                raise
    amend_mailbox(ctx, state.id, lambda current: _stopped(current, channel.id, ctx.clock.now()), loaded)


def unrouted_channels(ctx: Context, state: MailboxState) -> tuple[Write, ...]:
    """What takes a mailbox out of the documents of all channels that it could be rung by."""
    return _unrouted(ctx, state, state.channel_ids)


def _put_in_place(
    ctx: Context, loaded: Loaded, account: Account, opened: ChannelState, secret: str, others: Sequence[MailboxState]
) -> bool:
    """Write down a channel that the mailbox did not have, then take leave of the one before.

    False: it has been closed again, because the mailbox is no longer the one that it was opened for, or has got another
    channel meanwhile, which our opening may have removed: it has to be looked at again.
    """
    try:
        after = _written(ctx, loaded, account, opened, secret, others)
    except StoreError:
        # Should it be on record all the same, the step that comes again finds it gone and opens another.
        _close(ctx, account, loaded.state, Channel(opened.id, opened.expires_at))
        raise
    if after is None:
        _close(ctx, account, loaded.state, Channel(opened.id, opened.expires_at))
        return False
    _settle(ctx, account, after)
    return True


def _written(
    ctx: Context, loaded: Loaded, account: Account, opened: ChannelState, secret: str, others: Sequence[MailboxState]
) -> MailboxState | None:
    """The mailbox with its new channel; None where it is no longer the one that the channel was opened for."""
    seen = loaded.state
    before = _id(seen)
    at = ctx.clock.now()
    ref = refs.route(seen.provider, opened.id)
    for _ in range(ATTEMPTS):
        state = loaded.state
        if state.active and _id(state) == opened.id:
            return state  # our own commit, whose answer was lost
        if _id(state) != before:
            return None
        ids = (*(id_ for id_ in state.channel_ids if id_ != opened.id), opened.id)
        wanted = replace(
            state,
            channel=replace(opened, replaces=before),
            channel_ids=ids[-IDS_KEPT:],
            due_channel=opened.renew_at,
        )
        after = _own(state, seen, account.charged(healthy(wanted, "channel", at)))
        if after is state:
            return None
        writes = (
            Update(state.ref, difference(state, after), loaded.version),
            *_routed(ref, ctx.store.get([ref]).get(ref), secret, [state.id, *(other.id for other in others)]),
            *_unrouted(ctx, state, ids[:-IDS_KEPT]),
        )
        try:
            ctx.store.commit(writes)
        except (Conflict, Unknown):
            current = load(ctx, state.id)
            if current is None:
                return None
            loaded = current
            continue
        return with_rev(state, after)
    raise Busy("The mailbox kept changing while its channel was written down.")


def _settle(ctx: Context, account: Account, state: MailboxState) -> None:
    """What is left to do once a channel has taken another's place: look at all there is, then close the other."""
    if state.channel is None or state.channel.replaces is None:
        return
    ring(ctx.tasks, ctx.clock, state.id)
    if state.channel.replaces:
        try:
            _close(ctx, account, state, Channel(state.channel.replaces, state.channel.expires_at))
        except ProviderRefused as error:  # it ends by itself, and the adapter's next opening may remove it
            _LOG.warning(
                "channel_left_open", "A channel that was replaced could not be closed.", error, mailbox_id=state.id
            )
    id_ = state.channel.id

    def decide(current: MailboxState) -> MailboxState:
        if current.channel is None or current.channel.id != id_ or current.channel.replaces is None:
            return current
        return _own(current, state, replace(current, channel=replace(current.channel, replaces=None)))

    amend_mailbox(ctx, state.id, decide)


def _close(ctx: Context, account: Account, state: MailboxState, channel: Channel) -> None:
    """Close a channel, unless another mailbox is served by it."""
    if not _shared(ctx, state, channel.id):
        account.call(lambda provider, access: provider.close_channel(access, channel))


def _renew_at(state: MailboxState, channel: Channel, at: float) -> float:
    """Half of its life at the latest, not all at the same time; and daily where nobody is told when a channel is gone."""
    half = (channel.expires_at - at) / 2
    early = min(float(queries.spread(state.id, JITTER)), half / 2)
    return at + half - early if channel.id else min(at + RENEW_AFTER - queries.spread(state.id, JITTER), at + half)


def _id(state: MailboxState) -> str:
    """The id of the mailbox's channel; '' where there is none or it has none."""
    return state.channel.id if state.channel is not None else ""


def _current(state: MailboxState, others: Sequence[MailboxState]) -> str:
    """The id of the account's channel: of all that its mailboxes have on record, the one that lives longest."""
    channels = [box.channel for box in (state, *others) if box.channel is not None and box.channel.id]
    return max(channels, key=lambda channel: channel.expires_at).id if channels else ""


def _routed(ref: str, doc: Doc | None, secret: str, mailboxes: Sequence[str]) -> tuple[Write, ...]:
    """What makes a channel ring mailboxes; the secret of one that is routed already is another's, and stays."""
    if doc is None:
        return (Create(ref, {"mailboxes": list(mailboxes), "secret": secret}),)
    known: list[str] = doc.data["mailboxes"]
    if all(mailbox in known for mailbox in mailboxes):
        return ()
    return (Update(ref, {"mailboxes": list(dict.fromkeys((*known, *mailboxes)))}, doc.version),)


def _unrouted(ctx: Context, state: MailboxState, ids: Sequence[str]) -> tuple[Write, ...]:
    routes = [refs.route(state.provider, id_) for id_ in ids]
    found = ctx.store.get(routes) if routes else {}
    return tuple(write for route in routes for write in unrouted(found.get(route), state.id))


def _own(current: MailboxState, seen: MailboxState, wanted: MailboxState) -> MailboxState:
    """What a step wants to write, if the mailbox is still the one that it was sent to."""
    return wanted if current.active and current.epoch == seen.epoch else current


def _unchannelled(state: MailboxState, at: float) -> MailboxState:
    return healthy(replace(state, channel=None, due_channel=None), "channel", at)


def _without_an_ended_one(state: MailboxState, at: float) -> MailboxState:
    """The mailbox, to be polled fast where its channel has ended."""
    return replace(state, channel=None) if state.channel is not None and state.channel.expires_at <= at else state


def _stopped(state: MailboxState, channel_id: str, at: float) -> MailboxState:
    if state.active:  # connected again meanwhile: we may have stopped the channel that it goes by now
        return replace(state, due_channel=at) if channel_id in ("", _id(state)) else state
    return replace(state, channel=None, due_channel=None, due_chain=state.due_chain if state.erasing else None)


def _shared(ctx: Context, state: MailboxState, channel_id: str) -> bool:
    """Whether a channel still serves another user's mailbox; one without an id serves all that follow the account."""
    channels = [other.channel for other in _others(ctx, state)]
    return any(not channel_id or (channel is not None and channel.id == channel_id) for channel in channels)


def _others(ctx: Context, state: MailboxState) -> tuple[MailboxState, ...]:
    """The other mailboxes that follow the same account now."""
    if state.address is None:
        return ()
    route = refs.route(state.provider, state.address)
    doc = ctx.store.get([route]).get(route)
    names = [name for name in doc.data["mailboxes"] if name != state.id] if doc else []
    found = (
        [read_state(other) for other in ctx.store.get([refs.stream(name) for name in names]).values()] if names else []
    )
    return tuple(other for other in found if other.active)


def _refused(ctx: Context, loaded: Loaded, at: float, reason: str) -> None:
    """The provider will not ring: say so, poll fast once the old channel has ended, ask again later."""

    def decide(current: MailboxState) -> MailboxState:
        waiting = replace(_without_an_ended_one(current, at), due_channel=at + RETRY_AFTER)
        return _own(current, loaded.state, troubled(waiting, "channel", f"No push channel: {reason}"))

    amend_mailbox(ctx, loaded.state.id, decide, loaded)

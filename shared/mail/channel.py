"""Channels: opening, renewing and stopping a provider's push arrangement.

A channel that was opened for a mailbox which has been disconnected meanwhile is stopped again, here when the commit fails,
and by the next doorbell where even that was cut short.
"""

from __future__ import annotations

from dataclasses import replace

from shared import queries, refs
from shared.errors import ProviderError, ProviderRefused, ProviderUnavailable
from shared.mail.context import Account, Context, Loaded, amend_mailbox
from shared.mail.state import ChannelState, MailboxState, healthy, read_state, troubled
from shared.mail.tasks import StepTask
from shared.providers.base import Channel

RENEW_AFTER = 86_400.0
"""A watch lives seven days; "recommend once per day" (docs/gmail.md, 5)."""

LIFETIME = 7 * 86_400.0
"""So long a channel lives at most that nobody could write down (docs/gmail.md, 5)."""

RETRY_AFTER = 600.0
JITTER = 3_600


def renew(ctx: Context, loaded: Loaded, _task: StepTask) -> bool:
    """Open the mailbox's channel or prolong it; without one configured the mailbox is polled instead."""
    state = loaded.state
    account = Account(ctx, state)
    at = ctx.clock.now()
    try:
        channel = account.call(lambda provider, access: provider.open_channel(access))
    except ProviderRefused as refused:
        _refused(ctx, loaded, at, refused.message)
        return True
    except ProviderUnavailable:
        amend_mailbox(ctx, state.id, lambda current: _own(current, state, _without_an_ended_one(current, at)), loaded)
        raise
    if channel is None:
        amend_mailbox(ctx, state.id, lambda current: _own(current, state, _unchannelled(current, at)), loaded)
        return True
    renew_at = min(at + RENEW_AFTER - queries.spread(state.id, JITTER), at + (channel.expires_at - at) / 2)
    opened = ChannelState(channel.id, channel.expires_at, renew_at)

    def decide(current: MailboxState) -> MailboxState:
        if current.channel == opened:
            return current
        renewed = healthy(replace(current, channel=opened, due_channel=renew_at), "channel", at)
        return _own(current, state, account.charged(renewed))

    after = amend_mailbox(ctx, state.id, decide, loaded)
    replaced = after is not None and after.active and (channel.id == "" or after.channel == opened)
    if not replaced and not _shared(ctx, state, channel.id):
        account.call(lambda provider, access: provider.close_channel(access, channel))
    return True


def stop(ctx: Context, loaded: Loaded) -> None:
    """Stop the channel of a mailbox that is no longer followed; also when none is on record, for it may ring.

    A grant that no longer works cannot stop it: then it ends by itself, within its lifetime.
    """
    state = loaded.state
    # One that was opened and never written down ends within its lifetime after the time at which it was due.
    channel = state.channel or ChannelState("", (state.due_channel or 0.0) + LIFETIME, 0.0)
    if not _shared(ctx, state, channel.id):
        try:
            Account(ctx, state).call(
                lambda provider, access: provider.close_channel(access, Channel(channel.id, channel.expires_at))
            )
        except ProviderError as error:
            if error.retry and ctx.clock.now() < channel.expires_at:
                raise
    amend_mailbox(ctx, state.id, lambda current: _stopped(current, channel.id, ctx.clock.now()), loaded)


def _own(current: MailboxState, seen: MailboxState, wanted: MailboxState) -> MailboxState:
    """What a step wants to write, if the mailbox is still the one that it was sent to."""
    return wanted if current.active and current.epoch == seen.epoch else current


def _unchannelled(state: MailboxState, at: float) -> MailboxState:
    return healthy(replace(state, channel=None, due_channel=None), "channel", at)


def _without_an_ended_one(state: MailboxState, at: float) -> MailboxState:
    """The mailbox, to be polled fast where its channel has ended."""
    return replace(state, channel=None) if state.channel is not None and state.channel.expires_at <= at else state


def _stopped(state: MailboxState, channel_id: str, at: float) -> MailboxState:
    if state.active:  # connected again meanwhile: where the account has but one channel, we have stopped the new one
        return state if channel_id else replace(state, due_channel=at)
    return replace(state, channel=None, due_channel=None, due_chain=state.due_chain if state.erasing else None)


def _shared(ctx: Context, state: MailboxState, channel_id: str) -> bool:
    """Whether a channel that is the account's, and not a mailbox's own, still serves another user's mailbox."""
    if channel_id or state.address is None:
        return False
    route = refs.route(state.provider, state.address)
    doc = ctx.store.get([route]).get(route)
    others = [name for name in doc.data["mailboxes"] if name != state.id] if doc else []
    return any(read_state(other).active for other in ctx.store.get([refs.stream(name) for name in others]).values())


def _refused(ctx: Context, loaded: Loaded, at: float, reason: str) -> None:
    """The provider will not ring: say so, poll fast once the old channel has ended, ask again later."""

    def decide(current: MailboxState) -> MailboxState:
        waiting = replace(_without_an_ended_one(current, at), due_channel=at + RETRY_AFTER)
        return _own(current, loaded.state, troubled(waiting, "channel", f"No push channel: {reason}"))

    amend_mailbox(ctx, loaded.state.id, decide, loaded)

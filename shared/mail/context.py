"""What every step works with: the ports, the grants, the providers; and a mailbox as it was read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from shared import refs
from shared.cas import amend
from shared.errors import ConfigurationError, ProviderError, ProviderUnavailable, ReauthRequired
from shared.mail.quota import LaneName, Pace
from shared.mail.schedule import Schedule
from shared.mail.state import MailboxState, difference, document, read_state, sent
from shared.ports import Bus, Clock, Doc, Store, Tasks
from shared.providers.base import Access, MailProvider
from shared.vault.grants import Grants

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Context:
    """The hands of the engine; ``page_size`` is in messages, ``consumers`` names those of our own that follow streams.

    ``schedule`` is what steps and answers need to know of it; the tick is given its own.
    """

    store: Store
    bus: Bus
    tasks: Tasks
    clock: Clock
    grants: Grants
    providers: Mapping[str, MailProvider]
    page_size: int = 100
    consumers: tuple[str, ...] = ()
    schedule: Schedule = field(default_factory=Schedule)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A mailbox as it was read or last written, and the version to expect."""

    state: MailboxState
    version: str


class Account:
    """One mailbox's provider, called with its grant's token; a token that is refused is refreshed once."""

    def __init__(self, ctx: Context, state: MailboxState, lane: LaneName = "live") -> None:
        provider = ctx.providers.get(state.provider)
        if provider is None:
            raise ConfigurationError(f"No adapter is configured for {state.provider}.")
        self.provider: MailProvider = provider
        self._grants = ctx.grants
        self._state = state
        busy = state.catching_up or state.audit is not None
        alone = lane == "live" and (not busy or state.quota.lent_until > ctx.clock.now())
        self._pace = Pace(ctx.clock, provider.limits, state.quota, lane, alone)

    def call(self, ask: Callable[[MailProvider, Access], Answer]) -> Answer:
        """Ask the provider with a fresh token. Raises ``ReauthRequired`` when the grant no longer works, provider errors."""
        try:
            return self._call(ask)
        except ProviderError as error:
            error.account = self  # what was asked in vain was asked all the same
            raise

    def charged(self, state: MailboxState) -> MailboxState:
        """The mailbox once it is charged with what was asked of its provider through this account."""
        return replace(state, quota=self._pace.charged(state.quota)) if self._pace.spent else state

    def _call(self, ask: Callable[[MailProvider, Access], Answer]) -> Answer:
        token = self._token(None)
        try:
            return ask(self.provider, self._access(token))
        except ReauthRequired:
            token = self._token(token)
        try:
            return ask(self.provider, self._access(token))
        except ReauthRequired as refused:
            # Whether the grant is dead is for the token endpoint to say, and the next attempt asks it: in between tokens
            # may have been withdrawn or the grant replaced.
            raise ProviderUnavailable("The provider refuses a token that it has only just given.") from refused

    def _access(self, token: str) -> Access:
        return Access(token, self._pace, self._state.address or "", self._state.folders)

    def _token(self, rejected: str | None) -> str:
        state = self._state
        return self._grants.access_token(
            state.uid, state.grant_id, self.provider.refresh, rejected=rejected, epoch=state.epoch
        )


def load(ctx: Context, mailbox: str) -> Loaded | None:
    """Read a mailbox; None when it is gone."""
    ref = refs.stream(mailbox)
    doc = ctx.store.get([ref]).get(ref)
    return None if doc is None else Loaded(read_state(doc), doc.version)


def amend_mailbox(
    ctx: Context, mailbox: str, decide: Callable[[MailboxState], MailboxState], known: Loaded | None = None
) -> MailboxState | None:
    """Change a mailbox outside of a page; ``decide`` answers its argument where there is nothing to do."""

    def masked(doc: Doc) -> dict[str, object] | None:
        before = read_state(doc)
        after = decide(before)
        return None if after == before else difference(before, after)

    doc = Doc(known.state.ref, document(known.state), known.version) if known else None
    result = amend(ctx.store, refs.stream(mailbox), masked, doc)
    return None if result is None else read_state(result)


def mark_sent(ctx: Context, loaded: Loaded, mark: int) -> None:
    """Record in a write of its own that the bus has everything up to ``mark``."""
    amend_mailbox(ctx, loaded.state.id, lambda state: sent(state, mark) if mark > state.published else state, loaded)


def with_rev(before: MailboxState, after: MailboxState) -> MailboxState:
    """The state as it stands once ``difference(before, after)`` is written."""
    return replace(after, rev=before.rev + 1)

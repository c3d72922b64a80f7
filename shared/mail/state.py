"""The state of one mailbox: one document, under compare-and-set, that every commit of the mailbox moves.

::

    connecting -> backfilling -> live <-> rate_limited
         ^             |  ^        |
         |             v  |        v
    disconnected    resyncing <----+      any -> reauth_required (person must reconnect)
                                          any -> error           (one of its chains is stopped; tried again every hour)

Which chains run beside each other: *live* always, from the anchor on; *backfill* or *resync* until done; *gaps* as due.
Over 300 lines, because all that one document holds, and what follows from it, belongs together.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any

import msgspec

from shared import queries, refs
from shared.conversion import convertible
from shared.mail.findings import Audit, Audited
from shared.mail.quota import Quota
from shared.ports import Data, Doc

STUCK_AFTER = 600.0
"""Seconds without a commit after which an unfinished chain is taken for dead and rescued."""

ERROR_RECHECK = 3600.0
CONNECT_DEADLINE = 120.0
OUTBOX_DEADLINE = 60.0


@dataclass(frozen=True, slots=True)
class Backfill:
    """Where the walk through the past stands.

    ``listing`` until the provider's listing has ended, then the placeholders that live sync left are swept (``after``).
    ``early`` are messages that are stored although the listing has yet to name them: they came with others of their thread.
    """

    page: int = 0
    token: str | None = None
    listing: bool = True
    after: str | None = None
    restarts: int = 0
    done: bool = False
    listed: int = 0
    total: int | None = None
    early: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Walk:
    """Live sync's walk over the folders of a mailbox, where changes are told of by folder.

    ``after`` is the place in the order of the folders that it has come to, None before the folders themselves have been
    read; ``again`` asks for another walk behind this one; ``stay`` counts the steps that it has not come further;
    at ``retry_at`` a folder can be read again that it has passed over; what is stored at the mailbox's revision ``since`` or
    before was there when it began.
    """

    begun_at: float
    after: str | None = None
    again: bool = False
    stay: int = 0
    retry_at: float | None = None
    since: int = 0


@dataclass(frozen=True, slots=True)
class Resync:
    """Where the recovery from an expired cursor stands: phases ``list``, ``labels``, ``sweep``.

    ``floor`` is the cursor of its anchor: what live sync has stored above it is newer than anything listed. Where changes are
    told of by folder there are no phase ``labels`` and no floor.
    """

    run: int
    floor: str
    page: int = 0
    phase: str = "list"
    token: str | None = None
    labels: tuple[str, ...] = ()
    listed: int = 0
    restarts: int = 0
    after: str | None = None


@dataclass(frozen=True, slots=True)
class ChannelState:
    """The open push arrangement: the provider's id, its end, and when to renew it.

    ``replaces`` is the id of the one whose place it took ('' where there was none) until that one has been closed and the
    mailbox been rung for what neither may have told of; then None.
    """

    id: str
    expires_at: float
    renew_at: float
    replaces: str | None = None


@dataclass(frozen=True, slots=True)
class Trouble:
    """What keeps one chain from going on: the reason, how often in a row, and whether it is stopped for it."""

    reason: str
    count: int = 1
    stopped: bool = False


@convertible
@dataclass(frozen=True, slots=True)
class MailboxState:
    """Everything about a mailbox but its messages. Times are seconds since the epoch.

    ``followed_since`` is the time of the first anchor. ``pages`` counts the committed pages of live sync, ``more`` says
    that its walk has not ended; ``rescue`` counts chains taken for dead. ``ahead`` is a cursor that an empty look answered,
    to be moved to once what it covers has had time to appear.

    Until ``verified`` nobody knows that the grant belongs to this mailbox's account, and only connecting may call the
    provider; ``candidate`` is a grant that takes the place of ``grant_id`` if it does. ``troubles`` are by chain, so that
    one chain's success hides no other's trouble. Before ``resume_at`` the provider is not called.

    Where changes are told of by folder, ``cursor`` is that of the folders themselves ('' until they have been read), each
    folder has one of its own in a document below the mailbox, ``walk`` is where the walk over them stands, and ``folders``
    are those that have a well-known name, by their id. ``unwalked`` are messages that were stored because they were read by
    their ids, and which no folder's changes have named since, with the mailbox's revision then: nothing need ever tell that
    one of them has gone (docs/graph.md, 5).

    ``caught_up_at`` is when a look that was written down last reached the provider's end; empty looks are not written down.
    ``push_gaps`` counts looks that found what a push should have told of. ``audits`` counts the audits that have ended, the
    last of them at ``audit_ended_at``, ``audited`` is the result of the last that came to its end.

    ``channel_ids`` are the ids of the channel and of earlier ones by which the mailbox can still be rung, the newest last.

    Each ``due_*`` is a deadline, None where there is none: of connecting, backfill or resync (``chain``), of a live walk, of
    the channel's renewal, of the next gap, of the outbox, of an audit that has begun or was refused. When the next audit
    begins is a matter of the schedule.
    """

    id: str
    uid: str
    provider: str
    slot: str
    grant_id: str
    created_at: float
    updated_at: float
    rev: int = 0
    epoch: int = 0
    status: str = "connecting"
    connected: bool = False
    verified: bool = False
    candidate: str | None = None
    erasing: bool = False
    address: str | None = None
    anchor: str | None = None
    followed_since: float | None = None
    cursor: str | None = None
    cursor_at: float = 0.0
    ahead: str | None = None
    ahead_at: float = 0.0
    pages: int = 0
    more: bool = False
    walk: Walk | None = None
    folders: dict[str, str] = field(default_factory=dict)
    unwalked: dict[str, int] = field(default_factory=dict)
    rescue: int = 0
    backfill: Backfill = field(default_factory=Backfill)
    resync: Resync | None = None
    resyncs: int = 0
    head: int = 0
    published: int = 0
    messages: int = 0
    refused_in_row: int = 0
    troubles: dict[str, Trouble] = field(default_factory=dict)
    resume_at: float | None = None
    quota: Quota = field(default_factory=Quota)
    last_synced_at: float | None = None
    lag: float | None = None
    caught_up_at: float | None = None
    push_gaps: int = 0
    audit: Audit | None = None
    audits: int = 0
    audit_ended_at: float | None = None
    audited: Audited | None = None
    channel: ChannelState | None = None
    channel_ids: tuple[str, ...] = ()
    due_chain: float | None = None
    due_live: float | None = None
    due_channel: float | None = None
    due_gaps: float | None = None
    due_outbox: float | None = None
    due_audit: float | None = None

    @property
    def ref(self) -> str:
        """The reference of its document."""
        return refs.stream(self.id)

    @property
    def active(self) -> bool:
        """Whether steps may work on it."""
        return self.status not in ("disconnected", "reauth_required") and not self.erasing

    @property
    def may_ring(self) -> bool:
        """Whether a channel may be open: one on record, or one that was due and that nobody lived to write down."""
        return self.channel is not None or self.due_channel is not None

    @property
    def catching_up(self) -> bool:
        """Whether backfill or resync have calls to make; those of gaps are few, and not worth holding live sync back."""
        return not self.backfill.done or self.resync is not None

    @property
    def last_error(self) -> str | None:
        """The reason of the worst trouble, None where there is none."""
        worst = max(self.troubles.values(), key=lambda trouble: (trouble.stopped, trouble.count), default=None)
        return worst.reason if worst else None

    @property
    def retry_count(self) -> int:
        """How often in a row the most troubled chain has failed."""
        return max((trouble.count for trouble in self.troubles.values()), default=0)


def settled(state: MailboxState) -> MailboxState:
    """The mailbox with the status that follows from where its chains stand and what troubles them."""
    if not state.active:
        return state
    if any(trouble.stopped for trouble in state.troubles.values()):
        status = "error"
    elif state.resume_at is not None:
        status = "rate_limited"
    elif not state.verified:
        status = "connecting"
    elif state.resync is not None:
        status = "resyncing"
    else:
        status = "live" if state.backfill.done else "backfilling"
    return state if status == state.status else replace(state, status=status)


def healthy(state: MailboxState, chain: str, at: float) -> MailboxState:
    """The mailbox once a step of a chain has succeeded: that chain's trouble is over, and a pause that has ended."""
    over = state.resume_at is not None and state.resume_at <= at
    if chain in state.troubles or over:
        troubles = {name: trouble for name, trouble in state.troubles.items() if name != chain}
        state = replace(state, troubles=troubles, resume_at=None if over else state.resume_at)
    return settled(state)


def troubled(state: MailboxState, chain: str, reason: str, stopped: bool = False) -> MailboxState:
    """The mailbox once a step of a chain has failed, or the chain is stopped."""
    before = state.troubles.get(chain)
    trouble = Trouble(reason, before.count + 1 if before else 1, stopped)
    return settled(replace(state, troubles={**state.troubles, chain: trouble}))


def followed(state: MailboxState) -> str:
    """The cursor of a mailbox that has been anchored, as every verified one has."""
    if state.cursor is None:
        raise ValueError("The mailbox has not been anchored.")
    return state.cursor


def sent(state: MailboxState, mark: int) -> MailboxState:
    """The mailbox once the bus has everything up to ``mark``; the mark never goes back."""
    published = max(state.published, mark)
    due = None if published >= state.head else state.due_outbox
    if (published, due) == (state.published, state.due_outbox):
        return state  # a copy of so many fields costs as much as reading a mail
    return replace(state, published=published, due_outbox=due)


def document(state: MailboxState) -> Data:
    """The state as its document, with the fields that only queries use."""
    data: Data = msgspec.to_builtins(state)
    data["backfill"]["early"] = list(state.backfill.early)
    data["channel_ids"] = list(state.channel_ids)
    if state.resync is not None:
        data["resync"]["labels"] = list(state.resync.labels)
    waiting = (state.due_live, state.due_channel, state.due_gaps, state.due_audit) if state.active else ()
    due = [time for time in (state.due_chain, state.due_outbox, *waiting) if time is not None]
    data["due_at"] = min(due) if due else None
    data["shard"] = queries.shard_of(state.id)
    data["poll"] = poll_group(state)
    data["unnamed"] = _unnamed(state)
    return data


def read_state(doc: Doc) -> MailboxState:
    """The state in a document."""
    return msgspec.convert({name: doc.data[name] for name in _NAMES if name in doc.data}, MailboxState)


def difference(before: MailboxState, after: MailboxState) -> Data:
    """The masked data that turn one state's document into the other's; never empty, for ``rev`` always moves."""
    old, new = document(before), document(replace(after, rev=before.rev + 1))
    return {name: value for name, value in new.items() if old.get(name, _ABSENT) != value}


def poll_group(state: MailboxState) -> str:
    """With whom the mailbox is polled: slowly with a channel, fast without one; a quiet one only has readers to remind."""
    if not state.active or not state.verified:
        return queries.quiet_group(state.id)
    return f"fast-{queries.shard_of(state.id)}" if state.channel is None else f"slot-{queries.slot_of(state.id)}"


def _unnamed(state: MailboxState) -> str | None:
    """The provider, for as long as it is being asked whose account this is; it has refused to say where it is not."""
    is_asked = state.status in ("connecting", "rate_limited") and not state.erasing
    return state.provider if is_asked and state.address is None else None


_NAMES = tuple(spec.name for spec in fields(MailboxState))
_ABSENT: Any = object()

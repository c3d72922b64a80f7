"""What a mailbox's document tells of how it is, and of nothing else: an idle mailbox is not written to for the sake of it.

So *fresh* has two meanings. What was written down proves that at that time everything up to the provider's end was in. Looks
that find nothing write nothing; that they took place follows from the schedule, as long as nothing is known to the contrary.
"""

from __future__ import annotations

from dataclasses import dataclass

from shared.mail.schedule import Schedule
from shared.mail.state import OUTBOX_DEADLINE, MailboxState

GRACE = 2.0
"""Ticks that may pass after a deadline before it counts as missed: one that was late, and one to do something about it."""


@dataclass(frozen=True, slots=True)
class Freshness:
    """``proven_at``: when a look that was written down last reached the provider's end. ``presumed_at``: the last poll that
    was due and of which nothing is known but that it went well; None where something keeps live sync from looking.

    ``seconds`` since the later of the two; ``resolution``: how many more it may be, being the time between two polls.
    """

    proven_at: float | None
    presumed_at: float | None
    seconds: float | None
    resolution: float


@dataclass(frozen=True, slots=True)
class Deadline:
    """Until when a chain has to have done something; ``overdue`` where that is past and ticks have come and gone."""

    chain: str
    due_at: float
    overdue: bool


def freshness(state: MailboxState, schedule: Schedule, now: float) -> Freshness:
    """How far behind the provider the mailbox may be."""
    channelled = state.channel is not None
    resolution = schedule.poll if channelled else schedule.poll_unchannelled
    undisturbed = (
        state.active and state.verified and not state.more and state.resume_at is None and "live" not in state.troubles
    )
    slot = schedule.poll_slot(state.id, now - schedule.tick, channelled) if undisturbed else None
    presumed = slot if slot is not None and state.caught_up_at is not None and slot >= state.caught_up_at else None
    times = [time for time in (state.caught_up_at, presumed) if time is not None]
    return Freshness(state.caught_up_at, presumed, round(now - max(times), 3) if times else None, resolution)


def unpublished_seconds(state: MailboxState, now: float) -> float:
    """How long the oldest segment that is not known to be on the bus has been in the log, at most; 0 where there is none."""
    if state.due_outbox is None or state.published >= state.head:
        return 0.0
    return round(max(0.0, now - (state.due_outbox - OUTBOX_DEADLINE)), 3)


def deadlines(state: MailboxState, schedule: Schedule, now: float) -> list[Deadline]:
    """What is due of the mailbox, the earliest first: one deadline for each chain that has one, and one of the outbox."""
    times: dict[str, float | None] = {_chain(state): state.due_chain, "outbox": state.due_outbox}
    if state.active:
        times |= {"live": state.due_live, "channel": state.due_channel, "gaps": state.due_gaps}
        times["audit"] = next_audit(state, schedule, now)
    late = now - GRACE * schedule.tick
    due = [Deadline(chain, time, time < late) for chain, time in times.items() if time is not None]
    return sorted(due, key=lambda deadline: (deadline.due_at, deadline.chain))


def audit_is_due(state: MailboxState, schedule: Schedule, now: float) -> bool:
    """Whether an audit has to be begun: its slot has come, none is under way or put off, nothing else lists everything."""
    if not schedule.audit or not state.active or not state.verified or state.due_audit is not None:
        return False
    return not state.catching_up and schedule.audit_slot(state.id, now) > _audited(state)


def next_audit(state: MailboxState, schedule: Schedule, now: float) -> float | None:
    """When the mailbox's audit is to go on, or the next one to begin; None where there are none, or one has to wait."""
    if not schedule.audit or not state.verified:
        return None
    if state.due_audit is not None:
        return state.due_audit
    slot = schedule.audit_slot(state.id, now)
    if slot <= _audited(state):
        return slot + schedule.audit
    # It begins with the first poll after its slot.
    return None if state.catching_up else slot + schedule.poll


def _audited(state: MailboxState) -> float:
    """Up to when there was nothing to audit: since the last audit, or since the mailbox is followed."""
    return max(state.audit_ended_at or 0.0, state.followed_since or state.created_at)


def _chain(state: MailboxState) -> str:
    if state.erasing:
        return "erase"
    if not state.active:
        return "channel"
    if not state.verified:
        return "connect"
    return "resync" if state.resync is not None else "backfill"

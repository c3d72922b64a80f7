"""The tick: enqueues what the schedule says is due, and finds what missed its deadline. It may come twice or late.

Polls use fixed slots, so being due needs no write; every look that a tick enqueues is named after its time, so a repeated
tick adds nothing. A chain without a commit for ten minutes is taken for dead: its rescue counter goes up, and with it the
name of its task, so a chain that was alive after all meets its rescue at the compare-and-set and does not fork.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from shared import queries, refs
from shared.cas import amend
from shared.errors import BrainstemError, Retry
from shared.events.app import AppStream
from shared.events.consume import intent_name
from shared.events.envelope import ring as segment_ring
from shared.events.log import trim_log
from shared.events.publish import SEGMENTS_TOPIC, relay
from shared.mail.context import Context, amend_mailbox, load, mark_sent
from shared.mail.health import audit_is_due, deadlines, freshness, unpublished_seconds
from shared.mail.schedule import Schedule as Schedule
from shared.mail.state import STUCK_AFTER, MailboxState, read_state
from shared.mail.tasks import begin_audit, continue_chain, enqueue_once, poll
from shared.observability import logs
from shared.ports import Bus, BusMessage, Doc, Query

INTENT_RETRY = 600.0

_LOG = logs.named(__name__)


@dataclass(frozen=True, slots=True)
class Ticked:
    """What one tick did."""

    polled: int = 0
    due: int = 0
    streams: int = 0
    intents: int = 0
    failed: int = 0


class _Once:
    """A bus that has failed is not asked again in the same tick: each answer that it owes may take its whole timeout."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._failed = False

    def publish(self, topic: str, messages: Sequence[BusMessage], ordering_key: str = "") -> None:
        if self._failed:
            raise Retry("The bus has failed in this tick; the next one asks again.")
        try:
            self._bus.publish(topic, messages, ordering_key)
        except Retry:
            self._failed = True
            raise


def tick(ctx: Context, schedule: Schedule) -> Ticked:
    """Serve everything that is due until the next tick. Raises ``Retry`` where a query failed, after all others."""
    now = ctx.clock.now()
    ctx = replace(ctx, bus=_Once(ctx.bus))
    done: Counter[str] = Counter()
    missed: list[BrainstemError] = []
    for shard in range(queries.SHARDS):
        for kind, query, serve in (
            ("due", queries.due_mailboxes(shard, now), care),
            ("streams", queries.due_streams(shard, now), _relay_app),
            ("intents", queries.overdue_intents(shard, now), _enqueue_intent),
        ):
            for doc in _found(ctx, query, missed):
                done[kind if _served(ctx, doc, now, serve) else "failed"] += 1
    polled = _poll(ctx, schedule, now, missed)
    if missed:
        raise missed[0]  # this tick counts as failed, but only once everybody else has been served
    return Ticked(polled=polled, **done)


def _found(ctx: Context, query: Query, missed: list[BrainstemError]) -> Iterator[Doc]:
    """What a query finds, up to where it fails: with a store that fails now and then the last shard must not starve."""
    try:
        yield from queries.scan(ctx.store, query)
    except Retry as error:
        _LOG.warning("tick_failed", "What is due could not all be found.", error)
        missed.append(error)


def _served(ctx: Context, doc: Doc, now: float, serve: Callable[[Context, Doc, float], None]) -> bool:
    """Serve one document; what fails here is due again at the next tick and must not keep the others waiting."""
    try:
        serve(ctx, doc, now)
    except Exception as error:  # whatever it is, it is about this document, and said
        _LOG.warning("tick_failed", "Something that was due could not be served.", error, ref=doc.ref)
        return False
    return True


def _relay_app(ctx: Context, doc: Doc, _now: float) -> None:
    AppStream(ctx.store, ctx.bus, ctx.clock).relay(refs.app_stream(doc.data["uid"]))


def _enqueue_intent(ctx: Context, doc: Doc, now: float) -> None:
    attempt = doc.data.get("attempts", 0) + 1
    amend(ctx.store, doc.ref, lambda _: {"attempts": attempt, "due_at": now + INTENT_RETRY}, doc)
    name = intent_name(doc.ref.split("/")[1], refs.key(doc.ref), attempt)
    ctx.tasks.enqueue(doc.data["queue"], doc.data["path"], doc.data["body"], name)


def care(ctx: Context, doc: Doc, now: float) -> None:
    """Do or enqueue whatever of one mailbox missed its deadline."""
    state = read_state(doc)
    if _passed(state.due_chain, now) or _passed(state.due_live, now) or _audit_passed(state, now):
        rescued = amend_mailbox(ctx, state.id, lambda current: _rescued(current, now))
        # Else whoever is at it has moved the deadline meanwhile.
        if rescued is not None and rescued.rescue > state.rescue:
            kinds = _dead_chains(rescued, state, now)
            _LOG.warning(
                "chain_rescued",
                "Chains that had missed their deadline were taken up again.",
                mailbox_id=state.id,
                chains=",".join(kinds),
                rescues=rescued.rescue,
            )
            for kind in kinds:
                if kind in _PAGED:
                    continue_chain(ctx.tasks, rescued, kind)
                else:
                    enqueue_once(ctx.tasks, rescued, kind, f"rescue{rescued.rescue}")
    if state.active and state.due_channel is not None and state.due_channel <= now:
        enqueue_once(ctx.tasks, state, "channel", _due_key(state.due_channel, now))
    if state.active and state.due_gaps is not None and state.due_gaps <= now:
        enqueue_once(ctx.tasks, state, "gaps", _due_key(state.due_gaps, now))
    if _passed(state.due_outbox, now) and (loaded := load(ctx, state.id)) is not None:
        current = loaded.state
        mark_sent(ctx, loaded, relay(ctx.store, ctx.bus, current.id, current.published, current.head))


def _due_key(due: float, now: float) -> str:
    """What a step that is due is known by, new every ten minutes: a slow clock may have found that it is not due yet."""
    return f"due{due:.0f}.{math.floor(now / STUCK_AFTER)}"


_PAGED = ("live", "backfill", "resync", "audit")


def _dead_chains(state: MailboxState, before: MailboxState, now: float) -> list[str]:
    """Which chains the mailbox ought to have and, by its deadlines, has not."""
    if state.erasing:
        return ["erase"]
    if not state.active:
        return ["channel"] if state.may_ring else []
    if not state.verified:
        return ["connect"]
    chains = []
    if _passed(before.due_live, now):
        chains.append("live")
    if _passed(before.due_chain, now):
        if not state.backfill.done:
            chains.append("backfill")
        if state.resync is not None:
            chains.append("resync")
    if _audit_passed(before, now):
        chains.append("audit")
    return chains


def _rescued(state: MailboxState, now: float) -> MailboxState:
    """The deadlines moved on and the counter raised, if nobody has done so since."""
    chain, live, audit = _passed(state.due_chain, now), _passed(state.due_live, now), _audit_passed(state, now)
    if not chain and not live and not audit:
        return state
    again = now + STUCK_AFTER
    return replace(
        state,
        rescue=state.rescue + 1,
        due_chain=again if chain else state.due_chain,
        due_live=again if live else state.due_live,
        due_audit=again if audit else state.due_audit,
    )


def _poll(ctx: Context, schedule: Schedule, now: float, missed: list[BrainstemError]) -> int:
    """Enqueue the looks whose time comes before the next tick; once a period see to each mailbox, and to its readers."""
    polled = 0
    slots: dict[int, float] = {}

    def remind(ctx: Context, doc: Doc, now: float) -> None:
        _remind(ctx, schedule, doc)
        if "epoch" in doc.data:  # else it is a user's own stream
            _see_to(ctx, schedule, read_state(doc), now, slots[queries.slot_of(doc.data["id"])])

    for number, at in _times(now, schedule.tick, schedule.poll / queries.POLL_SLOTS):
        slots[number % queries.POLL_SLOTS] = at
    for slot, at in slots.items():
        for doc in _found(ctx, queries.polled_mailboxes(f"slot-{slot}"), missed):
            poll(ctx.tasks, doc.data["id"], at)
            _served(ctx, doc, now, remind)
            polled += 1
        for doc in _found(ctx, queries.polled_mailboxes(f"quiet-{slot}"), missed):
            _served(ctx, doc, now, remind)
        for doc in _found(ctx, queries.polled_streams(f"quiet-{slot}"), missed):
            _served(ctx, doc, now, remind)
    for shard in range(queries.SHARDS):
        for doc in _found(ctx, queries.polled_mailboxes(f"fast-{shard}"), missed):
            for _, at in _times(now, schedule.tick, schedule.poll_unchannelled):
                poll(ctx.tasks, doc.data["id"], at)
            if queries.slot_of(doc.data["id"]) in slots:
                _served(ctx, doc, now, remind)
            polled += 1
    return polled


def _see_to(ctx: Context, schedule: Schedule, state: MailboxState, now: float, at: float) -> None:
    """Begin the mailbox's audit if that is due, and say how it is, if anybody follows it."""
    if not state.active:
        return
    if audit_is_due(state, schedule, now):
        begin_audit(ctx.tasks, state, at)
    fresh = freshness(state, schedule, now)
    _LOG.info(
        "mailbox_health",
        "How a mailbox is.",
        mailbox_id=state.id,
        status=state.status,
        fresh_seconds=fresh.seconds,
        resolution_seconds=fresh.resolution,
        unpublished_seconds=unpublished_seconds(state, now),
        outbox=state.head - state.published,
        overdue=",".join(deadline.chain for deadline in deadlines(state, schedule, now) if deadline.overdue),
        rescues=state.rescue,
        push_gaps=state.push_gaps,
    )


def _times(now: float, span: float, period: float) -> Iterator[tuple[int, float]]:
    """The numbers and times of all periods that have begun or begin within a span."""
    for number in range(math.floor(now / period), math.ceil((now + span) / period)):
        yield number, number * period


def _remind(ctx: Context, schedule: Schedule, doc: Doc) -> None:
    """Ring our consumers, so that a lost or dead-lettered doorbell costs time and nothing else; let old segments expire."""
    stream = doc.data["id"] if "id" in doc.data else refs.app_stream(doc.data["uid"])
    published = doc.data["published"]
    if published:
        ctx.bus.publish(SEGMENTS_TOPIC, [segment_ring(stream, published, published)], stream)
    if schedule.retention:
        trim_log(ctx.store, stream, ctx.clock.now() - schedule.retention)


def _audit_passed(state: MailboxState, now: float) -> bool:
    return state.active and _passed(state.due_audit, now)


def _passed(deadline: float | None, now: float) -> bool:
    return deadline is not None and deadline <= now

"""The harness of our own consumers: each event applied once and in order, whatever the bus does.

A delivery only says "look". The harness reads the log after the consumer's watermark, segment by segment, demands that
each continues the one before, and commits a segment's effects together with the watermark. Effects
that leave the store are *intents*: committed with the watermark, executed by tasks named after their event.

Watermark: ``consumers/{name}/watermarks/{stream}`` {sequence, generation, building, parked}. ``building`` is the rebuild
under way: a new generation of effects, from sequence 1, beside the old one, which goes when the new one has caught up.
A segment that cannot be applied parks the consumer visibly at that segment; it is tried again and never skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from shared import queries, refs
from shared.cas import amend
from shared.errors import Busy, Conflict, Hole, NotFound, StoreError, TooLarge, Unknown
from shared.events.envelope import Segment
from shared.events.log import next_segments
from shared.ports import Check, Clock, Create, Data, Delete, Doc, Query, Store, Tasks, Update, Write

SEGMENTS_PER_CALL = 200
"""After so many segments a delivery hands over to the next one, so that no call runs for ever."""

ATTEMPTS = 8
EFFECTS_AT_ONCE = 200
INTENT_DEADLINE = 60.0


@dataclass(frozen=True, slots=True)
class Intent:
    """An effect outside the store: a task to run once for an event."""

    event_id: str
    queue: str
    path: str
    body: Data


@dataclass(frozen=True, slots=True)
class Effects:
    """What one segment means to a consumer: writes of its own documents, and intents."""

    writes: tuple[Write, ...] = ()
    intents: tuple[Intent, ...] = ()


class Consumer(Protocol):
    """What people write: a name, and a function from a segment to effects.

    ``scope`` names the stream and generation: every effect document carries it in the field ``scope`` and in its id, below
    ``consumers/{name}/effects``. ``read`` is one batched read. Writes of documents that were read carry their version.
    """

    name: str

    def apply(self, segment: Segment, scope: str, read: Callable[[Sequence[str]], dict[str, Doc]]) -> Effects:
        """The effects of one segment; may be asked again for the same one, and must then answer the same."""


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a generation of a consumer has come in a stream."""

    sequence: int = 0
    generation: int = 1
    building: tuple[int, int] | None = None  # generation, sequence


def scope_of(stream: str, generation: int) -> str:
    """The scope of the effects of one stream in one generation."""
    return f"{stream}#{generation}"


@dataclass(frozen=True, slots=True)
class Harness:
    """Drives one consumer."""

    store: Store
    tasks: Tasks
    clock: Clock
    consumer: Consumer

    def follow(self, stream: str, last: int | None = None) -> int:
        """Apply what the stream has beyond the watermark, at least up to ``last`` where given; answer the watermark.

        Raises ``Hole`` when segments have expired unread, whatever ``apply`` raised (parked), ``Retry`` when there is more.
        """
        doc = self._watermark(stream)
        refused = 0
        for _ in range(SEGMENTS_PER_CALL):
            mark = _mark(doc)
            if doc is not None and doc.data.get("erased"):
                return mark.sequence
            if last is not None and mark.sequence >= last:
                return mark.sequence
            try:
                segment = self._next(stream, mark.sequence, doc)
                if segment is None:
                    return mark.sequence
                doc = self._applied(segment, doc, mark.generation, {"sequence": segment.last})
                refused = 0
            except NotFound:
                return mark.sequence  # erased: nothing to follow, nothing to write
            except (Conflict, Unknown) as conflict:
                doc = self._watermark(stream)  # another delivery of the same doorbell; or ours, its answer lost
                refused = refused + 1 if _mark(doc) == mark else 0
                if refused >= ATTEMPTS:
                    self._park(stream, doc, mark.sequence + 1, conflict)
                    raise Busy("The effects of a segment keep conflicting.") from conflict
        raise Busy("The consumer has more to read than fits one call.")

    def rebuild(self, stream: str) -> None:
        """Start a new generation of the stream's effects from sequence 1; a rebuild under way starts over."""
        ref = refs.watermark(self.consumer.name, stream)

        def decide(doc: Doc) -> Data:
            mark = _mark(doc)
            latest = mark.building[0] if mark.building else mark.generation
            return {"building": {"generation": latest + 1, "sequence": 0}}

        amend(self.store, ref, decide)

    def build(self, stream: str) -> bool:
        """Take a rebuild further; True once it has caught up, taken over, and the old effects are gone.

        Meanwhile ``follow`` keeps the old generation up to date; both move the same document, so neither loses the other.
        """
        for _ in range(SEGMENTS_PER_CALL):
            doc = self._watermark(stream)
            mark = _mark(doc)
            if doc is None or mark.building is None or doc.data.get("erased"):
                for generation in range(1, mark.generation):
                    _delete_effects(self.store, self.consumer.name, scope_of(stream, generation))
                return True
            generation, sequence = mark.building
            try:
                if sequence >= mark.sequence:
                    self._written(doc, {"sequence": sequence, "generation": generation, "building": None})
                    continue
                segment = self._next(stream, sequence, doc)
                if segment is None:
                    raise Hole("The rebuild ends before the watermark.", stream=stream)
                built = {"building": {"generation": generation, "sequence": segment.last}}
                self._applied(segment, doc, generation, built)
            except (Conflict, Unknown):
                continue
        return False

    def done(self, event_id: str) -> None:
        """An intent has been executed: forget it."""
        self.store.commit([Delete(self._intent_ref(event_id))])

    def _next(self, stream: str, sequence: int, doc: Doc | None) -> Segment | None:
        try:
            found = next_segments(self.store, stream, sequence, 1)
            if found and found[0].first != sequence + 1:
                raise Hole("The watermark is inside a segment.", stream=stream)
        except Hole as hole:
            self._park(stream, doc, sequence + 1, hole)
            raise
        return found[0] if found else None

    def _applied(self, segment: Segment, doc: Doc | None, generation: int, moved: Data) -> Doc:
        """Commit one segment's effects and the mark together, or raise; a lost race leaves both untouched.

        A rebuild asks for no intents: what it does outside the store has been done.
        """
        scope = scope_of(segment.stream, generation)
        try:
            effects = self.consumer.apply(segment, scope, self.store.get)
        except StoreError:
            raise
        except Exception as error:
            self._park(segment.stream, doc, segment.first, error)
            raise
        now = self.clock.now()
        asked = () if "building" in moved else effects.intents
        intents: list[Write] = [
            Create(
                self._intent_ref(intent.event_id),
                {
                    "stream": segment.stream,
                    "queue": intent.queue,
                    "path": intent.path,
                    "body": intent.body,
                    "due_at": now + INTENT_DEADLINE,
                    "shard": queries.shard_of(intent.event_id),
                },
            )
            for intent in asked
        ]
        try:
            written = self._written(doc, {**moved, "parked": None}, segment.stream, [*effects.writes, *intents])
        except (TooLarge, ValueError) as refused:  # what the store will never take
            self._park(segment.stream, doc, segment.first, refused)
            raise
        for intent in asked:
            name = intent_name(self.consumer.name, intent.event_id, 0)
            self.tasks.enqueue(intent.queue, intent.path, intent.body, name)
        return written

    def _written(self, doc: Doc | None, fields: Data, stream: str = "", effects: Sequence[Write] = ()) -> Doc:
        if doc is not None:
            version = self.store.commit([Update(doc.ref, fields, doc.version), *effects])[0]
            return Doc(doc.ref, {**doc.data, **fields}, version or "")
        # The first mark of a stream is fenced by the stream itself: an erased one must not be followed again.
        head_ref = refs.stream(stream)
        head = self.store.get([head_ref]).get(head_ref)
        if head is None or head.data.get("erasing"):
            raise NotFound("The stream has been erased.")
        ref = refs.watermark(self.consumer.name, stream)
        data = {"stream": stream, "generation": 1, "building": None, **fields}
        version = self.store.commit([Create(ref, data), Check(head_ref, head.version), *effects])[0]
        return Doc(ref, data, version or "")

    def _park(self, stream: str, doc: Doc | None, sequence: int, error: Exception) -> None:
        parked = {"sequence": sequence, "reason": f"{type(error).__name__} at {sequence}", "at": self.clock.now()}
        if doc is None:
            self._written(None, {"sequence": 0, "parked": parked}, stream)
        elif (doc.data.get("parked") or {}).get("sequence") != sequence:
            amend(self.store, doc.ref, lambda _: {"parked": parked}, doc)

    def _watermark(self, stream: str) -> Doc | None:
        ref = refs.watermark(self.consumer.name, stream)
        return self.store.get([ref]).get(ref)

    def _intent_ref(self, event_id: str) -> str:
        return f"consumers/{self.consumer.name}/intents/{event_id}"


def intent_name(consumer: str, event_id: str, attempt: int) -> str:
    """The name of the task that executes an intent: one per consumer and event, and per attempt of the tick."""
    return f"intent|{consumer}|{event_id}|{attempt}"


def forget_stream(store: Store, consumer: str, stream: str) -> None:
    """Remove what a consumer keeps of an erased stream: effects, intents, and the watermark last.

    First the watermark becomes a fence, so that no late commit survives and a crash half way is resumed.
    """
    ref = refs.watermark(consumer, stream)
    doc = amend(store, ref, lambda known: None if known.data.get("erased") else {"erased": True})
    if doc is None:
        return
    mark = _mark(doc)
    latest = mark.building[0] if mark.building else mark.generation
    for generation in range(1, latest + 1):
        _delete_effects(store, consumer, scope_of(stream, generation))
    delete_all(store, queries.intents_of(consumer, stream, EFFECTS_AT_ONCE))
    store.commit([Delete(ref, doc.version)])


def _delete_effects(store: Store, consumer: str, scope: str) -> None:
    delete_all(store, queries.effects_of(consumer, scope, EFFECTS_AT_ONCE))


def delete_all(store: Store, query: Query) -> None:
    """Delete whatever a query finds, page by page, until it finds nothing."""
    while docs := store.query(query):
        writes: list[Write] = [Delete(doc.ref) for doc in docs]
        store.commit(writes)


def _mark(doc: Doc | None) -> Mark:
    if doc is None:
        return Mark()
    building = doc.data.get("building")
    pair = (building["generation"], building["sequence"]) if building else None
    return Mark(doc.data["sequence"], doc.data["generation"], pair)

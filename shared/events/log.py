"""Reading the log: a user's streams for ``GET /events``, and the trimming of what a retention setting lets expire."""

from __future__ import annotations

from dataclasses import dataclass

from shared import queries, refs
from shared.errors import Hole, NotFound
from shared.events.envelope import Event, Segment, segment_of
from shared.ports import Delete, Store, Write

SEGMENTS_AT_ONCE = 5
SEGMENTS_PER_READ = 50
"""How many segments one read may walk in search of a type before it answers with what it has."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Events, and the position (stream -> last sequence walked) from which to go on."""

    events: tuple[Event, ...]
    position: dict[str, int]


def streams_of(store: Store, uid: str) -> list[str]:
    """The streams of a user that exist, the app stream first."""
    app = refs.app_stream(uid)
    ref = refs.stream(app)
    names = [app] if ref in store.get([ref]) else []
    mailboxes = store.query(queries.mailboxes_of(uid))
    return names + [document.data["id"] for document in mailboxes if not document.data.get("erasing")]


def read_streams(
    store: Store, streams: list[str], position: dict[str, int], limit: int, type_: str | None = None
) -> Reading:
    """Read on from a position, stream after stream, up to ``limit`` events; raises ``Hole`` when some have expired.

    The answer's position names these streams and no others.
    """
    events: list[Event] = []
    reached = {stream: position.get(stream, 0) for stream in streams}
    budget = SEGMENTS_PER_READ
    for stream in streams:
        sequence = reached[stream]
        while len(events) < limit and budget > 0:
            page = next_segments(store, stream, sequence, min(SEGMENTS_AT_ONCE, budget))
            budget -= len(page)
            for event in (event for segment in page for event in segment.events if event.sequence > sequence):
                if len(events) == limit:
                    break
                sequence = event.sequence
                if type_ is None or event.type == type_:
                    events.append(event)
            if not page:
                break
        reached[stream] = sequence
    return Reading(tuple(events), reached)


def next_segments(store: Store, stream: str, sequence: int, limit: int) -> list[Segment]:
    """The segments that continue a stream after a sequence, contiguous; the first may begin before it.

    Raises ``Hole`` when the event after ``sequence`` has expired: a reader never steps over what it has not read.
    """
    documents = store.query(queries.segments_after(stream, sequence, limit))
    if not documents and _head(store, stream) > sequence:
        # Committed between the two reads, or gone: only a second look can tell.
        documents = store.query(queries.segments_after(stream, sequence, limit))
        if not documents:
            raise Hole("Events after the position have expired.", stream=stream, oldest=_head(store, stream) + 1)
    found: list[Segment] = []
    expected = sequence + 1
    for document in documents:
        segment = segment_of(document.data)
        if segment.first > expected:
            raise Hole(
                "Events between what was read and what is kept have expired.", stream=stream, oldest=segment.first
            )
        found.append(segment)
        expected = segment.last + 1
    return found


def trim_log(store: Store, stream: str, before: float, limit: int = 100) -> int:
    """Expire published segments older than a time, oldest first, a bounded number at once; answer how many went."""
    ref = refs.stream(stream)
    head = store.get([ref]).get(ref)
    if head is None:
        return 0
    writes: list[Write] = []
    for document in store.query(queries.segments_after(stream, 0, limit)):
        if document.data["at"] >= before or document.data["last"] > head.data["published"]:
            break
        writes.append(Delete(document.ref))
    if writes:
        store.commit(writes)
    return len(writes)


def _head(store: Store, stream: str) -> int:
    """The sequence of the last event of a stream."""
    ref = refs.stream(stream)
    document = store.get([ref]).get(ref)
    if document is None:
        raise NotFound("There is no such stream.")
    return int(document.data["head"])

"""From the log to the bus: every segment in order, none twice on purpose, none ever skipped.

The log is the outbox: ``head - published`` is its depth. ``published`` moves only over segments that were sent, and only
ever forward, so a crash anywhere repeats a publish and never loses one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from shared import queries
from shared.errors import BrainstemError, Hole
from shared.events.envelope import Segment, bus_message, doorbell, segment_of
from shared.ports import Bus, Store

EVENTS_TOPIC = "events"
SEGMENTS_TOPIC = "segments"

READ_AT_ONCE = 20
RELAY_AT_ONCE = 500


def relay(store: Store, bus: Bus, stream: str, published: int, head: int, held: Iterable[Segment] = ()) -> int:
    """Send the segments after ``published`` up to ``head``, those of a crashed writer included; answer the new mark.

    ``held`` are segments that the caller has just committed and need not be read again. At most ``RELAY_AT_ONCE`` are
    sent, and what fails after some were is answered with how far it came: what was sent is to be noted, or an outbox
    grown deep in an outage would be sent from its beginning for ever. The rest waits for the next call, which meets the
    failure itself. Raises what store and bus raise, and ``Hole``.
    """
    mark = published
    try:
        for segment in islice(_waiting(store, stream, published, head, held), RELAY_AT_ONCE):
            send(bus, segment)
            mark = segment.last
    except BrainstemError:
        if mark == published:
            raise
    return mark


def _waiting(store: Store, stream: str, after: int, head: int, held: Iterable[Segment]) -> Iterator[Segment]:
    """The segments after a mark, in order, each following on the one before."""
    mine = {segment.first: segment for segment in held}
    while after < head:
        if (segment := mine.get(after + 1)) is not None:
            yield segment
            after = segment.last
            continue
        documents = store.query(queries.segments_after(stream, after, READ_AT_ONCE))
        if not documents:
            raise Hole("The log ends before its head.", stream=stream, sequence=after + 1)
        for document in documents:
            segment = segment_of(document.data)
            if segment.first != after + 1:
                raise Hole("An unpublished segment is missing.", stream=stream, sequence=after + 1)
            yield segment
            after = segment.last
            if after >= head or after + 1 in mine:
                break


def send(bus: Bus, segment: Segment) -> None:
    """Publish one segment: its events for subscribers outside, then the doorbell of our own consumers."""
    bus.publish(EVENTS_TOPIC, [bus_message(event) for event in segment.events], segment.stream)
    bus.publish(SEGMENTS_TOPIC, [doorbell(segment)], segment.stream)

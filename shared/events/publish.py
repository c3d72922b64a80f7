"""From the log to the bus: every segment in order, none twice on purpose, none ever skipped.

The log is the outbox: ``head - published`` is its depth. ``published`` moves only over segments that were sent, and only
ever forward, so a crash anywhere repeats a publish and never loses one.
"""

from __future__ import annotations

from collections.abc import Iterable

from shared import queries
from shared.errors import Hole
from shared.events.envelope import Segment, bus_message, doorbell, segment_of
from shared.ports import Bus, Store

EVENTS_TOPIC = "events"
SEGMENTS_TOPIC = "segments"

READ_AT_ONCE = 20


def relay(store: Store, bus: Bus, stream: str, published: int, head: int, held: Iterable[Segment] = ()) -> int:
    """Send every segment after ``published`` up to ``head``, those of a crashed writer included; answer the new mark.

    ``held`` are segments that the caller has just committed and need not be read again.
    """
    mine = {segment.first: segment for segment in held}
    while published < head:
        if (segment := mine.get(published + 1)) is not None:
            send(bus, segment)
            published = segment.last
            continue
        documents = store.query(queries.segments_after(stream, published, READ_AT_ONCE))
        if not documents:
            raise Hole("The log ends before its head.", stream=stream, sequence=published + 1)
        for document in documents:
            segment = segment_of(document.data)
            if segment.first != published + 1:
                raise Hole("An unpublished segment is missing.", stream=stream, sequence=published + 1)
            send(bus, segment)
            published = segment.last
            if published >= head or published + 1 in mine:
                break
    return published


def send(bus: Bus, segment: Segment) -> None:
    """Publish one segment: its events for subscribers outside, then the doorbell of our own consumers."""
    bus.publish(EVENTS_TOPIC, [bus_message(event) for event in segment.events], segment.stream)
    bus.publish(SEGMENTS_TOPIC, [doorbell(segment)], segment.stream)

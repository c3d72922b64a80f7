"""An event and a segment of events, in the three forms they take: stored, on the bus, in an answer.

CloudEvents 1.0: on the bus in Pub/Sub's binary content mode (attributes with the prefix ``ce-``), in ``GET /events`` in
structured JSON mode. The id of ``email.received``, ``.sent`` and ``.deleted`` names a fact that exists once, so it is
derived from mailbox, message and type; an update adds the version.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import msgspec
import orjson
from msgspec.structs import astuple

from shared import refs
from shared.ports import BusMessage, Create, Data

SEGMENT_BYTES = 800_000
"""A segment is closed before its events weigh more than this; one event alone is bounded by the fold."""

_VARIANT = {digit: f"{int(digit, 16) & 3 | 8:x}" for digit in "0123456789abcdef"}
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://cloudevents.io/brainstem")


class Event(msgspec.Struct, frozen=True, eq=False):
    """One numbered event of one stream. ``provider`` and ``origin`` are empty where no mailbox is behind it.

    ``encoded`` is ``data`` as JSON where its writer had to weigh it, so that publishing need not encode it again; it makes
    no difference between events. A struct, because a page has hundreds: a frozen dataclass takes ten times as long to make.
    """

    id: str
    type: str
    stream: str
    sequence: int
    time: float
    data: Data
    provider: str = ""
    origin: str = ""
    encoded: bytes = b""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Event) and astuple(self)[:-1] == astuple(other)[:-1]

    @property
    def subject(self) -> str:
        """``user.{uid}.{type}``."""
        return f"user.{refs.owner(self.stream)}.{self.type}"

    def json(self) -> bytes:
        """``data`` as compact JSON."""
        return self.encoded or orjson.dumps(self.data)


@dataclass(frozen=True, slots=True)
class Segment:
    """Consecutive events of one commit: one document of the log."""

    stream: str
    commit: str
    events: tuple[Event, ...]

    @property
    def first(self) -> int:
        """The sequence of its first event."""
        return self.events[0].sequence

    @property
    def last(self) -> int:
        """The sequence of its last event."""
        return self.events[-1].sequence

    def create(self) -> Create:
        """The write that extends the stream; as a create it is its own fence."""
        stored = [
            {
                "id": event.id,
                "type": event.type,
                "sequence": event.sequence,
                "time": event.time,
                "provider": event.provider,
                "origin": event.origin,
                "data": event.data,
            }
            for event in self.events
        ]
        return Create(
            refs.segment(self.stream, self.first),
            {
                "stream": self.stream,
                "first": self.first,
                "last": self.last,
                "at": self.events[0].time,
                "commit": self.commit,
                "types": sorted({event.type for event in self.events}),
                "events": stored,
            },
        )


def segment_of(data: Data) -> Segment:
    """Read a stored segment back."""
    stream = data["stream"]
    return Segment(stream, data["commit"], tuple(Event(stream=stream, **event) for event in data["events"]))


def segments(stream: str, commit: str, events: Sequence[Event]) -> Iterator[Segment]:
    """Cut the events of one commit into segments that fit a document."""
    batch: list[Event] = []
    weight = 0
    for event in events:
        size = len(event.json()) + 400
        if batch and weight + size > SEGMENT_BYTES:
            yield Segment(stream, commit, tuple(batch))
            batch, weight = [], 0
        batch.append(event)
        weight += size
    if batch:
        yield Segment(stream, commit, tuple(batch))


def fact_id(mailbox: str, message: str, type_: str, version: str = "") -> str:
    """The id of an event about a message: the same fact has the same id, whoever finds it and however often."""
    return _name_based(f"{mailbox}|{message}|{type_}|{version}" if version else f"{mailbox}|{message}|{type_}")


def numbered_id(stream: str, sequence: int) -> str:
    """The id of an event that is no fact about a message: its place in its stream."""
    return _name_based(f"{stream}#{sequence}")


def _name_based(name: str) -> str:
    """A name-based UUID (RFC 9562, version 5): the text of ``uuid.uuid5`` without its object, since every mail has one."""
    text = hashlib.sha1(_NAMESPACE.bytes + name.encode(), usedforsecurity=False).hexdigest()
    return f"{text[:8]}-{text[8:12]}-5{text[13:16]}-{_VARIANT[text[16]]}{text[17:20]}-{text[20:32]}"


@lru_cache(maxsize=64)
def iso(time: float) -> str:
    """A time as events and answers spell it: ISO 8601, UTC, milliseconds. All events of a page have one time."""
    bounded = min(max(time, 0.0), 253_402_300_799.0)
    return datetime.fromtimestamp(bounded, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def structured(event: Event) -> dict[str, Any]:
    """The event in CloudEvents' structured JSON mode."""
    return {
        "specversion": "1.0",
        "id": event.id,
        "type": event.type,
        "source": event.stream,
        "subject": event.subject,
        "time": iso(event.time),
        "datacontenttype": "application/json",
        "sequence": event.sequence,
        "user_id": refs.owner(event.stream),
        "provider": event.provider,
        "origin": event.origin,
        "data": event.data,
    }


def bus_message(event: Event) -> BusMessage:
    """The event in Pub/Sub's binary mode; attribute values are strings."""
    return BusMessage(
        event.json(),
        {
            "ce-specversion": "1.0",
            "ce-id": event.id,
            "ce-type": event.type,
            "ce-source": event.stream,
            "ce-subject": event.subject,
            "ce-time": iso(event.time),
            "ce-sequence": str(event.sequence),
            "content-type": "application/json",
            "user_id": refs.owner(event.stream),
            "provider": event.provider,
            "origin": event.origin,
        },
    )


def doorbell(segment: Segment) -> BusMessage:
    """The small message that tells our own consumers to look at a stream."""
    return ring(segment.stream, segment.first, segment.last)


def ring(stream: str, first: int, last: int) -> BusMessage:
    """Say that a stream has events up to ``last``."""
    return BusMessage(
        orjson.dumps({"stream": stream, "first": first, "last": last}),
        {"ce-source": stream, "first": str(first), "last": str(last)},
    )

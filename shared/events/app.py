"""The user's own stream: events that clients post, numbered, logged and published like all others."""

from __future__ import annotations

from dataclasses import dataclass

from shared import queries, refs
from shared.cas import amend
from shared.errors import Busy, Conflict, StoreError, Unknown
from shared.events.envelope import Event, Segment, numbered_id
from shared.events.publish import relay
from shared.observability import logs
from shared.ports import Bus, Clock, Create, Data, Doc, Store, Update, Write

ATTEMPTS = 16

_LOG = logs.named(__name__)

OUTBOX_DEADLINE = 60.0
"""Seconds after which the tick publishes what its writer did not."""


@dataclass(frozen=True, slots=True)
class AppStream:
    """Appends to the app streams of users."""

    store: Store
    bus: Bus
    clock: Clock

    def post(self, uid: str, type_: str, data: Data) -> Event:
        """Append one event and publish it.

        Raises ``Busy`` when the stream is too busy, ``Unknown`` when the event may be in; it is then numbered once or never.
        """
        stream = refs.app_stream(uid)
        ref = refs.stream(stream)
        tried: list[Segment] = []
        doubt: Unknown | None = None
        for _ in range(ATTEMPTS):
            document = self.store.get([ref]).get(ref)
            # After the stream: a commit without an answer can still land while the stream is as it was, and not later.
            segment = self._landed(tried)
            if segment is None:
                segment, write = self._next(ref, uid, document, type_, data)
                tried.append(segment)
                try:
                    self.store.commit([segment.create(), write])
                except Conflict:
                    continue
                except Unknown as unknown:
                    doubt = unknown
                    continue
            try:
                self.relay(stream, (segment,))
            except StoreError as late:
                # The event is in: to fail now would have the client post it again. The tick publishes what we could not.
                _LOG.warning("publish_postponed", "A posted event will be published by the tick.", late)
            return segment.events[0]
        raise doubt or Busy("The stream is being written too often; try again.")

    def _next(self, ref: str, uid: str, document: Doc | None, type_: str, data: Data) -> tuple[Segment, Write]:
        """The segment that continues the stream, and the write that moves its head."""
        now = self.clock.now()
        stream, head = refs.app_stream(uid), document.data["head"] if document else 0
        event = Event(numbered_id(stream, head + 1), type_, stream, head + 1, now, data)
        segment = Segment(stream, self.clock.entropy(8).hex(), (event,))
        fields: Data = {"head": head + 1, "due_at": now + OUTBOX_DEADLINE}
        if document is not None:
            return segment, Update(ref, fields, document.version)
        new: Data = {
            "uid": uid,
            "shard": queries.shard_of(stream),
            "poll": queries.quiet_group(stream),
            "published": 0,
        }
        return segment, Create(ref, {**new, **fields})

    def relay(self, stream: str, held: tuple[Segment, ...] = ()) -> None:
        """Publish what the stream's log has and the bus has not."""
        ref = refs.stream(stream)
        document = self.store.get([ref]).get(ref)
        if document is None:
            return
        sent = relay(self.store, self.bus, stream, document.data["published"], document.data["head"], held)
        amend(self.store, ref, lambda current: advanced(current, sent), document)

    def _landed(self, tried: list[Segment]) -> Segment | None:
        """The segment of those tried that is in the log as it was sent, and not somebody else's in its place."""
        mine = {refs.segment(segment.stream, segment.first): segment for segment in tried}
        found = self.store.get(list(mine)) if mine else {}
        for segment in tried:
            document = found.get(refs.segment(segment.stream, segment.first))
            if document is not None and document.data == segment.create().data:
                return segment
        return None


def advanced(current: Doc, sent: int) -> Data | None:
    """Move the outbox mark of an app stream forward, never back."""
    if current.data["published"] >= sent:
        return None
    return {"published": sent, "due_at": None if sent >= current.data["head"] else current.data["due_at"]}

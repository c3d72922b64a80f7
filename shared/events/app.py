"""The user's own stream: events that clients post, numbered, logged and published like all others."""

from __future__ import annotations

from dataclasses import dataclass

from shared import queries, refs
from shared.cas import amend
from shared.errors import Conflict, Retry, StoreError, Unknown
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
        """Append one event and publish it. Raises ``Retry`` when the stream is too busy, ``Unknown`` when it may be in."""
        stream = refs.app_stream(uid)
        ref = refs.stream(stream)
        for _ in range(ATTEMPTS):
            now = self.clock.now()
            document = self.store.get([ref]).get(ref)
            head = document.data["head"] if document else 0
            event = Event(numbered_id(stream, head + 1), type_, stream, head + 1, now, data)
            segment = Segment(stream, self.clock.entropy(8).hex(), (event,))
            fields: Data = {"head": head + 1, "due_at": now + OUTBOX_DEADLINE}
            write: Write
            if document is None:
                write = Create(
                    ref,
                    {
                        "uid": uid,
                        "shard": queries.shard_of(stream),
                        "poll": queries.quiet_group(stream),
                        "published": 0,
                        **fields,
                    },
                )
            else:
                write = Update(ref, fields, document.version)
            try:
                self.store.commit([segment.create(), write])
            except (Conflict, Unknown):
                if not self._landed(segment):
                    continue
            try:
                self.relay(stream, (segment,))
            except StoreError as late:
                # The event is in: to fail now would have the client post it again. The tick publishes what we could not.
                _LOG.warning("publish_postponed", "A posted event will be published by the tick.", late)
            return event
        raise Retry("The stream is being written too often; try again.")

    def relay(self, stream: str, held: tuple[Segment, ...] = ()) -> None:
        """Publish what the stream's log has and the bus has not."""
        ref = refs.stream(stream)
        document = self.store.get([ref]).get(ref)
        if document is None:
            return
        sent = relay(self.store, self.bus, stream, document.data["published"], document.data["head"], held)
        amend(self.store, ref, lambda current: advanced(current, sent), document)

    def _landed(self, segment: Segment) -> bool:
        """Whether a segment whose commit went unanswered is in the log, and is ours and nobody else's."""
        ref = refs.segment(segment.stream, segment.first)
        found = self.store.get([ref]).get(ref)
        return found is not None and found.data == segment.create().data


def advanced(current: Doc, sent: int) -> Data | None:
    """Move the outbox mark of an app stream forward, never back."""
    if current.data["published"] >= sent:
        return None
    return {"published": sent, "due_at": None if sent >= current.data["head"] else current.data["due_at"]}

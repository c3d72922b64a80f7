"""Mutants of the log, of what is published, and of those who follow it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from shared import queries, refs
from shared.cas import amend
from shared.errors import BrainstemError
from shared.events.envelope import fact_id, segment_of
from shared.events.types import RECEIVED
from shared.ports import Create, Doc, Put, Update
from tests.chaos.mutants.registry import mutant


@mutant(
    "shared.events.publish:_waiting",
    "A step publishes what it has committed itself, and nothing that was left before it.",
)
def own_segments_only_publish(original: Any) -> Any:
    def waiting(store: Any, stream: str, after: int, head: int, held: Any) -> Any:
        own = sorted(held, key=lambda segment: segment.first)
        return iter(own) if own else original(store, stream, after, head, ())

    return waiting


@mutant("shared.events.publish:relay", "What the bus refused counts as published.")
def refused_publish_counts(original: Any) -> Any:
    def relay(store: Any, bus: Any, stream: str, published: int, head: int, held: Any = ()) -> int:
        try:
            return int(original(store, bus, stream, published, head, held))
        except BrainstemError:
            return head

    return relay


@mutant("shared.events.consume:Harness._next", "A consumer goes on with the next segment that there is.")
def contiguity_check_removed(original: Any) -> Any:
    def following(self: Any, stream: str, sequence: int, doc: Any) -> Any:
        found = self.store.query(queries.segments_after(stream, sequence, 1))
        return segment_of(found[0].data) if found else None

    return following


@mutant("shared.events.consume:Harness.rebuild", "A rebuild counts into the effects that are there.")
def rebuild_keeping_old_effects(original: Any) -> Any:
    def rebuild(self: Any, stream: str) -> None:
        ref = refs.watermark(self.consumer.name, stream)
        amend(self.store, ref, lambda doc: {"building": {"generation": doc.data["generation"], "sequence": 0}})

    return rebuild


@mutant(
    "shared.events.consume:Harness._written",
    "A watermark is put, not updated: who comes late writes over who was first.",
)
def watermark_by_put(original: Any) -> Any:
    def written(self: Any, doc: Any, fields: Any, stream: str = "", effects: Any = ()) -> Doc:
        ref = doc.ref if doc else refs.watermark(self.consumer.name, stream)
        data = {"stream": stream, "generation": 1, "building": None, **(doc.data if doc else {}), **fields}
        version = self.store.commit([Put(ref, data), *effects])[0]
        return Doc(ref, data, version or "")

    return written


@mutant(
    "shared.events.consume:Harness._written",
    "The check of the stream that goes with its first watermark checks nothing.",
    "Every write of ours under compare-and-set moves a counter, so none is a no-op; the one fence that writes nothing is a"
    " Check.",
)
def no_op_fence_write(original: Any) -> Any:
    def written(self: Any, doc: Any, fields: Any, stream: str = "", effects: Any = ()) -> Doc:
        if doc is not None:
            return Doc(
                doc.ref, {**doc.data, **fields}, _only(self.store, Update(doc.ref, fields, doc.version), effects)
            )
        ref = refs.watermark(self.consumer.name, stream)
        data = {"stream": stream, "generation": 1, "building": None, **fields}
        return Doc(ref, data, _only(self.store, Create(ref, data), effects))

    return written


def _only(store: Any, write: Any, effects: Any) -> str:
    return store.commit([write, *effects])[0] or ""


@mutant("shared.mail.message:_event", "The id of email.received has the version in which the mail was found.")
def version_in_the_received_id(original: Any) -> Any:
    def event(mailbox: Any, data: Any, type_: str, *args: Any, **kwargs: Any) -> Any:
        made = original(mailbox, data, type_, *args, **kwargs)
        if type_ != RECEIVED:
            return made
        id_ = fact_id(mailbox.id, data["id"], type_, data["version"])
        body = {**made.data, "event_id": id_}
        return type(made)(id_, type_, made.stream, made.sequence, made.time, body, made.provider, made.origin)

    return event


@mutant("shared.mail.fold:_commits", "The origin of an announcement is the chain that found the mail.")
def origin_by_chain(original: Any) -> Any:
    def commits(mailbox: Any, known: Any, work: Any, items: Any) -> Any:
        told = [item.before is not None and item.before["announced"] is not None for item in items.values()]
        if work.kind not in ("live", "backfill", "resync") or all(told):
            yield from original(mailbox, known, work, items)
            return
        since = 0.0 if work.kind == "live" else None
        truly = mailbox.followed_since
        for commit in original(replace(mailbox, followed_since=since), known, work, items):
            yield replace(commit, state=replace(commit.state, followed_since=truly))

    return commits

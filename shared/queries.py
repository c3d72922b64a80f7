"""Every query that the product issues, each once; their shapes are the indexes that a store has to keep."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace

from shared import refs
from shared.ports import Doc, Query, Range, Shape, Store

SHARDS = 8
"""Control-plane queries go shard by shard, so that no index on a time becomes a hot spot."""

POLL_SLOTS = 15
"""Into so many slots the mailboxes that have a channel are spread over one polling period."""


def shard_of(name: str) -> int:
    """The control-plane shard of a mailbox or stream."""
    return spread(name, SHARDS)


def slot_of(name: str) -> int:
    """The polling slot of a mailbox or stream: being due needs no write."""
    return spread(f"slot|{name}", POLL_SLOTS)


def quiet_group(name: str) -> str:
    """The group of a stream that is not polled and whose readers are reminded once a period all the same."""
    return f"quiet-{slot_of(name)}"


def spread(name: str, over: int) -> int:
    """A number below ``over`` that a name keeps for ever."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % over


def segments_after(stream: str, sequence: int, limit: int) -> Query:
    """The segments that hold events after a sequence, in order."""
    return Query("log", refs.stream(stream), range=Range("last", after=sequence), limit=limit)


def mailboxes_of(uid: str) -> Query:
    """All mailboxes of a user."""
    return Query("mailboxes", refs.user(uid), limit=500)


def due_mailboxes(shard: int, now: float) -> Query:
    """The mailboxes of a shard that missed a deadline."""
    return Query("mailboxes", equal=(("shard", shard),), range=Range("due_at", up_to=now))


def due_streams(shard: int, now: float) -> Query:
    """The users' own streams of a shard whose outbox was not emptied in time."""
    return Query("streams", equal=(("shard", shard),), range=Range("due_at", up_to=now))


def polled_mailboxes(group: str) -> Query:
    """The mailboxes that are polled together."""
    return Query("mailboxes", equal=(("poll", group),))


def polled_streams(group: str) -> Query:
    """The users' own streams whose readers are reminded together."""
    return Query("streams", equal=(("poll", group),))


def messages_of(mailbox: str, limit: int = 500, after: str | None = None) -> Query:
    """The message documents of a mailbox, tombstones and placeholders included; ``after`` is a document's key."""
    return _from("messages", refs.stream(mailbox), limit, after)


def messages_received(mailbox: str, limit: int, after: float, up_to: float | None) -> Query:
    """The messages of a mailbox that the provider received in a span of time; what has no metadata was received at 0."""
    return Query("messages", refs.stream(mailbox), range=Range("received_at", after=after, up_to=up_to), limit=limit)


def messages_in(mailbox: str, folder: str, limit: int, after: str | None = None) -> Query:
    """The messages that are stored as being in a folder, by the folder's label."""
    return replace(_from("messages", refs.stream(mailbox), limit, after), equal=(("folder", folder),))


def placeholders_of(mailbox: str, limit: int, after: str | None = None) -> Query:
    """The messages of which only a version is known."""
    return replace(_from("messages", refs.stream(mailbox), limit, after), equal=(("state", "placeholder"),))


def gaps_of(mailbox: str, limit: int, after: str | None = None) -> Query:
    """The gaps of a mailbox, whatever their status."""
    return _from("gaps", refs.stream(mailbox), limit, after)


def open_gaps(mailbox: str, limit: int) -> Query:
    """The open gaps of a mailbox, the one to be retried first in front."""
    return Query("gaps", refs.stream(mailbox), equal=(("status", "open"),), range=Range("next_at"), limit=limit)


def folders_of(mailbox: str, limit: int = 500) -> Query:
    """The folders of a mailbox, each where it is followed from."""
    return Query("cursors", refs.stream(mailbox), limit=limit)


def folders_in(mailbox: str, phase: str, limit: int, after: str | None = None) -> Query:
    """The folders of a mailbox that are in a phase, in the order in which they are walked."""
    return Query("cursors", refs.stream(mailbox), (("phase", phase),), Range("order", after=after), limit)


def folders_to_sweep(mailbox: str, run: int) -> Query:
    """The folders whose stored messages a resync, or one before it, has to ask for unless a listing has named them."""
    return Query("cursors", refs.stream(mailbox), range=Range("sweep", after=0, up_to=run), limit=500)


def resync_pages(mailbox: str) -> Query:
    """What the listings of a running resync named."""
    return Query("resync", refs.stream(mailbox))


def effects_of(consumer: str, scope: str, limit: int, after: str | None = None) -> Query:
    """The effects of a consumer in one scope (a stream's generation); ``after`` is a document's key."""
    query = _from("effects", f"consumers/{consumer}", limit, after)
    return replace(query, equal=(("scope", scope),))


def intents_of(consumer: str, stream: str, limit: int) -> Query:
    """The intents of a consumer that events of one stream asked for and that have not been executed."""
    return Query("intents", f"consumers/{consumer}", equal=(("stream", stream),), limit=limit)


def overdue_intents(shard: int, now: float) -> Query:
    """The intents of all consumers whose task should have run by now."""
    return Query("intents", equal=(("shard", shard),), range=Range("due_at", up_to=now))


def expired_consents(shard: int, now: float, limit: int) -> Query:
    """The consents and proven identities of a shard that nobody can use any more."""
    return Query("oauth", equal=(("shard", shard),), range=Range("expires_at", up_to=now), limit=limit)


def scan(store: Store, query: Query) -> Iterator[Doc]:
    """All results of a query, page by page."""
    while True:
        page = store.query(query)
        yield from page
        if len(page) < query.limit:
            return
        query = replace(query, start_after=page[-1])


def _from(group: str, parent: str, limit: int, after: str | None) -> Query:
    start = None if after is None else Doc(f"{parent}/{group}/{refs.checked_key(after)}", {}, "")
    return Query(group, parent, limit=limit, start_after=start)


SHAPES: frozenset[Shape] = frozenset(
    query.shape
    for query in (
        segments_after("u:app", 0, 1),
        mailboxes_of("u"),
        due_mailboxes(0, 0.0),
        due_streams(0, 0.0),
        polled_mailboxes("slot-0"),
        messages_of("u:app"),
        messages_received("u:app", 1, 0.0, None),
        messages_in("u:app", "folder:f", 1),
        placeholders_of("u:app", 1),
        gaps_of("u:app", 1),
        open_gaps("u:app", 1),
        folders_of("u:app"),
        folders_in("u:app", "first", 1),
        folders_to_sweep("u:app", 1),
        resync_pages("u:app"),
        effects_of("c", "s", 1),
        intents_of("c", "u:app", 1),
        polled_streams("quiet-0"),
        overdue_intents(0, 0.0),
        expired_consents(0, 0.0, 1),
    )
)
"""The declared shapes: a store refuses any other query."""

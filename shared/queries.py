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


def shard_in_turn(now: float, tick: float) -> int:
    """The shard that a tick sweeps, another one each time, whatever the ``tick``'s period in seconds."""
    return round(now / max(1.0, tick)) % SHARDS


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


def grants_of(uid: str) -> Query:
    """All grants of a user."""
    return Query("grants", refs.user(uid), limit=100)


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


def unnamed_mailboxes(provider: str) -> Query:
    """One of the mailboxes whose account is not known yet, and which may be of any at this provider."""
    return Query("mailboxes", equal=(("unnamed", provider),), limit=1)


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


def trail_of(uid: str, limit: int, after: str | None = None) -> Query:
    """The audit trail of a user, oldest first; ``after`` is an entry's key."""
    start = None if after is None else Doc(refs.trail(uid, after), {}, "")
    return Query("audit", refs.user(uid), limit=limit, start_after=start)


def expired_consents(shard: int, now: float, limit: int) -> Query:
    """The consents and proven identities of a shard that nobody can use any more."""
    return Query("oauth", equal=(("shard", shard),), range=Range("expires_at", up_to=now), limit=limit)


def expired_attempts(shard: int, now: float, limit: int) -> Query:
    """The counts of attempts to sign in of a shard that no longer hold anybody up."""
    return Query("attempts", equal=(("shard", shard),), range=Range("expires_at", up_to=now), limit=limit)


def expired_sessions(shard: int, now: float, limit: int) -> Query:
    """The sessions of a shard that nobody can go on with."""
    return Query("sessions", equal=(("shard", shard),), range=Range("expires_at", up_to=now), limit=limit)


def kept_below(uid: str, group: str, limit: int) -> Query:
    """What one collection below a user's document holds."""
    return Query(group, refs.user(uid), limit=limit)


def kept_of(uid: str, group: str, limit: int) -> Query:
    """The documents of a collection that say in ``uid`` whose they are."""
    return Query(group, equal=(("uid", uid),), limit=limit)


def due_deletions(shard: int, now: float, limit: int) -> Query:
    """The users of a shard whose deletion has missed its deadline; nobody else has one."""
    return Query("users", equal=(("shard", shard),), range=Range("due_at", up_to=now), limit=limit)


def old_trail(shard: int, before: float, limit: int) -> Query:
    """The entries of a shard's audit trails that were written up to a time."""
    return Query("audit", equal=(("shard", shard),), range=Range("at", up_to=before), limit=limit)


def exports_of(uid: str, limit: int, after: str | None = None) -> Query:
    """The exports of a user, oldest first; ``after`` is the id of one."""
    start = None if after is None else Doc(refs.export(uid, after), {}, "")
    return Query("exports", refs.user(uid), limit=limit, start_after=start)


def due_exports(shard: int, now: float, limit: int) -> Query:
    """The exports of a shard that have missed their deadline, or whose archive has expired."""
    return Query("exports", equal=(("shard", shard),), range=Range("due_at", up_to=now), limit=limit)


def old_tombstones(before: float, limit: int) -> Query:
    """What is left of people who were deleted up to a time."""
    return Query("tombstones", range=Range("deleted_at", up_to=before), limit=limit)


def full_allowances(shard: int, now: float, limit: int) -> Query:
    """The buckets of requests in a shard that have been full for a while."""
    return Query("limits", equal=(("shard", shard),), range=Range("expires_at", up_to=now), limit=limit)


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


def data_keys(limit: int, after: str | None = None) -> Query:
    """The data keys of everybody, in the database of keys; ``after`` is a uid."""
    return Query("keys", limit=limit, start_after=None if after is None else Doc(refs.data_key(after), {}, ""))


KEY_SHAPES: frozenset[Shape] = frozenset({data_keys(1).shape})
"""What the database of keys is asked."""

SHAPES: frozenset[Shape] = frozenset(
    query.shape
    for query in (
        segments_after("u:app", 0, 1),
        mailboxes_of("u"),
        grants_of("u"),
        due_mailboxes(0, 0.0),
        due_streams(0, 0.0),
        polled_mailboxes("slot-0"),
        unnamed_mailboxes("GOOGLE"),
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
        full_allowances(0, 0.0, 1),
        expired_attempts(0, 0.0, 1),
        expired_sessions(0, 0.0, 1),
        trail_of("u", 1),
        *(kept_below("u", group, 1) for group in ("grants", "sessions")),
        *(kept_of("u", group, 1) for group in ("logins", "oauth")),
        due_deletions(0, 0.0, 1),
        old_trail(0, 0.0, 1),
        old_tombstones(0.0, 1),
        exports_of("u", 1),
        due_exports(0, 0.0, 1),
    )
)
"""The declared shapes: a store refuses any other query."""

"""An archive put into a store that does not know its person: the same streams, messages, gaps and trail.

Grants come without tokens and engines without a position, so mailboxes are there as disconnected ones. Who connects one
again has it listed anew: what is stored is known, what is announced is not announced twice, and its stream goes on.

The archive is read whole, before anything is written of it, and then again. Everything is written as it is to be, and the
profile last: whoever died in the middle begins again, and where there is a profile nothing is touched. Should the person be
seen here meanwhile, the import ends there; should they ask to be deleted, it takes back what the deletion would not find.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from shared import queries, refs
from shared.errors import AccountDeleted, Conflict, InvalidRequest, NotFound
from shared.identity.users import known_user
from shared.ports import Create, Data, Delete, Put, Store, Write
from shared.privacy import records
from shared.privacy.archive import Reading
from shared.privacy.tombstones import Tombstones

COMMIT_BYTES = 1_000_000
COMMIT_WRITES = 400

_UID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_MOMENT = re.compile(r"[0-9]{15}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Restored:
    """Whose archive it was, and what is there of it now, by kind."""

    uid: str
    counts: dict[str, int]
    streams: dict[str, Data]


def restore(store: Store, path: Path, mailbox: Callable[[Data], Data], tombstones: Tombstones) -> Restored:
    """Put an archive into a store; ``mailbox`` makes the document of one from its record.

    Raises ``InvalidRequest`` for what is damaged, cut off or no archive, or of a person who is known, and ``AccountDeleted``
    for one who was or is being deleted here: nothing is written, or in the middle of it no more.
    Raises ``Retry`` in the middle of it: then it can be repeated.
    """
    manifest = _checked(path)
    uid = str(manifest["user_id"])
    if not _UID.fullmatch(uid):
        raise InvalidRequest("The archive is damaged: its person has no name that can be.")
    _expect_nobody(store, uid, tombstones)
    writes = partial(_writes, path, uid, manifest, mailbox)
    try:
        return Restored(uid, _written(store, uid, manifest, writes(), tombstones), manifest["streams"])
    except AccountDeleted:
        _take_back(store, writes())
        raise


def _written(
    store: Store, uid: str, manifest: Data, writes: Iterable[tuple[str, Put]], tombstones: Tombstones
) -> dict[str, int]:
    """Write it all, the profile last; answers how many records of each kind there were."""
    batch: dict[str, Put] = {}
    weight = 0
    profile: Put | None = None
    counts: Counter[str] = Counter()
    for kind, write in writes:
        counts[kind] += 1
        if kind == "profile":
            profile = write
            continue
        batch[write.ref] = write  # of a message that is there twice the later record counts
        weight += len(records.line(write.data))
        if weight > COMMIT_BYTES or len(batch) >= COMMIT_WRITES:
            _expect_nobody(store, uid, tombstones)
            store.commit(list(batch.values()))
            batch, weight = {}, 0
    if profile is None:
        raise InvalidRequest("The archive has no profile.")
    _expect_nobody(store, uid, tombstones)
    store.commit([*batch.values(), *_own_stream(uid, manifest)])
    try:
        store.commit([Create(profile.ref, profile.data)])
    except Conflict:
        _expect_nobody(store, uid, tombstones)
        raise
    return dict(counts)


def _expect_nobody(store: Store, uid: str, tombstones: Tombstones) -> None:
    """Refuse a person who is known here, is being deleted, or was."""
    if known_user(store, uid, tombstones) is not None:
        raise InvalidRequest("The person of this archive is already known here: use a fresh data folder.")


def _take_back(store: Store, writes: Iterable[tuple[str, Put]]) -> None:
    """Delete what a deletion does not find by itself: what lies below mailboxes that may not have been written yet."""
    batch: set[str] = set()
    for kind, write in writes:
        if kind in ("message", "gap", "segment"):
            batch.add(write.ref)
        if len(batch) >= COMMIT_WRITES:
            store.commit([Delete(ref) for ref in batch])
            batch = set()
    if batch:
        store.commit([Delete(ref) for ref in batch])


def _writes(path: Path, uid: str, manifest: Data, mailbox: Callable[[Data], Data]) -> Iterator[tuple[str, Put]]:
    """What the records of an archive become, each with its kind."""
    with path.open("rb") as file:
        for record in Reading().read(file):
            write = _put(uid, manifest, record, mailbox)
            if write is not None:
                yield record["kind"], write


def _checked(path: Path) -> Data:
    reading = Reading()
    with path.open("rb") as file:
        for _ in reading.read(file):
            pass
    assert reading.manifest is not None  # or reading it had failed
    return reading.manifest


def _put(uid: str, manifest: Data, record: Data, mailbox: Callable[[Data], Data]) -> Put | None:
    """What a record becomes; None for what has no place here, as a grant without tokens has none."""
    try:
        of = record.get("mailbox") or record.get("stream") or (record["id"] if record["kind"] == "mailbox" else None)
        if of is not None and refs.owner(of) != uid:
            raise InvalidRequest("The archive is damaged: it holds what is somebody else's.")
        if of is not None and manifest["streams"].get(of, {}).get("erased"):
            return None
        ref = _ref(uid, of, record)
        return None if ref is None else Put(ref, _document(uid, record, mailbox))
    except (KeyError, TypeError, ValueError, AttributeError, NotFound):
        raise InvalidRequest("The archive is damaged: a record has not the form of its kind.") from None


def _ref(uid: str, of: Any, record: Data) -> str | None:
    match record["kind"]:
        case "profile":
            return refs.user(uid)
        case "message":
            return refs.message(of, record["data"]["id"])
        case "gap":
            return refs.gap(of, record["data"]["id"])
        case "segment":
            return refs.segment(of, record["data"]["first"])
        case "mailbox":
            return refs.stream(of)
        case "audit" if _MOMENT.fullmatch(record["id"]):
            return refs.trail(uid, record["id"])
    return None


def _document(uid: str, record: Data, mailbox: Callable[[Data], Data]) -> Data:
    data: Data = record["data"]
    if record["kind"] == "profile":
        # What somebody may do is for whoever runs this instance to say, and not for an archive.
        known = {name: data[name] for name in records.PROFILE if name in data and name != "role"}
        return {"email": None, "name": None, **known, "uid": uid, "rev": 1}
    if record["kind"] == "audit":
        return {**data, "shard": queries.shard_of(uid)}  # by which entries expire
    return mailbox({**data, "id": record["id"], "uid": uid}) if record["kind"] == "mailbox" else data


def _own_stream(uid: str, manifest: Data) -> list[Write]:
    name = refs.app_stream(uid)
    said: dict[str, Any] | None = manifest["streams"].get(name)
    if said is None:
        return []
    head = {
        "uid": uid,
        "shard": queries.shard_of(name),
        "poll": queries.quiet_group(name),
        "head": said["head"],
        "published": said["head"],
        "due_at": None,
    }
    return [Put(refs.stream(name), head)]

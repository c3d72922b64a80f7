"""An archive put into a store that does not know its person: the same streams, messages, gaps and trail.

Grants come without tokens and engines without a position, so mailboxes are there as disconnected ones. Who connects one
again has it listed anew: what is stored is known, what is announced is not announced twice, and its stream goes on.

::

    archive read whole --> read again, commit by commit: [every head] + some of what is below --> ... + the profile
                                                              |
        mailbox: being erased, unless a commit follows within STUCK_AFTER; disconnected with the last one
        own stream: its head is at the last event that has been written

The profile is last and decides: where there is one nothing is touched. Who died in the middle begins again. Each commit expects
every head as the one before left it, so none lands below a mailbox that is gone, or in a stream that somebody has gone on with.

An import that is not repeated, because the person was seen or asked to be deleted meanwhile, needs nobody to take it back: its
mailboxes are erased by the tick, as any whose erasure stands still. Of their own stream and trail the person keeps what was
written, the beginning of each, with no hole in it; a deletion finds it there.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from shared import queries, refs
from shared.errors import Busy, Conflict, InvalidRequest, NotFound
from shared.identity.users import known_user
from shared.ports import Clock, Create, Data, Put, Store, Update, Write
from shared.privacy import records
from shared.privacy.archive import Reading
from shared.privacy.rescues import STUCK_AFTER
from shared.privacy.tombstones import Tombstones

COMMIT_BYTES = 1_000_000
COMMIT_WRITES = 400

_UID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_MOMENT = re.compile(r"[0-9]{15}-[0-9a-f]{12}")


class Mailbox(Protocol):
    """Makes the document of a mailbox; the engine's ``imported`` is one."""

    def __call__(self, data: Data, until: float | None = None, /) -> Data:
        """From its record in an archive; ``until`` is when it is erased unless more of it comes, None once all is there."""


@dataclass(frozen=True, slots=True)
class Restored:
    """Whose archive it was, and what is there of it now, by kind."""

    uid: str
    counts: dict[str, int]
    streams: dict[str, Data]


def restore(store: Store, path: Path, mailbox: Mailbox, tombstones: Tombstones, clock: Clock) -> Restored:
    """Put an archive into a store.

    Raises ``InvalidRequest`` for what is damaged, cut off or no archive: then nothing is written. And for one whose person is
    known, or of whom another archive was begun; ``AccountDeleted`` for one who was or is being deleted here: nothing is
    written, or in the middle of it no more. Raises ``Retry`` in the middle of it: then it can be repeated.
    """
    archive = _checked(path, mailbox)
    counts = _Import(store, mailbox, tombstones, clock, archive).run()
    return Restored(archive.uid, counts, archive.streams)


@dataclass(frozen=True, slots=True)
class _Archive:
    """One that has been read to its end; ``digest`` is that of its parts, ``streams`` what its manifest says of each."""

    path: Path
    uid: str
    digest: str
    streams: dict[str, Data]
    profile: Data
    mailboxes: dict[str, Data]

    @property
    def own_stream(self) -> Data | None:
        """What the manifest says of the person's own stream; None where there is none."""
        return self.streams.get(refs.app_stream(self.uid))

    def contents(self) -> Iterator[tuple[Data, Put]]:
        """What lies below the heads, each with its record."""
        with self.path.open("rb") as file:
            for record in Reading().read(file):
                with _in_form():
                    of = _stream(self.uid, record)
                    write = None if self.streams.get(of or "", {}).get("erased") else _content(self.uid, of, record)
                if write is not None:
                    yield record, write


@dataclass(slots=True)
class _Import:
    """Writes one archive. ``versions`` are those of the heads, ``reached`` is how far the own stream is written."""

    store: Store
    mailbox: Mailbox
    tombstones: Tombstones
    clock: Clock
    archive: _Archive
    versions: dict[str, str | None] = field(default_factory=dict)
    reached: int = 0

    def run(self) -> dict[str, int]:
        """Write it all, the profile last; answers how many records of each kind there were."""
        self._take_up()
        own = refs.app_stream(self.archive.uid)
        batch: dict[str, Put] = {}
        weight = 0
        counts = Counter({"profile": 1})
        for record, write in self.archive.contents():
            counts[record["kind"]] += 1
            if record.get("stream") == own:
                self.reached = max(self.reached, record["data"]["last"])
            batch[write.ref] = write  # of a message that is there twice the later record counts
            weight += len(records.line(write.data))
            if weight > COMMIT_BYTES or len(batch) >= COMMIT_WRITES:
                self._commit(batch.values(), self.clock.now() + STUCK_AFTER)
                batch, weight = {}, 0
        if self.archive.own_stream is not None:
            self.reached = self.archive.own_stream["head"]
        self._commit([*batch.values(), Create(refs.user(self.archive.uid), self.archive.profile)], None)
        return dict(counts + Counter(mailbox=len(self.archive.mailboxes)))

    def _take_up(self) -> None:
        """Expect nobody and nothing, or what an import of this very archive has left behind."""
        own = refs.stream(refs.app_stream(self.archive.uid))
        found = [*self.store.query(queries.mailboxes_of(self.archive.uid)), *self.store.get([own]).values()]
        self._expect_nobody()  # after the heads: whoever is seen from here on changes them, or makes a profile
        for doc in found:
            if doc.data.get("archive") != self.archive.digest:
                raise InvalidRequest(
                    "Another archive of this person was begun here and not imported to its end: repeat that, "
                    "or use a fresh data folder."
                )
            if doc.data.get("rescue"):  # its time has passed, and the tick was there first
                raise Busy("What an earlier import has left is being removed: import again in some minutes.")
            self.versions[doc.ref] = doc.version
            self.reached = doc.data["head"] if doc.ref == own else self.reached

    def _commit(self, writes: Iterable[Write], until: float | None) -> None:
        heads = self._heads(until)
        expected = [
            Update(ref, data, version) if (version := self.versions.get(ref)) else Create(ref, data)
            for ref, data in heads.items()
        ]
        self._expect_nobody()
        try:
            versions = self.store.commit([*expected, *writes])
        except Conflict:
            self._expect_nobody()
            raise Busy("What was being imported has been changed or removed meanwhile: import it again.") from None
        self.versions = dict(zip(heads, versions, strict=False))

    def _heads(self, until: float | None) -> dict[str, Data]:
        """The documents at the head of all streams, by reference; the archive's digest is in each, for who repeats this."""
        archive = self.archive
        heads = {refs.stream(name): self.mailbox(data, until) for name, data in archive.mailboxes.items()}
        if archive.own_stream is not None:
            name = refs.app_stream(archive.uid)
            heads[refs.stream(name)] = {
                "uid": archive.uid,
                "shard": queries.shard_of(name),
                "poll": queries.quiet_group(name),
                "head": self.reached,
                "published": self.reached,
                "due_at": None,
            }
        return {ref: {**data, "archive": archive.digest} for ref, data in heads.items()}

    def _expect_nobody(self) -> None:
        """Refuse a person who is known here, is being deleted, or was."""
        if known_user(self.store, self.archive.uid, self.tombstones) is not None:
            raise InvalidRequest("The person of this archive is already known here: use a fresh data folder.")


def _checked(path: Path, mailbox: Mailbox) -> _Archive:
    """Read an archive to its end. Raises ``InvalidRequest`` for one of which anything could not be written."""
    reading = Reading()
    uid = ""
    profile: Data | None = None
    mailboxes: dict[str, Data] = {}
    ends: dict[str, int] = {}
    with path.open("rb") as file:
        for record in reading.read(file):
            with _in_form():
                of = _stream(uid, record) if uid else None
                match record["kind"]:
                    case "archive":
                        uid = _name(record["user_id"])
                    case "profile":
                        profile = _profile(uid, record["data"])
                    case "mailbox":
                        mailboxes[record["id"]] = data = {**record["data"], "id": record["id"], "uid": uid}
                        mailbox(data)
                    case kind:
                        _content(uid, of, record)
                        if of is not None:
                            reaches = (record["data"]["first"], record["data"]["last"]) if kind == "segment" else (0,)
                            ends[of] = max(ends.get(of, 0), *reaches)
    manifest = reading.manifest
    assert manifest is not None  # or reading it had failed
    streams: dict[str, Data] = manifest["streams"]
    if profile is None:
        raise InvalidRequest("The archive has no profile.")
    with _in_form():
        heads = {name: data["head"] for name, data in mailboxes.items()}
        heads |= {name: said["head"] for name, said in streams.items() if name == refs.app_stream(uid)}
        led_to = {name: end for name, end in ends.items() if not streams.get(name, {}).get("erased")}
        # Below a mailbox that is not there no deletion would find it, and beyond its head a stream could not go on.
        if any(end > heads[name] for name, end in led_to.items()) or manifest["user_id"] != uid:
            raise ValueError
    return _Archive(path, uid, manifest["parts_sha256"], streams, profile, mailboxes)


@contextmanager
def _in_form() -> Iterator[None]:
    """Where a record that is not of its form is found out."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, NotFound):
        raise InvalidRequest("The archive is damaged: a record has not the form of its kind.") from None


def _name(uid: str) -> str:
    if not _UID.fullmatch(uid):
        raise InvalidRequest("The archive is damaged: its person has no name that can be.")
    return uid


def _stream(uid: str, record: Data) -> str | None:
    """The mailbox or stream that a record is, or is of; None where it is of none."""
    of: str | None = record.get("mailbox") or record.get("stream")
    if record["kind"] == "mailbox":
        of = record["id"]
        if of != refs.mailbox_id(uid, record["data"]["slot"], record["data"]["provider"]):
            raise InvalidRequest("The archive is damaged: a mailbox has another's name.")
    if of is not None and refs.owner(of) != uid:
        raise InvalidRequest("The archive is damaged: it holds what is somebody else's.")
    return of


def _content(uid: str, of: str | None, record: Data) -> Put | None:
    """What a record becomes below its head; None for a head, and for what has no place here, as a grant without tokens."""
    data: Data = record.get("data", {})
    match record["kind"]:
        case "segment" if of is not None:
            return Put(refs.segment(of, data["first"]), data)
        case "message" if of is not None and of != refs.app_stream(uid):
            return Put(refs.message(of, data["id"]), data)
        case "gap" if of is not None and of != refs.app_stream(uid):
            return Put(refs.gap(of, data["id"]), data)
        case "segment" | "message" | "gap":
            raise ValueError
        case "audit" if _MOMENT.fullmatch(record["id"]):
            return Put(
                refs.trail(uid, record["id"]), {**data, "shard": queries.shard_of(uid)}
            )  # by which entries expire
    return None


def _profile(uid: str, data: Data) -> Data:
    # What somebody may do is for whoever runs this instance to say, and not for an archive.
    known = {name: data[name] for name in records.PROFILE if name in data and name != "role"}
    return {"email": None, "name": None, **known, "uid": uid, "rev": 1}

"""Exports as their person sees them: ask for one, see how it goes on, fetch what it has become.

``users/{uid}/exports/{id}`` is where one stands; whose turn it is to run is written into the profile in the same commit, so
that of several at once one begins. What is written of it, ``writing.py`` says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from shared import queries, refs
from shared.cas import ATTEMPTS
from shared.errors import AccountDeleted, Busy, Conflict, InvalidRequest, NotFound, TooManyRequests, Unknown
from shared.events.envelope import iso
from shared.identity.trail import Trail
from shared.ports import Blobs, Clock, Create, Data, Delete, Doc, Store, Tasks, Update
from shared.privacy.links import ArchiveLinks
from shared.privacy.rescues import STUCK_AFTER
from shared.privacy.tasks import enqueue_export

PER_DAY = 5
DAY = 86_400.0

AT_ONCE = 200
RUNNING, DONE, FAILED, EXPIRED = "running", "done", "failed", "expired"

_ID = re.compile(r"[0-9]{15}-[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Exports:
    """The exports of users. ``blobs`` is None where the settings name no place for archives, so that there can be none."""

    store: Store
    tasks: Tasks
    clock: Clock
    links: ArchiveLinks
    blobs: Callable[[], Blobs] | None

    def start(self, uid: str) -> Data:
        """Begin an export, or answer the one that is running.

        Raises ``AccountDeleted``, ``ConfigurationError``, ``NotFound``, ``Retry``, ``TooManyRequests``.
        """
        self._place()
        tried: set[str] = set()
        for _ in range(ATTEMPTS):
            now = self.clock.now()
            profile = self.store.get([refs.user(uid)]).get(refs.user(uid))
            if profile is None:
                raise NotFound("There is no such user.")
            if profile.data.get("erasing") is not None:
                raise AccountDeleted("The account is being deleted.")
            known: Data = profile.data.get("exports", {"running": None, "begun": []})
            running = self._running(uid, known["running"])
            if running is None:
                running = self._begun(profile, known, now, tried)
            if running is None:
                continue
            if refs.key(running.ref) in tried:
                Trail(self.store, self.clock).add(uid, "export", outcome="begun", export=refs.key(running.ref))
            enqueue_export(self.tasks, running)
            return self._shown(running)
        raise Busy("The profile kept changing.", retry_after=2)

    def page(self, uid: str, after: str | None, limit: int) -> tuple[list[Data], str | None]:
        """The exports that are not forgotten, oldest first, and the position behind them."""
        if after is not None and not _ID.fullmatch(after):
            raise InvalidRequest("The position is not one that was given out.")
        docs = self.store.query(queries.exports_of(uid, limit, after))
        return [self._shown(doc) for doc in docs], refs.key(docs[-1].ref) if len(docs) == limit else None

    def show(self, uid: str, export_id: str) -> Data:
        """How one export stands; once it is done with a link to its archive. Raises ``NotFound``."""
        doc = self._found(uid, export_id)
        shown = self._shown(doc)
        if shown["status"] == DONE:
            link, expires = self.links.make(uid, export_id, doc.data["expires_at"])
            shown |= {"link": link, "link_expires_at": iso(expires)}
        return shown

    def open(self, uid: str, export_id: str, expires: str, signature: str) -> tuple[str, Iterator[bytes]]:
        """A file name and an archive in its parts, for who has its link. Raises ``Forbidden``, ``NotFound``, ``Retry``."""
        self.links.check(uid, export_id, expires, signature)
        doc = self._found(uid, export_id)
        if self._status(doc) != DONE:
            raise NotFound("There is no such archive, or no longer.")
        blobs = self._place()
        names = names_of(doc)
        first = blobs.get(names[0])  # what is not there at all shall be an answer, and not a cut connection
        Trail(self.store, self.clock).add(uid, "export", by="link", outcome="fetched", export=export_id)

        def parts() -> Iterator[bytes]:
            yield first
            for name in names[1:]:
                yield blobs.get(name)

        return f"brainstem-{iso(doc.data['created_at'])[:10]}.ndjson.gz", parts()

    def forget(self, uid: str) -> bool:
        """Remove a portion of all archives and exports of a person; answer whether any may be left. Raises ``Retry``."""
        docs = self.store.query(queries.exports_of(uid, AT_ONCE))
        if docs:
            self.store.commit([Delete(doc.ref) for doc in docs])
        if self.blobs is None:
            return bool(docs)
        blobs = self.blobs()
        names = blobs.below(refs.archive(uid), AT_ONCE)
        blobs.delete(names)
        return bool(docs or names)

    def _running(self, uid: str, export_id: str | None) -> Doc | None:
        if export_id is None:
            return None
        ref = refs.export(uid, export_id)
        doc = self.store.get([ref]).get(ref)
        return doc if doc is not None and doc.data["status"] == RUNNING else None

    def _begun(self, profile: Doc, known: Data, now: float, tried: set[str]) -> Doc | None:
        """A new export; None where the profile has changed, or may have."""
        uid = refs.key(profile.ref)
        begun = [time for time in known["begun"] if now - DAY < time]
        if len(begun) >= PER_DAY:
            wait = max(1.0, begun[0] + DAY - now)
            raise TooManyRequests(f"There may be {PER_DAY} exports a day.", retry_after=wait)
        export_id = f"{int(now * 1000):015d}-{self.clock.entropy(16).hex()}"
        tried.add(export_id)
        states = self.store.query(queries.mailboxes_of(uid))
        states = [state for state in states if not state.data.get("erasing")]
        data: Data = {
            "uid": uid,
            "status": RUNNING,
            "created_at": now,
            "updated_at": now,
            "expires_at": None,
            "due_at": now + STUCK_AFTER,
            "shard": queries.shard_of(export_id),
            "rescues": 0,
            "error": None,
            "mailboxes": [state.data["id"] for state in states],
            "expected": sum(state.data["messages"] + state.data["head"] for state in states),
            "at": {"place": 0},
            "streams": {},
            "counts": {},
            "events": 0,
            "parts": [],
            "last": None,
        }
        ref = refs.export(uid, export_id)
        running = {"exports": {"running": export_id, "begun": [*begun, now]}}
        try:
            versions = self.store.commit([Create(ref, data), Update(profile.ref, running, profile.version)])
        except (Conflict, Unknown):
            return None
        return Doc(ref, data, versions[0] or "")

    def _found(self, uid: str, export_id: str) -> Doc:
        ref = refs.export(uid, export_id) if _ID.fullmatch(export_id) else ""
        doc = self.store.get([ref]).get(ref) if ref else None
        if doc is None:
            raise NotFound("There is no such export.")
        return doc

    def _place(self) -> Blobs:
        if self.blobs is None:
            raise NotFound("There are no exports here: BLOBS_URL names no place for archives.")
        return self.blobs()

    def _status(self, doc: Doc) -> str:
        expires = doc.data["expires_at"]
        gone = expires is not None and expires <= self.clock.now()
        return EXPIRED if gone and doc.data["status"] == DONE else str(doc.data["status"])

    def _shown(self, doc: Doc) -> dict[str, Any]:
        data, status = doc.data, self._status(doc)
        done = data["counts"].get("message", 0) + data["events"]
        return {
            "export_id": refs.key(doc.ref),
            "status": status,
            "progress": 1.0 if status in (DONE, EXPIRED) else min(0.99, round(done / max(1, data["expected"]), 2)),
            "records": sum(data["counts"].values()),
            "created_at": iso(data["created_at"]),
            "expires_at": None if data["expires_at"] is None else iso(data["expires_at"]),
            "error": data["error"],
        }


def name_of(export: Doc, number: int, digest: str) -> str:
    """The blob of a part. It is named after what it holds: whoever writes another in its place writes beside it."""
    return f"{refs.archive(export.data['uid'], refs.key(export.ref))}/part-{number:05d}-{digest[:32]}.ndjson.gz"


def names_of(export: Doc) -> list[str]:
    """The blobs of a finished archive, in order."""
    digests = [*export.data["parts"], export.data["last"]]
    return [name_of(export, number, digest) for number, digest in enumerate(digests, 1)]

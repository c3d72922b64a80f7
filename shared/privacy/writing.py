"""One step of an export: gather a part, put it where archives are, and move the position by compare-and-set.

::

    running: part put --> position moved --> successor enqueued --> ... --> manifest put --> done
    done, failed: once that is over, blobs removed, then the export itself
    what cannot be written now or ever: failed, with the reason; what an outage keeps: tried again for two days

A step may die anywhere. A part that no position names is removed with the archive; two steps that write the same part at
once each write their own, since the store may have changed in between, and the position names that of the faster one. Every
move checks the profile, so an account that is being deleted ends its exports.
"""

from __future__ import annotations

import hashlib
from copy import deepcopy
from dataclasses import dataclass
from functools import partial

from shared import queries, refs
from shared.cas import amend
from shared.errors import Busy, Conflict, RequestError, Unknown
from shared.events.envelope import iso
from shared.observability import logs
from shared.ports import Blobs, Check, Clock, Data, Delete, Doc, Store, Tasks, Update
from shared.privacy import archive, records
from shared.privacy.export import AT_ONCE, DONE, FAILED, RUNNING, name_of
from shared.privacy.gathering import Draft, gather
from shared.privacy.rescues import STUCK_AFTER, rescue_due
from shared.privacy.tasks import ExportTask, enqueue_export

MAX_PARTS = 4000
"""Parts of an archive, some 8 GiB before they are packed: their digests are kept in one document."""

GIVE_UP_AFTER = 172_800.0
"""Seconds after which an export that has not come to its end is given up."""

_LOG = logs.named(__name__)


@dataclass(frozen=True, slots=True)
class Writing:
    """Takes the steps of exports; an archive is kept for ``days``."""

    store: Store
    tasks: Tasks
    clock: Clock
    blobs: Blobs
    days: float

    def step(self, task: ExportTask) -> None:
        """Take one step. Returning acknowledges the task; raises what the queue has to bring back."""
        ref = refs.export(task.uid, task.export_id)
        found = self.store.get([ref, refs.user(task.uid)])
        export, profile = found.get(ref), found.get(refs.user(task.uid))
        if export is None or profile is None or profile.data.get("erasing") is not None:
            return  # the deletion of the account removes what there is
        now = self.clock.now()
        if export.data["status"] != RUNNING:
            if export.data["expires_at"] <= now:
                self._remove(export)
        elif now - export.data["created_at"] > GIVE_UP_AFTER:
            self._fail(export, "It could not be finished in two days.")
        elif len(export.data["parts"]) != task.parts:
            enqueue_export(self.tasks, export)  # the step that moved it may have died before it said so
        elif task.parts >= MAX_PARTS:
            self._fail(export, "There is more than an archive can hold.")
        else:
            try:
                self._write(export, profile, now)
            except RequestError as error:  # which the queue could bring back as often as it likes
                self._fail(export, f"It cannot be written: {error.message}")

    def _write(self, export: Doc, profile: Doc, now: float) -> None:
        data, export_id = export.data, refs.key(export.ref)
        draft = Draft(
            data["uid"],
            export_id,
            data["created_at"],
            data["mailboxes"],
            data["at"],
            deepcopy(data["streams"]),
            dict(data["counts"]),
            data["events"],
        )
        gather(self.store, draft)
        parts: list[str] = data["parts"]
        change: Data = {
            "updated_at": now,
            "due_at": now + STUCK_AFTER,
            "at": draft.at,
            "streams": draft.streams,
            "counts": draft.counts,
            "events": draft.events,
        }
        written = []
        if draft.lines:
            part = archive.part(len(parts) + 1, parts, draft.lines)
            parts = [*parts, part.sha256]
            written.append((name_of(export, len(parts), part.sha256), part.data))
            change["parts"] = parts
        if draft.ended:
            manifest = archive.last(_manifest(export, draft, parts, now))
            digest = hashlib.sha256(manifest).hexdigest()
            written.append((name_of(export, len(parts) + 1, digest), manifest))
            over = now + self.days * 86_400.0
            change |= {"status": DONE, "last": digest, "expires_at": over, "due_at": over}
        for name, blob in written:
            self.blobs.put(name, blob)
        self._move(export, profile, change, [name for name, _ in written])

    def _move(self, export: Doc, profile: Doc, change: Data, written: list[str]) -> None:
        try:
            versions = self.store.commit(
                [Update(export.ref, change, export.version), Check(profile.ref, profile.version)]
            )
        except (Conflict, Unknown) as lost:
            if export.ref not in self.store.get([export.ref]):
                self.blobs.delete(written)  # it was removed meanwhile, and nobody will come for these
                return
            raise Busy("Another step was faster, or the profile has changed.", retry_after=1) from lost
        if change.get("status") == DONE:
            _LOG.info("export_done", "An archive is complete.", records=sum(change["counts"].values()))
            return
        enqueue_export(self.tasks, Doc(export.ref, {**export.data, **change}, versions[0] or ""))

    def _fail(self, export: Doc, why: str) -> None:
        """Say it, and have what was written removed at the next tick; the person may begin another."""
        now = self.clock.now()
        change = {"status": FAILED, "error": why, "updated_at": now, "expires_at": now + STUCK_AFTER}
        amend(
            self.store,
            export.ref,
            lambda current: None if current.data["status"] != RUNNING else {**change, "due_at": now + STUCK_AFTER},
        )
        _LOG.warning("export_failed", "An export was given up.", why=why, parts=len(export.data["parts"]))

    def _remove(self, export: Doc) -> None:
        """All blobs, those that no position names too, and then the export."""
        names = self.blobs.below(refs.archive(export.data["uid"], refs.key(export.ref)), AT_ONCE)
        self.blobs.delete(names)
        if len(names) == AT_ONCE:
            raise Busy("There is more of the archive to remove.", retry_after=1)
        self.store.commit([Delete(export.ref)])


def rescue(store: Store, tasks: Tasks, now: float) -> int:
    """Take up again exports that stand still, and have archives removed that have expired; answers how many.

    Raises ``Retry``.
    """
    return rescue_due(store, now, queries.due_exports, partial(enqueue_export, tasks))


def _manifest(export: Doc, draft: Draft, parts: list[str], now: float) -> Data:
    return {
        "kind": "manifest",
        "format": records.FORMAT,
        "export_id": refs.key(export.ref),
        "user_id": export.data["uid"],
        "begun_at": iso(export.data["created_at"]),
        "ended_at": iso(now),
        "records": sum(draft.counts.values()),
        "counts": draft.counts,
        "streams": draft.streams,
        "parts": parts,
        "parts_sha256": archive.whole(parts),
    }

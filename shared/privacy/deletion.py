"""Asking for the end of an account: the fence, the first task, and the rescue of a deletion that stands still.

The fence is one field of the profile, written by compare-and-set. From then on whoever reads the profile refuses, and who
does not read it writes nothing that the deletion would not find: mailboxes are created in one commit with the profile as it
was before the fence. What was under way behind it is over after ``LONGEST_REQUEST``; see ``erasure.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

from shared import queries, refs
from shared.cas import ATTEMPTS, amend
from shared.errors import Busy, Conflict, Unknown
from shared.identity.tokens import Principal
from shared.identity.trail import Trail
from shared.observability import logs
from shared.ports import Clock, Create, Data, Doc, Store, Tasks
from shared.privacy.rescues import STUCK_AFTER, rescue_due
from shared.privacy.tasks import enqueue
from shared.privacy.tombstones import Tombstones

_LOG = logs.named(__name__)


@dataclass(frozen=True, slots=True)
class Deletion:
    """Begins deletions."""

    store: Store
    tasks: Tasks
    clock: Clock
    tombstones: Tombstones

    def begin(self, principal: Principal) -> None:
        """Fence the person's account and set its end going; any number of times, also once it is gone.

        Somebody who has not been seen yet is fenced all the same: a request of theirs may be making a profile just now.
        Raises ``Retry``.
        """
        ref, now = refs.user(principal.uid), self.clock.now()
        for _ in range(ATTEMPTS):
            profile = amend(self.store, ref, lambda known: _fence(known, now))
            if profile is None:
                if self.tombstones.lies(principal.uid):
                    return
                profile = self._fenced_from_the_start(principal, now)
                if profile is None:
                    continue
            if profile.data["erasing"] == now:
                Trail(self.store, self.clock).add(principal.uid, "deletion", outcome="begun")
                _LOG.info("deletion_begun", "A person has asked for the end of their account.")
            enqueue(self.tasks, profile)
            return
        raise Busy("The profile kept changing.", retry_after=2)

    def _fenced_from_the_start(self, principal: Principal, now: float) -> Doc | None:
        """The fenced profile of somebody who had none; None where there may be one now."""
        ref = refs.user(principal.uid)
        profile = {
            "uid": principal.uid,
            "email": None,
            "name": None,
            "created_at": now,
            "rev": 1,
            **_fields(principal.uid, now),
        }
        try:
            [version] = self.store.commit([Create(ref, profile)])
        except (Conflict, Unknown):
            return None
        return Doc(ref, profile, version or "")


def _fence(profile: Doc, now: float) -> Data | None:
    return _fields(refs.key(profile.ref), now) if profile.data.get("erasing") is None else None


def _fields(uid: str, now: float) -> Data:
    return {"erasing": now, "turn": 0, "rescues": 0, "shard": queries.shard_of(uid), "due_at": now + STUCK_AFTER}


def rescue(store: Store, tasks: Tasks, now: float) -> int:
    """Take up again what deletions have missed their deadline; answers how many. Raises ``Retry``."""

    def go_on(profile: Doc) -> None:
        _LOG.warning(
            "deletion_rescued", "A deletion that had stood still was taken up again.", turn=profile.data["turn"]
        )
        enqueue(tasks, profile)

    return rescue_due(store, now, queries.due_deletions, go_on)

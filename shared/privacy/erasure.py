"""What a step of a deletion does: the first of what is left, a bounded portion of it, then the next step.

::

    fence --> mailboxes (their own chains: channels stopped, documents erased) --> sessions, logins, tickets, exports
          --> grants that no mailbox needs any more, revoked at the provider --> once there is neither, the data key
          --> LONGEST_REQUEST after the fence: all of it once more
          --> `account.deleted`, published --> the app stream, the audit trail --> profile out, tombstone in, in one commit

Every step looks for all of it again, in this order, so a crash anywhere resumes and nothing has to be noted but how often
(``turn``) and whose accounts the grants are of, since nothing else tells once a mailbox has gone. A provider that is out of
reach keeps its own grants, the mailboxes whose channels it has to stop, and the key of both; not what is another's.

Why the last look is the last: a request that began after the fence finds it; one that began before is over after
``LONGEST_REQUEST``, and what it wrote is found by the look that begins then. The stream and the trail, which such a
request may write to without looking at the profile, go after that, and the profile last: until then it keeps anybody from
making another. Nobody writes behind the last commit, since from then on the tombstone refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from shared import queries, refs
from shared.cas import amend
from shared.errors import BrainstemError, Busy, Conflict, ProviderRefused, StoreError, Unknown
from shared.events import types
from shared.events.app import AppStream
from shared.events.consume import forget_stream
from shared.events.envelope import iso
from shared.observability import logs
from shared.ports import Clock, Data, Delete, Doc, Put, Query, Store, Tasks, Update
from shared.privacy.rescues import STUCK_AFTER
from shared.privacy.tasks import DeletionTask, enqueue
from shared.privacy.tombstones import Tombstones
from shared.vault.grants import Grants

LONGEST_REQUEST = 900.0
"""Seconds after which every request is over: the longest that a function may take, and what clocks may differ by."""

REVOKED_WITHIN = 86_400.0
"""Seconds for which a provider that is out of reach is asked again to revoke a grant that no mailbox needs any more."""

STOPPED_WITHIN = 600.0
"""Seconds that mailboxes have for stopping their channels; after that their grants are revoked all the same, where they can be.

Without its grant a mailbox is erased at once, and what a channel still rings with by then leads to nobody.
"""

AT_ONCE = 200
GRANTS_AT_ONCE = 20
"""Of the grants, so many are given back by one step."""

SOONEST, LATEST = 2.0, 60.0
"""Seconds between two looks at mailboxes that are being erased: half as many as have passed since the fence."""

LONGEST_PAUSE = 3_600.0
"""Seconds between two attempts to revoke, at most."""

_LOG = logs.named(__name__)

Revoke = Callable[[str], None]
"""Gives a token back to its provider. Raises provider errors, ``ConfigurationError``."""


class Mailboxes(Protocol):
    """The mailboxes of users; the engine's ``Accounts`` is one."""

    def leave(self, uid: str) -> bool:
        """Have every mailbox erased by its own chain, and its channel stopped; False once none is left. Raises ``Retry``."""

    def accounts(self, uid: str) -> dict[str, list[str]]:
        """The grants that the mailboxes need, those being erased too; of each the routes of the accounts that it is for."""

    def is_followed(self, uid: str, routes: Sequence[str]) -> bool:
        """Whether a mailbox of somebody else, which is not being erased, follows one of these accounts. Raises ``Retry``."""


@dataclass(frozen=True, slots=True)
class Erasure:
    """Takes the steps of deletions.

    ``revoke`` is by the provider's name, of those that can. ``forget`` are what else keeps something of a person: each removes
    a bounded portion and answers whether anything may be left. ``consumers`` are our own that follow streams.
    """

    store: Store
    tasks: Tasks
    clock: Clock
    tombstones: Tombstones
    mailboxes: Mailboxes
    grants: Grants
    app: AppStream
    revoke: Mapping[str, Revoke]
    forget: Sequence[Callable[[str], bool]]
    consumers: tuple[str, ...]

    def step(self, task: DeletionTask) -> None:
        """Take one step. Returning acknowledges the task; raises what the queue has to bring back."""
        ref = refs.user(task.uid)
        profile = self.store.get([ref]).get(ref)
        if profile is None or profile.data.get("erasing") != task.fenced_at:
            return
        if profile.data["turn"] != task.turn:
            enqueue(self.tasks, profile)  # the step that went on from here may have died before it said so
            return
        now = self.clock.now()
        if "accounts" not in profile.data:
            # Before the first mailbox goes, and with it what tells whose account a grant is for.
            self._go_on(profile, now, {"accounts": self.mailboxes.accounts(task.uid)})
            return
        again = self._again_at(task.uid, profile.data, now)
        if again is not None:
            self._go_on(profile, again, {})
        elif "told" not in profile.data:
            self._tell(task.uid)
            self._go_on(profile, now, {"told": now})
        elif self._stream_is_left(task.uid) or self._is_left(queries.trail_of(task.uid, AT_ONCE)):
            self._go_on(profile, now, {})
        else:
            self._bury(profile, now)

    def _again_at(self, uid: str, profile: Data, now: float) -> float | None:
        """When to look again for what requests may write or have written; None once nothing of it can be left."""
        mailboxes = self.mailboxes.leave(uid)
        left = [
            self._is_left(queries.kept_below(uid, "sessions", AT_ONCE)),
            self._is_left(queries.kept_of(uid, "logins", AT_ONCE)),
            self._is_left(queries.kept_of(uid, "oauth", AT_ONCE)),
            *(forget(uid) for forget in self.forget),
        ]
        went, waits = self._give_back(uid, profile, now)
        fenced_at: float = profile["erasing"]
        pause = max(SOONEST, (now - fenced_at) / 2)
        if went or any(left):
            return now
        if waits:
            return now + min(LONGEST_PAUSE, pause)
        if mailboxes:
            return now + min(LATEST, pause)
        self.grants.vault.forget(uid)
        return None if now >= fenced_at + LONGEST_REQUEST else fenced_at + LONGEST_REQUEST

    def _is_left(self, query: Query) -> bool:
        """Delete a portion; answer whether there was any."""
        docs = self.store.query(query)
        if docs:
            self.store.commit([Delete(doc.ref) for doc in docs])
        return bool(docs)

    def _give_back(self, uid: str, profile: Data, now: float) -> tuple[bool, bool]:
        """Revoke and delete a portion of the grants; answers whether any went, and whether one waits for its provider.

        One that a mailbox needs to stop its channel stays, unless that has been tried for ``STOPPED_WITHIN`` and it can be
        revoked: then it goes once it is.
        """
        needed = self.mailboxes.accounts(uid)
        went, out_of_reach = 0, set[str]()
        grants = list(queries.scan(self.store, queries.grants_of(uid)))
        for doc in sorted(grants, key=lambda doc: refs.key(doc.ref) in needed):
            grant_id, provider = refs.key(doc.ref), doc.data["provider"]
            is_needed = grant_id in needed
            if is_needed and (provider not in self.revoke or now < profile["erasing"] + STOPPED_WITHIN):
                continue
            is_followed = self.mailboxes.is_followed(uid, profile["accounts"].get(grant_id, ()))
            if is_followed and is_needed:
                continue  # it is not revoked, and nothing has to be stopped for it
            if not is_followed and provider in self.revoke:
                is_patient = is_needed or now < profile["erasing"] + REVOKED_WITHIN
                if is_patient and provider in out_of_reach:
                    continue
                if not self._is_revoked(uid, grant_id, provider, is_needed, is_patient):
                    out_of_reach.add(provider)
                    continue
            self.store.commit([Delete(doc.ref)])
            went += 1
            if went == GRANTS_AT_ONCE:
                break
        return went > 0, bool(out_of_reach)

    def _is_revoked(self, uid: str, grant_id: str, provider: str, is_needed: bool, is_patient: bool) -> bool:
        """Give a grant's token back; False for what is worth waiting for. Raises ``StoreError``."""
        try:
            token = self.grants.last_token(uid, grant_id)
            if token is not None:
                self.revoke[provider](token)
        except StoreError:
            raise
        except BrainstemError as error:
            # With a grant that its provider will not take back a channel may yet be stopped.
            if is_patient and (is_needed or not isinstance(error, ProviderRefused)):
                _LOG.warning("revocation_postponed", "A grant could not be revoked now.", error)
                return False
            _LOG.warning("grant_not_revoked", "A grant was deleted, but not revoked.", error, provider=provider)
        return True

    def _tell(self, uid: str) -> None:
        """Append ``account.deleted`` to the person's own stream and publish all that it holds; again, it is there already."""
        stream = refs.app_stream(uid)
        ref = refs.stream(stream)
        head = self.store.get([ref]).get(ref)
        last = self.store.query(queries.segments_after(stream, head.data["head"] - 1, 1)) if head is not None else []
        if not any(types.ACCOUNT_DELETED in segment.data["types"] for segment in last):
            self.app.post(uid, types.ACCOUNT_DELETED, {"deleted_at": iso(self.clock.now())})
        self.app.relay(stream)
        head = self.store.get([ref]).get(ref)
        if head is not None and head.data["published"] < head.data["head"]:
            raise Busy("The end of the account has yet to reach the bus.")

    def _stream_is_left(self, uid: str) -> bool:
        """Remove the app stream, bounded: marks and effects of consumers, the log, its head last."""
        stream = refs.app_stream(uid)
        # Whoever reads it for the first time now must not leave a mark behind (``events/consume.py``).
        head = amend(
            self.store, refs.stream(stream), lambda doc: None if doc.data.get("erasing") else {"erasing": True}
        )
        if head is None:
            return False
        for consumer in self.consumers:
            forget_stream(self.store, consumer, stream)
        if not self._is_left(queries.segments_after(stream, 0, AT_ONCE)):
            self.store.commit([Delete(head.ref)])
        return True

    def _go_on(self, profile: Doc, at: float, noted: Data) -> None:
        """Count the step, and have the next one taken; a step that was faster has done so."""
        turn = {**noted, "turn": profile.data["turn"] + 1, "due_at": at + STUCK_AFTER}
        try:
            [version] = self.store.commit([Update(profile.ref, turn, profile.version)])
        except (Conflict, Unknown):
            raise Busy("Another step of this deletion was faster.", retry_after=1) from None
        after = Doc(profile.ref, {**profile.data, **turn}, version or "")
        enqueue(self.tasks, after, at if at > self.clock.now() else None)

    def _bury(self, profile: Doc, now: float) -> None:
        tombstone = self.tombstones.place(refs.key(profile.ref))
        self.store.commit([Put(tombstone, {"deleted_at": now}), Delete(profile.ref, profile.version)])
        _LOG.info(
            "account_deleted", "Nothing of a person is left but a tombstone.", seconds=now - profile.data["erasing"]
        )

"""What a step of a deletion does: the first of what is left, a bounded portion of it, then the next step.

::

    fence --> mailboxes (their own chains: channels stopped, documents erased) --> sessions, logins, tickets, exports
          --> grants that no mailbox needs any more, revoked at the provider unless that ends somebody else's
          --> once there is neither, the data key
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
from shared.errors import (
    BrainstemError,
    Busy,
    Conflict,
    ProviderRefused,
    ProviderUnavailable,
    ReauthRequired,
    StoreError,
    Unknown,
)
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

    def account(self, uid: str, provider: str, grant_id: str) -> str:
        """The route of a grant's account, from its provider. Raises ``ReauthRequired`` for one that has ended, and others."""

    def is_followed(self, uid: str, provider: str, routes: Sequence[str]) -> bool | None:
        """Whether a mailbox of somebody else, which is not being erased, follows one of these accounts.

        None while one at the provider may that has not learnt its account yet. Raises ``Retry``.
        """


@dataclass(frozen=True, slots=True)
class _Grant:
    """A grant that may go: whose account it is of, as far as that is known, and whether a mailbox needs it."""

    id: str
    provider: str
    routes: tuple[str, ...]
    is_needed: bool
    is_patient: bool

    def waits_for(self, error: BrainstemError) -> bool:
        """Whether what went wrong may pass; with a grant that its provider will not take back a channel may yet be stopped."""
        return self.is_patient and (self.is_needed or not isinstance(error, ProviderRefused))


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
        again, learnt = self._again_at(task.uid, profile.data, now)
        if again is not None:
            noted = {"accounts": {**profile.data["accounts"], **learnt}} if learnt else {}
            self._go_on(profile, again, noted)
        elif "told" not in profile.data:
            self._tell(task.uid)
            self._go_on(profile, now, {"told": now})
        elif self._stream_is_left(task.uid) or self._is_left(queries.trail_of(task.uid, AT_ONCE)):
            self._go_on(profile, now, {})
        else:
            self._bury(profile, now)

    def _again_at(self, uid: str, profile: Data, now: float) -> tuple[float | None, dict[str, list[str]]]:
        """When to look again for what requests may write or have written, and of which grants the accounts were learnt.

        None once nothing of it can be left.
        """
        mailboxes = self.mailboxes.leave(uid)
        left = [
            self._is_left(queries.kept_below(uid, "sessions", AT_ONCE)),
            self._is_left(queries.kept_of(uid, "logins", AT_ONCE)),
            self._is_left(queries.kept_of(uid, "oauth", AT_ONCE)),
            *(forget(uid) for forget in self.forget),
        ]
        went, waits, learnt = self._give_back(uid, profile, now)
        fenced_at: float = profile["erasing"]
        pause = max(SOONEST, (now - fenced_at) / 2)
        if went or learnt or any(left):
            return now, learnt
        if waits:
            return now + min(LONGEST_PAUSE, pause), {}
        if mailboxes:
            return now + min(LATEST, pause), {}
        self.grants.vault.forget(uid)
        return (None if now >= fenced_at + LONGEST_REQUEST else fenced_at + LONGEST_REQUEST), {}

    def _is_left(self, query: Query) -> bool:
        """Delete a portion; answer whether there was any. Raises ``StoreError``."""
        docs = self.store.query(query)
        if docs:
            # As they were read: a login is found by its address, which may have become somebody else's since.
            self.store.commit([Delete(doc.ref, doc.version) for doc in docs])
        return bool(docs)

    def _give_back(self, uid: str, profile: Data, now: float) -> tuple[bool, bool, dict[str, list[str]]]:
        """Revoke and delete a portion of the grants: whether any went, whether one waits, and whose some turned out to be.

        One whose account nobody knows is not revoked before that has been asked for, in a step of its own.
        """
        went, out_of_reach = 0, set[str]()
        learnt: dict[str, list[str]] = {}
        for grant in self._due(uid, profile, now):
            is_followed = self.mailboxes.is_followed(uid, grant.provider, grant.routes) if grant.routes else None
            if is_followed and grant.is_needed:
                continue  # it is not revoked, and nothing has to be stopped for it
            if not is_followed and grant.provider in self.revoke:
                if grant.is_patient and grant.provider in out_of_reach:
                    continue
                try:
                    if routes := self._end(uid, grant, is_followed):
                        learnt[grant.id] = routes
                except StoreError:
                    raise
                except BrainstemError as error:
                    if grant.waits_for(error):
                        _LOG.warning("revocation_postponed", "A grant could not be revoked now.", error)
                        out_of_reach.add(grant.provider)
                        continue
                    name = grant.provider
                    _LOG.warning("grant_not_revoked", "A grant was deleted, but not revoked.", error, provider=name)
            if grant.id not in learnt:
                self.store.commit([Delete(refs.grant(uid, grant.id))])
                went += 1
            if went + len(learnt) == GRANTS_AT_ONCE:
                break
        return went > 0, bool(out_of_reach), learnt

    def _due(self, uid: str, profile: Data, now: float) -> list[_Grant]:
        """The grants that may go now, those of unknown accounts after the others, and those that a mailbox needs last.

        One that is needed to stop a channel is not among them, unless that has been tried for ``STOPPED_WITHIN`` and it can
        be revoked: then it goes once it is.
        """
        needed = self.mailboxes.accounts(uid)
        found = []
        for doc in queries.scan(self.store, queries.grants_of(uid)):
            grant_id, provider = refs.key(doc.ref), doc.data["provider"]
            is_needed, is_revocable = grant_id in needed, provider in self.revoke
            if is_needed and not (is_revocable and now >= profile["erasing"] + STOPPED_WITHIN):
                continue
            routes = profile["accounts"].get(grant_id, ()) if is_revocable else ()
            is_patient = is_needed or now < profile["erasing"] + REVOKED_WITHIN
            found.append(_Grant(grant_id, provider, tuple(routes), is_needed, is_patient))
        return sorted(found, key=lambda grant: (grant.is_needed, not grant.routes))

    def _end(self, uid: str, grant: _Grant, is_followed: bool | None) -> list[str]:
        """Give a grant's token back; instead, the routes of one whose account has only now been learnt.

        Raises provider errors, ``ConfigurationError``, ``StoreError``.
        """
        if not grant.routes:
            try:
                return [self.mailboxes.account(uid, grant.provider, grant.id)]
            except ReauthRequired:
                return []  # it has ended by itself
        if is_followed is None:
            raise ProviderUnavailable("Of a mailbox of somebody else's it is not known yet whose account it is.")
        token = self.grants.last_token(uid, grant.id)
        if token is not None:
            self.revoke[grant.provider](token)
        return []

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

"""What a person does with mailboxes: connect, disconnect, erase, and see how they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from shared import queries, refs
from shared.errors import Busy, Conflict, ConsentRequired, NotFound, Unknown
from shared.events import types
from shared.identity.users import refuse_erasing
from shared.mail import overview, whose
from shared.mail.apply import anew, apply, finish
from shared.mail.context import Context, Loaded, load
from shared.mail.fold import Notice, Work
from shared.mail.state import CONNECT_DEADLINE, MailboxState, document, read_state
from shared.mail.tasks import enqueue_once
from shared.mail.whose import grants_of
from shared.ports import Create, Delete, Update, Write
from shared.providers.base import PROVIDERS

ATTEMPTS = 8


@dataclass(frozen=True, slots=True)
class Accounts:
    """The mailboxes of users; every change raises the epoch, which ends the chains of the one before."""

    ctx: Context

    def grant_id(self, uid: str, provider: str) -> str:
        """Under which id to keep tokens that a client brings itself: nobody vouches for their subject, so the slot names it."""
        mailboxes = self._mailboxes(uid, PROVIDERS[provider])
        slot = mailboxes[0].state.slot if mailboxes else self._next_slot(uid, PROVIDERS[provider])
        # Its own row every time: tokens that nobody has tried yet must not mix with others.
        return f"{provider}:{slot}-{self.ctx.clock.entropy(6).hex()}"

    def connect(self, uid: str, provider: str, grant_id: str | None) -> None:
        """Start, or take up again, the mailboxes of a provider: the first with a new grant, else all with a usable one.

        Raises ``ConsentRequired`` when there is none.
        """
        name = PROVIDERS[provider]
        mailboxes = self._mailboxes(uid, name)
        if grant_id is not None:
            chosen = mailboxes[:1] or [self._create(uid, name, grant_id)]
        else:
            chosen = [loaded for loaded in mailboxes if self._usable(loaded.state)]
        if not chosen:
            raise ConsentRequired(f"Grant access to the {provider} mailbox first.", provider=provider)
        for loaded in chosen:
            self._start(loaded, grant_id)

    def connect_account(self, uid: str, provider: str, grant_id: str, address: str | None) -> None:
        """Follow the account of a grant whose subject the provider has named: in its mailbox, or in one of its own.

        Its mailbox is the one that uses the grant, else one of brought tokens with this address (None where the provider
        does not vouch for one), else one that never came to follow anything and has no grant that works. Raises ``Retry``.
        """
        name = PROVIDERS[provider]
        for _ in range(ATTEMPTS):
            mailboxes = self._mailboxes(uid, name)
            using = [loaded for loaded in mailboxes if grant_id in grants_of(loaded.state)]
            same = [loaded for loaded in mailboxes if address is not None and _brought(loaded.state, address.lower())]
            idle = [loaded for loaded in mailboxes if loaded.state.address is None and not self._usable(loaded.state)]
            found = [*using, *same, *idle]
            loaded = found[0] if found else self._create(uid, name, grant_id)
            try:
                if self._start(loaded, grant_id, partial(_taken, grants_of(loaded.state))):
                    return
            except NotFound:
                continue  # erased meanwhile, so it is not the one
        raise Busy("The user's mailboxes kept changing.")

    def grant_ids(self, uid: str, provider: str, address: str | None) -> tuple[str, ...]:
        """The grants of the mailboxes with this address; without one, of the user's only mailbox at the provider."""
        mailboxes = self._mailboxes(uid, PROVIDERS[provider])
        if address is not None:
            mailboxes = [loaded for loaded in mailboxes if loaded.state.address == address.lower()]
        elif len(mailboxes) > 1:
            mailboxes = []
        return tuple(grant_id for loaded in mailboxes for grant_id in grants_of(loaded.state))

    def disconnect(self, uid: str, provider: str) -> None:
        """Stop following the mailboxes of a provider; grants, messages and streams stay. Raises ``NotFound``."""
        mailboxes = self._mailboxes(uid, PROVIDERS[provider])
        if not mailboxes:
            raise NotFound(f"No {provider} mailbox is connected.")
        for loaded in mailboxes:
            told = loaded.state.connected
            notices = (Notice(types.DISCONNECTED, {"address": loaded.state.address}),) if told else ()
            state = self._raise_epoch(loaded, _disconnected, notices, lambda state: state.status == "disconnected")
            if state.may_ring:
                enqueue_once(self.ctx.tasks, state, "channel", "stop")

    def erase(self, uid: str, mailbox: str) -> None:
        """Remove one mailbox with all that was kept of it; its id is not given again. Raises ``NotFound``."""
        loaded = load(self.ctx, mailbox) if refs.owner(mailbox) == uid else None
        if loaded is None:
            raise NotFound("There is no such mailbox.")
        state = self._raise_epoch(loaded, _erasing, done=lambda state: state.erasing)
        enqueue_once(self.ctx.tasks, state, "erase", "first")

    def leave(self, uid: str) -> bool:
        """Have all mailboxes of a user erased, each by its own chain; False once none is left. Raises ``Retry``."""
        docs = self.ctx.store.query(queries.mailboxes_of(uid))
        for doc in docs:
            if not doc.data.get("erasing"):
                with suppress(NotFound):  # gone meanwhile
                    self.erase(uid, doc.data["id"])
        return bool(docs)

    def accounts(self, uid: str) -> dict[str, list[str]]:
        """The grants that a user's mailboxes need, and whose accounts they are for; see ``whose``."""
        return whose.accounts(self.ctx, uid)

    def account(self, uid: str, provider: str, grant_id: str) -> str:
        """The route of the account that a grant is for. Raises ``ReauthRequired``, provider errors, ``StoreError``."""
        return whose.account(self.ctx, uid, provider, grant_id)

    def is_followed(self, uid: str, provider: str, routes: Sequence[str]) -> bool | None:
        """Whether a mailbox of somebody else follows one of these accounts; None while nobody knows. Raises ``Retry``."""
        return whose.is_followed(self.ctx, uid, provider, routes)

    def status(self, uid: str) -> dict[str, Any]:
        """How the user's mailboxes are."""
        return overview.status(self.ctx, uid)

    def messages(self, uid: str, mailbox: str, after: str | None, limit: int) -> overview.Listed:
        """A page of a mailbox's messages. Raises ``NotFound``."""
        return overview.messages(self.ctx, uid, mailbox, after, limit)

    def gaps(self, uid: str, mailbox: str, after: str | None, limit: int) -> overview.Listed:
        """A page of a mailbox's gaps. Raises ``NotFound``."""
        return overview.gaps(self.ctx, uid, mailbox, after, limit)

    def _usable(self, state: MailboxState) -> bool:
        return any(self.ctx.grants.usable(state.uid, grant_id) for grant_id in grants_of(state))

    def _start(
        self, loaded: Loaded, grant_id: str | None, taken: Callable[[MailboxState], bool] = lambda _: False
    ) -> bool:
        """Start a mailbox, with a new grant if there is one; False if it was ``taken`` by something else meanwhile."""
        state = self._raise_epoch(
            loaded,
            lambda state, at: _connecting(state, at, grant_id),
            done=taken,
            writes=lambda state: _never_used(state, grant_id),
        )
        if taken(state) and (state.erasing or grant_id != grants_of(state)[0]):
            return False
        enqueue_once(self.ctx.tasks, state, "connect", "first")
        return True

    def _mailboxes(self, uid: str, provider: str) -> list[Loaded]:
        docs = self.ctx.store.query(queries.mailboxes_of(uid))
        found = [Loaded(read_state(doc), doc.version) for doc in docs]
        return [loaded for loaded in found if loaded.state.provider == provider and not loaded.state.erasing]

    def _next_slot(self, uid: str, provider: str) -> str:
        user = self.ctx.store.get([refs.user(uid)]).get(refs.user(uid))
        return _slot(user.data if user else {}, provider)

    def _create(self, uid: str, provider: str, grant_id: str) -> Loaded:
        """A new mailbox in a slot that this user never had before."""
        for _ in range(ATTEMPTS):
            user = self.ctx.store.get([refs.user(uid)]).get(refs.user(uid))
            if user is None:
                raise NotFound("There is no such user.")
            refuse_erasing(user.data)
            # Read after the user, whose version the commit expects: of two that connect one account, one creates.
            same = [found for found in self._mailboxes(uid, provider) if found.state.grant_id == grant_id]
            if same:
                return same[0]
            slot, now = _slot(user.data, provider), self.ctx.clock.now()
            mailbox = refs.mailbox_id(uid, slot, provider)
            state = MailboxState(mailbox, uid, provider, slot, grant_id, created_at=now, updated_at=now)
            state = replace(state, due_chain=now + CONNECT_DEADLINE)  # whoever creates it may die before it is started
            slots = user.data.get("slots", {})
            taken = {"slots": {**slots, provider: slots.get(provider, 0) + 1}}
            try:
                versions = self.ctx.store.commit(
                    [Create(state.ref, document(state)), Update(user.ref, taken, user.version)]
                )
            except (Conflict, Unknown):
                continue
            return Loaded(state, versions[0] or "")
        raise Busy("The user's mailboxes kept changing.")

    def _raise_epoch(
        self,
        loaded: Loaded,
        change: Callable[..., MailboxState],
        notices: tuple[Notice, ...] = (),
        done: Callable[[MailboxState], bool] = lambda _: False,
        writes: Callable[[MailboxState], tuple[Write, ...]] = lambda _: (),
    ) -> MailboxState:
        """Fence off everything that is under way, change the state, tell of it, publish; nothing where it is ``done``."""
        for _ in range(ATTEMPTS):
            if done(loaded.state):
                return loaded.state
            at = self.ctx.clock.now()
            advance = partial(change, at=at)
            work = Work("notice", at, advance=advance, notices=notices, writes=writes(loaded.state))
            applied = apply(self.ctx, loaded, work, anew)
            if applied is not None:
                finish(self.ctx, applied)
                return applied.loaded.state
            current = load(self.ctx, loaded.state.id)
            if current is None:
                raise NotFound("There is no such mailbox.")
            loaded = current
        raise Busy("The mailbox kept changing.")


def _connecting(state: MailboxState, at: float, grant_id: str | None) -> MailboxState:
    return replace(
        state,
        epoch=state.epoch + 1,
        status="connecting",
        verified=False,
        grant_id=_grant(state, grant_id),
        candidate=_candidate(state, grant_id),
        troubles={},
        resume_at=None,
        refused_in_row=0,
        more=False,
        walk=None,
        audit=None,
        due_audit=None,
        due_live=None,
        due_chain=at + CONNECT_DEADLINE,
    )


def _brought(state: MailboxState, address: str) -> bool:
    """Whether a mailbox follows this address with tokens that only their slot names: no subject says whose they are."""
    subjects = (grant_id.partition(":")[2] for grant_id in grants_of(state))
    return state.address == address and all(subject.partition("-")[0] == state.slot for subject in subjects)


def _taken(grants: tuple[str, ...], state: MailboxState) -> bool:
    """Whether a mailbox that was chosen for a grant, when it had these, is another's now."""
    return state.erasing or grants_of(state) != grants


def _grant(state: MailboxState, grant_id: str | None) -> str:
    """The grant in use: a new one at once where nothing was followed yet, since there is no account to compare it with."""
    return grant_id if grant_id is not None and state.address is None else state.grant_id


def _candidate(state: MailboxState, grant_id: str | None) -> str | None:
    """The grant to be tried: a new one, or one that was brought before and has not been tried yet."""
    if grant_id is None:
        return state.candidate
    return None if grant_id == _grant(state, grant_id) else grant_id


def _never_used(state: MailboxState, grant_id: str | None) -> tuple[Write, ...]:
    """The grants that go because another takes their place before they were of any use."""
    kept = {_grant(state, grant_id), _candidate(state, grant_id)}
    return tuple(Delete(refs.grant(state.uid, held)) for held in grants_of(state) if held not in kept)


def _disconnected(state: MailboxState, at: float) -> MailboxState:
    return replace(
        state,
        epoch=state.epoch + 1,
        status="disconnected",
        connected=False,
        more=False,
        walk=None,
        audit=None,
        due_audit=None,
        due_live=None,
        due_chain=at + CONNECT_DEADLINE if state.may_ring else None,
    )


def _erasing(state: MailboxState, at: float) -> MailboxState:
    return replace(_disconnected(state, at), erasing=True, due_chain=at + CONNECT_DEADLINE)


def _slot(user: dict[str, Any], provider: str) -> str:
    given = user.get("slots", {}).get(provider, 0)
    return "primary" if given == 0 else f"m{given + 1}"

"""The accounts at mail providers that a person has connected, and access tokens for them, for whoever may have one.

An access token opens at the provider all that its scopes name, the text of mail included, until it expires there; nothing here
can call it back. So there is a setting for who may have one, every one that is handed out is on the person's trail before it
leaves, and a refusal is there too. A refresh token never leaves. Refreshing is that of the engine (``vault/grants.py``): one
claim for whoever asks, steps and callers alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from shared import queries, refs
from shared.errors import (
    AccountRequired,
    BrainstemError,
    ConfigurationError,
    Forbidden,
    NotFound,
    ReauthRequired,
    RequestError,
    Unauthorized,
)
from shared.events.envelope import iso
from shared.identity.roles import OWNER, SERVICE, has_permission
from shared.identity.sessions import Sessions
from shared.identity.tokens import Principal
from shared.identity.trail import Trail
from shared.identity.uids import is_uid
from shared.identity.users import known_user
from shared.mail.state import MailboxState, read_state
from shared.ports import Data, Doc, Store
from shared.privacy.tombstones import Tombstones
from shared.providers.base import Tokens
from shared.vault.grants import Grants

OFF = "off"
MOST = 500
"""Accounts of a person that are looked at."""

Refresh = Callable[[str], Tokens]


@dataclass(frozen=True, slots=True)
class ProviderAccounts:
    """Lists accounts and hands out tokens; ``whose`` is ``ACCOUNT_TOKENS``.

    ``refresh`` makes what refreshes at a provider, when first asked for, or raises ``ConfigurationError``.
    """

    store: Store
    grants: Grants
    trail: Trail
    tombstones: Tombstones
    refresh: Callable[[str], Refresh]
    whose: str

    def __post_init__(self) -> None:
        if self.whose not in (OWNER, SERVICE, OFF):
            raise ConfigurationError(f"ACCOUNT_TOKENS must be {OWNER}, {SERVICE} or {OFF}.")

    def listed(self, uid: str) -> list[dict[str, Any]]:
        """The person's accounts: what each may be used for and whether it works. No token. Raises ``AccountDeleted``."""
        if known_user(self.store, uid, self.tombstones) is None:
            return []
        mailboxes = self._mailboxes(uid)
        return [self._shown(row, mailboxes) for row in self._rows(uid)]

    def token(self, principal: Principal, uid: str, provider: str, account: str | None) -> dict[str, Any]:
        """A fresh access token ``{provider, account, access_token, expires_at, scopes}`` of the person's account.

        ``account`` is its subject, its mailbox or its address; it has to be said where there are several. Raises
        ``Unauthorized`` for a token of ours whose session is over, ``Forbidden``, ``NotFound``, ``AccountRequired``,
        ``ReauthRequired``, ``Busy`` while somebody else refreshes, ``AccountDeleted``, provider errors, and ``StoreError``
        where the trail cannot be written.
        """
        caller = known_user(self.store, principal.uid, self.tombstones)
        self._demand_session(principal, uid, provider)
        if (refusal := self._refusal(principal, uid)) is not None:
            # On the caller's own trail: who may not read what is another's writes nothing there either.
            if caller is not None:
                whose = None if uid == principal.uid else uid
                self._refused(principal.uid, principal, provider, str(refusal.details["reason"]), whose)
            raise refusal
        owner = caller if uid == principal.uid else self._known(uid)
        if owner is None:
            raise NotFound("There is no such account.")
        try:
            row = self._chosen(uid, provider, account)
            lease = self.grants.lease(uid, refs.key(row.ref), self.refresh(provider))
        except (RequestError, ReauthRequired) as error:
            self._refused(uid, principal, provider, error.code)
            raise
        subject = _subject(row)
        self.trail.demand(uid, "token_access", by=principal.uid, provider=provider, account=subject, outcome="given")
        return {
            "provider": provider,
            "account": subject,
            "access_token": lease.access,
            "expires_at": iso(lease.expires_at),
            "scopes": list(lease.scopes),
        }

    def _demand_session(self, principal: Principal, uid: str, provider: str) -> None:
        """What opens a mailbox for an hour is not for an access token that has outlived its session, as all else is."""
        if principal.session is None:
            return
        try:
            Sessions(self.store, self.trail.clock, self.trail).demand(principal.uid, principal.session)
        except Unauthorized as error:
            whose = None if uid == principal.uid else uid
            self._refused(principal.uid, principal, provider, str(error.details["reason"]), whose)
            raise

    def _refusal(self, principal: Principal, uid: str) -> BrainstemError | None:
        """Why the caller may not have a token, whatever there is; None where they may."""
        if self.whose == OFF:
            return Forbidden("Access tokens of provider accounts are not handed out here.", reason="account_tokens_off")
        if self.whose == SERVICE and principal.role != SERVICE:
            return Forbidden("Access tokens of provider accounts are for services only.", reason="services_only")
        if not has_permission(principal, "provider_token", "read", uid):
            return Forbidden("Your role does not allow this.", reason="not_yours")
        return None

    def _refused(self, uid: str, by: Principal, provider: str, reason: str, whose: str | None = None) -> None:
        self.trail.add(
            uid, "token_access", by=by.uid, provider=provider, outcome="refused", reason=reason, whose=whose
        )  # fmt: skip

    def _known(self, uid: str) -> Data | None:
        return known_user(self.store, uid, self.tombstones) if is_uid(uid) else None

    def _chosen(self, uid: str, provider: str, account: str | None) -> Doc:
        rows = [row for row in self._rows(uid) if row.data["provider"] == provider]
        if account is not None:
            mailboxes = self._mailboxes(uid)
            rows = [row for row in rows if account in _names(row, mailboxes)]
        if not rows:
            raise NotFound("There is no such account.")
        if len(rows) > 1:
            known = [_subject(row) for row in rows]
            raise AccountRequired("There are several such accounts: name one.", field="account", known=known)
        return rows[0]

    def _rows(self, uid: str) -> list[Doc]:
        return self.store.query(queries.kept_below(uid, "grants", MOST))

    def _mailboxes(self, uid: str) -> Mapping[str, MailboxState]:
        """The mailboxes by the grant that each uses."""
        states = [read_state(doc) for doc in self.store.query(queries.mailboxes_of(uid))]
        return {state.grant_id: state for state in states if not state.erasing}

    def _shown(self, row: Doc, mailboxes: Mapping[str, MailboxState]) -> dict[str, Any]:
        mailbox = mailboxes.get(refs.key(row.ref))
        return {
            "provider": row.data["provider"],
            "account": _subject(row),
            "mailbox": None if mailbox is None else mailbox.id,
            "address": None if mailbox is None else mailbox.address,
            "scopes": list(row.data["scopes"]),
            "status": "active" if self.grants.works(row) else "reauth_required",
            "connected_at": iso(row.data["created_at"]),
        }


def _subject(row: Doc) -> str:
    return refs.key(row.ref).partition(":")[2]


def _names(row: Doc, mailboxes: Mapping[str, MailboxState]) -> tuple[str | None, ...]:
    """By what an account is known."""
    mailbox = mailboxes.get(refs.key(row.ref))
    return (_subject(row), mailbox.id, mailbox.address) if mailbox is not None else (_subject(row),)

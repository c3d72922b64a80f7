"""The links with which a consent begins: written down here, followed by the person. Needs no secret and no network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from shared import refs
from shared.errors import InvalidRequest
from shared.oauth.client import Client
from shared.oauth.consents import Consent, Consents, Prompt, Purpose
from shared.ports import Doc, Store
from shared.vault.grants import ACTIVE


class Accounts(Protocol):
    """The mailboxes of users, as far as a consent concerns them; the engine's ``Accounts`` is one."""

    def grant_ids(self, uid: str, provider: str, address: str | None) -> tuple[str, ...]:
        """The grants of the mailboxes with this address; without one, of the user's only mailbox at the provider."""

    def connect_account(self, uid: str, provider: str, grant_id: str, address: str | None) -> None:
        """Follow the account of a grant whose subject the provider has named, in the mailbox that it has or a new one.

        ``address`` is the account's, where the provider vouches for it. Raises ``Retry``.
        """


@dataclass(frozen=True, slots=True)
class Links:
    """Makes consents of users who are known by their access token."""

    client: Client
    consents: Consents
    accounts: Accounts
    store: Store

    def check(self, return_to: str | None, scopes: Sequence[str] = ()) -> None:
        """Raise ``InvalidRequest`` for a page that may not be returned to, or a scope that may not be asked for."""
        if return_to is not None:
            self.client.pages.check(return_to)
        if not set(scopes) <= {*self.client.scopes, *self.client.extra}:
            setting = f"{self.client.provider.name.upper()}_EXTRA_SCOPES"
            raise InvalidRequest(f"scopes may name what {setting} allows, as it stands there.", field="scopes")

    def connect(
        self, uid: str, return_to: str | None = None, login_hint: str | None = None, scopes: Sequence[str] = ()
    ) -> str:
        """The link to our page for a fresh consent to a mailbox, and to ``scopes`` beyond what every mailbox needs.

        What was granted beyond that before is asked for again, so that the new tokens are good for it too. Raises
        ``InvalidRequest``, ``Retry``.
        """
        self.check(return_to, scopes)
        alive = [row for row in self._grants(uid, login_hint) if row.data["status"] == ACTIVE]
        had = [scope for row in alive for scope in row.data.get("extra", ()) if scope in self.client.extra]
        more = tuple(dict.fromkeys(scope for scope in (*had, *scopes) if scope not in self.client.scopes))
        # A refresh token is good for what was granted when it came, so more scopes take another one. Without need a full
        # consent is not asked for: where an administrator has consented for everybody, people may not be able to.
        full = not _refreshable(alive) or not any(self._covers(row, more) for row in alive)
        prompt = Prompt.CONSENT if full and self.client.provider.lasting_at_full_consent_only else Prompt.SELECT_ACCOUNT
        consent = Consent(Purpose.CONNECT, prompt, uid, return_to, login_hint, scopes=more)
        return self.client.consent_url(self.consents.open(consent))

    def lacks(self, uid: str, login_hint: str | None, scopes: Sequence[str]) -> bool:
        """Whether no grant of the mailbox has all of these scopes. Raises ``InvalidRequest``, ``Retry``."""
        self.check(None, scopes)
        if not scopes:
            return False
        rows = self._grants(uid, login_hint)
        return not any(row.data["status"] == ACTIVE and self._covers(row, scopes) for row in rows)

    def _covers(self, row: Doc, scopes: Sequence[str]) -> bool:
        return self.client.provider.covers(row.data["scopes"], scopes)

    def _grants(self, uid: str, login_hint: str | None) -> list[Doc]:
        """The grants of the mailboxes that are meant."""
        address = None if login_hint is None else login_hint.lower()
        return _rows(self.store, uid, self.accounts.grant_ids(uid, self.client.provider.name, address))


def refreshable(store: Store, uid: str, grant_ids: Iterable[str]) -> bool:
    """Whether one of these grants is alive and has a refresh token."""
    return _refreshable(_rows(store, uid, grant_ids))


def _refreshable(rows: Iterable[Doc]) -> bool:
    return any(row.data["status"] == ACTIVE and row.data["sealed"]["refresh"] is not None for row in rows)


def _rows(store: Store, uid: str, grant_ids: Iterable[str]) -> list[Doc]:
    return list(store.get([refs.grant(uid, grant_id) for grant_id in dict.fromkeys(grant_ids)]).values())

"""The links with which a consent begins: written down here, followed by the person. Needs no secret and no network."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from shared import refs
from shared.oauth.client import Client
from shared.oauth.consents import Consent, Consents, Prompt, Purpose
from shared.ports import Store
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

    def check(self, return_to: str | None) -> None:
        """Raise ``InvalidRequest`` for a page that may not be returned to."""
        if return_to is not None:
            self.client.pages.check(return_to)

    def connect(self, uid: str, return_to: str | None = None, login_hint: str | None = None) -> str:
        """The link to our page for a fresh consent to a mailbox. Raises ``InvalidRequest``, ``Retry``."""
        self.check(return_to)
        prompt = Prompt.CONSENT if self._needs_full_consent(uid, login_hint) else Prompt.SELECT_ACCOUNT
        return self.client.consent_url(self.consents.open(Consent(Purpose.CONNECT, prompt, uid, return_to, login_hint)))

    def _needs_full_consent(self, uid: str, login_hint: str | None) -> bool:
        """Whether a refresh token has yet to come, and would not come with less.

        A full consent is not asked for without need: where an administrator has consented for everybody, people may not be
        able to.
        """
        provider = self.client.provider
        if not provider.lasting_at_full_consent_only:
            return False
        address = None if login_hint is None else login_hint.lower()
        return not refreshable(self.store, uid, self.accounts.grant_ids(uid, provider.name, address))


def refreshable(store: Store, uid: str, grant_ids: Iterable[str]) -> bool:
    """Whether one of these grants is alive and has a refresh token."""
    rows = store.get([refs.grant(uid, grant_id) for grant_id in dict.fromkeys(grant_ids)])
    return any(row.data["status"] == ACTIVE and row.data["sealed"]["refresh"] is not None for row in rows.values())

"""How consent goes at Google: every account may answer, some scopes may be left out, codes come with their scopes."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from infra.local.google import scopes
from infra.local.google.accounts import Accounts
from infra.local.google.identity import subject
from infra.local.simulated.authorization import Authorization


class GoogleConsent:
    """The ``Custom`` of Google's consent."""

    beginning = "4/0"
    basic = scopes.IDENTITY

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    def addresses(self) -> Sequence[str]:
        """All accounts, the oldest first."""
        return self._accounts.addresses()

    def candidates(self, asked: Authorization) -> Sequence[str]:  # noqa: ARG002 - the Protocol's signature
        """Everybody."""
        return self._accounts.addresses()

    def hints(self, address: str) -> Collection[str]:
        """The address and the account's number."""
        return (address.lower(), subject(address))

    def canonical(self, names: Collection[str]) -> Collection[str]:
        """Scopes under Google's names."""
        return scopes.canonical(" ".join(names))[0]

    def denied(self, asked: Authorization) -> str:
        """Back with ``access_denied``."""
        return asked.answer(error="access_denied")

    def unattended(self, asked: Authorization, error: str) -> str:
        """Back with the reason."""
        return asked.answer(error=error)

    def returned(self, asked: Authorization, code: str, granted: str) -> str:
        """Back with the code and what was granted."""
        return asked.answer(code=code, scope=granted, authuser="0", prompt=asked.prompt or "consent")

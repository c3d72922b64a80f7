"""Accounts: the mailboxes that exist, and which of them a call of the API may touch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from infra.local.google import scopes
from infra.local.google.errors import GoogleError, unauthenticated
from infra.local.google.state import State
from infra.local.simulated.errors import UnknownThing
from infra.local.simulated.tokens import Token, Tokens

_FIRST_HISTORY = 9_000  # a few changes later the ids gain a digit, which catches clients that compare them as text


class Accounts:
    """Creates mailboxes and checks who asks for them; every access token belongs to one address."""

    def __init__(self, state: State, tokens: Tokens) -> None:
        self._state = state
        self._tokens = tokens

    def add(self, address: str) -> dict[str, Any]:
        """Create a mailbox unless it exists, and answer fresh tokens for all of Gmail; older ones stay valid."""
        everything = Token(address, "", scopes.FULL)
        with self._state.transaction() as db:
            db.execute(
                "INSERT OR IGNORE INTO mailboxes (address, ordinal, history, shown, oldest) VALUES (?, 0, ?, ?, ?)",
                (address, _FIRST_HISTORY, _FIRST_HISTORY, _FIRST_HISTORY),
            )
            refresh = self._tokens.issue_refresh(db, everything)
            access = self._tokens.issue_access(db, everything)
        return {
            "address": address,
            "access_token": access,
            "refresh_token": refresh,
            "expires_in": int(self._tokens.seconds),
        }

    def addresses(self) -> list[str]:
        """All mailboxes, the oldest first."""
        with self._state.reading() as db:
            return [row["address"] for row in db.execute("SELECT address FROM mailboxes ORDER BY rowid")]

    def revoke(self, address: str) -> None:
        """Withdraw every token of an account, as when its owner removes the grant."""
        with self._state.transaction() as db:
            if not db.execute("SELECT 1 FROM mailboxes WHERE address = ?", (address,)).fetchone():
                raise UnknownThing(f"There is no mailbox {address}.")
            self._tokens.withdraw_all(db, address)

    def owner(
        self, authorization: str, user: str, method: str = "", query: Mapping[str, Sequence[str]] | None = None
    ) -> str:
        """The address that a request means.

        Raises ``GoogleError``: 401 for the token, 403 for scopes that do not cover the ``method``
        (``users.messages.get``; without one any Gmail scope does) or its ``query``, 403 for someone else's mail.
        """
        token = self._tokens.bearer(authorization)
        if token is None:
            raise unauthenticated()
        scopes.require(token.scopes, method, query)
        if user not in ("me", token.address):
            raise GoogleError(403, f"Delegation denied for {token.address}")
        return token.address

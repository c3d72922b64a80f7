"""Everything about identity at Microsoft in one place: accounts, clients, consent, tokens and signatures over one file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from flask import Flask

from infra.local.microsoft import identity_accounts, identity_routes, tokens
from infra.local.microsoft.consent import MicrosoftConsent
from infra.local.microsoft.errors import unauthenticated
from infra.local.microsoft.identity_accounts import Accounts
from infra.local.microsoft.identity_ordered import OrderedRefusals
from infra.local.microsoft.state import State
from infra.local.microsoft.tokens import RotatingTokens
from infra.local.microsoft.tokens_endpoint import TokenEndpoint
from infra.local.simulated.clients import Clients
from infra.local.simulated.consent import Consent
from infra.local.simulated.signing import SigningKey
from shared.ports import Clock


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose an access token is, and what it may do; ``client`` is "" where the control endpoint handed it out."""

    address: str
    scopes: frozenset[str]
    client: str


class Identity:
    """Microsoft's identity platform; each part is an attribute."""

    def __init__(self, state: State, clock: Clock, seed: int, token_seconds: float) -> None:
        state.create(identity_accounts.TABLES)
        state.create(tokens.TABLES)
        self.clock = clock
        self.tokens = RotatingTokens(state, clock, seed, token_seconds)
        self.accounts = Accounts(state, self.tokens)
        self.clients = Clients(state)
        self.key = SigningKey(state)
        self.ordered = OrderedRefusals(state)
        self.consent = Consent(state, clock, seed, MicrosoftConsent(self.accounts))
        self.token_endpoint = TokenEndpoint(
            state, clock, self.tokens, self.accounts, self.clients, self.key, self.ordered
        )

    def whose(self, access_token: str) -> Caller:
        """Who calls with an access token, bare or as an Authorization header. Raises ``GraphError`` 401."""
        header = access_token if access_token[:7].lower() == "bearer " else f"Bearer {access_token}"
        token = self.tokens.bearer(header)
        if token is None:
            raise unauthenticated()
        return Caller(token.address, frozenset(token.scopes.split()), token.client)

    def add_routes(self, app: Flask, count: Callable[[str], None]) -> None:
        """Add the endpoints of every tenant and those of control; ``count`` learns the name of each call."""
        identity_routes.add_identity(app, self, count)

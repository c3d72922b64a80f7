"""Everything about identity in one place: accounts, clients, consent, tokens and signatures over one state file."""

from __future__ import annotations

from infra.local.google.accounts import Accounts
from infra.local.google.consent import GoogleConsent
from infra.local.google.identity import Identity
from infra.local.google.state import State
from infra.local.google.token_endpoint import TokenEndpoint
from infra.local.simulated.clients import Clients
from infra.local.simulated.consent import Consent
from infra.local.simulated.tokens import Tokens
from shared.ports import Clock


class OAuth:
    """Google's accounts side; each part is an attribute."""

    def __init__(self, state: State, clock: Clock, seed: int, token_seconds: float) -> None:
        self.tokens = Tokens(state, clock, seed, token_seconds, ("ya29.", "1//"))
        self.accounts = Accounts(state, self.tokens)
        self.clients = Clients(state)
        self.identity = Identity(state, clock)
        self.consent = Consent(state, clock, seed, GoogleConsent(self.accounts))
        self.token_endpoint = TokenEndpoint(state, clock, self.tokens, self.clients, self.identity)

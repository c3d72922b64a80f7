"""Whoever an id_token speaks of, once it is sure that it was made for us and for this flow (OpenID Connect Core, 3.1.3.7)."""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from shared.errors import Unauthorized
from shared.identity.keys import Keys
from shared.oauth.provider import Identity, Provider
from shared.ports import Clock

MAX_TOKEN_CHARS = 16_384


@dataclass(frozen=True, slots=True)
class IdTokens:
    """Checks a provider's id_tokens that are meant for our client."""

    provider: Provider
    keys: Keys
    clock: Clock
    client_id: str

    def identity(self, id_token: str, issuer: str, nonce: str) -> Identity:
        """Who the token speaks of. Raises ``Unauthorized``, ``Retry`` when the keys cannot be read."""
        if not id_token.isascii() or len(id_token) > MAX_TOKEN_CHARS:
            raise Unauthorized("The id_token is not one.")
        claims = self.provider.verified(id_token, self.keys, issuer, self.client_id, self.clock.now())
        audience, party = claims["aud"], claims.get("azp")
        several = isinstance(audience, list) and len(audience) > 1
        if (several and party is None) or (party is not None and party != self.client_id):
            raise Unauthorized("The id_token was made for another client.")
        if claims.get("iat") is None:
            raise Unauthorized("The id_token does not say when it was made.")
        said = claims.get("nonce")
        if not isinstance(said, str) or not hmac.compare_digest(said.encode("utf-8", "replace"), nonce.encode()):
            raise Unauthorized("The id_token belongs to another flow.")
        return self.provider.identity(claims)

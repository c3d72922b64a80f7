"""Who somebody is: the signed id_token, the keys that verify it, and the userinfo of an account."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from infra.local.google import scopes
from infra.local.google.state import State
from infra.local.simulated.chance import digest
from infra.local.simulated.people import display_name
from infra.local.simulated.signing import SigningKey
from infra.local.simulated.tokens import Token
from shared.ports import Clock

ID_TOKEN_SECONDS = 3600


class Identity:
    """Signs for an issuer, which is the root under which the simulator was reached."""

    def __init__(self, state: State, clock: Clock) -> None:
        self._clock = clock
        self._key = SigningKey(state)

    def id_token(self, issuer: str, token: Token, access_token: str, nonce: str | None) -> str:
        """Sign what a client may know about an account, RS256 with a key id."""
        issued = int(self._clock.now())
        claims = {
            "iss": issuer,
            "azp": token.client,
            "aud": token.client,
            **claims_of(token),
            "at_hash": _urlsafe(hashlib.sha256(access_token.encode()).digest()[:16]),
            "iat": issued,
            "exp": issued + ID_TOKEN_SECONDS,
        }
        if nonce is not None:
            claims["nonce"] = nonce
        return self._key.sign(claims)

    def key_set(self) -> dict[str, Any]:
        """The public keys as JWKS."""
        return self._key.key_set()


def claims_of(token: Token) -> dict[str, Any]:
    """What a token's scopes tell about its account: ``sub`` always, email and name where they were granted."""
    granted = token.scopes.split()
    claims: dict[str, Any] = {"sub": subject(token.address)}
    if scopes.EMAIL in granted:
        claims |= {"email": token.address, "email_verified": True}
    if scopes.PROFILE in granted:
        name = display_name(token.address)
        claims |= {"name": name, "given_name": name.partition(" ")[0]}
    return claims


def subject(address: str) -> str:
    """The account's number, 21 digits, the same for an address in every simulator."""
    return f"1{int.from_bytes(digest('subject', address.lower())[:12], 'big') % 10**20:020}"


def _urlsafe(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

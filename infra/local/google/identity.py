"""Who somebody is: the signed id_token, the keys that verify it, and the userinfo of an account.

The RSA key cannot come from the seed; it is made at its first use and kept in the state file, so that tokens of a killed
process still verify.
"""

from __future__ import annotations

import base64
import hashlib
import re
import threading
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from infra.local.google import scopes
from infra.local.google.chance import digest
from infra.local.google.state import State
from infra.local.google.tokens import Token
from shared.ports import Clock

ID_TOKEN_SECONDS = 3600


class Identity:
    """Signs for an issuer, which is the root under which the simulator was reached."""

    def __init__(self, state: State, clock: Clock) -> None:
        self._state = state
        self._clock = clock
        self._lock = threading.Lock()
        self._key: rsa.RSAPrivateKey | None = None

    def id_token(self, issuer: str, token: Token, access_token: str, nonce: str | None) -> str:
        """Sign what a client may know about an account, RS256 with a key id."""
        key = self._signing_key()
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
        return jwt.encode(claims, key, algorithm="RS256", headers={"kid": _key_id(key)})

    def key_set(self) -> dict[str, Any]:
        """The public keys as JWKS."""
        key = self._signing_key()
        public = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
        names = {"use": "sig", "alg": "RS256", "kid": _key_id(key)}
        return {"keys": [names | {part: public[part] for part in ("kty", "n", "e")}]}

    def _signing_key(self) -> rsa.RSAPrivateKey:
        with self._lock:
            if self._key is None:
                pem = self._state.setting("signing_key")
                if pem is None:
                    pem = _new_key()
                    self._state.remember("signing_key", pem)
                key = serialization.load_pem_private_key(pem.encode(), None)
                if not isinstance(key, rsa.RSAPrivateKey):
                    raise ValueError("The state file holds a signing key of another kind.")
                self._key = key
            return self._key


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


def display_name(address: str) -> str:
    """A name made from an address: ``ann.lee@example.org`` is Ann Lee."""
    local = address.rpartition("@")[0]
    return " ".join(word.capitalize() for word in re.split(r"[._+-]+", local) if word) or local


def _new_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def _key_id(key: rsa.RSAPrivateKey) -> str:
    return hashlib.sha256(str(key.public_key().public_numbers().n).encode()).hexdigest()[:40]


def _urlsafe(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

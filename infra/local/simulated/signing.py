"""The RSA key that signs id_tokens.

It cannot come from the seed; it is made at its first use and kept in the state file, so that tokens of a killed process
still verify.
"""

from __future__ import annotations

import hashlib
import threading
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from infra.local.simulated.state import State


class SigningKey:
    """One provider's key; safe to use from many threads, but not inside of a transaction."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._lock = threading.Lock()
        self._key: rsa.RSAPrivateKey | None = None

    def sign(self, claims: dict[str, Any]) -> str:
        """A token with these claims, RS256 with a key id."""
        key = self._signing_key()
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


def _new_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def _key_id(key: rsa.RSAPrivateKey) -> str:
    return hashlib.sha256(str(key.public_key().public_numbers().n).encode()).hexdigest()[:40]

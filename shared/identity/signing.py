"""The keys that our own access tokens are signed with: secret ``signing-keys``, which only the function ``auth`` may read.

A new key is published at once and signs from ``SETTLE`` seconds on, when everybody who keeps our key set has read it again.
The one before stays published until nothing that it has signed is good any more. The secret holds a list of ``kid``, ``pem``
and ``created_at``; the PEM of one key alone is a list of that key, so that a deployment can make the first one with openssl.

The randomness of a key comes from OpenSSL, not from the clock: there is no other way to have one made.
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass, field
from typing import Any

import jwt
import orjson
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from shared.errors import ConfigurationError, NotFound, Retry
from shared.identity.keys import Key
from shared.oauth.tickets import encoded
from shared.observability import logs
from shared.ports import Clock, Secrets

SECRET = "signing-keys"  # noqa: S105 - the name of the secret
ALGORITHM = "RS256"
BITS = 2_048
TOKEN_SECONDS = 900.0
SETTLE = 600.0
"""Seconds that a new key is published before it signs: longer than an instance, a cache or a verifier keeps our key set."""

LINGER = TOKEN_SECONDS + 300.0
"""Seconds that a key is published after the next one has begun to sign; some instances notice that a little later."""

KEPT = 30.0
"""Seconds after which an instance looks at the secret again."""

WITHOUT = 120.0
"""Seconds after which it signs no more with what it knows, while the secret cannot be read."""

_CREATING = threading.Lock()
_LOG = logs.named(__name__)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One key pair; ``created_at`` is 0 for a key that has always been there."""

    kid: str
    pem: str = field(repr=False)
    created_at: float
    private: rsa.RSAPrivateKey = field(repr=False, compare=False)

    @classmethod
    def read(cls, pem: str, created_at: float) -> SigningKey:
        """A key from its PEM. Raises ``ConfigurationError``."""
        try:
            # It is our own secret: the primes need no proof, which would take longer than everything else here.
            key = serialization.load_pem_private_key(pem.encode(), None, unsafe_skip_rsa_key_validation=True)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise ConfigurationError(f"The secret {SECRET} holds a key that cannot be read.") from None
        if not isinstance(key, rsa.RSAPrivateKey) or key.key_size < BITS:
            raise ConfigurationError(f"The secret {SECRET} must hold RSA keys of {BITS} bits or more.")
        return cls(_thumbprint(key), pem, created_at, key)

    @classmethod
    def new(cls, created_at: float) -> SigningKey:
        """A key that nobody has seen."""
        key = rsa.generate_private_key(public_exponent=65_537, key_size=BITS)
        kept = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        return cls(_thumbprint(key), key.private_bytes(*kept).decode(), created_at, key)

    def sign(self, claims: dict[str, Any]) -> str:
        """A JWT with these claims."""
        return jwt.encode(claims, self.private, ALGORITHM, headers={"kid": self.kid})

    def published(self) -> dict[str, str]:
        """The public half as a key set shows it (RFC 7517)."""
        return {**_public(self.private), "kid": self.kid, "alg": ALGORITHM, "use": "sig"}


@dataclass(frozen=True, slots=True)
class Ring:
    """The keys in the order in which they were made; there is always one."""

    keys: tuple[SigningKey, ...]

    @classmethod
    def of(cls, secret: bytes) -> Ring:
        """The keys that the secret holds. Raises ``ConfigurationError``."""
        if secret.lstrip().startswith(b"-----BEGIN"):
            return cls((SigningKey.read(secret.decode("ascii", "replace"), 0.0),))
        try:
            entries = [(str(entry["pem"]), float(entry["created_at"])) for entry in orjson.loads(secret)]
        except (ValueError, TypeError, KeyError):
            entries = []
        if not entries:
            raise ConfigurationError(f"The secret {SECRET} holds no list of keys.")
        keys = [SigningKey.read(pem, created_at) for pem, created_at in entries]
        return cls(tuple(sorted(keys, key=lambda key: key.created_at)))

    def encoded(self) -> bytes:
        """What the secret has to hold."""
        return orjson.dumps([{"kid": key.kid, "pem": key.pem, "created_at": key.created_at} for key in self.keys])

    def signing(self, now: float) -> SigningKey:
        """The key that signs: the newest that has settled, or the oldest while none has."""
        settled = [key for key in self.keys if key.created_at + SETTLE <= now]
        return settled[-1] if settled else self.keys[0]

    def published(self, now: float) -> tuple[SigningKey, ...]:
        """The keys that somebody may need: those to come, the one that signs, and any whose tokens may still be good."""
        followers = (*self.keys[1:], None)
        return tuple(
            key
            for key, follower in zip(self.keys, followers, strict=True)
            if follower is None or now < follower.created_at + SETTLE + LINGER
        )

    def rotated(self, now: float, *, at_once: bool = False) -> Ring:
        """With a new key, and without those that nobody needs any more.

        ``at_once`` is for a key that was stolen: the new one signs now and is the only one, so that access tokens are refused
        until they are refreshed. Raises ``ConfigurationError`` while the newest key has not settled.
        """
        if at_once:
            return Ring((SigningKey.new(now - SETTLE),))
        if len(self.keys) > 1 and self.keys[-1].created_at + SETTLE > now:
            wait = self.keys[-1].created_at + SETTLE - now
            raise ConfigurationError(f"The newest key does not sign yet; rotate again in {wait:.0f} seconds.")
        return Ring((*self.published(now), SigningKey.new(now)))


class Signing:
    """Signs with the keys of the secret, publishes them, and verifies with them; safe to share between threads."""

    def __init__(self, secrets: Secrets, clock: Clock, *, may_create: bool) -> None:
        """``may_create``: the first key is made where there is none. Reads nothing yet."""
        self._secrets = secrets
        self._clock = clock
        self._may_create = may_create
        self._known: tuple[bytes, Ring, float] | None = None

    def key(self) -> SigningKey:
        """The key that signs now; whoever has it can sign. Raises ``ConfigurationError``, ``Retry``."""
        return self._ring().signing(self._clock.now())

    def key_set(self) -> dict[str, Any]:
        """What verifiers read (RFC 7517)."""
        return {"keys": [key.published() for key in self._ring().published(self._clock.now())]}

    def find(self, kid: str | None) -> Key | None:
        """A published key, for this process's own use (``keys.Keys``)."""
        for key in self._ring().published(self._clock.now()):
            if key.kid == kid:
                return Key(key.private.public_key(), ALGORITHM)
        return None

    def _ring(self) -> Ring:
        known, now = self._known, self._clock.now()
        if known is not None and 0 <= now - known[2] < KEPT:
            return known[1]
        try:
            secret = self._read()
        except Retry as error:
            if known is None or not 0 <= now - known[2] < WITHOUT:
                raise
            _LOG.warning("signing_keys_unread", "The signing keys could not be read; those known go on.", error)
            return known[1]
        # A ring costs milliseconds to read, the secret is nearly always the same.
        ring = known[1] if known is not None and known[0] == secret else Ring.of(secret)
        self._known = secret, ring, now
        return ring

    def _read(self) -> bytes:
        try:
            return self._secrets.get(SECRET)
        except NotFound:
            if not self._may_create:
                raise ConfigurationError(f"The secret {SECRET} is missing: run make rotate-keys.") from None
        # A data folder belongs to one process; its threads take turns.
        with _CREATING:
            try:
                return self._secrets.get(SECRET)
            except NotFound:
                rotate(self._secrets, self._clock)
                return self._secrets.get(SECRET)


def rotate(secrets: Secrets, clock: Clock, *, at_once: bool = False) -> Ring:
    """Add a key to the secret, the first one where there is none. Raises ``ConfigurationError``, ``Retry``."""
    now = clock.now()
    try:
        ring = Ring.of(secrets.get(SECRET)).rotated(now, at_once=at_once)
    except NotFound:
        ring = Ring((SigningKey.new(now),))
    secrets.add(SECRET, ring.encoded())
    return ring


def _public(key: rsa.RSAPrivateKey) -> dict[str, str]:
    numbers = key.public_key().public_numbers()
    return {"kty": "RSA", "n": _number(numbers.n), "e": _number(numbers.e)}


def _number(value: int) -> str:
    return encoded(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def _thumbprint(key: rsa.RSAPrivateKey) -> str:
    """The name that follows from a key (RFC 7638)."""
    public = _public(key)
    canonical = orjson.dumps({name: public[name] for name in sorted(public)})
    return encoded(hashlib.sha256(canonical).digest())

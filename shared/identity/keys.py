"""The public keys that tokens are verified with: one from the settings, or an issuer's published set.

Of a JWKS (RFC 7517) only asymmetric keys for signatures are taken; ``use`` and ``alg`` may be absent, as they often
are, and a key that cannot be read is passed over. A key that names its ``alg`` verifies nothing else. A set without any usable
key is no answer: what was known goes on serving, as while the issuer is away.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias
from urllib.parse import urlsplit

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from shared.errors import BrainstemError, ConfigurationError, ProviderUnavailable, Retry
from shared.observability import logs
from shared.ports import Clock
from shared.settings import Settings

Fetch: TypeAlias = Callable[[str], Any]
"""Answers the JSON object at a URL, with a timeout of its own; raises ``BrainstemError``, ``OSError`` or ``ValueError``."""

LIFESPAN = 300.0
"""Seconds after which a published set is read again, so that a withdrawn key stops working."""

STALE = 86_400.0
"""Seconds for which an old set still serves while the issuer cannot be reached."""

OWN_LIFESPAN = 180.0
OWN_STALE = 400.0
"""The same of our own set: after ``make rotate-keys NOW=1`` a stolen key is worth nothing within five minutes, or within ten
where ``auth`` cannot be reached meanwhile."""

COOL_DOWN = 30.0
"""Seconds between two readings, whatever key ids callers make up and however long the issuer is away."""

TIMEOUT = 5.0
MAX_KEYS = 100

_LOG = logs.named(__name__)


@dataclass(frozen=True, slots=True)
class Key:
    """A public key, and the only algorithm and issuer that it may be used with ('' where it does not say)."""

    public: Any
    algorithm: str = ""
    issuer: str = ""


class Keys(Protocol):
    """Where the verifier finds a key."""

    def find(self, kid: str | None) -> Key | None:
        """The key of this id. Raises ``errors.Retry`` when the keys cannot be read right now."""


def keys_from(settings: Settings, clock: Clock, fetch: Fetch) -> Keys:
    """The keys of the issuer ``JWT_ISSUER``. Raises ``ConfigurationError``."""
    if bool(settings.jwt_public_key) == bool(settings.jwt_jwks_url):
        raise ConfigurationError("Set either JWT_PUBLIC_KEY or JWT_JWKS_URL.")
    if settings.jwt_public_key:
        return PinnedKey.load(settings.jwt_public_key)
    return published_at(settings.jwt_jwks_url, "JWT_JWKS_URL", clock, fetch)


def published_at(
    url: str, setting: str, clock: Clock, fetch: Fetch, lifespan: float = LIFESPAN, stale: float = STALE
) -> PublishedKeys:
    """The set at a URL that a setting names. Raises ``ConfigurationError``."""
    if not is_web_url(url):
        raise ConfigurationError(f"{setting} must be an http or https URL.")
    return PublishedKeys(lambda: fetch(url), clock, lifespan, stale)


def discovered(issuer: str, url: str, clock: Clock, fetch: Fetch) -> PublishedKeys:
    """The set that the discovery document of an issuer names (OpenID Connect Discovery, 4).

    The document has to be of this very issuer, and may not lead from https to http. Where the set is, is asked anew only
    once it could not be read there.
    """
    known: list[str] = []

    def read() -> Any:
        where = known.pop() if known else _named(issuer, url, fetch)
        document = fetch(where)
        known[:] = [where]
        return document

    return PublishedKeys(read, clock)


def _named(issuer: str, url: str, fetch: Fetch) -> str:
    document = fetch(url)
    said = document.get("issuer") if isinstance(document, dict) else None
    where = document.get("jwks_uri") if isinstance(document, dict) else None
    if said != issuer or not isinstance(where, str) or not is_web_url(where):
        raise ProviderUnavailable("The discovery document is not one of this issuer.")
    if url.startswith("https:") and not where.startswith("https:"):
        raise ProviderUnavailable("The discovery document leads from https to http.")
    return where


def is_web_url(url: str) -> bool:
    """Whether this is an absolute http or https URL."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return False


def over_http(clock: Clock) -> Fetch:
    """Fetches over HTTP: answers are bounded in time and bytes, redirects are not followed, nobody is told who asks."""
    made: list[Any] = []

    def fetch(url: str) -> Any:
        # Below providers because they came first; loaded late, since a process may never need it.
        from shared.providers.http.failure import Failure
        from shared.providers.http.transport import Transport

        if not made:
            made.append(Transport(clock, TIMEOUT, None, "The issuer"))
        answer = made[0].ask(url, "GET", None, {"accept": "application/json"})
        if isinstance(answer, Failure):
            raise ProviderUnavailable(f"The issuer did not serve its keys ({answer.describe()}).")
        return answer

    return fetch


@dataclass(frozen=True, slots=True)
class PinnedKey:
    """One key for every token, whatever key id it carries."""

    key: Key

    @classmethod
    def load(cls, pem_or_path: str) -> PinnedKey:
        """Read a PEM public key, given itself (``\\n`` may stand for line breaks) or by its path."""
        try:
            if "-----BEGIN" in pem_or_path:
                pem = pem_or_path.replace("\\n", "\n").encode()
            else:
                pem = Path(pem_or_path).read_bytes()
            return cls(Key(load_pem_public_key(pem)))
        except (OSError, ValueError, UnsupportedAlgorithm):
            raise ConfigurationError("JWT_PUBLIC_KEY is neither a PEM public key nor the path of one.") from None

    def find(self, kid: str | None) -> Key | None:  # noqa: ARG002 - the Protocol's signature
        """The key."""
        return self.key


class PublishedKeys:
    """An issuer's key set, read by whatever means are handed in and kept here, by the injected clock.

    Whoever finds its key never waits for another caller; one at a time reads the set again.
    """

    def __init__(
        self, fetch: Callable[[], Any], clock: Clock, lifespan: float = LIFESPAN, stale: float = STALE
    ) -> None:
        """Read nothing yet; ``fetch`` answers the JWKS, with a timeout of its own, or raises as a ``Fetch`` does.

        ``lifespan`` and ``stale`` are the seconds after which a set is read again, and serves no more.
        """
        self._fetch = fetch
        self._clock = clock
        self._lifespan = lifespan
        self._stale = stale
        self._keys: Mapping[str, Key] = {}
        self._read_at = self._tried_at = float("-inf")
        self._reading = threading.Lock()

    def find(self, kid: str | None) -> Key | None:
        """The key of this id; without an id the only key there is."""
        found = self._known(kid)
        if found is not None and self._clock.now() - self._read_at < self._lifespan:
            return found
        serves = found is not None and self._clock.now() - self._read_at < self._stale
        if self._reading.acquire(blocking=not serves):
            try:
                if self._clock.now() - max(self._tried_at, self._read_at) >= COOL_DOWN:
                    self._read()
            finally:
                self._reading.release()
        found = self._known(kid)
        if self._clock.now() - self._read_at < (self._lifespan if found is None else self._stale):
            return found
        raise Retry("The issuer's keys cannot be read right now.", retry_after=COOL_DOWN)

    def _known(self, kid: str | None) -> Key | None:
        keys = self._keys
        if kid is None:
            return next(iter(keys.values())) if len(keys) == 1 else None
        return keys.get(kid)

    def _read(self) -> None:
        self._tried_at = self._clock.now()
        try:
            document = self._fetch()
        except (BrainstemError, OSError, ValueError) as error:
            _LOG.warning("jwks_unreadable", "The issuer's keys could not be read.", error=error)
            return
        published = document.get("keys") if isinstance(document, dict) else None
        usable = _usable(published) if isinstance(published, list) else {}
        if not usable:
            _LOG.warning("jwks_unreadable", "What the issuer answered holds no usable key.")
            return
        self._keys = usable
        self._read_at = self._clock.now()


def _usable(published: list[Any]) -> dict[str, Key]:
    keys: dict[str, Key] = {}
    for entry in published[:MAX_KEYS]:
        if not isinstance(entry, dict) or entry.get("kty") not in ("RSA", "EC", "OKP"):
            continue
        kid, algorithm, issuer = (entry.get(name, "") for name in ("kid", "alg", "issuer"))
        if entry.get("use", "sig") != "sig" or not all(isinstance(text, str) for text in (kid, algorithm, issuer)):
            continue
        try:
            # With ``d`` PyJWT would build a private key; a verifier has no use for one.
            public = jwt.PyJWK({name: value for name, value in entry.items() if name != "d"})
        except (jwt.PyJWTError, ValueError, TypeError, KeyError, AttributeError, UnsupportedAlgorithm):
            continue
        keys.setdefault(kid, Key(public.key, algorithm, issuer))
    return keys

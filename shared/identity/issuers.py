"""The issuers whose access tokens are accepted, and what each may say about a person.

One list out of four settings: our own ``auth`` (``AUTH_ISSUER``), the one of ``JWT_*``, Better Auth by its URL, and any other
by an entry of ``TRUSTED_ISSUERS``::

    [{"issuer": "https://securetoken.google.com/my-project", "audience": "my-project"},
     {"issuer": "https://clerk.example.com", "azp": ["https://app.example.com"]},
     {"issuer": "https://example.eu.auth0.com/", "audience": "https://api.example.com", "algorithms": ["RS256"]}]

Issuers are compared as texts, as RFC 7519 has it: a slash at the end counts. What a token claims of its issuer chooses the
keys that it has to stand up to, and nothing else. A role is taken only from an issuer that may give it, a session only from
our own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from shared.conversion import convertible
from shared.errors import ConfigurationError
from shared.identity.keys import OWN_LIFESPAN, OWN_STALE, Fetch, Keys, discovered, is_web_url, keys_from, published_at
from shared.identity.uids import own_uid, uid_apart, uid_of
from shared.ports import Clock
from shared.settings import Settings

ALGORITHMS = ("RS256", "ES256", "EdDSA")
"""What an entry of the list may accept; which of them a key is for, the key itself says."""

ROLES = frozenset({"admin", "service"})
"""The roles that can be given; everybody else is an owner."""

MAX_ISSUERS = 50
"""Each has a key set of its own that a flood of tokens can have read once in a while."""

OWN_JWKS = "/api/auth/jwks"
_ASYMMETRIC = frozenset(
    f"{family}{bits}" for family in ("RS", "PS", "ES") for bits in ("256", "384", "512")
) | {"EdDSA", "ES256K"}  # fmt: skip
_LONGEST = 65_536


@dataclass(frozen=True, slots=True)
class Issuer:
    """One issuer: ``uid`` makes a user id of its subjects, or answers None for one that it cannot have.

    A token has to be for one of the ``audiences``, or for none where there are none; where there are ``parties``, its ``azp``
    has to be one of them.
    """

    name: str
    keys: Keys
    audiences: tuple[str, ...]
    algorithms: tuple[str, ...]
    uid: Callable[[str], str | None]
    parties: tuple[str, ...] = ()
    uid_claim: str = "sub"
    role_claim: str = "role"
    roles: frozenset[str] = frozenset()
    has_sessions: bool = False


@convertible
class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    issuer: str
    audience: str | tuple[str, ...] = ()
    azp: tuple[str, ...] = ()
    jwks_url: str = ""
    discovery: str = ""
    algorithms: tuple[str, ...] = ALGORITHMS
    uid_claim: str = "sub"
    plain_uids: bool = False
    role_claim: str = "role"
    roles: tuple[str, ...] = ()


def trusted(settings: Settings, clock: Clock, fetch: Fetch, own: Keys | None = None) -> Mapping[str, Issuer]:
    """The trusted issuers by their name; ``own`` are the keys of our own where the caller has them at hand.

    Raises ``ConfigurationError``, which never repeats a value.
    """
    issuers: dict[str, Issuer] = {}
    for issuer in _all(settings, clock, fetch, own):
        if issuer.name in issuers:
            raise ConfigurationError(
                "Two of AUTH_ISSUER, JWT_ISSUER, BETTER_AUTH_URL and TRUSTED_ISSUERS name the same issuer."
            )
        issuers[issuer.name] = issuer
    if not issuers:
        raise ConfigurationError("JWT_ISSUER, AUTH_ISSUER, BETTER_AUTH_URL or TRUSTED_ISSUERS must be set.")
    if len(issuers) > MAX_ISSUERS:
        raise ConfigurationError(f"TRUSTED_ISSUERS may name at most {MAX_ISSUERS} issuers.")
    return issuers


def _all(settings: Settings, clock: Clock, fetch: Fetch, own: Keys | None) -> Iterator[Issuer]:
    if not settings.jwt_audience:
        raise ConfigurationError("JWT_AUDIENCE must be set.")
    if settings.auth_issuer:
        yield _own(settings, clock, fetch, own)
    if settings.jwt_issuer:
        yield _configured(settings, clock, fetch)
    elif settings.jwt_public_key or settings.jwt_jwks_url:
        raise ConfigurationError("JWT_ISSUER must be set.")
    if settings.better_auth_url:
        yield _better_auth(settings, clock, fetch)
    for entry in _entries(settings.trusted_issuers):
        yield _listed(entry, clock, fetch)


def _own(settings: Settings, clock: Clock, fetch: Fetch, keys: Keys | None) -> Issuer:
    name = settings.auth_issuer
    if name.rstrip("/").endswith("/api/auth"):
        raise ConfigurationError("AUTH_ISSUER is the URL below which /api/auth is, without /api/auth itself.")
    where = f"{name.rstrip('/')}{OWN_JWKS}"
    published = keys or published_at(where, "AUTH_ISSUER", clock, fetch, OWN_LIFESPAN, OWN_STALE)
    return Issuer(name, published, (settings.jwt_audience,), ("RS256",), own_uid, roles=ROLES, has_sessions=True)


def _configured(settings: Settings, clock: Clock, fetch: Fetch) -> Issuer:
    if not settings.jwt_algorithms or not _ASYMMETRIC.issuperset(settings.jwt_algorithms):
        raise ConfigurationError("JWT_ALGORITHMS may only name asymmetric algorithms, such as RS256 or ES256.")
    keys = keys_from(settings, clock, fetch)
    return Issuer(settings.jwt_issuer, keys, (settings.jwt_audience,), settings.jwt_algorithms, uid_of)


def _better_auth(settings: Settings, clock: Clock, fetch: Fetch) -> Issuer:
    """Better Auth's plugin ``jwt`` as it comes: issuer and audience are the origin of its base URL.

    An audience that was set to ours is as good.
    """
    url = settings.better_auth_url.rstrip("/")
    if not is_web_url(url):
        raise ConfigurationError("BETTER_AUTH_URL must be an http or https URL.")
    parts = urlsplit(url)
    name = f"{parts.scheme}://{parts.netloc}"
    jwks = settings.better_auth_jwks_url or f"{url}{'/jwks' if parts.path else '/api/auth/jwks'}"
    keys = published_at(jwks, "BETTER_AUTH_JWKS_URL", clock, fetch)
    return Issuer(name, keys, (name, settings.jwt_audience), ALGORITHMS, partial(uid_apart, name))


def _entries(text: str) -> list[_Entry]:
    """The entries of ``TRUSTED_ISSUERS``: JSON, or the path of a file that holds it."""
    if not text:
        return []
    content = text.encode()
    if not text.lstrip().startswith("["):
        try:
            with Path(text).open("rb") as file:
                content = file.read(_LONGEST + 1)
        except (OSError, ValueError):
            raise ConfigurationError("TRUSTED_ISSUERS is neither a JSON list nor the path of one.") from None
    try:
        if len(content) > _LONGEST:
            raise ValueError
        return msgspec.json.decode(content, type=list[_Entry])
    except (ValueError, RecursionError):  # msgspec's own errors are ValueErrors
        raise ConfigurationError(
            "TRUSTED_ISSUERS must be a JSON list of objects with issuer, audience or azp, and what docs/decisions/issuers.md "
            "has besides."
        ) from None


def _listed(entry: _Entry, clock: Clock, fetch: Fetch) -> Issuer:
    audiences = (entry.audience,) if isinstance(entry.audience, str) else entry.audience
    if not entry.issuer or not (audiences or entry.azp) or not all((*audiences, *entry.azp)):
        raise ConfigurationError("Each of TRUSTED_ISSUERS needs its issuer, and an audience or azp.")
    if not entry.algorithms or not set(entry.algorithms) <= set(ALGORITHMS):
        raise ConfigurationError(f"The algorithms of TRUSTED_ISSUERS are {', '.join(ALGORITHMS)}.")
    if not set(entry.roles) <= ROLES:
        raise ConfigurationError(f"The roles of TRUSTED_ISSUERS are {', '.join(sorted(ROLES))}.")
    if not entry.uid_claim or not entry.role_claim or (entry.jwks_url and entry.discovery):
        raise ConfigurationError("Each of TRUSTED_ISSUERS has a uid_claim, and a jwks_url or discovery or neither.")
    return Issuer(
        entry.issuer,
        _keys(entry, clock, fetch),
        audiences,
        entry.algorithms,
        uid_of if entry.plain_uids else partial(uid_apart, entry.issuer),
        entry.azp,
        entry.uid_claim,
        entry.role_claim,
        frozenset(entry.roles),
    )


def _keys(entry: _Entry, clock: Clock, fetch: Fetch) -> Keys:
    if entry.jwks_url:
        return published_at(entry.jwks_url, "jwks_url in TRUSTED_ISSUERS", clock, fetch)
    url = entry.discovery or f"{entry.issuer.rstrip('/')}/.well-known/openid-configuration"
    if not is_web_url(url):
        raise ConfigurationError(
            "TRUSTED_ISSUERS: a discovery, or the issuer without one, must be an http or https URL."
        )
    return discovered(entry.issuer, url, clock, fetch)


def named(issuer: Issuer, claims: Mapping[str, Any]) -> str | None:
    """The user id that verified claims name; None where they name nobody."""
    subject = claims.get(issuer.uid_claim)
    return issuer.uid(subject) if isinstance(subject, str) and subject else None


def role(issuer: Issuer, claims: Mapping[str, Any]) -> str:
    """The role that verified claims give: one that this issuer may give, else ``owner``."""
    given = claims.get(issuer.role_claim)
    return given if isinstance(given, str) and given in issuer.roles else "owner"

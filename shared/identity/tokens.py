"""Tokens of other people's making (RFC 7519), access tokens and others, are checked here, and nowhere else.

The algorithm comes from an allow-list that cannot hold ``none`` or a symmetric one, so a public key is never taken for
a shared secret. ``iss``, ``aud`` and ``exp`` are required; ``typ``, ``jti`` and ``nbf`` are not.
PyJWT checks form, signature, issuer and audience; it reads the real clock, so times are compared here with ours.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jwt
import orjson

from shared.errors import ConfigurationError, Unauthorized
from shared.identity.keys import Keys, keys_from
from shared.ports import Clock
from shared.settings import Settings

LEEWAY = 30.0
"""Seconds by which the issuer's clock may differ from ours."""

MAX_HEADER_CHARS = 8_192

_ASYMMETRIC = frozenset(
    f"{family}{bits}" for family in ("RS", "PS", "ES") for bits in ("256", "384", "512")
) | {"EdDSA", "ES256K"}  # fmt: skip
_PLAIN_UID = re.compile(r"(?!h_)[A-Za-z0-9_-]{1,64}\Z")
_RESERVED_ID = re.compile(r"__.*__\Z")

_MESSAGES = {
    "missing": "An access token is required: Authorization: Bearer ...",
    "malformed": "The access token is not a well-formed JWT with the required claims.",
    "expired": "The access token has expired.",
    "not_yet_valid": "The access token is not valid yet.",
    "wrong_issuer": "The access token comes from another issuer.",
    "wrong_audience": "The access token is meant for another audience.",
    "wrong_algorithm": "The access token is signed with an algorithm that is not accepted.",
    "bad_signature": "The signature of the access token is wrong.",
    "unknown_key": "The access token is signed with an unknown key.",
    "no_subject": "The access token names no subject.",
}
REASONS = frozenset(_MESSAGES)
"""What ``details.reason`` of an ``Unauthorized`` can be."""

_JWT = jwt.PyJWT(
    {
        "require": ["exp", "iss", "aud"],
        "verify_exp": False,
        "verify_nbf": False,
        "verify_iat": False,
        "verify_sub": False,
        "verify_jti": False,
        "enforce_minimum_key_length": True,
    }
)

# The first that fits; PyJWT's classes inherit from each other.
_FAILURES: tuple[tuple[type[Exception], str], ...] = (
    (jwt.InvalidSignatureError, "bad_signature"),
    (jwt.InvalidAlgorithmError, "wrong_algorithm"),
    (jwt.InvalidKeyError, "wrong_algorithm"),  # a key of another kind or curve than the algorithm asks for
    (jwt.InvalidIssuerError, "wrong_issuer"),
    (jwt.InvalidAudienceError, "wrong_audience"),
)
_MISSING = {"iss": "wrong_issuer", "aud": "wrong_audience"}


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is calling: ``uid`` is safe in document paths; email and name are what the issuer says, if it does."""

    uid: str
    email: str | None = None
    name: str | None = None


class TokenVerifier:
    """Turns an Authorization header into a Principal."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        """Read the issuer's settings. Raises ``ConfigurationError``."""
        if not settings.jwt_issuer or not settings.jwt_audience:
            raise ConfigurationError("JWT_ISSUER and JWT_AUDIENCE must be set.")
        if not settings.jwt_algorithms or not _ASYMMETRIC.issuperset(settings.jwt_algorithms):
            raise ConfigurationError("JWT_ALGORITHMS may only name asymmetric algorithms, such as RS256 or ES256.")
        self._issuer = settings.jwt_issuer
        self._audience = settings.jwt_audience
        self._algorithms = list(settings.jwt_algorithms)
        self._clock = clock
        self._keys: Keys = keys_from(settings, clock)

    def verify(self, authorization: str | None) -> Principal:
        """Check the header's token. Raises ``Unauthorized`` (``details.reason`` of ``REASONS``), ``Retry``."""
        claims = verified_claims(
            _bearer(authorization), self._keys, self._algorithms, [self._issuer], self._audience, self._clock.now()
        )
        subject = claims.get("sub")
        if not isinstance(subject, str) or not subject:
            raise _refusal("no_subject")
        return Principal(uid_of(subject), _text(claims.get("email")), _text(claims.get("name")))


def verified_claims(
    token: str, keys: Keys, algorithms: Sequence[str], issuers: Sequence[str], audience: str, now: float
) -> dict[str, Any]:
    """The claims of a JWT, once its signature, ``iss``, ``aud``, ``exp`` and, where given, ``nbf`` and ``iat`` are right.

    ``algorithms`` may only name asymmetric ones. Raises ``Unauthorized`` (``details.reason`` of ``REASONS``), ``Retry``.
    """
    header = _header(token)
    algorithm, kid = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in algorithms or algorithm not in _ASYMMETRIC:
        raise _refusal("wrong_algorithm")
    if kid is not None and not isinstance(kid, str):
        raise _refusal("malformed")
    key = keys.find(kid)
    if key is None:
        raise _refusal("unknown_key")
    if key.algorithm not in ("", algorithm):
        raise _refusal("wrong_algorithm")
    claims = _claims(token, key.public, algorithm, issuers, audience)
    _check_times(claims, now)
    return claims


def _claims(token: str, key: Any, algorithm: str, issuers: Sequence[str], audience: str) -> dict[str, Any]:
    try:
        return _JWT.decode(token, key, [algorithm], audience=audience, issuer=issuers)
    except jwt.MissingRequiredClaimError as error:
        raise _refusal(_MISSING.get(error.claim, "malformed")) from None
    except (jwt.PyJWTError, TypeError, ValueError) as error:
        # The key comes from us, so a TypeError means one of another kind than the algorithm asks for.
        fallback = "wrong_algorithm" if isinstance(error, TypeError) else "malformed"
        reason = next((reason for kind, reason in _FAILURES if isinstance(error, kind)), fallback)
        raise _refusal(reason) from None


def _check_times(claims: dict[str, Any], now: float) -> None:
    if _time(claims, "exp") <= now - LEEWAY:
        raise _refusal("expired")
    for name in ("nbf", "iat"):
        if claims.get(name) is not None and _time(claims, name) > now + LEEWAY:
            raise _refusal("not_yet_valid")


def uid_of(subject: str) -> str:
    """The user id of a token's subject: itself where it is plain, else a digest that no plain subject can equal."""
    if _PLAIN_UID.match(subject) and not _RESERVED_ID.match(subject):
        return subject
    digest = hashlib.sha256(subject.encode("utf-8", "surrogatepass")).digest()
    return "h_" + base64.b32encode(digest).decode().rstrip("=").lower()


def _refusal(reason: str) -> Unauthorized:
    return Unauthorized(_MESSAGES[reason], reason=reason)


def _bearer(authorization: str | None) -> str:
    if not authorization:
        raise _refusal("missing")
    scheme, _, token = authorization.partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise _refusal("missing")
    if len(authorization) > MAX_HEADER_CHARS or not token.isascii():
        raise _refusal("malformed")
    return token


def _header(token: str) -> dict[str, Any]:
    """The unverified header; only used to choose a key and an algorithm from our own lists."""
    segment = token.partition(".")[0]
    try:
        header = orjson.loads(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
    except (ValueError, binascii.Error):
        header = None
    if not isinstance(header, dict):
        raise _refusal("malformed")
    return header


def _time(claims: dict[str, Any], name: str) -> float | int:
    value = claims[name]
    if type(value) is int or (type(value) is float and math.isfinite(value)):
        return value
    raise _refusal("malformed")


def _text(value: object) -> str | None:
    if not isinstance(value, str) or not value:
        return None
    return value.encode("utf-8", "replace").decode().replace("\0", "")[:320]

"""Tokens of other people's making (RFC 7519), access tokens and others, are checked here, and nowhere else.

The algorithm comes from an allow-list that cannot hold ``none`` or a symmetric one, so a public key is never taken for
a shared secret. ``iss`` and ``exp`` are required, ``aud`` wherever one is expected; ``typ``, ``jti`` and ``nbf`` are not.
PyJWT and below it ``cryptography`` check signatures; form and claims are read here, since PyJWT takes longer over the
form than over the signature, reads the real clock, and is needed for one exact set of claims.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jwt
import orjson

from shared.errors import Unauthorized
from shared.identity.issuers import Issuer, named, role, trusted
from shared.identity.keys import Fetch, Keys, over_http
from shared.ports import Clock
from shared.settings import Settings

LEEWAY = 30.0
"""Seconds by which the issuer's clock may differ from ours."""

MAX_HEADER_CHARS = 8_192

_SCHEMES = {
    name: jwt.get_algorithm_by_name(name)
    for name in (*(f"{family}{bits}" for family in ("RS", "PS", "ES") for bits in (256, 384, 512)), "EdDSA", "ES256K")
}
"""Every algorithm that can be accepted at all; all are asymmetric."""

_FORM = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")

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


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is calling: ``uid`` is safe in document paths; email and name are what the issuer says, if it does.

    ``role`` is ``owner`` for everybody whom no issuer of ours, or one that is trusted with it, has given another;
    ``issuer`` has signed the token; ``session`` is the id of a session of our own issuing.
    """

    uid: str
    email: str | None = None
    name: str | None = None
    role: str = "owner"
    issuer: str = ""
    session: str | None = None


class TokenVerifier:
    """Turns an Authorization header into a Principal, whoever of the trusted issuers has signed its token."""

    def __init__(self, settings: Settings, clock: Clock, fetch: Fetch | None = None, own: Keys | None = None) -> None:
        """``fetch`` reads key sets, over HTTP unless it is given; ``own`` are the keys of our own issuer, where at hand.

        Raises ``ConfigurationError``.
        """
        self._issuers = trusted(settings, clock, fetch or over_http(clock), own)
        self._clock = clock

    def verify(self, authorization: str | None) -> Principal:
        """Check the header's token. Raises ``Unauthorized`` (``details.reason`` of ``REASONS``), ``Retry``."""
        token = _parsed(bearer(authorization))
        claimed = token.claims.get("iss")
        # Nobody has vouched for this yet: it only says whose keys the token will have to stand up to.
        issuer = self._issuers.get(claimed) if isinstance(claimed, str) else None
        if issuer is None:
            raise _refusal("wrong_issuer")
        _verify(token, issuer.keys, issuer.algorithms, (issuer.name,), issuer.audiences, self._clock.now())
        return _principal(issuer, token.claims)


def verified_claims(
    token: str, keys: Keys, algorithms: Sequence[str], issuers: Sequence[str], audience: str | Sequence[str], now: float
) -> dict[str, Any]:
    """The claims of a JWT, once its signature, ``iss``, ``aud``, ``exp`` and, where given, ``nbf`` and ``iat`` are right.

    ``algorithms`` may only name asymmetric ones; without any ``audience`` there must be no ``aud``.
    Raises ``Unauthorized`` (``details.reason`` of ``REASONS``), ``Retry``.
    """
    parsed = _parsed(token)
    audiences = (audience,) if isinstance(audience, str) else audience
    _verify(parsed, keys, algorithms, issuers, audiences, now)
    return parsed.claims


@dataclass(frozen=True, slots=True)
class _Token:
    """A token as it is written; nothing of it is true yet."""

    header: dict[str, Any]
    claims: dict[str, Any]
    signed: bytes
    signature: bytes


def _parsed(token: str) -> _Token:
    if not _FORM.fullmatch(token):
        raise _refusal("malformed")
    signed, _, signature = token.rpartition(".")
    header, _, claims = signed.partition(".")
    try:
        read = _Token(
            orjson.loads(_decoded(header)), json.loads(_decoded(claims)), signed.encode(), _decoded(signature)
        )
    except (ValueError, binascii.Error, RecursionError):
        raise _refusal("malformed") from None
    kid = read.header.get("kid") if isinstance(read.header, dict) else ...
    # What is critical has to be understood, and nothing of the kind is (RFC 7515, 4.1.11).
    if not isinstance(read.claims, dict) or not (kid is None or isinstance(kid, str)) or "crit" in read.header:
        raise _refusal("malformed")
    return read


def _verify(
    token: _Token, keys: Keys, algorithms: Sequence[str], issuers: Sequence[str], audiences: Sequence[str], now: float
) -> None:
    algorithm = token.header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in algorithms or algorithm not in _SCHEMES:
        raise _refusal("wrong_algorithm")
    key = keys.find(token.header.get("kid"))
    if key is None:
        raise _refusal("unknown_key")
    if key.algorithm not in ("", algorithm):
        raise _refusal("wrong_algorithm")
    _check_signature(token, key.public, algorithm)
    if token.claims.get("iss") not in issuers:
        raise _refusal("wrong_issuer")
    if not _is_for(audiences, token.claims):
        raise _refusal("wrong_audience")
    _check_times(token.claims, now)


def _check_signature(token: _Token, public: Any, algorithm: str) -> None:
    scheme = _SCHEMES[algorithm]
    try:
        key = scheme.prepare_key(public)
        if scheme.check_key_length(key):
            raise _refusal("wrong_algorithm")  # too short to be worth anything
        good = scheme.verify(token.signed, key, token.signature)
    except (jwt.PyJWTError, TypeError, ValueError, AttributeError):
        # The key comes from us, so it is one of another kind or curve than the algorithm asks for.
        raise _refusal("wrong_algorithm") from None
    if not good:
        raise _refusal("bad_signature")


def _is_for(audiences: Sequence[str], claims: dict[str, Any]) -> bool:
    """Whether a token says that it is for one of the audiences, or for none where none is expected."""
    said = claims.get("aud")
    if not audiences:
        return "aud" not in claims
    listed = said if isinstance(said, list) else [said]
    return all(isinstance(one, str) for one in listed) and any(one in audiences for one in listed)


def _principal(issuer: Issuer, claims: dict[str, Any]) -> Principal:
    if issuer.parties and claims.get("azp") not in issuer.parties:
        raise _refusal("wrong_audience")
    uid = named(issuer, claims)
    if uid is None:
        raise _refusal("no_subject")
    session = _text(claims.get("sid")) if issuer.has_sessions else None
    return Principal(
        uid, _text(claims.get("email")), _text(claims.get("name")), role(issuer, claims), issuer.name, session
    )


def _check_times(claims: dict[str, Any], now: float) -> None:
    if _time(claims, "exp") <= now - LEEWAY:
        raise _refusal("expired")
    for name in ("nbf", "iat"):
        if claims.get(name) is not None and _time(claims, name) > now + LEEWAY:
            raise _refusal("not_yet_valid")


def _refusal(reason: str) -> Unauthorized:
    return Unauthorized(_MESSAGES[reason], reason=reason)


def bearer(authorization: str | None) -> str:
    """The token of an Authorization header. Raises ``Unauthorized`` for none, and for one that is too long."""
    if not authorization:
        raise _refusal("missing")
    scheme, _, token = authorization.partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise _refusal("missing")
    if len(authorization) > MAX_HEADER_CHARS or not token.isascii():
        raise _refusal("malformed")
    return token


def _decoded(segment: str) -> bytes:
    return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))


def _time(claims: dict[str, Any], name: str) -> float | int:
    value = claims.get(name)
    if type(value) is int or (type(value) is float and math.isfinite(value)):
        return value
    raise _refusal("malformed")


def _text(value: object) -> str | None:
    if not isinstance(value, str) or not value:
        return None
    return value.encode("utf-8", "replace").decode().replace("\0", "")[:320]

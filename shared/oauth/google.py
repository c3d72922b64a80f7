"""Google as the consent flow needs it: its endpoints as a port, and its id_token checked (OpenID Connect Core, 3.1.3.7)."""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass, field
from typing import Any, Protocol

from shared.errors import Unauthorized
from shared.identity.keys import Keys
from shared.identity.tokens import verified_claims
from shared.ports import Clock

PROVIDER = "google"
ALGORITHMS = ("RS256",)
"""What Google signs with (docs/gmail.md, 14)."""

MAX_TOKEN_CHARS = 16_384
MAX_TEXT_CHARS = 320

_SUBJECT = re.compile(r"[A-Za-z0-9_-]{1,255}")
"""Google's are decimal; whatever fits is safe in a document path."""


@dataclass(frozen=True, slots=True)
class Granted:
    """What the token endpoint answered for a code; ``scopes`` is None where it does not say, which means: as asked."""

    access: str = field(repr=False)
    refresh: str | None = field(repr=False)
    expires_at: float
    scopes: tuple[str, ...] | None
    id_token: str = field(repr=False)


class Google(Protocol):
    """Google's endpoints.

    All calls raise ``ProviderUnavailable``, ``RateLimited``, ``ProviderRefused`` and ``ConfigurationError``.
    """

    def issuer(self) -> str:
        """The ``iss`` of its tokens."""

    def authorization_endpoint(self) -> str:
        """Where people consent."""

    def keys(self) -> dict[str, Any]:
        """The JWKS that its tokens are signed with."""

    def exchange(self, code: str, verifier: str, redirect_uri: str) -> Granted:
        """Trade a code. Raises ``ReauthRequired`` when the code is not, or no longer, good."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who somebody is at the provider: ``subject`` never changes, ``email`` may, and counts only if ``email_verified``."""

    subject: str
    email: str | None
    email_verified: bool
    name: str | None

    @property
    def address(self) -> str | None:
        """The e-mail address if the provider vouches for it, in lower case."""
        return self.email.lower() if self.email is not None and self.email_verified else None


@dataclass(frozen=True, slots=True)
class IdTokens:
    """Checks id_tokens that are meant for our client."""

    keys: Keys
    clock: Clock
    client_id: str

    def identity(self, id_token: str, issuer: str, nonce: str) -> Identity:
        """Who the token speaks of. Raises ``Unauthorized``, ``Retry`` when the keys cannot be read."""
        if not id_token.isascii() or len(id_token) > MAX_TOKEN_CHARS:
            raise Unauthorized("The id_token is not one.")
        claims = verified_claims(id_token, self.keys, ALGORITHMS, issuers(issuer), self.client_id, self.clock.now())
        audience, party = claims["aud"], claims.get("azp")
        several = isinstance(audience, list) and len(audience) > 1
        if (several and party is None) or (party is not None and party != self.client_id):
            raise Unauthorized("The id_token was made for another client.")
        if claims.get("iat") is None:
            raise Unauthorized("The id_token does not say when it was made.")
        said = claims.get("nonce")
        if not isinstance(said, str) or not hmac.compare_digest(said.encode("utf-8", "replace"), nonce.encode()):
            raise Unauthorized("The id_token belongs to another flow.")
        subject = claims.get("sub")
        if not isinstance(subject, str) or not _SUBJECT.fullmatch(subject):
            raise Unauthorized("The id_token names no usable subject.")
        email = _text(claims.get("email"))
        # Google has sent the flag as a string as well.
        verified = email is not None and claims.get("email_verified") in (True, "true")
        return Identity(subject, email, verified, _text(claims.get("name")))


def issuers(issuer: str) -> tuple[str, ...]:
    """The forms in which an issuer names itself: Google leaves out the scheme at times (docs/gmail.md, 14)."""
    return (issuer, issuer.removeprefix("https://"))


def _text(value: object) -> str | None:
    if not isinstance(value, str) or not value or len(value) > MAX_TEXT_CHARS:
        return None
    return value.encode("utf-8", "replace").decode().replace("\0", "")

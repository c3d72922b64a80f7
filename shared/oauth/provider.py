"""What the consent flow needs of a provider: its endpoints as one port, and in another what it does in its own way.

Everything else is the same for all of them: states, browsers, PKCE, nonces, one-use documents, pages, grants.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from shared.identity.keys import Keys
from shared.oauth.stopped import Why
from shared.providers.base import Tokens

IDENTITY_SCOPES = ("openid", "email", "profile")

MAX_TEXT_CHARS = 320


@dataclass(frozen=True, slots=True)
class Granted:
    """What the token endpoint answered for a code; ``scopes`` is None where it does not say, which means: as asked."""

    access: str = field(repr=False)
    refresh: str | None = field(repr=False)
    expires_at: float
    scopes: tuple[str, ...] | None
    id_token: str = field(repr=False)


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


class Endpoints(Protocol):
    """A provider's endpoints.

    All calls raise ``ProviderUnavailable``, ``RateLimited``, ``ProviderRefused`` and ``ConfigurationError``.
    """

    def issuer(self) -> str:
        """The ``issuer`` of its discovery document, as it stands there."""

    def authorization_endpoint(self) -> str:
        """Where people consent."""

    def keys(self) -> dict[str, Any]:
        """The JWKS that its tokens are signed with."""

    def exchange(self, code: str, verifier: str, redirect_uri: str) -> Granted:
        """Trade a code. Raises ``ReauthRequired`` when the code is not, or no longer, good."""

    def refresh(self, refresh_token: str, extra: Sequence[str] = ()) -> Tokens:
        """Trade a refresh token, as ``MailProvider.refresh`` does. Raises ``ReauthRequired`` when the grant is dead."""

    def revoke(self, token: str) -> None:
        """Give a token back, and with it the grant; does nothing where a provider has no way to. One that is gone is fine."""


class Provider(Protocol):
    """What one provider does in its own way."""

    @property
    def name(self) -> str:
        """What the API, routes and grants call it."""

    @property
    def title(self) -> str:
        """What people call it."""

    @property
    def lasting_at_full_consent_only(self) -> bool:
        """Whether a refresh token comes with a full consent only, and not with every code."""

    def asked(self, scopes: Sequence[str], connecting: bool) -> dict[str, str]:
        """The ``scope`` and whatever else an authorization request has of its own; ``scopes`` are those of the mailbox."""

    def covers(self, granted: Sequence[str], asked: Sequence[str]) -> bool:
        """Whether what was granted is all that was asked for."""

    def origins(self, endpoint: str) -> tuple[str, ...]:
        """Where the authorization endpoint may redirect to at once, beside its own origin."""

    def is_issuer(self, said: str, issuer: str) -> bool:
        """Whether an answer that says it comes from ``said`` may come from this provider."""

    def why(self, error: str, description: str) -> tuple[Why, str]:
        """What an error at the authorization endpoint means for the person, and the provider's own number of it ('': none).

        ``DENIED`` is where the person said no.
        """

    def verified(self, id_token: str, keys: Keys, issuer: str, audience: str, now: float) -> dict[str, Any]:
        """The claims of an id_token of this provider's. Raises ``Unauthorized``, ``Retry``."""

    def identity(self, claims: Mapping[str, Any]) -> Identity:
        """Who verified claims speak of. Raises ``Unauthorized``."""


def claim_text(value: object) -> str | None:
    """A claim that is a text for people, fit to be stored; None for anything else."""
    if not isinstance(value, str) or not value or len(value) > MAX_TEXT_CHARS:
        return None
    return value.encode("utf-8", "replace").decode().replace("\0", "")

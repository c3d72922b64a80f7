"""Google as the consent flow meets it (docs/gmail.md, 12 to 14)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.errors import Unauthorized
from shared.identity.keys import Keys
from shared.identity.tokens import verified_claims
from shared.oauth.provider import IDENTITY_SCOPES, Identity, claim_text
from shared.oauth.stopped import Why

ALGORITHMS = ("RS256",)
"""What Google signs with (docs/gmail.md, 14)."""

_SUBJECT = re.compile(r"[A-Za-z0-9_-]{1,255}")
"""Google's are decimal; whatever fits is safe in a document path."""

_WHY = {
    "access_denied": Why.DENIED,
    "admin_policy_enforced": Why.BLOCKED,
    "org_internal": Why.BLOCKED,
    "server_error": Why.UNAVAILABLE,
    "temporarily_unavailable": Why.UNAVAILABLE,
}


@dataclass(frozen=True, slots=True)
class Google:
    """Google's own way."""

    name: str = "google"
    title: str = "Google"
    lasting_at_full_consent_only: bool = True

    def asked(self, scopes: Sequence[str], connecting: bool) -> dict[str, str]:
        """A refresh token, and no scope lost that an earlier consent gave (docs/gmail.md, 13)."""
        if not connecting:
            return {"scope": " ".join(IDENTITY_SCOPES)}
        return {
            "scope": " ".join((*IDENTITY_SCOPES, *scopes)),
            "access_type": "offline",
            "include_granted_scopes": "true",
        }

    def covers(self, granted: Sequence[str], asked: Sequence[str]) -> bool:
        """People can untick single boxes."""
        return set(asked) <= set(granted)

    def origins(self, endpoint: str) -> tuple[str, ...]:  # noqa: ARG002 - the Protocol's signature
        """Google stays where it is."""
        return ()

    def is_issuer(self, said: str, issuer: str) -> bool:
        """Whether this is how the issuer names itself."""
        return said in issuers(issuer)

    def why(self, error: str, description: str) -> tuple[Why, str]:  # noqa: ARG002 - the Protocol's signature
        """The error says it all."""
        return _WHY.get(error, Why.REFUSED), ""

    def verified(self, id_token: str, keys: Keys, issuer: str, audience: str, now: float) -> dict[str, Any]:
        """The claims, once they are sure."""
        return verified_claims(id_token, keys, ALGORITHMS, issuers(issuer), audience, now)

    def identity(self, claims: Mapping[str, Any]) -> Identity:
        """The account's number, and an address that Google vouches for or not."""
        subject = claims.get("sub")
        if not isinstance(subject, str) or not _SUBJECT.fullmatch(subject):
            raise Unauthorized("The id_token names no usable subject.")
        email = claim_text(claims.get("email"))
        # Google has sent the flag as a string as well.
        verified = email is not None and claims.get("email_verified") in (True, "true")
        return Identity(subject, email, verified, claim_text(claims.get("name")))


def issuers(issuer: str) -> tuple[str, ...]:
    """The forms in which an issuer names itself: Google leaves out the scheme at times (docs/gmail.md, 14)."""
    return (issuer, issuer.removeprefix("https://"))

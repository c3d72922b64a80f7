"""Our own access tokens: RS256, a quarter of an hour, for the session that they belong to.

The key is asked for before a session is opened or goes on, and handed in afterwards: where it cannot be read, no refresh token
is spent and nothing is written.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from shared.identity.signing import TOKEN_SECONDS, Signing, SigningKey
from shared.oauth.tickets import encoded
from shared.ports import Clock, Data

JTI_BYTES = 12


@dataclass(frozen=True, slots=True)
class Issuing:
    """Makes access tokens in the name of ``issuer`` for ``audience``."""

    signing: Signing
    clock: Clock
    issuer: str
    audience: str

    def token(self, key: SigningKey, profile: Data, session_id: str) -> str:
        """An access token for the person of this profile, signed with what ``signing.key`` answered."""
        now = int(self.clock.now())
        claims: dict[str, Any] = {
            "iss": self.issuer,
            "aud": self.audience,
            "sub": profile["uid"],
            "sid": session_id,
            "role": profile.get("role", "owner"),
            "iat": now,
            "exp": now + int(TOKEN_SECONDS),
            "jti": encoded(self.clock.entropy(JTI_BYTES)),
        }
        about = {name: profile[name] for name in ("email", "name") if profile.get(name)}
        return key.sign({**claims, **about})

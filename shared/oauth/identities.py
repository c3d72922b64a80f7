"""Who somebody has proven to be, for an application's own backend to fetch, once and within a minute.

Brainstem issues no session here: the application does, for the account that it is told of. As in OAuth itself the code
alone is worth nothing: the backend shows the verifier (RFC 7636, S256) whose challenge began the flow.
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass
from typing import Any

from shared.errors import InvalidRequest
from shared.oauth.browser import challenge
from shared.oauth.provider import Identity
from shared.oauth.tickets import Tickets

LIFETIME = 60.0
KIND = "identity"

_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")


@dataclass(frozen=True, slots=True)
class Identities:
    """Identities proven at one provider that wait for their application."""

    tickets: Tickets
    provider: str

    def keep(self, identity: Identity, challenge: str) -> str:
        """Keep one for whoever has the verifier of this challenge; answers the code. Raises ``Retry``."""
        told = {
            "provider": self.provider,
            "subject": identity.subject,
            "email": identity.email,
            "email_verified": identity.email_verified,
            "name": identity.name,
        }
        return self.tickets.issue(self._kind, {"identity": told, "challenge": challenge}, LIFETIME)

    def take(self, code: str, verifier: str) -> dict[str, Any]:
        """``provider``, ``subject``, ``email``, ``email_verified`` and ``name``, once. Raises ``InvalidRequest``, ``Retry``."""
        doc = self.tickets.find(self._kind, code) if _VERIFIER.fullmatch(verifier) else None
        ours = doc is not None and hmac.compare_digest(challenge(verifier), doc.data["challenge"])
        if doc is None or not ours or not self.tickets.spend(doc):
            raise InvalidRequest(
                "The code is unknown, was used, is too old, or belongs to another verifier.", reason="unknown_code"
            )
        told: dict[str, Any] = doc.data["identity"]
        return told

    @property
    def _kind(self) -> str:
        return f"{KIND}:{self.provider}"

"""The browser that a consent is bound to, known by a random cookie from which everything secret of the flow is derived.

So nothing secret is stored, and neither a stolen link nor a stolen code is worth anything without the cookie: the PKCE
verifier (RFC 7636) and the nonce (OpenID Connect Core, 3.1.2.1) come from it and from the state.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass, field

from shared.oauth.tickets import encoded, random_text
from shared.ports import Clock

_COOKIE = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class Browser:
    """One browser; ``cookie`` is what it was given."""

    cookie: str = field(repr=False)

    @classmethod
    def known(cls, cookie: str | None) -> Browser | None:
        """The browser that sent this cookie; None where it is not one of ours."""
        return cls(cookie) if cookie is not None and _COOKIE.fullmatch(cookie) else None

    @classmethod
    def new(cls, clock: Clock) -> Browser:
        """A browser that has not been here."""
        return cls(random_text(clock))

    @property
    def digest(self) -> str:
        """What is stored of it."""
        return hashlib.sha256(self.cookie.encode()).hexdigest()

    def is_the_one(self, digest: str | None) -> bool:
        """Whether this is the browser of a digest."""
        return digest is not None and hmac.compare_digest(self.digest, digest)

    def verifier(self, state: str) -> str:
        """The PKCE verifier of a consent."""
        return self._derived("verifier", state)

    def challenge(self, state: str) -> str:
        """What the provider sees of the verifier (S256)."""
        return challenge(self.verifier(state))

    def nonce(self, state: str) -> str:
        """What the id_token of a consent has to repeat."""
        return self._derived("nonce", state)

    def form(self, state: str) -> str:
        """What only our own page, shown in this browser, can have put into its form."""
        return self._derived("form", state)

    def _derived(self, use: str, state: str) -> str:
        return encoded(hmac.digest(self.cookie.encode(), f"{use}\n{state}".encode(), "sha256"))


def challenge(verifier: str) -> str:
    """The S256 challenge of a verifier."""
    return encoded(hashlib.sha256(verifier.encode()).digest())

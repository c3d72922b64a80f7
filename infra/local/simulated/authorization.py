"""What a client asks for when it sends a person to an authorization endpoint, and how it is told that it may not.

A request whose client or return address is in doubt must not send anybody anywhere: ``PageError``. Everything else that
is wrong is told to the client by a redirect: ``Refused``.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlencode

CHALLENGE = re.compile(r"[A-Za-z0-9._~-]{43,128}")


class PageError(Exception):
    """The person sees an error page, and the client learns nothing."""

    def __init__(self, error: str, sentence: str) -> None:
        super().__init__(sentence)
        self.error = error
        self.sentence = sentence


class Refused(Exception):
    """The person is sent back with an error in the address."""

    def __init__(self, url: str) -> None:
        super().__init__("The authorization request was refused.")
        self.url = url


@dataclass(frozen=True, slots=True)
class Authorization:
    """One checked request; ``scopes`` are sorted and separated by spaces, ``state`` is returned untouched.

    ``tenant`` and ``domain_hint`` say whose accounts may answer it, where a provider asks for that.
    """

    client_id: str
    redirect_uri: str
    scopes: str = ""
    state: str | None = None
    nonce: str | None = None
    login_hint: str = ""
    prompt: str = ""
    offline: bool = False
    include_granted: bool = False
    challenge: str = ""
    method: str = "plain"
    tenant: str = ""
    domain_hint: str = ""

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Authorization:
        """Read what ``to_json`` wrote."""
        return cls(**data)

    def to_json(self) -> dict[str, Any]:
        """Write it for the state file."""
        return asdict(self)

    def answer(self, **parameters: str) -> str:
        """The address to which the person returns with these parameters."""
        if self.state is not None:
            parameters = {"state": self.state} | parameters
        mark = "&" if "?" in self.redirect_uri else "?"
        return f"{self.redirect_uri}{mark}{urlencode(parameters)}"

    def proven_by(self, verifier: str) -> bool:
        """PKCE, RFC 7636: whether a verifier is the one that the challenge was made of."""
        shown = verifier.encode()
        if self.method == "S256":
            shown = base64.urlsafe_b64encode(hashlib.sha256(shown).digest()).rstrip(b"=")
        return hmac.compare_digest(shown, self.challenge.encode())

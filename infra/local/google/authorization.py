"""What a client asks for when it sends a person to the authorization endpoint, read and checked.

A request whose client or return address is in doubt must not send anybody anywhere: ``PageError``. Everything else that
is wrong is told to the client by a redirect: ``Refused``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlencode

from infra.local.google import scopes
from infra.local.google.clients import Clients

_CHALLENGE = re.compile(r"[A-Za-z0-9._~-]{43,128}")
_PROMPTS = frozenset({"none", "consent", "select_account"})
_METHODS = ("S256", "plain")


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
    """One checked request; ``scopes`` are sorted and separated by spaces, ``state`` is returned untouched."""

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

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Authorization:
        """Read what ``to_json`` wrote."""
        return cls(**data)

    def to_json(self) -> dict[str, Any]:
        """Write it for the state file."""
        return asdict(self)

    @property
    def services(self) -> list[str]:
        """The scopes that a person may untick."""
        return [scope for scope in self.scopes.split() if scope not in scopes.IDENTITY]

    def answer(self, **parameters: str) -> str:
        """The address to which the person returns with these parameters."""
        if self.state is not None:
            parameters = {"state": self.state} | parameters
        mark = "&" if "?" in self.redirect_uri else "?"
        return f"{self.redirect_uri}{mark}{urlencode(parameters)}"


def read(query: Mapping[str, Sequence[str]], clients: Clients) -> Authorization:
    """Check a request (each parameter with all its values). Raises ``PageError`` and ``Refused``."""
    for name, values in query.items():
        if len(values) > 1:
            raise PageError("invalid_request", f"OAuth 2 parameters can only have a single value: {name[:40]}")
    asked = {name: values[0] for name, values in query.items() if values}
    back = _way_back(asked, clients)
    if "response_type" not in asked:
        raise _refused(back, "invalid_request", "Required parameter is missing: response_type")
    if asked["response_type"] != "code":
        raise _refused(back, "unsupported_response_type", "Only the response type code is served.")
    names, invalid = scopes.canonical(asked.get("scope", ""))
    if invalid:
        raise _refused(back, "invalid_scope", f"Some requested scopes were invalid: {' '.join(invalid)[:200]}")
    if not names:
        raise _refused(back, "invalid_request", "Missing required parameter: scope")
    prompts = frozenset(asked.get("prompt", "").split())
    if not prompts <= _PROMPTS or ("none" in prompts and len(prompts) > 1):
        raise _refused(back, "invalid_request", "Invalid parameter value for prompt")
    challenge, method = _challenge(asked, back)
    return Authorization(
        client_id=back.client_id,
        redirect_uri=back.redirect_uri,
        scopes=scopes.joined(names),
        state=back.state,
        nonce=asked.get("nonce"),
        login_hint=asked.get("login_hint", ""),
        prompt=" ".join(sorted(prompts)),
        offline=_one_of(asked, back, "access_type", "online", "offline"),
        include_granted=_one_of(asked, back, "include_granted_scopes", "false", "true"),
        challenge=challenge,
        method=method,
    )


def _way_back(asked: Mapping[str, str], clients: Clients) -> Authorization:
    client_id, redirect_uri = asked.get("client_id", ""), asked.get("redirect_uri", "")
    if not client_id:
        raise PageError("invalid_request", "Missing required parameter: client_id")
    if not clients.known(client_id):
        raise PageError("invalid_client", "The OAuth client was not found.")
    if not redirect_uri:
        raise PageError("invalid_request", "Missing required parameter: redirect_uri")
    if not clients.returns_to(client_id, redirect_uri):
        raise PageError(
            "redirect_uri_mismatch",
            f"The redirect URI in the request, {redirect_uri[:300]}, does not match the ones authorized for the client.",
        )
    return Authorization(client_id, redirect_uri, state=asked.get("state"))


def _challenge(asked: Mapping[str, str], back: Authorization) -> tuple[str, str]:
    challenge, method = asked.get("code_challenge", ""), asked.get("code_challenge_method", "plain")
    if method not in _METHODS:
        raise _refused(back, "invalid_request", "Invalid parameter value for code_challenge_method")
    if not challenge and "code_challenge_method" in asked:
        raise _refused(back, "invalid_request", "Missing required parameter: code_challenge")
    if challenge and not _CHALLENGE.fullmatch(challenge):
        raise _refused(back, "invalid_request", "Invalid parameter value for code_challenge")
    return challenge, method


def _one_of(asked: Mapping[str, str], back: Authorization, name: str, no: str, yes: str) -> bool:
    value = asked.get(name, no)
    if value not in (no, yes):
        raise _refused(back, "invalid_request", f"Invalid parameter value for {name}")
    return value == yes


def _refused(back: Authorization, error: str, description: str) -> Refused:
    return Refused(back.answer(error=error, error_description=description))

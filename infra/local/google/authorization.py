"""What a client asks of Google when it sends a person to the authorization endpoint, read and checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from infra.local.google import scopes
from infra.local.simulated.authorization import CHALLENGE, Authorization, PageError, Refused
from infra.local.simulated.clients import Clients

_PROMPTS = frozenset({"none", "consent", "select_account"})
_METHODS = ("S256", "plain")


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
    if challenge and not CHALLENGE.fullmatch(challenge):
        raise _refused(back, "invalid_request", "Invalid parameter value for code_challenge")
    return challenge, method


def _one_of(asked: Mapping[str, str], back: Authorization, name: str, no: str, yes: str) -> bool:
    value = asked.get(name, no)
    if value not in (no, yes):
        raise _refused(back, "invalid_request", f"Invalid parameter value for {name}")
    return value == yes


def _refused(back: Authorization, error: str, description: str) -> Refused:
    return Refused(back.answer(error=error, error_description=description))

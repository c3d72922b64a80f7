"""How consent goes at Microsoft: accounts of the asked tenant may answer, and all scopes are allowed or none.

``read`` checks an authorization request. An unknown client, tenant or return address shows the person a page; everything
else that is wrong goes back to the client.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence

from infra.local.microsoft import identity_scopes as scopes
from infra.local.microsoft.identity_accounts import Accounts
from infra.local.microsoft.identity_refusals import described
from infra.local.simulated.authorization import CHALLENGE, Authorization, PageError, Refused
from infra.local.simulated.chance import digest
from infra.local.simulated.clients import Clients

_PROMPTS = frozenset({"", "none", "login", "consent", "select_account", "create"})
_METHODS = ("S256", "plain")


class MicrosoftConsent:
    """The ``Custom`` of Microsoft's consent."""

    beginning = "M.C5_code."
    basic = scopes.BASIC

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    def addresses(self) -> Sequence[str]:
        """All accounts, the oldest first."""
        return self._accounts.addresses()

    def candidates(self, asked: Authorization) -> Sequence[str]:
        """The accounts of the tenant, and among them those of the hinted domain if there are any."""
        whole = self._accounts.addresses(asked.tenant)
        if not asked.domain_hint:
            return whole
        hinted = set(self._accounts.addresses(asked.domain_hint))
        return [address for address in whole if address in hinted] or whole

    def hints(self, address: str) -> Collection[str]:
        """The address alone."""
        return (address.lower(),)

    def canonical(self, names: Collection[str]) -> Collection[str]:
        """Scopes under their short names."""
        return scopes.canonical(names)[0]

    def denied(self, asked: Authorization) -> str:
        """Back with ``access_denied``."""
        return asked.answer(error="access_denied", error_subcode="cancel", error_description=described(65004))

    def unattended(self, asked: Authorization, error: str) -> str:
        """Back with the reason."""
        return asked.answer(error=error, error_description=described(50058 if error == "login_required" else 65001))

    def returned(self, asked: Authorization, code: str, granted: str) -> str:  # noqa: ARG002 - the Protocol's signature
        """Back with the code; what was granted only the token endpoint tells."""
        session = str(uuid.UUID(bytes=digest("session", code)[:16], version=4))
        return asked.answer(code=code, session_state=session)


def read(tenant: str, query: Mapping[str, Sequence[str]], clients: Clients) -> Authorization:
    """Check a request (each parameter with all its values). Raises ``PageError`` and ``Refused``."""
    for name, values in query.items():
        if len(values) > 1:
            raise PageError("invalid_request", f"AADSTS9000411: The parameter {name[:40]!r} is duplicated.")
    asked = {name: values[0] for name, values in query.items() if values}
    back = _way_back(tenant, asked, clients)
    if asked.get("response_type") != "code":
        raise _refused(back, "unsupported_response_type", "AADSTS700054: Only the response_type 'code' is served.")
    if asked.get("response_mode", "query") != "query":
        raise _refused(back, "invalid_request", "AADSTS9002325: Only the response_mode 'query' is served.")
    names, invalid = scopes.canonical(asked.get("scope", "").split())
    if invalid or not names:
        foreign = any(scope.startswith("http") for scope in invalid)
        raise _refused(
            back, "invalid_resource" if foreign else "invalid_scope", described(500011 if foreign else 70011)
        )
    if asked.get("prompt", "") not in _PROMPTS:
        raise _refused(back, "invalid_request", "AADSTS90023: Unsupported 'prompt' value.")
    challenge, method = asked.get("code_challenge", ""), asked.get("code_challenge_method", "plain")
    if method not in _METHODS or (challenge and not CHALLENGE.fullmatch(challenge)):
        raise _refused(back, "invalid_request", "AADSTS501491: Invalid size or method of the Code_Challenge.")
    return Authorization(
        client_id=back.client_id,
        redirect_uri=back.redirect_uri,
        scopes=" ".join(names),
        state=back.state,
        nonce=asked.get("nonce"),
        login_hint=asked.get("login_hint", ""),
        prompt=asked.get("prompt", ""),
        offline=scopes.OFFLINE in names,
        challenge=challenge,
        method=method,
        tenant=tenant,
        domain_hint=asked.get("domain_hint", ""),
    )


def _way_back(tenant: str, asked: Mapping[str, str], clients: Clients) -> Authorization:
    client_id, redirect_uri = asked.get("client_id", ""), asked.get("redirect_uri", "")
    if not client_id:
        raise PageError("invalid_request", "AADSTS900144: The request must contain the parameter 'client_id'.")
    if not clients.known(client_id):
        raise PageError("unauthorized_client", described(700016))
    if not clients.returns_to(client_id, redirect_uri):
        raise PageError("invalid_request", f"{described(50011)} The URI was {redirect_uri[:300]!r}.")
    return Authorization(client_id, redirect_uri, state=asked.get("state"), tenant=tenant)


def _refused(back: Authorization, error: str, description: str) -> Refused:
    return Refused(back.answer(error=error, error_description=description))

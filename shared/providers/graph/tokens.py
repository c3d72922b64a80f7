"""Trade codes and refresh tokens at Microsoft's token endpoint, by MSAL.

MSAL makes the requests and reads the answers; what is below and around it is ours. Its authority has to be https and is
always Microsoft's; the bytes go where ``MICROSOFT_LOGIN_URL`` leads. One application is made per call and forgets all it
learns: MSAL would keep every person's tokens in memory, and answer from a cache of its own, by a clock of its own, for as
long as it believes that the endpoint is in trouble.

An id_token does not pass through MSAL. It is checked where the consent flow needs it, by our clock.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from shared.errors import ConfigurationError, ProviderRefused, ProviderUnavailable, ReauthRequired
from shared.oauth.provider import Granted
from shared.ports import Clock
from shared.providers.base import Tokens
from shared.providers.graph.aadsts import token_error
from shared.providers.http.failure import Failure
from shared.providers.http.token_answers import FORM, access_token, lifetime, said, trusted
from shared.providers.http.transport import Transport, web_url
from shared.settings import Settings

if TYPE_CHECKING:
    from msal import ConfidentialClientApplication

AUTHORITY = "https://login.microsoftonline.com/"
"""The root of MSAL's authority, and of the endpoints in Microsoft's own documents."""

_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,253}")
_ISSUER = re.compile(r"[A-Za-z0-9._~:/{}-]{1,500}")
_ALWAYS = {"openid", "profile", "offline_access"}
"""What MSAL asks for by itself, and refuses to be told."""

_IDENTITY = "User.Read"
_STATE = "ours"  # MSAL compares it with itself: the consent flow has compared the real one


class TokenEndpoint:
    """The endpoints of one tenant, as its discovery document names them; that is read once per process."""

    def __init__(
        self, settings: Settings, client_secret: Callable[[], str], transport: Transport, clock: Clock
    ) -> None:
        root = f"{settings.microsoft_login_url.rstrip('/')}/"
        if not web_url(root):
            raise ConfigurationError("MICROSOFT_LOGIN_URL must be an http or https URL.")
        if not _TENANT.fullmatch(settings.microsoft_tenant):
            raise ConfigurationError(
                "MICROSOFT_TENANT must be common, organizations, consumers, or a tenant's id or domain."
            )
        self._root = root
        self._tenant = settings.microsoft_tenant
        self._client_id = settings.microsoft_client_id
        self._scopes = [
            scope for scope in dict.fromkeys((*settings.microsoft_scopes, _IDENTITY)) if scope not in _ALWAYS
        ]
        self._client_secret = client_secret
        self._transport = transport
        self._clock = clock
        self._document: Mapping[str, Any] | None = None

    def refresh(self, refresh_token: str, extra: Sequence[str] = ()) -> Tokens:
        """Trade a refresh token for an access token and the refresh token that takes its place (docs/graph.md, 13).

        The access token is for what is asked for: the scopes of every mailbox, and ``extra``.

        Raises ``ReauthRequired`` only on the endpoint's own word that the grant is dead.
        """
        if not refresh_token:
            raise ReauthRequired("There is no refresh token.")
        # Our time is read first: a token that was long on its way expires early rather than late.
        asked_at = self._clock.now()
        answer = self._application(_Client(self._transport, self._endpoint())).acquire_token_by_refresh_token(
            refresh_token, list(dict.fromkeys((*self._scopes, *extra)))
        )
        access = access_token(answer, "Microsoft")
        return Tokens(access, asked_at + lifetime(answer.get("expires_in")), said(answer, "refresh_token"))

    def exchange(self, code: str, verifier: str, redirect_uri: str) -> Granted:
        """Trade a code that was asked for with the S256 challenge of this verifier; raise ``ReauthRequired`` for a bad one.

        No scopes are asked for: what comes is what was consented to. Never tried twice: a code works once, so after an
        answer that was lost the person has to consent again.
        """
        asked_at = self._clock.now()
        client = _Client(self._transport, self._endpoint())
        flow = {"state": _STATE, "redirect_uri": redirect_uri, "code_verifier": verifier}
        try:
            answer = self._application(client).acquire_token_by_auth_code_flow(flow, {"state": _STATE, "code": code})
        except ReauthRequired:
            raise ReauthRequired("Microsoft does not accept the code (any more).") from None
        if client.id_token is None:
            raise ProviderUnavailable("Microsoft's token endpoint answered without an id_token.")
        scopes = said(answer, "scope")
        return Granted(
            access=access_token(answer, "Microsoft"),
            refresh=said(answer, "refresh_token"),
            expires_at=asked_at + lifetime(answer.get("expires_in")),
            scopes=None if scopes is None else tuple(scopes.split()),
            id_token=client.id_token,
        )

    def revoke(self, token: str) -> None:
        """Do nothing: Microsoft has no way for an application to end one grant (docs/microsoft.md)."""

    def issuer(self) -> str:
        """The ``issuer`` of the discovery document as it stands there: with ``{tenantid}`` where tenants have their own."""
        issuer = self._discovered().get("issuer")
        if not isinstance(issuer, str) or not _ISSUER.fullmatch(issuer):
            raise ProviderRefused("The discovery document below MICROSOFT_LOGIN_URL names no usable issuer.")
        return issuer

    def authorization_endpoint(self) -> str:
        """Where people consent: where the document says, below ``MICROSOFT_LOGIN_URL``."""
        return self._endpoint("authorization_endpoint")

    def keys(self) -> dict[str, Any]:
        """The keys that id_tokens are signed with, as a JWKS."""
        answer = self._transport.ask(self._endpoint("jwks_uri"), "GET", None, {"accept": "application/json"})
        if isinstance(answer, Failure):
            raise ProviderUnavailable(f"Microsoft did not serve its keys ({answer.describe()}).")
        return answer

    def _application(self, client: _Client) -> ConfidentialClientApplication:
        from msal import ConfidentialClientApplication  # it takes long to import, and most calls trade no token

        return ConfidentialClientApplication(
            self._client_id,
            client_credential=self._client_secret(),
            authority=f"{AUTHORITY}{self._tenant}",
            instance_discovery=False,
            http_client=client,
            token_cache=_Forgetful(),
        )

    def _endpoint(self, name: str = "token_endpoint") -> str:
        url = self._discovered().get(name)
        if isinstance(url, str) and url.startswith(AUTHORITY):
            url = self._root + url.removeprefix(AUTHORITY)
        if not trusted(url, self._root):
            self._document = None  # the next call may be luckier
            raise ProviderRefused(f"The discovery document below MICROSOFT_LOGIN_URL names no usable {name}.")
        return url

    def _discovered(self) -> Mapping[str, Any]:
        # Two threads may both read it at first; a lock would have all wait for one that hangs.
        document = self._document
        if document is None:
            url = f"{self._root}{self._tenant}/v2.0/.well-known/openid-configuration"
            answer = self._transport.ask(url, "GET", None, {"accept": "application/json"})
            if isinstance(answer, Failure):
                raise token_error(answer, "the discovery document")
            document = self._document = answer
        return document


class _Forgetful:
    """A token cache that keeps nothing: tokens are sealed and stored by the vault, and by nobody else."""

    def add(self, event: object, now: object = None) -> None:
        """Keep nothing."""

    def remove_rt(self, item: object) -> None:
        """Nothing is there to be removed."""

    def update_rt(self, item: object, refresh_token: str) -> None:
        """Nothing is there to be updated."""


class _Answer:
    """What MSAL takes for an answer."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        self.status_code = 200
        self.headers: dict[str, str] = {}
        self.text = json.dumps(content)

    def raise_for_status(self) -> None:
        """It never is an error: those are raised before."""


class _Client:
    """The HTTP below MSAL for one call: its questions go where our endpoints are, and what is no success is raised as ours."""

    def __init__(self, transport: Transport, token_endpoint: str) -> None:
        self._transport = transport
        self._token_endpoint = token_endpoint
        self.id_token: str | None = None

    def get(self, url: str, **_: object) -> _Answer:
        """Answer what MSAL asks of the authority's discovery document, with endpoints that it accepts."""
        base = url.partition("/v2.0/")[0]
        return _Answer(
            {name: f"{base}/oauth2/v2.0/{name[:5]}" for name in ("token_endpoint", "authorization_endpoint")}
        )

    def post(self, url: str, data: Mapping[str, str], headers: Mapping[str, str] | None = None, **_: object) -> _Answer:  # noqa: ARG002
        """Ask the token endpoint; ``url`` is what MSAL believes it to be. Raises what ``token_error`` says."""
        body = urlencode(data, errors="replace")
        answer = self._transport.ask(self._token_endpoint, "POST", body, {**(headers or {}), **FORM})
        if isinstance(answer, Failure):
            raise token_error(answer)
        self.id_token = said(answer, "id_token")
        texts = {name: said(answer, name) for name in ("access_token", "refresh_token", "scope", "token_type")}
        kept = {name: text for name, text in texts.items() if text is not None}
        return _Answer({**kept, "expires_in": int(lifetime(answer.get("expires_in")))})

    def close(self) -> None:
        """The connections are the transport's."""

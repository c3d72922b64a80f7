"""Trade codes and refresh tokens at Google's token endpoint, wherever its discovery document says that is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from shared.errors import ConfigurationError, ProviderRefused, ProviderUnavailable, ReauthRequired
from shared.oauth.provider import Granted
from shared.ports import Clock
from shared.providers.base import Tokens
from shared.providers.gmail.failures import Where, error_for
from shared.providers.http.failure import Failure
from shared.providers.http.token_answers import FORM, access_token, lifetime, said, trusted
from shared.providers.http.transport import Transport, web_url

_REDIRECT = {"redirecturimismatch"}
_ENDED = {"invalidtoken", "invalidgrant"}


class TokenEndpoint:
    """Google's token endpoint and what else its discovery document names, which is read once per process."""

    def __init__(
        self, discovery_url: str, client_id: str, client_secret: Callable[[], str], transport: Transport, clock: Clock
    ) -> None:
        if not web_url(discovery_url):
            raise ConfigurationError("GOOGLE_OIDC_DISCOVERY_URL must be an http or https URL.")
        self._discovery_url = discovery_url
        self._client_id = client_id
        self._client_secret = client_secret
        self._transport = transport
        self._clock = clock
        self._document: Mapping[str, Any] | None = None

    def refresh(self, refresh_token: str, extra: Sequence[str] = ()) -> Tokens:  # noqa: ARG002 - as the others have it
        """Trade a refresh token; raise ``ReauthRequired`` only on the endpoint's own word that the grant is dead.

        Google's access tokens are good for all that was granted, so there is no need to name scopes.

        What may pass (5xx, 429, no answer) or is our fault (client id, secret) must not make a person consent again
        (docs/gmail.md, 12).
        """
        if not refresh_token:
            raise ReauthRequired("There is no refresh token.")
        asked_at, answer = self._trade({"grant_type": "refresh_token", "refresh_token": refresh_token})
        return Tokens(
            access_token(answer, "Google"), asked_at + lifetime(answer.get("expires_in")), said(answer, "refresh_token")
        )

    def exchange(self, code: str, verifier: str, redirect_uri: str) -> Granted:
        """Trade a code that was asked for with the S256 challenge of this verifier; raise ``ReauthRequired`` for a bad one.

        Never tried twice: a code works once, so after an answer that was lost the person has to consent again.
        """
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "code_verifier": verifier,
            "redirect_uri": redirect_uri,
        }
        try:
            asked_at, answer = self._trade(form)
        except ReauthRequired:
            raise ReauthRequired("Google does not accept the code (any more).") from None
        scopes, id_token = answer.get("scope"), said(answer, "id_token")
        if id_token is None:
            raise ProviderUnavailable("Google's token endpoint answered without an id_token.")
        return Granted(
            access=access_token(answer, "Google"),
            refresh=said(answer, "refresh_token"),
            expires_at=asked_at + lifetime(answer.get("expires_in")),
            scopes=tuple(scopes.split()) if isinstance(scopes, str) else None,
            id_token=id_token,
        )

    def revoke(self, token: str) -> None:
        """End the grant that a refresh or access token belongs to; one that has ended before is fine (docs/google.md)."""
        url = self._discovered("revocation_endpoint", "revocation endpoint")
        # What a success says is of no account (RFC 7009, 2.2), so it need not be JSON.
        answer = self._transport.send(url, "POST", urlencode({"token": token}, errors="replace"), FORM)
        if isinstance(answer, Failure) and not answer.says(_ENDED):
            raise error_for(answer, Where.REVOCATION)

    def issuer(self) -> str:
        """The ``iss`` of Google's tokens."""
        return self._discovered("issuer", "issuer")

    def authorization_endpoint(self) -> str:
        """Where people consent."""
        return self._discovered("authorization_endpoint", "authorization endpoint")

    def keys(self) -> dict[str, Any]:
        """The keys that id_tokens are signed with, as a JWKS."""
        url = self._discovered("jwks_uri", "keys")
        answer = self._transport.ask(url, "GET", None, {"accept": "application/json"})
        if isinstance(answer, Failure):
            raise ProviderUnavailable(f"Google did not serve its keys ({answer.describe()}).")
        return answer

    def _trade(self, form: Mapping[str, str]) -> tuple[float, dict[str, Any]]:
        """When the token endpoint was asked, and what it answered."""
        url = self._discovered("token_endpoint", "token endpoint")
        client = {"client_id": self._client_id, "client_secret": self._client_secret()}
        # Our time is read first: a token that was long on its way expires early rather than late.
        asked_at = self._clock.now()
        return asked_at, self._ask(Where.TOKEN, url, "POST", urlencode({**form, **client}, errors="replace"))

    def _discovered(self, name: str, what: str) -> str:
        # Two threads may both read it at first; a lock would have all wait for one that hangs.
        document = self._document
        if document is None or not trusted(document.get(name), self._discovery_url):
            document = self._ask(Where.DISCOVERY, self._discovery_url, "GET", None)
        url = document.get(name)
        if not trusted(url, self._discovery_url):
            # It is not kept: the next call may be luckier.
            raise ProviderRefused(f"The document at GOOGLE_OIDC_DISCOVERY_URL names no usable {what}.")
        self._document = document
        return url

    def _ask(self, where: Where, url: str, method: str, body: str | None) -> dict[str, Any]:
        answer = self._transport.ask(url, method, body, FORM if body is not None else {"accept": "application/json"})
        if isinstance(answer, Failure):
            if where is Where.TOKEN and answer.says(_REDIRECT):
                raise ConfigurationError("Google does not know GOOGLE_REDIRECT_URI as one of this client's.")
            raise error_for(answer, where)
        return answer

"""Trade refresh tokens at Google's token endpoint, wherever its discovery document says that is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from shared.errors import ConfigurationError, ProviderRefused, ProviderUnavailable, ReauthRequired
from shared.ports import Clock
from shared.providers.base import Tokens
from shared.providers.gmail.failures import Failure, Where, error_for
from shared.providers.gmail.transport import Transport, web_url

_FORM = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
_SHORT = 300.0  # seconds that a token is trusted whose lifetime is not said
_LONGEST = 86_400.0


class TokenEndpoint:
    """Google's token endpoint, discovered once per process."""

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
        self._lock = threading.Lock()
        self._url = ""

    def refresh(self, refresh_token: str) -> Tokens:
        """Trade a refresh token; raise ``ReauthRequired`` only on the endpoint's own word that the grant is dead.

        What may pass (5xx, 429, no answer) or is our fault (client id, secret) must not make a person consent again
        (docs/gmail.md, 12).
        """
        if not refresh_token:
            raise ReauthRequired("There is no refresh token.")
        form = {
            "grant_type": "refresh_token",
            "refresh_token": refresh_token,
            "client_id": self._client_id,
            "client_secret": self._client_secret(),
        }
        # Our time is read first: a token that was long on its way expires early rather than late.
        asked_at = self._clock.now()
        answer = self._ask(Where.TOKEN, self._endpoint(), "POST", urlencode(form, errors="replace"))
        access, rotated = answer.get("access_token"), answer.get("refresh_token")
        if not isinstance(access, str) or not access:
            raise ProviderUnavailable("Google's token endpoint answered without an access token.")
        return Tokens(
            access,
            asked_at + _lifetime(answer.get("expires_in")),
            rotated if isinstance(rotated, str) and rotated else None,
        )

    def _endpoint(self) -> str:
        with self._lock:
            if not self._url:
                found = self._ask(Where.DISCOVERY, self._discovery_url, "GET", None).get("token_endpoint")
                self._url = _trusted(found, self._discovery_url)
            return self._url

    def _ask(self, where: Where, url: str, method: str, body: str | None) -> dict[str, Any]:
        answer = self._transport.ask(url, method, body, _FORM if body is not None else {"accept": "application/json"})
        if isinstance(answer, Failure):
            raise error_for(answer, where)
        return answer


def _trusted(url: object, discovery_url: str) -> str:
    """Accept a URL, and one over plain http only from a discovery document that came over it too."""
    if not isinstance(url, str) or not web_url(url) or (_encrypted(discovery_url) and not _encrypted(url)):
        raise ProviderRefused("The document at GOOGLE_OIDC_DISCOVERY_URL names no usable token endpoint.")
    return url


def _encrypted(url: str) -> bool:
    return url.lower().startswith("https:")


def _lifetime(value: object) -> float:
    try:
        seconds = float(value) if isinstance(value, (int, float, str)) else _SHORT
    except (ValueError, OverflowError):
        seconds = _SHORT
    return min(seconds, _LONGEST) if seconds > 0 else _SHORT

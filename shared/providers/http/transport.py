"""The HTTP below a provider: one client for all threads, a timeout on every call, no token in any error."""

from __future__ import annotations

import http.client
import re
import zlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import urllib3

from shared.errors import ConfigurationError, ProviderUnavailable, ReauthRequired
from shared.ports import Clock
from shared.providers.http.answers import MALFORMED, parse, read_failure
from shared.providers.http.failure import Failure
from shared.providers.http.pool import PooledHttp
from shared.providers.http.wire import HeavyAnswer, HttpAnswer, HttpFactory, HttpLike

_BEARER = re.compile(r"[\x21-\x7e]{1,8192}\Z")
# What urllib3 and what is below it raise when a server cannot be reached or breaks off; ValueError and OverflowError are
# their word for hosts and ports that no address can have.
_BROKEN = (
    OSError, ValueError, OverflowError, EOFError, zlib.error, urllib3.exceptions.HTTPError, http.client.HTTPException,
)  # fmt: skip


class Transport:
    """Sends requests and reads their answers; ``server`` is whom it speaks to, for messages."""

    def __init__(self, clock: Clock, timeout: float, http_factory: HttpFactory | None, server: str) -> None:
        if timeout <= 0:
            raise ConfigurationError("PROVIDER_TIMEOUT_SECONDS must be above 0.")
        self._clock = clock
        self._server = server
        self._http: HttpLike = http_factory() if http_factory is not None else PooledHttp(clock, timeout)

    def send(
        self, uri: str, method: str, body: str | bytes | None, headers: Mapping[str, str]
    ) -> tuple[HttpAnswer, bytes] | Failure:
        """Make one request and answer what a success brought, or what kept it from being one.

        Raises ``ProviderUnavailable`` if no answer came.
        """
        try:
            answer, content = self._http.request(uri, method=method, body=body, headers=headers)
        except HeavyAnswer:
            return Failure(http.client.OK, (MALFORMED,))
        except _BROKEN as error:
            # No cause is attached, since the library's messages can quote what was sent.
            raise ProviderUnavailable(f"{self._server} cannot be reached ({type(error).__name__}).") from None
        status = int(answer.status)
        if 200 <= status < 300:
            return answer, content
        return read_failure(status, {"retry-after": answer.get("retry-after", "")}, content, self._clock.now())

    def ask(
        self, uri: str, method: str = "GET", body: str | None = None, headers: Mapping[str, str] | None = None
    ) -> dict[str, Any] | Failure:
        """Make one request and answer its JSON object ({} for 204), or what kept it from being one.

        Raises ``ProviderUnavailable`` if no answer came.
        """
        sent = self.send(uri, method, body, dict(headers or {}))
        if isinstance(sent, Failure):
            return sent
        answer, content = sent
        value = {} if answer.status == http.client.NO_CONTENT else parse(content)
        return value if isinstance(value, dict) else Failure(int(answer.status), (MALFORMED,))


def web_url(url: object) -> bool:
    """Whether this is an absolute http or https URL."""
    try:
        parts = urlsplit(url) if isinstance(url, str) else None
    except ValueError:
        return False
    return parts is not None and parts.scheme in ("http", "https") and bool(parts.hostname)


def bearer(token: str) -> dict[str, str]:
    """Make the header that carries an access token. Raises ``ReauthRequired`` for what cannot be one."""
    if not _BEARER.match(token):
        raise ReauthRequired("The stored access token cannot be one.")
    return {"authorization": f"Bearer {token}"}

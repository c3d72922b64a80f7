"""The HTTP below Gmail: one connection holder per thread, a timeout on every call, no token in any error."""

from __future__ import annotations

import http.client
import re
import threading
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeAlias
from urllib.parse import urlsplit

import httplib2
from httplib2.decode import DecodeLimitError, DecodeRatioError

from shared.errors import ConfigurationError, ProviderUnavailable, ReauthRequired
from shared.ports import Clock
from shared.providers.gmail.answers import MALFORMED, parse, read_failure
from shared.providers.gmail.failures import Failure

_BEARER = re.compile(r"[\x21-\x7e]{1,8192}\Z")
# What httplib2 and http.client raise when a server cannot be reached or breaks off; ValueError and OverflowError are
# their word for hosts and ports that no address can have.
_BROKEN = (
    OSError, ValueError, OverflowError, httplib2.HttpLib2Error, http.client.HTTPException, DecodeLimitError,
    DecodeRatioError,
)  # fmt: skip


class HttpAnswer(Protocol):
    """What a request answers besides its body: ``httplib2.Response``, or anything like it with lower-case names."""

    @property
    def status(self) -> int:
        """The HTTP status."""

    def get(self, name: str, default: str = "", /) -> str:
        """A header by its lower-case name."""


class HttpLike(Protocol):
    """What is needed of an HTTP client: ``httplib2.Http`` has it, and tests bring their own."""

    def request(
        self, uri: str, method: str = "GET", body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[HttpAnswer, bytes]:
        """Make one request; used by one thread at a time."""


HttpFactory: TypeAlias = Callable[[], HttpLike]


class Transport:
    """Sends requests and reads their JSON answers."""

    def __init__(self, clock: Clock, timeout: float, http_factory: HttpFactory | None) -> None:
        if timeout <= 0:
            raise ConfigurationError("PROVIDER_TIMEOUT_SECONDS must be above 0.")
        self._clock = clock
        self._factory = http_factory or (lambda: _http(timeout))
        self._local = threading.local()

    def ask(
        self, uri: str, method: str = "GET", body: str | None = None, headers: Mapping[str, str] | None = None
    ) -> dict[str, Any] | Failure:
        """Make one request and answer its JSON object ({} for 204), or what kept it from being one.

        Raises ``ProviderUnavailable`` if no answer came.
        """
        try:
            answer, content = self._http().request(uri, method=method, body=body, headers=dict(headers or {}))
        except _BROKEN as error:
            self._local.http = None  # its connections are in an unknown state
            # No cause is attached, since the library's messages can quote what was sent.
            raise ProviderUnavailable(f"Google cannot be reached ({type(error).__name__}).") from None
        status = int(answer.status)
        if not 200 <= status < 300:
            return read_failure(status, {"retry-after": answer.get("retry-after", "")}, content, self._clock.now())
        value = {} if status == http.client.NO_CONTENT else parse(content)
        return value if isinstance(value, dict) else Failure(status, (MALFORMED,))

    def _http(self) -> HttpLike:
        http: HttpLike | None = getattr(self._local, "http", None)
        if http is None:
            http = self._local.http = self._factory()
        return http


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


def _http(timeout: float) -> HttpLike:
    http = httplib2.Http(timeout=timeout)
    http.follow_redirects = False  # tokens go where the settings say, and nowhere else
    client: HttpLike = http
    return client

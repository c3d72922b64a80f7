"""Where a consent may lead: our own redirect URI, and the pages of applications that are on the list. Never elsewhere.

A URL is taken apart by one strict expression instead of by a lenient parser, since browsers and parsers disagree about
whatever is unusual (backslashes, userinfo, dot segments, control characters): what is unusual is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlencode

from shared.errors import ConfigurationError, InvalidRequest

ANSWERS = frozenset({"status", "error", "code"})
"""What we add to the query of a page that we return to; it may not have any of them before."""

MAX_CHARS = 2_000

_CHARACTER = r"[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2}"
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)(?::(?P<port>[0-9]{1,5}))?"
    rf"(?P<path>/(?:{_CHARACTER})*)?(?:\?(?P<query>(?:{_CHARACTER}|\?)*))?"
)
_PORTS = {"https": "443", "http": "80"}
_LOCAL = {"localhost", "127.0.0.1"}


@dataclass(frozen=True, slots=True)
class Address:
    """An absolute URL without userinfo, fragment or dot segments; over http only on this machine."""

    scheme: str
    host: str
    port: str
    path: str
    query: str

    @classmethod
    def parse(cls, text: str) -> Address | None:
        """The address in a text; None for anything unusual."""
        found = _URL.fullmatch(text) if len(text) <= MAX_CHARS else None
        if found is None:
            return None
        scheme, host, path = found["scheme"], found["host"].lower(), found["path"] or ""
        if scheme == "http" and host not in _LOCAL:
            return None
        if "%25" in path or not all(map(_plain, path.split("/"))):
            return None
        return cls(scheme, host, (found["port"] or _PORTS[scheme]).lstrip("0"), path, found["query"] or "")

    @property
    def origin(self) -> str:
        """Scheme, host and, where it is not the scheme's own, port."""
        port = "" if self.port == _PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{self.host}{port}"


@dataclass(frozen=True, slots=True)
class ReturnPages:
    """The allow-list of pages to return to: same origin, and a path that is an entry's or below it."""

    entries: tuple[Address, ...]

    @classmethod
    def of(cls, urls: Iterable[str]) -> ReturnPages:
        """Read the setting. Raises ``ConfigurationError``."""
        entries = [Address.parse(url) for url in urls]
        if any(entry is None or entry.query for entry in entries):
            raise ConfigurationError(
                "OAUTH_RETURN_URLS may hold https URLs (http on localhost) without query and fragment."
            )
        return cls(tuple(entry for entry in entries if entry is not None))

    def check(self, url: str) -> str:
        """The URL, if it may be returned to. Raises ``InvalidRequest``."""
        address = Address.parse(url)
        if address is None or not any(_covers(entry, address) for entry in self.entries):
            raise InvalidRequest("return_to is not one of the pages in OAUTH_RETURN_URLS.", field="return_to")
        if any(name in ANSWERS for name, _ in parse_qsl(address.query, keep_blank_values=True)):
            raise InvalidRequest("return_to may not have status, error or code in its query.", field="return_to")
        return url


def answered(url: str, **answer: str) -> str:
    """The page to return to, with our answer in its query."""
    return f"{url}{'&' if '?' in url else '?'}{urlencode(answer)}"


def redirect_uri(url: str, provider: str, setting: str) -> Address:
    """Our own redirect URI at a provider, as a setting names it. Raises ``ConfigurationError``."""
    address, callback = Address.parse(url), f"/oauth/{provider}/callback"
    if address is None or address.query or not address.path.endswith(callback):
        raise ConfigurationError(f"{setting} must be an https URL (http on localhost) ending in {callback}.")
    return address


def _covers(entry: Address, address: Address) -> bool:
    prefix = entry.path.rstrip("/")
    below = address.path == prefix or address.path.startswith(f"{prefix}/") or not prefix
    return below and entry.origin == address.origin


def _plain(segment: str) -> bool:
    """Whether a part of a path means the same to everybody: no dots alone, nothing that separates once decoded."""
    text = unquote(segment, errors="replace")
    return text.partition(";")[0] not in (".", "..") and not re.search(r"[\x00-\x1f\x7f/\\]", text)

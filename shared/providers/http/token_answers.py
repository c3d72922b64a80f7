"""What token endpoints and the documents that name them say, read without trust: the same for every provider."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeGuard

from shared.errors import ProviderUnavailable
from shared.providers.http.transport import web_url

FORM = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}

_SHORT = 300.0  # seconds that a token is trusted whose lifetime is not said
_LONGEST = 86_400.0
_PLAIN = re.compile(r"[A-Za-z0-9._~:/?&=%+-]{1,2000}")
"""What an endpoint may be made of: nothing that means something in a header or a page's policy, and no userinfo."""


def access_token(answer: Mapping[str, Any], server: str) -> str:
    """The access token. Raises ``ProviderUnavailable`` where there is none."""
    access = said(answer, "access_token")
    if access is None:
        raise ProviderUnavailable(f"{server}'s token endpoint answered without an access token.")
    return access


def said(answer: Mapping[str, Any], name: str) -> str | None:
    """A text in an answer; None for none."""
    value = answer.get(name)
    return value if isinstance(value, str) and value else None


def lifetime(value: object) -> float:
    """Seconds that an access token is good for, as a number or in digits; few where that is not said."""
    try:
        seconds = float(value) if isinstance(value, (int, float, str)) else _SHORT
    except (ValueError, OverflowError):
        seconds = _SHORT
    return min(seconds, _LONGEST) if seconds > 0 else _SHORT


def trusted(url: object, source: str) -> TypeGuard[str]:
    """Whether this is a URL, and one over plain http only where what names it, at ``source``, came over it too."""
    if not isinstance(url, str) or not _PLAIN.fullmatch(url) or not web_url(url):
        return False
    return _encrypted(url) or not _encrypted(source)


def _encrypted(url: str) -> bool:
    return url.lower().startswith("https:")

"""Graph's links to what follows: opaque, followed as they are, and never to another server than Graph's.

A link that leads elsewhere would carry the access token there, so its origin has to be that of ``GRAPH_API_URL``, letter
for letter. What a page of answers says it is called otherwise is not looked at.
"""

from __future__ import annotations

import re
from urllib.parse import urljoin, urlsplit

MAX_LINK = 16_000

_PLAIN = re.compile(rf"[\x21-\x5b\x5d-\x7e]{{1,{MAX_LINK}}}")
"""Printable ASCII without a backslash, which some readers of URLs take for a slash."""


def resolved(link: object, asked: str) -> str | None:
    """A link in the answer to a request for ``asked``, as an absolute URL; None for what is not to be followed."""
    if not isinstance(link, str) or not _PLAIN.fullmatch(link):
        return None
    try:
        url = link if urlsplit(link).scheme else urljoin(asked, link)
    except ValueError:
        return None
    return url if may_follow(url, asked) else None


def may_follow(url: str, root: str) -> bool:
    """Whether a URL is on the same server as another, which is trusted."""
    if not _PLAIN.fullmatch(url):
        return False
    try:
        parts, trusted = urlsplit(url), urlsplit(root)
    except ValueError:
        return False
    return parts.scheme == trusted.scheme and parts.netloc.lower() == trusted.netloc.lower() and "@" not in parts.netloc

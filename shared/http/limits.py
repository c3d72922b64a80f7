"""Rate limits: whom a request counts for, under which class, and what the answer says about it.

A request that has shown a token counts for its person, any other for the address that it comes from. What class a public
route is in follows from its path (``_OPEN``); one that nobody has thought of is limited too. Doorbells and triggers are not
limited here: they come from a few callers that retry, and the platform bounds how many are served at once.

The headers are those of draft-ietf-httpapi-ratelimit-headers-06, the last with one field per number, which is what clients read
today; see docs/decisions/rate-limits.md.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Iterable, Mapping

from flask import Flask, Response, g, request

from shared.errors import ConfigurationError, TooManyRequests
from shared.http import errors, pages
from shared.identity.allowance import WINDOW, Allowance, Allowances, Limit
from shared.identity.roles import SERVICE
from shared.identity.tokens import Principal
from shared.ports import Clock
from shared.settings import Settings

STRICT = frozenset({"auth"})
"""Classes in which what cannot be counted is not served."""

FREE = frozenset({"/health"})
MAX_PER_MINUTE = 10_000_000

_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_OPEN = (
    ("auth", ("/api/auth/sign-", "/api/v1/auth/login")),
    ("page", ("/oauth/",)),
    ("download", ("/me/exports/",)),
)
"""Classes of routes that ask for no token, by how their paths begin; all others are ``open``."""

_JSON = ("/identity", "/start")
_PROVIDER_TOKEN = ("/api/auth/accounts/", "/token")
_DEFAULTS = Settings().rate_limits


def limit_requests(app: Flask, allowances: Allowances, settings: Settings, clock: Clock) -> None:
    """Limit every route of the app. Called once its own checks of tokens are in place. Raises ``ConfigurationError``."""
    limits = limits_of(settings.rate_limits)

    @app.before_request
    def count() -> Response | None:
        if request.url_rule is None or request.url_rule.rule in FREE:
            return None
        principal = g.get("principal")
        kind = class_of(request.url_rule.rule, request.method, principal)
        if (limit := limits[kind]) is None:
            return None
        who = f"uid|{principal.uid}" if principal else f"ip|{remote_address(settings.trusted_proxies)}"
        allowance = g.allowance = allowances.take(limit, who)
        if allowance.granted:
            return None
        refusal = TooManyRequests(retry_after=allowance.reset)
        if kind != "page":
            raise refusal
        said = errors.answer(refusal, now=clock.now(), version=settings.version)
        page = pages.failed(said.status_code)
        page.headers["Retry-After"] = said.headers["Retry-After"]
        return page

    @app.after_request
    def tell(response: Response) -> Response:
        allowance = g.get("allowance")
        if isinstance(allowance, Allowance):
            response.headers["RateLimit-Limit"] = str(allowance.limit.per_minute)
            response.headers["RateLimit-Policy"] = f"{allowance.limit.per_minute};w={WINDOW:.0f}"
            response.headers["RateLimit-Remaining"] = str(allowance.remaining)
            response.headers["RateLimit-Reset"] = str(max(1, math.ceil(allowance.reset)))
        return response


def limits_of(setting: Iterable[str]) -> Mapping[str, Limit | None]:
    """The limit of each class, None where there is none: ``read=600``, and the defaults for what is not named.

    ``0`` by itself switches all off. Raises ``ConfigurationError``.
    """
    given = [text.partition("=") for text in setting]
    numbers = _numbers(text.partition("=") for text in _DEFAULTS)
    if given == [("0", "", "")]:
        return dict.fromkeys(numbers)
    changed = _numbers(given)
    if not changed.keys() <= numbers.keys():
        raise ConfigurationError(f"RATE_LIMITS may name {', '.join(numbers)}.")
    numbers |= changed
    return {name: Limit(name, number, name in STRICT) if number else None for name, number in numbers.items()}


def class_of(rule: str, method: str, principal: Principal | None) -> str:
    """The class of a request; ``rule`` is its route as it was registered."""
    if principal is not None:
        if principal.role == SERVICE:
            return "service"
        if rule.startswith(_PROVIDER_TOKEN[0]) and rule.endswith(_PROVIDER_TOKEN[1]):
            return "token"
        return "read" if method in _READING else "write"
    kind = next((kind for kind, beginnings in _OPEN if rule.startswith(beginnings)), "open")
    return "open" if kind == "page" and rule.endswith(_JSON) else kind


def remote_address(proxies: int) -> str:
    """Where the request comes from, as the last ``proxies`` in front of us say; none of them believes who was before it.

    Of an IPv6 address only the network (/64), which is what one customer is given.
    """
    address = request.remote_addr or ""
    if proxies:
        # What comes first in the header is whatever the client likes; only what our own proxies appended is known.
        hops = request.headers.get("X-Forwarded-For", "").rsplit(",", proxies)[-proxies:]
        address = hops[0].strip() if len(hops) == proxies and hops[0].strip() else address
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is None:
            return str(ipaddress.ip_network((parsed.packed[:8] + bytes(8), 64)))
        parsed = parsed.ipv4_mapped
    return str(parsed)


def _numbers(pairs: Iterable[tuple[str, str, str]]) -> dict[str, int]:
    numbers = {}
    for name, _, text in pairs:
        if not (text.isascii() and text.isdecimal() and len(text) <= 8 and int(text) <= MAX_PER_MINUTE):
            raise ConfigurationError("RATE_LIMITS must be pairs such as read=600, of requests a minute.")
        numbers[name.strip()] = int(text)
    return numbers

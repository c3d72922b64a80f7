"""Which web applications may read our answers in a browser (CORS): those whose origins are listed, letter by letter.

Only JSON routes take part (``_SHARED``): never a page that people see, a doorbell or a trigger. Requests are authorised by a
header that a script has to set, never by a cookie, so ``Access-Control-Allow-Credentials`` is not sent and a foreign page gains
nothing from the cookies of a person. A preflight carries no token and is answered before one is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from flask import Flask, Response, request
from flask.globals import request_ctx

from shared.errors import ConfigurationError

HEADERS = "Authorization, Content-Type"
EXPOSED = "RateLimit-Limit, RateLimit-Policy, RateLimit-Remaining, RateLimit-Reset, Retry-After"
MAX_AGE = 600
"""Seconds for which a browser may remember a preflight."""

METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})

_ORIGIN = re.compile(
    r"https://[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::[1-9][0-9]{0,4})?|http://(?:localhost|127\.0\.0\.1)(?::[1-9][0-9]{0,4})?"
)
_SHARED = re.compile(
    r"/(?:health|events|me(?:/.*)?|mail/.*|admin/.*|api/.*)|/oauth/<any\([a-z, ]+\):provider>/(?:start|identity)"
)


def share_with(app: Flask, origins: Sequence[str]) -> None:
    """Let the applications of these origins call the JSON routes of the app. Raises ``ConfigurationError``."""
    if any(not _ORIGIN.fullmatch(origin) for origin in origins):
        raise ConfigurationError(
            "CORS_ORIGINS may hold origins as browsers send them, such as https://app.example.org (http on localhost)."
        )
    allowed = frozenset(origins)
    if not allowed:
        return

    def preflight() -> Response | None:
        asked = request.headers.get("Access-Control-Request-Method")
        if request.method != "OPTIONS" or asked is None or not _takes_part() or _origin() not in allowed:
            return None
        adapter = request_ctx.url_adapter
        served = METHODS & set(adapter.allowed_methods() if adapter is not None else ())
        headers = {
            "Access-Control-Allow-Methods": ", ".join(sorted(served)),
            "Access-Control-Allow-Headers": HEADERS,
            "Access-Control-Max-Age": str(MAX_AGE),
        }
        return Response(status=204, headers=headers)

    # Ahead of whatever the app asks of a request.
    app.before_request_funcs.setdefault(None, []).insert(0, preflight)

    @app.after_request
    def share(response: Response) -> Response:
        if not _takes_part():
            return response
        response.vary.add("Origin")
        if _origin() in allowed:
            response.headers["Access-Control-Allow-Origin"] = _origin()
            response.headers["Access-Control-Expose-Headers"] = EXPOSED
        return response


def _takes_part() -> bool:
    return request.url_rule is not None and _SHARED.fullmatch(request.url_rule.rule) is not None


def _origin() -> str:
    return request.headers.get("Origin", "")

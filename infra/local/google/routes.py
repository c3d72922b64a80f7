"""Which verb and path is which method of the simulated Gmail API, and which parameters each takes.

Unknown parameters are refused as Google refuses them. A path is matched by its words: every second one is an id, unless
the table has a method of that name there (``messages/send``).
"""

from __future__ import annotations

from urllib.parse import parse_qs, unquote

from infra.local.google.asked import UPLOAD, Asked, Call, Query, Route
from infra.local.google.errors import GoogleError
from infra.local.google.methods import drafts, incoming, labels, mailboxes, messages, threads

__all__ = ["ROOT", "ROUTES", "Asked", "Call", "Route", "find"]

_ROOT = "/gmail/v1/users/"
ROOT = (_ROOT, UPLOAD + _ROOT)
"""What the paths of the API begin with."""

ROUTES = (
    *mailboxes.ROUTES, *messages.ROUTES, *incoming.ROUTES, *threads.ROUTES, *drafts.ROUTES, *labels.ROUTES,
)  # fmt: skip

_BY_PATH = {(route.verb, route.path): route for route in ROUTES}
_EVERYWHERE = frozenset(
    {"alt", "fields", "key", "prettyPrint", "quotaUser", "access_token", "oauth_token", "callback", "uploadType",
     "upload_protocol", "$.xgafv"}
)  # fmt: skip
_LONGEST = 4


def find(call: Call) -> tuple[Route, str, Query]:
    """The method that a call means, whose mail it wants, and its query. Raises ``GoogleError`` 404 or 400."""
    path, _, raw = call.target.partition("?")
    plain = path.removeprefix(UPLOAD)
    user, _, rest = plain.removeprefix(_ROOT).partition("/")
    route = _route(call.verb, rest) if plain.startswith(_ROOT) else None
    if route is None or (plain != path and not route.upload):
        raise GoogleError(404, "The requested URL was not found on this server.")
    query = parse_qs(raw, keep_blank_values=True, errors="replace")
    for name in query:
        if name not in route.parameters and name not in _EVERYWHERE:
            raise GoogleError(
                400, f'Invalid JSON payload received. Unknown name "{name}": Cannot bind query parameter.'
            )
    return route, unquote(user), query


def _route(verb: str, rest: str) -> Route | None:
    if found := _BY_PATH.get((verb, rest)):
        return found
    words = rest.split("/")
    if len(words) > _LONGEST or not all(words):
        return None
    words[1::2] = ["{id}"] * len(words[1::2])
    return _BY_PATH.get((verb, "/".join(words)))

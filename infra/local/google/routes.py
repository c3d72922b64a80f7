"""The methods of the Gmail API that are simulated: which verb and path is which, and which parameters it takes.

Unknown parameters are refused as Google refuses them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import parse_qs, unquote

import orjson

from infra.local.google.errors import GoogleError
from infra.local.google.gmail import Gmail, Query

ROOT = "/gmail/v1/users/"
_EVERYWHERE = frozenset(
    {"alt", "fields", "key", "prettyPrint", "quotaUser", "access_token", "oauth_token", "callback", "uploadType",
     "upload_protocol", "$.xgafv"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Call:
    """One request, alone or as part of a batch; ``target`` is path and query."""

    verb: str
    target: str
    authorization: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Asked:
    """A call whose owner is known."""

    gmail: Gmail
    address: str
    query: Query
    call: Call


Method: TypeAlias = Callable[[Asked], Any]


@dataclass(frozen=True, slots=True)
class Route:
    """One method, named as Google names it (``users.messages.get``); answers JSON, or None for an empty answer."""

    name: str
    run: Method
    parameters: frozenset[str] = frozenset()


_ROUTES = {
    ("GET", "profile"): Route("users.getProfile", lambda it: it.gmail.profile(it.address)),
    ("GET", "messages"): Route(
        "users.messages.list",
        lambda it: it.gmail.messages(it.address, it.query),
        frozenset({"includeSpamTrash", "labelIds", "maxResults", "pageToken", "q"}),
    ),
    ("GET", "messages/{id}"): Route(
        "users.messages.get",
        lambda it: it.gmail.message(it.address, _last_segment(it.call), it.query),
        frozenset({"format", "metadataHeaders"}),
    ),
    ("GET", "history"): Route(
        "users.history.list",
        lambda it: it.gmail.history(it.address, it.query),
        frozenset({"startHistoryId", "historyTypes", "labelId", "maxResults", "pageToken"}),
    ),
    ("GET", "labels"): Route("users.labels.list", lambda it: it.gmail.labels(it.address)),
    ("POST", "watch"): Route("users.watch", lambda it: it.gmail.watch(it.address, _json(it.call))),
    ("POST", "stop"): Route("users.stop", lambda it: it.gmail.stop(it.address)),
}


def find(call: Call) -> tuple[Route, str, Query]:
    """The method that a call means, whose mail it wants, and its query. Raises ``GoogleError`` 404 or 400."""
    path, _, raw = call.target.partition("?")
    user, _, rest = path.removeprefix(ROOT).partition("/")
    if not path.startswith(ROOT):
        rest = ""
    if rest.startswith("messages/") and rest.count("/") == 1:
        rest = "messages/{id}"
    route = _ROUTES.get((call.verb, rest))
    if route is None:
        raise GoogleError(404, "The requested URL was not found on this server.")
    query = parse_qs(raw, keep_blank_values=True, errors="replace")
    for name in query:
        if name not in route.parameters and name not in _EVERYWHERE:
            raise GoogleError(
                400, f'Invalid JSON payload received. Unknown name "{name}": Cannot bind query parameter.'
            )
    return route, unquote(user), query


def _last_segment(call: Call) -> str:
    return unquote(call.target.partition("?")[0].rpartition("/")[2])


def _json(call: Call) -> dict[str, Any]:
    try:
        body = orjson.loads(call.body or b"{}")
    except ValueError:
        raise GoogleError(400, "Invalid JSON payload received.") from None
    if not isinstance(body, dict):
        raise GoogleError(400, "Invalid JSON payload received.")
    return body

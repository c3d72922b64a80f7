"""Which verb and path is which method of the simulated Graph, and what a token has to be allowed for it.

``/me/…`` and ``/users/<address>/…`` are the same for the owner. An id may stand in the path as ``mailFolders/{id}`` or as
``mailFolders('{id}')``, which is how links are written.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from urllib.parse import parse_qs, unquote

from infra.local.microsoft.asked import ROOT, Call, Query, Route
from infra.local.microsoft.errors import denied, invalid, refused
from infra.local.microsoft.identity_scopes import LOOKS, READS
from infra.local.microsoft.methods import deltas, folders, me, messages, sending

ROUTES = (*me.ROUTES, *deltas.ROUTES, *folders.ROUTES, *messages.ROUTES, *sending.ROUTES)

_SCOPES = {
    "look": LOOKS, "read": READS, "write": frozenset({"Mail.ReadWrite"}),
    "send": frozenset({"Mail.Send"}), "me": LOOKS | {"User.Read"},
}  # fmt: skip
_SYSTEM = frozenset({"select", "top", "skip", "orderby", "filter", "count", "expand", "deltatoken", "skiptoken"})
_IN_BRACKETS = re.compile(r"\('([^']*)'\)")


def find(call: Call) -> tuple[Route, str, tuple[str, ...], Query]:
    """The method that a call means, whose mail it wants ('me' or an address or id), the ids in its path, and its query.

    Raises ``GraphError`` 404 or 400.
    """
    path, _, raw = call.target.partition("?")
    if not path.startswith(ROOT):
        raise refused(404, "ResourceNotFound", "Resource not found for the segment.")
    parts = [unquote(part) for part in _IN_BRACKETS.sub(r"/\1", path[len(ROOT) :]).strip("/").split("/")]
    user, mine = "me", parts[0] == "me"
    if parts[0] == "users" and len(parts) > 1:
        user, mine, parts = parts[1], True, parts[1:]
    wanted = parts[1:] if mine else parts
    for route in ROUTES:
        if route.verb == call.verb and route.mine == mine and (words := _match(route.path, wanted)) is not None:
            query = parse_qs(raw, keep_blank_values=True, errors="replace")
            for name in query:
                if name.startswith("$") and name[1:] not in _SYSTEM:
                    raise invalid(f"The query parameter '{name[:30]}' is not supported.")
            return route, user, words, query
    raise refused(400, "BadRequest", f"Resource not found for the segment '{parts[-1][:40]}'.")


def require(route: Route, scopes: Collection[str]) -> None:
    """Raise ``GraphError`` 403 unless a token with these scopes may call a method."""
    if _SCOPES[route.scope].isdisjoint(scopes):
        raise denied()


def _match(pattern: str, parts: list[str]) -> tuple[str, ...] | None:
    """The ids of a path if it has this pattern."""
    names = pattern.split("/") if pattern else []
    if len(names) != len(parts):
        return None
    words: list[str] = []
    for name, part in zip(names, parts, strict=True):
        if name == "{id}":
            if not part:
                return None
            words.append(part)
        elif name != part:
            return None
    return tuple(words)

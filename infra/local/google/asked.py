"""What a client asks for: the call as it came, the method that it means, and the parameters read from it.

Everything that reads a parameter raises ``GoogleError`` 400 for what Google would refuse.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import unquote

import orjson

from infra.local.google.errors import GoogleError
from infra.local.google.gmail import Gmail

Query: TypeAlias = Mapping[str, Sequence[str]]
Json: TypeAlias = dict[str, Any]

UPLOAD = "/upload"
"""What stands before the path of a method when a message itself is the body."""


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

    def part(self, position: int) -> str:
        """One piece of the path behind the user: 1 is the id in ``messages/{id}/modify``."""
        path = self.call.target.partition("?")[0].removeprefix(UPLOAD)
        return unquote(path.split("/")[5 + position])  # "/gmail/v1/users/me/messages/…"

    def one(self, name: str) -> str:
        """A parameter, '' where it is absent."""
        values = self.query.get(name, ())
        return values[-1] if values else ""

    def choice(self, name: str, *allowed: str) -> str:
        """A parameter that has to be one of these; the first where it is absent."""
        value = self.one(name) or allowed[0]
        if value not in allowed:
            raise GoogleError(400, f"Invalid value for {name}: {value[:20]}", "invalidArgument")
        return value

    def flag(self, name: str) -> bool:
        """A parameter that is true or false, which is what it is where it is absent."""
        return self.choice(name, "false", "true", "False", "True").lower() == "true"

    def limit(self) -> int:
        """How many results a page may have: 100 unless asked otherwise, 500 at most."""
        value = self.one("maxResults")
        if value and not (value.isascii() and value.isdecimal()):
            raise GoogleError(400, "Invalid value for maxResults", "invalidArgument")
        return min(int(value) or 100, 500) if value else 100

    def json(self) -> Json:
        """The body, which has to be a JSON object or empty."""
        try:
            body = orjson.loads(self.call.body or b"{}")
        except ValueError:
            raise GoogleError(400, "Invalid JSON payload received.") from None
        if not isinstance(body, dict):
            raise GoogleError(400, "Invalid JSON payload received.")
        return body


Method: TypeAlias = Callable[[Asked], Any]


@dataclass(frozen=True, slots=True)
class Route:
    """One method, named as Google names it (``users.messages.get``); answers JSON, or None for an empty answer.

    ``path`` is what follows the user, with every id as ``{id}``.
    """

    name: str
    verb: str
    path: str
    run: Method
    parameters: frozenset[str] = frozenset()
    upload: bool = False


def names(body: Mapping[str, Any], field: str, most: int = 1000) -> list[str]:
    """A list of strings in a JSON body. Raises ``GoogleError`` 400."""
    value = body.get(field) or []
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise GoogleError(400, f"Invalid value at '{field}' (TYPE_STRING)", "invalidArgument")
    if len(value) > most:
        raise GoogleError(400, f"Too many values in {field}: at most {most} are allowed.", "invalidArgument")
    return value

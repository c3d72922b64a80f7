"""What a client asks for: the call as it came, the method that it means, and the parameters read from it.

Everything that reads a parameter raises ``GraphError`` 400 for what Graph would refuse.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import quote, urlencode

import orjson

from infra.local.microsoft.errors import invalid
from infra.local.microsoft.outlook import Outlook

Query: TypeAlias = Mapping[str, Sequence[str]]
Json: TypeAlias = dict[str, Any]

ROOT = "/v1.0/"
_PREFERENCE = re.compile(r'\s*([^\s=,;]+)(?:\s*=\s*(?:"([^"]*)"|([^\s,;"]*)))?\s*(?:;[^,]*)?')
MOST = 1000


@dataclass(frozen=True, slots=True)
class Call:
    """One request, alone or as part of a batch; ``target`` is path and query, ``headers`` have lower-case names.

    ``root`` is what stands before ``target`` in a URL.
    """

    verb: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    root: str


@dataclass(frozen=True, slots=True)
class Plain:
    """An answer that is not JSON, or not 200."""

    body: bytes = b""
    kind: str = "application/octet-stream"
    code: int = 200


@dataclass(frozen=True, slots=True)
class Asked:
    """A call whose owner is known; ``words`` are the ids in its path."""

    outlook: Outlook
    address: str
    scopes: Collection[str]
    words: tuple[str, ...]
    query: Query
    call: Call
    preferences: Mapping[str, str] = field(default_factory=dict)

    def one(self, name: str) -> str:
        """A system parameter by its name without the dollar sign, '' where it is absent."""
        values = self.query.get(f"${name}") or self.query.get(name) or ()
        return values[-1] if values else ""

    def number(self, name: str, usual: int, least: int = 0) -> int:
        """A parameter that counts something."""
        value = self.one(name)
        if not value:
            return usual
        if not (value.isascii() and value.isdecimal()) or int(value[:9]) < least:
            raise invalid(f"Invalid value '{value[:20]}' for ${name} query option found.")
        return int(value[:9])

    @property
    def immutable(self) -> bool:
        """Whether the client wants ids that stay."""
        return self.preferences.get("idtype", "").lower() == "immutableid"

    def page_size(self) -> int:
        """How many items a page of a delta may have: 10 unless asked otherwise, 1,000 at most."""
        wanted = self.preferences.get("odata.maxpagesize", "")
        size = int(wanted[:9]) if wanted.isascii() and wanted.isdecimal() else self.number("top", 10)
        return min(max(size, 1), MOST)

    def json(self) -> Json:
        """The body, which has to be a JSON object or empty."""
        try:
            body = orjson.loads(self.call.body or b"{}")
        except ValueError:
            raise invalid("Unable to read JSON request payload.") from None
        if not isinstance(body, dict):
            raise invalid("Unable to read JSON request payload.")
        return body

    def link(self, path: str, query: Mapping[str, str]) -> str:
        """A URL that leads on; names of parameters keep their dollar sign."""
        return f"{self.call.root}{ROOT}{path}?{urlencode(query, safe='$', quote_via=quote)}"


def preferences(header: str) -> dict[str, str]:
    """The preferences of a Prefer header, by lower-case names."""
    return {
        found[1].lower(): found[2] if found[2] is not None else found[3] or ""
        for found in map(_PREFERENCE.fullmatch, header.split(","))
        if found is not None
    }


def text_in(body: Json, name: str) -> str:
    """A string that a body has to have."""
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise invalid(f"The {name} parameter is missing or has an invalid value.", "ErrorInvalidRequest")
    return value


Method: TypeAlias = Callable[[Asked], Any]


@dataclass(frozen=True, slots=True)
class Route:
    """One method; ``path`` is what follows ``/me/``, or the version where ``mine`` is false, with every id as ``{id}``.

    Answers JSON, a ``Plain`` answer, or None for 204; ``code`` is the status of a success.
    """

    name: str
    verb: str
    path: str
    run: Method
    code: int = 200
    mine: bool = True
    scope: str = "look"

"""Requests to Graph: with immutable ids, asked of the meter, let through the mailbox's gate, repeated after a short wait."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import quote, urlencode

import orjson

from shared.errors import ConfigurationError
from shared.ports import Clock
from shared.providers.base import Access
from shared.providers.graph.failures import Where, error_for, limited
from shared.providers.graph.gate import Gate
from shared.providers.graph.links import may_follow
from shared.providers.http.failure import Failure
from shared.providers.http.transport import Transport, bearer, web_url

Json: TypeAlias = dict[str, Any]

IMMUTABLE = 'IdType="ImmutableId"'
"""Asks for ids that stay when a message is moved, and has to be on every request (docs/graph.md, 4)."""

PATIENCE = 10.0
"""Seconds that one request waits at most; what takes longer is for the task queue."""

_TRIES = 4
_UNSAID = 10.0  # seconds of silence after a limit that does not say how long it lasts
_SHORTEST = 1.0


@dataclass(frozen=True, slots=True)
class Request:
    """One call: a verb, its whole URL, a JSON body, and how many entries a page of the answer may have."""

    verb: str
    url: str
    body: Mapping[str, Any] | None = None
    page_size: int | None = None


class GraphApi:
    """One API root; safe to use from several threads."""

    def __init__(self, root: str, transport: Transport, clock: Clock) -> None:
        if not web_url(root) or not may_follow(root, root):
            raise ConfigurationError("GRAPH_API_URL must be an http or https URL.")
        self.root = f"{root.rstrip('/')}/"
        self._transport = transport
        self._gate = Gate(clock)

    def url(self, *path: str, **query: str | int | None) -> str:
        """The URL of a resource, each part of its path quoted; a query's names go without their ``$``, None is left out."""
        given = {f"${name}": value for name, value in query.items() if value is not None}
        encoded = urlencode(given, safe="$,:", quote_via=quote, errors="replace")
        where = "/".join([quote(part, safe="", errors="replace") for part in path])
        return f"{self.root}{where}{'?' if encoded else ''}{encoded}"

    def ask(self, access: Access, request: Request) -> Json | Failure:
        """Send a request, again after a wait that Graph asks for and that is short.

        Raises ``ProviderUnavailable`` if no answer came, ``Paced``, and ``RateLimited`` where it may not go out for long.
        """
        headers = _headers(access, request)
        body = None if request.body is None else orjson.dumps(request.body).decode()
        mailbox, patience = _mailbox(access), PATIENCE
        answer: Json | Failure = Failure(429)
        for _ in range(_TRIES):
            access.meter.spend(1)
            patience = self._gate.enter(mailbox, patience)
            try:
                answer = self._transport.ask(request.url, request.verb, body, headers)
                wait = _wait(answer) if isinstance(answer, Failure) else None
                if wait is not None:  # before the place is free for another
                    self._gate.silence(mailbox, wait)
            finally:
                self._gate.leave(mailbox)
            if wait is None or wait > patience:
                break
        return answer

    def call(self, access: Access, request: Request, where: Where) -> Json:
        """Send a request and answer its JSON object; raise what ``error_for`` says otherwise."""
        answer = self.ask(access, request)
        if isinstance(answer, Failure):
            raise error_for(answer, where)
        return answer


def _headers(access: Access, request: Request) -> dict[str, str]:
    prefer = IMMUTABLE if request.page_size is None else f"{IMMUTABLE}, odata.maxpagesize={request.page_size}"
    headers = {"accept": "application/json", "prefer": prefer, **bearer(access.token)}
    return headers if request.body is None else {**headers, "content-type": "application/json"}


def _wait(failure: Failure) -> float | None:
    """How long nothing may go out after a failure; None where that was not its trouble."""
    if limited(failure):
        return _UNSAID if failure.retry_after is None else max(failure.retry_after, _SHORTEST)
    return failure.retry_after if failure.status >= 500 else None


def _mailbox(access: Access) -> str:
    """What the gate knows the mailbox by: its address, or as long as that is not known its token, unreadably."""
    return access.address.lower() or hashlib.sha256(access.token.encode("utf-8", "replace")).hexdigest()

"""Gmail's methods that are not reads of messages: a verb and an address each, over any server that speaks the API.

They are six, and fixed (docs/gmail.md names where each is described), so they are written down here: the general client that
builds them from Google's description takes longer to import than all the rest of a step takes to run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import urlencode

import orjson

from shared.errors import ConfigurationError
from shared.providers.base import Access
from shared.providers.gmail.failures import Where, error_for, precondition
from shared.providers.gmail.quota import Quota
from shared.providers.http.failure import Failure
from shared.providers.http.transport import Transport, bearer, web_url

Query: TypeAlias = Mapping[str, str | int | Sequence[str] | None]


@dataclass(frozen=True, slots=True)
class Request:
    """One call: the name that its price goes by, verb, address below the user, query (None is left out), JSON body."""

    method: str
    verb: str
    path: str
    query: Query | None = None
    body: Mapping[str, Any] | None = None


class GmailApi:
    """One API root; safe to use from several threads. Each request is asked of the meter before it goes."""

    def __init__(self, root: str, transport: Transport, quota: Quota) -> None:
        self._transport = transport
        self._quota = quota
        if not web_url(root):
            raise ConfigurationError("GMAIL_API_URL must be an http or https URL.")
        self._user = f"{root.rstrip('/')}/gmail/v1/users/me/"

    def ask(self, access: Access, request: Request) -> dict[str, Any] | Failure:
        """Send a request. Raises ``ProviderUnavailable`` if no answer came, and ``Paced``."""
        headers = {"accept": "application/json", **bearer(access.token)}
        body = None
        if request.body is not None:
            headers["content-type"] = "application/json"
            body = orjson.dumps(request.body).decode()
        given = {name: value for name, value in (request.query or {}).items() if value is not None}
        query = f"?{urlencode(given, doseq=True, errors='replace')}" if given else ""
        access.meter.spend(self._quota.price(request.method))
        return self._transport.ask(f"{self._user}{request.path}{query}", request.verb, body, headers)

    def ask_again(self, access: Access, request: Request) -> dict[str, Any] | Failure:
        """Send a request, once more if it met ``failedPrecondition``.

        That comes and goes on a small share of calls, and means a mailbox without Gmail if it stays (docs/gmail.md, 9).
        """
        answer = self.ask(access, request)
        return self.ask(access, request) if isinstance(answer, Failure) and precondition(answer) else answer

    def call(self, access: Access, request: Request, where: Where) -> dict[str, Any]:
        """Send a request like ``ask_again`` and answer its JSON object; raise what ``error_for`` says otherwise."""
        answer = self.ask_again(access, request)
        if isinstance(answer, Failure):
            raise error_for(answer, where)
        return answer

"""Gmail's methods as google-api-python-client knows them, pointed at any server that speaks the API.

The client builds the requests from its static discovery document; they are sent by ``Transport`` rather than by their
own ``execute``, which logs bodies of errors and raises TypeErrors on odd ones. Reads of messages, which are nearly all of
the calls, are built by hand in ``batch``.
"""

from __future__ import annotations

import json
from typing import Any

from googleapiclient.discovery import build_from_document
from googleapiclient.discovery_cache import get_static_doc

from shared.errors import ConfigurationError
from shared.providers.base import Access
from shared.providers.gmail.failures import Failure, Where, error_for
from shared.providers.gmail.quota import Quota
from shared.providers.gmail.transport import Transport, bearer, web_url


class GmailApi:
    """The resources of one API root, built once; safe to use from several threads.

    Requests go with the name that they have in the list of prices, and are asked of the meter before they go.
    """

    def __init__(self, root: str, transport: Transport, quota: Quota) -> None:
        self._transport = transport
        self._quota = quota
        if not web_url(root):
            raise ConfigurationError("GMAIL_API_URL must be an http or https URL.")
        document = json.loads(get_static_doc("gmail", "v1"))
        # Both are needed: requests are built from one, batches from the other (docs/gmail.md, 11).
        document["rootUrl"] = document["baseUrl"] = root.rstrip("/") + "/"
        # An http that cannot send keeps the client from looking for credentials of its own.
        self.users: Any = build_from_document(document, http=object()).users()
        self.messages: Any = self.users.messages()
        self.history: Any = self.users.history()
        self.labels: Any = self.users.labels()

    def ask(self, access: Access, method: str, request: Any) -> dict[str, Any] | Failure:
        """Send a request that the client built. Raises ``ProviderUnavailable`` if no answer came, and ``Paced``."""
        headers = {**request.headers, **bearer(access.token)}
        access.meter.spend(self._quota.price(method))
        return self._transport.ask(request.uri, request.method, request.body, headers)

    def ask_again(self, access: Access, method: str, request: Any) -> dict[str, Any] | Failure:
        """Send a request, once more if it met ``failedPrecondition``.

        That comes and goes on a small share of calls, and means a mailbox without Gmail if it stays (docs/gmail.md, 9).
        """
        answer = self.ask(access, method, request)
        return self.ask(access, method, request) if isinstance(answer, Failure) and answer.precondition else answer

    def call(self, access: Access, method: str, request: Any, where: Where) -> dict[str, Any]:
        """Send a request like ``ask_again`` and answer its JSON object; raise what ``error_for`` says otherwise."""
        answer = self.ask_again(access, method, request)
        if isinstance(answer, Failure):
            raise error_for(answer, where)
        return answer

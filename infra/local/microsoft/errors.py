"""What Microsoft Graph answers when it refuses, in its own shape."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import orjson

from infra.local.simulated.errors import HTML, page
from infra.local.simulated.rules import Rule

JSON = "application/json; odata.metadata=minimal; charset=utf-8"
NO_ITEM = "ErrorItemNotFound"

_WORDS = {
    400: ("BadRequest", "Bad request."),
    401: ("InvalidAuthenticationToken", "Access token has expired or is not yet valid."),
    403: ("ErrorAccessDenied", "Access is denied. Check credentials and try again."),
    404: (NO_ITEM, "The specified object was not found in the store."),
    409: ("ErrorIrresolvableConflict", "The send or update operation could not be performed because of a conflict."),
    429: ("ApplicationThrottled", "Application is over its MailboxConcurrency limit."),
    500: ("InternalServerError", "An internal server error occurred. The operation failed."),
    502: ("BadGateway", "The gateway could not reach the service."),
    503: ("ErrorServerBusy", "The server is currently busy. Try again later."),
    504: ("GatewayTimeout", "The service did not answer in time."),
}


class GraphError(Exception):
    """Graph answers with an error; ``code`` is the HTTP status, ``reason`` Graph's word for it."""

    def __init__(self, code: int, reason: str, message: str, headers: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.headers = tuple(headers)
        self.body: dict[str, Any] = {"error": {"code": reason, "message": message}}

    def rendered(self) -> tuple[bytes, str]:
        """Body and content type as they travel; a 502 is a page of HTML, because a machine in front answers it."""
        return (page(502, "Bad Gateway"), HTML) if self.code == 502 else (orjson.dumps(self.body), JSON)


def refused(code: int, reason: str = "", message: str = "", headers: Sequence[tuple[str, str]] = ()) -> GraphError:
    """An error whose usual words may be left out."""
    usual_reason, usual_message = _WORDS.get(code, ("UnknownError", "Something went wrong."))
    return GraphError(code, reason or usual_reason, message or usual_message, headers)


def not_found() -> GraphError:
    """Answer what Graph says for a message or folder that a mailbox does not have."""
    return refused(404)


def invalid(message: str, reason: str = "BadRequest") -> GraphError:
    """400 for a request that makes no sense."""
    return GraphError(400, reason, message)


def unauthenticated(message: str = "") -> GraphError:
    """Answer what Graph says for a missing, unknown or expired access token."""
    return refused(401, message=message, headers=[("WWW-Authenticate", 'Bearer realm="", error="invalid_token"')])


def denied() -> GraphError:
    """403 for a token whose scopes do not cover a call."""
    return refused(403)


def throttled(seconds: float, reason: str = "ApplicationThrottled") -> GraphError:
    """429 for a mailbox that may be asked again in so many seconds."""
    message = f"Application is over its {'concurrency' if reason == 'MailboxConcurrency' else 'request'} limit."
    return GraphError(429, reason, message, [("Retry-After", str(max(1, math.ceil(seconds))))])


def status_error(rule: Rule) -> GraphError:
    """What a rule of the kind ``status`` answers."""
    after = rule.retry_after or (1 if rule.status == 429 else 0)
    return refused(rule.status, rule.reason, headers=[("Retry-After", str(after))] if after else [])

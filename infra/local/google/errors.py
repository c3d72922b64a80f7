"""What the Gmail API answers when it refuses, in Google's own shape."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from infra.local.simulated.errors import HTML, JSON, page

_STATUS = {
    400: ("INVALID_ARGUMENT", "badRequest"),
    401: ("UNAUTHENTICATED", "authError"),
    403: ("PERMISSION_DENIED", "forbidden"),
    404: ("NOT_FOUND", "notFound"),
    409: ("ABORTED", "aborted"),
    410: ("FAILED_PRECONDITION", "gone"),
    429: ("RESOURCE_EXHAUSTED", "rateLimitExceeded"),
    500: ("INTERNAL", "backendError"),
    502: ("UNKNOWN", "badGateway"),
    503: ("UNAVAILABLE", "backendError"),
    504: ("DEADLINE_EXCEEDED", "backendError"),
}


class GoogleError(Exception):
    """The API answers with an error; ``body`` is the JSON that Google documents for it."""

    def __init__(
        self,
        code: int,
        message: str,
        reason: str = "",
        status: str = "",
        *,
        domain: str = "global",
        details: Sequence[dict[str, Any]] = (),
        headers: Sequence[tuple[str, str]] = (),
    ) -> None:
        super().__init__(message)
        usual_status, usual_reason = _STATUS.get(code, ("UNKNOWN", "unknown"))
        detail: dict[str, Any] = {"message": message, "domain": domain, "reason": reason or usual_reason}
        if code == 401:
            detail |= {"location": "Authorization", "locationType": "header"}
        error: dict[str, Any] = {
            "code": code, "message": message, "errors": [detail], "status": status or usual_status,
        }  # fmt: skip
        if details:
            error["details"] = list(details)
        self.code = code
        self.reason: str = detail["reason"]
        self.headers = tuple(headers)
        self.body = {"error": error}

    def rendered(self) -> tuple[bytes, str]:
        """Body and content type as they travel; a 502 is a page of HTML, because a machine in front answers it."""
        if self.code == 502:
            return page(502, "Server Error"), HTML
        return orjson.dumps(self.body), JSON


def not_found() -> GoogleError:
    """Answer what Gmail says for a message or a cursor that it does not have."""
    return GoogleError(404, "Requested entity was not found.")


def unauthenticated() -> GoogleError:
    """Answer what Google says for a missing, unknown or expired access token."""
    return GoogleError(401, "Request had invalid authentication credentials. Expected OAuth 2 access token.")


def precondition_failed() -> GoogleError:
    """Answer what Gmail says now and then to a call that is all right, and always for a mailbox that it lacks."""
    return GoogleError(400, "Precondition check failed.", "failedPrecondition", "FAILED_PRECONDITION")


def units_used_up() -> GoogleError:
    """403 for a user whose units of this minute are spent."""
    return GoogleError(
        403,
        "Quota exceeded for quota metric 'Units' and limit 'Units per minute per user' of service"
        " 'gmail.googleapis.com' for consumer 'project_number:1'.",
        "rateLimitExceeded",
        domain="usageLimits",
        details=[
            {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "RATE_LIMIT_EXCEEDED",
                "domain": "googleapis.com",
                "metadata": {"service": "gmail.googleapis.com", "quota_metric": "gmail.googleapis.com/units"},
            }
        ],
    )


def user_too_fast(until: float) -> GoogleError:
    """403 for a user who may call again at ``until`` (seconds since the epoch)."""
    rounded_up = datetime.fromtimestamp(math.ceil(until * 1000) / 1000, UTC)
    moment = rounded_up.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return GoogleError(
        403, f"User-rate limit exceeded.  Retry after {moment}", "userRateLimitExceeded", domain="usageLimits"
    )


def exhausted(seconds: float, retry_after: bool) -> GoogleError:
    """429 for a user who may call again in so many seconds; ``retry_after`` says so in a header too."""
    return GoogleError(
        429,
        "Resource has been exhausted (e.g. check quota).",
        details=[
            {
                "@type": "type.googleapis.com/google.rpc.RetryInfo",
                "retryDelay": f"{math.ceil(seconds * 1000) / 1000:.3f}s",
            }
        ],
        headers=[("Retry-After", str(math.ceil(seconds)))] if retry_after else [],
    )


def too_many_at_once() -> GoogleError:
    """429 for a user of whom too many calls are being answered at this moment."""
    return GoogleError(429, "Too many concurrent requests for user")

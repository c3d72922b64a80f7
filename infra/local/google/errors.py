"""What goes wrong in the simulator: in Google's own shape for clients, in plain words for whoever drives it."""

from __future__ import annotations

from typing import Any

_STATUS = {
    400: ("INVALID_ARGUMENT", "badRequest"),
    401: ("UNAUTHENTICATED", "authError"),
    403: ("PERMISSION_DENIED", "forbidden"),
    404: ("NOT_FOUND", "notFound"),
    410: ("FAILED_PRECONDITION", "gone"),
    429: ("RESOURCE_EXHAUSTED", "rateLimitExceeded"),
    500: ("INTERNAL", "backendError"),
    503: ("UNAVAILABLE", "backendError"),
}


class GoogleError(Exception):
    """The API answers with an error; ``body`` is the JSON that Google documents for it."""

    def __init__(self, code: int, message: str, reason: str = "", status: str = "") -> None:
        super().__init__(message)
        usual_status, usual_reason = _STATUS.get(code, ("UNKNOWN", "unknown"))
        detail: dict[str, Any] = {"message": message, "domain": "global", "reason": reason or usual_reason}
        if code == 401:
            detail |= {"location": "Authorization", "locationType": "header"}
        self.code = code
        self.body = {"error": {"code": code, "message": message, "errors": [detail], "status": status or usual_status}}


def not_found() -> GoogleError:
    """Answer what Gmail says for a message or a cursor that it does not have."""
    return GoogleError(404, "Requested entity was not found.")


def unauthenticated() -> GoogleError:
    """Answer what Google says for a missing, unknown or expired access token."""
    return GoogleError(401, "Request had invalid authentication credentials. Expected OAuth 2 access token.")


class ControlError(Exception):
    """The person or test that drives the simulator asked for something impossible."""


class UnknownThing(ControlError):
    """There is no such mailbox or message."""


class BadPlan(ControlError):
    """A mail plan lacks something or holds something of the wrong type."""


class UnreadableMail(ControlError):
    """These bytes are not a mail; the message says why."""

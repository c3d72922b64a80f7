"""How Microsoft's endpoints refuse: an OAuth error that says little, and an AADSTS code that says it all.

The table holds every code that the simulator answers by itself or on demand: OAuth error, HTTP status, suberror, words.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from infra.local.simulated.chance import digest


@dataclass(frozen=True, slots=True)
class Words:
    """One row of the table."""

    error: str
    text: str
    status: int = 400
    suberror: str = ""


_GRANT = "invalid_grant"
_TRANSIENT = "A transient error has occurred. Please try again."
AADSTS: Mapping[int, Words] = {
    50011: Words("invalid_client", "The redirect URI specified in the request does not match those configured."),
    50020: Words(_GRANT, "User account does not exist in the tenant and cannot access the application in it."),
    50058: Words("login_required", "A silent sign-in request was sent but no user is signed in."),
    50076: Words(
        _GRANT, "Due to a configuration change made by your administrator, or because you moved to a new location, you"
        " must use multi-factor authentication.", suberror="basic_action",
    ),
    50079: Words(
        _GRANT, "Due to a configuration change made by your administrator, or because you moved to a new location, you"
        " must enroll in multi-factor authentication.", suberror="basic_action",
    ),
    50158: Words("interaction_required", "External security challenge not satisfied.", suberror="basic_action"),
    50148: Words(_GRANT, "The code_verifier does not match the code_challenge supplied in the authorization request."),
    50173: Words(
        _GRANT, "The provided grant has expired due to it being revoked, a fresh auth token is needed. The user might"
        " have changed or reset their password.", suberror="bad_token",
    ),
    50196: Words(_GRANT, "The server terminated an operation because it encountered a client request loop."),
    54005: Words(
        _GRANT, "OAuth2 Authorization code was already redeemed, please retry with a new valid code or use an existing"
        " refresh token.",
    ),
    65001: Words(
        _GRANT, "The user or administrator has not consented to use the application. Send an interactive authorization"
        " request for this user and resource.", suberror="consent_required",
    ),
    65004: Words("access_denied", "User declined to consent to access the app."),
    70000: Words(_GRANT, "Provided grant is invalid or malformed.", suberror="bad_token"),
    70003: Words("unsupported_grant_type", "The app requested an unsupported grant type."),
    70008: Words(
        _GRANT, "The provided authorization code or refresh token has expired due to inactivity. Send a new interactive"
        " authorization request for this user and resource.", suberror="bad_token",
    ),
    70011: Words("invalid_scope", "The provided value for the input parameter 'scope' is not valid."),
    90002: Words("invalid_tenant", "Tenant not found. Check to make sure you have the correct tenant ID."),
    90024: Words("temporarily_unavailable", "RequestBudgetExceededError - A transient error has occurred.", 503),
    90033: Words("temporarily_unavailable", _TRANSIENT, 503),
    500011: Words("invalid_resource", "The resource principal was not found in the tenant."),
    500112: Words(_GRANT, "The reply address does not match the reply address provided when requesting the code."),
    501481: Words(_GRANT, "The Code_Verifier does not match the code_challenge supplied in the authorization request."),
    700003: Words("invalid_client", "The client authenticates in two ways at once."),
    700016: Words("unauthorized_client", "Application with this identifier was not found in the directory."),
    700082: Words(
        _GRANT, "The refresh token has expired due to inactivity. The token was inactive for 90.00:00:00.",
        suberror="bad_token",
    ),
    900144: Words("invalid_request", "The request body must contain the missing parameter."),
    7000215: Words(
        "invalid_client", "Invalid client secret provided. Ensure the secret being sent in the request is the client"
        " secret value, not the client secret ID.", 401,
    ),
    7000218: Words(
        "invalid_client", "The request body must contain the following parameter: 'client_assertion' or"
        " 'client_secret'.", 401,
    ),
}  # fmt: skip
TEMPORARILY = 90024
"""The code that is meant where somebody asks for ``temporarily_unavailable`` by name."""


class AadstsError(Exception):
    """The token endpoint refuses with a code of the table, or, without a code, like a machine in front: status alone."""

    def __init__(self, code: int, *, status: int = 0, retry_after: int = 0) -> None:
        words = AADSTS.get(code)
        super().__init__(f"AADSTS{code}" if words else f"HTTP {status}")
        self.code = code
        self.words = words
        self.status = status or (words.status if words else 500)
        self.headers = {"Retry-After": str(retry_after)} if retry_after else {}

    def body(self, now: float, correlation: str, number: int) -> dict[str, Any]:
        """The JSON of the answer; ``number`` tells answers apart in their trace ids."""
        if self.words is None:
            return {"error": "service_unavailable"}
        stamp = datetime.fromtimestamp(int(now), UTC).strftime("%Y-%m-%d %H:%M:%SZ")
        trace = str(uuid.UUID(bytes=digest("trace", number)[:16], version=4))
        body = {
            "error": self.words.error,
            "error_description": f"{described(self.code)} Trace ID: {trace} Correlation ID: {correlation}"
            f" Timestamp: {stamp}",
            "error_codes": [self.code],
            "timestamp": stamp,
            "trace_id": trace,
            "correlation_id": correlation,
            "error_uri": f"https://login.microsoftonline.com/error?code={self.code}",
        }
        return body | ({"suberror": self.words.suberror} if self.words.suberror else {})


def described(code: int) -> str:
    """The sentence of a code, beginning with it."""
    return f"AADSTS{code}: {AADSTS[code].text}"

"""Everything but what is named public needs an access token: a route that forgets to ask for one is closed, not open."""

from __future__ import annotations

from typing import Protocol

from flask import Flask, g, request

from shared.identity.tokens import Principal


class Verifier(Protocol):
    """What turns an Authorization header into a Principal; ``identity.tokens.TokenVerifier`` does."""

    def verify(self, authorization: str | None) -> Principal:
        """Raises ``errors.Unauthorized``."""


def require_token(app: Flask, verifier: Verifier, public: frozenset[str]) -> None:
    """Check the bearer token ahead of every route of the app, except the endpoints named ``public``."""

    @app.before_request
    def authenticate() -> None:
        # Paths without a route end as 404 and 405; they do nothing, so there is nothing to protect.
        if request.endpoint is not None and request.endpoint not in public:
            g.principal = verifier.verify(request.headers.get("Authorization"))


def caller() -> Principal:
    """Who the request's token says is calling."""
    principal = g.principal
    if not isinstance(principal, Principal):
        raise TypeError("The route runs without a verified token.")
    return principal

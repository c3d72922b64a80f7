"""Who may trigger a function that is not for people: Google's own callers, by the tokens that they bring.

Where the platform asks for the caller's identity, as Cloud Run does for every service of ours that is not public, this asks
for nothing: what arrives there has been let in, and Cloud Run has cut the signature off the token. Elsewhere, and then a
function in the cloud that has neither refuses to start::

    INVOKER_AUDIENCE + INVOKER_ACCOUNTS   an OIDC token of Google's, for one of the audiences, of one of the accounts
    INVOKER_SECRET                        development: the secret that the local gateway asks for; never with BACKEND=cloud

A signature and an audience are not enough: anybody with a Google account can have Google sign a token for any audience. It is
the service account's address, verified by Google, that says who calls. The check runs before the body is read.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable

from flask import Flask, request

from shared.errors import ConfigurationError, Forbidden, Unauthorized
from shared.identity.keys import Fetch, discovered, over_http
from shared.identity.tokens import bearer, verified_claims
from shared.ports import Clock
from shared.settings import Settings

ISSUER = "https://accounts.google.com"
DISCOVERY = f"{ISSUER}/.well-known/openid-configuration"
"""Google's own and no setting: with a document of somebody else's, so would be the keys."""

ISSUERS = (ISSUER, "accounts.google.com")
ALGORITHMS = ("RS256",)
LONGEST = 3_600 + 300
"""Seconds from ``iat`` to ``exp``: Google's tokens are good for an hour, so none can be replayed for longer."""


def require_invoker(app: Flask, settings: Settings, clock: Clock, fetch: Fetch | None = None) -> None:
    """Refuse requests to any path of the app unless an invoker makes them. Raises ``ConfigurationError``."""
    check = invoker_check(settings, clock, fetch)
    if check is None:
        return

    @app.before_request
    def admit() -> None:
        check(request.headers.get("Authorization"))


def invoker_check(settings: Settings, clock: Clock, fetch: Fetch | None = None) -> Callable[[str | None], None] | None:
    """What checks an Authorization header; None where that is the platform's affair. Raises ``ConfigurationError``.

    The check raises ``Unauthorized`` for no token or none of Google's for us, ``Forbidden`` for another account's, ``Retry``.
    """
    audiences, accounts, secret = settings.invoker_audience, settings.invoker_accounts, settings.invoker_secret
    if secret and settings.backend == "cloud":
        raise ConfigurationError("INVOKER_SECRET is for development, and refused with BACKEND=cloud.")
    if bool(audiences) != bool(accounts):
        raise ConfigurationError("Set INVOKER_AUDIENCE and INVOKER_ACCOUNTS together.")
    if audiences and secret:
        raise ConfigurationError("Set either INVOKER_AUDIENCE or INVOKER_SECRET.")
    if audiences:
        return _google(settings, clock, fetch or over_http(clock))
    if settings.backend == "cloud" and not settings.cloud_run_service:
        raise ConfigurationError(
            "Outside Cloud Run nobody else checks callers: set INVOKER_AUDIENCE and INVOKER_ACCOUNTS."
        )
    return _development(secret) if secret else None


def _google(settings: Settings, clock: Clock, fetch: Fetch) -> Callable[[str | None], None]:
    audiences, accounts = settings.invoker_audience, settings.invoker_accounts
    keys = discovered(ISSUER, DISCOVERY, clock, fetch)

    def check(authorization: str | None) -> None:
        claims = verified_claims(bearer(authorization), keys, ALGORITHMS, ISSUERS, audiences, clock.now())
        issued, expires = claims.get("iat"), claims["exp"]
        if not isinstance(issued, (int, float)) or not 0 <= expires - issued <= LONGEST:
            raise Unauthorized("The invoker's token does not say when it was made, or is good for too long.")
        if claims.get("email_verified") is not True or claims.get("email") not in accounts:
            raise Forbidden("This account may not trigger functions.")

    return check


def _development(secret: str) -> Callable[[str | None], None]:
    expected = secret.encode()

    def check(authorization: str | None) -> None:
        if not hmac.compare_digest(bearer(authorization).encode(), expected):
            raise Forbidden("This is not the invoker's secret.")

    return check

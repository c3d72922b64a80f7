"""The identity platform over HTTP, below the path of each tenant, and the control endpoints of identity.

Addresses are built from the root under which the request came in, but for the token endpoint: MSAL refuses one that is
not https, so it is named as the real one is, and reached by whoever replaces that root.
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, request

from infra.local.microsoft import identity_scopes as scopes
from infra.local.microsoft.consent import read
from infra.local.microsoft.identity_accounts import PERSONAL
from infra.local.microsoft.identity_refusals import AadstsError
from infra.local.microsoft.tokens_endpoint import ISSUER
from infra.local.simulated.authorization import PageError, Refused
from infra.local.simulated.chance import digest
from infra.local.simulated.consent_html import HEADERS, Wording, consent_page, error_page
from infra.local.simulated.control import body_of
from infra.local.simulated.errors import ControlError

if TYPE_CHECKING:
    from infra.local.microsoft.identity import Identity

Json = dict[str, Any]
Count = Callable[[str], None]
LOGIN_ROOT = "https://login.microsoftonline.com"
_NOT_KEPT = {"Cache-Control": "no-store, no-cache", "Pragma": "no-cache"}
_WORDING = Wording("Microsoft", scopes.DESCRIPTIONS, choice=False)
_WORDS = ("common", "organizations", "consumers")


def add_identity(app: Flask, identity: Identity, count: Count) -> None:
    """Add the routes."""
    _add_discovery(app, identity, count)
    _add_consent(app, identity, count)
    _add_tokens(app, identity, count)
    _add_control(app, identity)
    app.register_error_handler(PageError, _blocked)


def _add_discovery(app: Flask, identity: Identity, count: Count) -> None:
    @app.get("/<tenant>/v2.0/.well-known/openid-configuration")
    def discovery(tenant: str) -> Json:
        count("discovery")
        _require(identity, tenant)
        base = f"{_root()}/{tenant}"
        return {
            "issuer": _issuer(identity, tenant),
            "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
            "token_endpoint": f"{LOGIN_ROOT}/{tenant}/oauth2/v2.0/token",
            "jwks_uri": f"{base}/discovery/v2.0/keys",
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "scopes_supported": ["openid", "profile", "email", "offline_access"],
            "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
            "claims_supported": [
                "sub", "iss", "aud", "exp", "iat", "nbf", "nonce", "preferred_username", "name", "tid", "ver", "email",
            ],
            "tenant_region_scope": None,
            "cloud_instance_name": "microsoftonline.com",
            "msgraph_host": "graph.microsoft.com",
        }  # fmt: skip

    @app.get("/<tenant>/discovery/v2.0/keys")
    def keys(tenant: str) -> Json:
        count("certs")
        _require(identity, tenant)
        return {"keys": [key | {"issuer": ISSUER} for key in identity.key.key_set()["keys"]]}


def _add_consent(app: Flask, identity: Identity, count: Count) -> None:
    @app.get("/<tenant>/oauth2/v2.0/authorize")
    def authorize(tenant: str) -> Response:
        count("authorize")
        if not _exists(identity, tenant):
            raise PageError("invalid_request", f"AADSTS90002: Tenant {tenant[:80]!r} not found.")
        try:
            outcome = identity.consent.begin(read(tenant, request.args.to_dict(flat=False), identity.clients))
        except Refused as refused:
            outcome = refused.url
        if isinstance(outcome, str):
            return _redirect(outcome, 302)
        page = consent_page(outcome, f"{_root()}/{tenant}/Consent/Set", _WORDING)
        return Response(page, headers=HEADERS, mimetype="text/html")

    @app.post("/<tenant>/Consent/Set")
    def decide(tenant: str) -> Response:  # noqa: ARG001 - the page remembers its tenant
        count("consent")
        form = request.form
        decision = form.get("decision")
        if decision not in ("allow", "deny"):
            raise PageError("invalid_request", "Allow or deny.")
        url = identity.consent.decide(
            form.get("page", ""), form.get("account", ""), form.getlist("scope"), decision == "allow"
        )
        return _redirect(url, 303)


def _add_tokens(app: Flask, identity: Identity, count: Count) -> None:
    numbers = itertools.count(1)

    @app.post("/<tenant>/oauth2/v2.0/token")
    def token(tenant: str) -> tuple[Json, int, dict[str, str]]:
        count("token")
        _require(identity, tenant)
        authorization = request.headers.get("Authorization", "")
        return identity.token_endpoint.answer(tenant, request.form.to_dict(), authorization), 200, _NOT_KEPT

    @app.errorhandler(AadstsError)
    def refused(error: AadstsError) -> tuple[Json, int, dict[str, str]]:
        number = next(numbers)
        correlation = request.headers.get("client-request-id", "")
        try:
            correlation = str(uuid.UUID(correlation))
        except ValueError:
            correlation = str(uuid.UUID(bytes=digest("correlation", number)[:16], version=4))
        return error.body(identity.clock.now(), correlation, number), error.status, _NOT_KEPT | error.headers


def _add_control(app: Flask, identity: Identity) -> None:
    @app.put("/control/consent")
    def automate() -> Json:
        return identity.consent.automate(request.get_json(force=True, silent=True))

    @app.put("/control/clients")
    def register() -> Json:
        return {"clients": identity.clients.register(body_of()["clients"])}

    @app.put("/control/rotation")
    def rotate() -> Json:
        body = body_of()
        if not set(body) <= {"living", "successor_kills"}:
            raise ControlError("The body must be an object with living and successor_kills.")
        return identity.tokens.rotation(**body)

    @app.post("/control/aadsts")
    def order() -> Json:
        return identity.ordered.order(request.get_json(force=True, silent=True))


def _exists(identity: Identity, tenant: str) -> bool:
    return tenant.lower() in (*_WORDS, PERSONAL) or bool(identity.accounts.addresses(tenant))


def _require(identity: Identity, tenant: str) -> None:
    if not _exists(identity, tenant):
        raise AadstsError(90002)


def _issuer(identity: Identity, tenant: str) -> str:
    """A template where the tenant is not one, and the issuer of the tenant where it is, also by its domain."""
    word = tenant.lower()
    if word in ("common", "organizations"):
        return ISSUER
    if word in ("consumers", PERSONAL):
        return ISSUER.format(tenantid=PERSONAL)
    return ISSUER.format(tenantid=identity.accounts.find(identity.accounts.addresses(tenant)[0]).tenant)


def _root() -> str:
    return request.url_root.rstrip("/")


def _redirect(url: str, status: int) -> Response:
    return Response(status=status, headers={**HEADERS, "Location": url})


def _blocked(error: PageError) -> Response:
    return Response(error_page(error.error, error.sentence), 400, HEADERS, mimetype="text/html")

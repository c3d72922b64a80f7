"""The identity side over HTTP: discovery, authorization, consent form, token, revocation, keys, userinfo, control.

Every address is built from the root under which the request came in, so the application may be mounted anywhere.
"""

from __future__ import annotations

from typing import Any

from flask import Flask, Response, request

from infra.local.google import scopes
from infra.local.google.authorization import read
from infra.local.google.identity import claims_of
from infra.local.google.simulator import GoogleSimulator
from infra.local.simulated.authorization import PageError, Refused
from infra.local.simulated.clients import TokenError
from infra.local.simulated.consent_html import HEADERS, Wording, consent_page, error_page
from infra.local.simulated.errors import ControlError

Json = dict[str, Any]
_NOT_KEPT = {"Cache-Control": "no-cache, no-store, max-age=0, must-revalidate", "Pragma": "no-cache"}
_AUTHORIZATION = "/o/oauth2/v2/auth"
_CONSENT = "/signin/oauth/consent"
_KEYS = "/oauth2/v3/certs"
_USERINFO = "/v1/userinfo"
_WORDING = Wording("Google", scopes.DESCRIPTIONS)


def add_identity(app: Flask, simulator: GoogleSimulator) -> None:
    """Add the routes of Google's accounts."""
    app.add_url_rule("/.well-known/openid-configuration", view_func=discovery)
    app.register_error_handler(PageError, _blocked)
    app.register_error_handler(TokenError, _refused)
    _add_consent(app, simulator)
    _add_tokens(app, simulator)
    _add_control(app, simulator)


def discovery() -> Json:
    """Describe the endpoints that exist here."""
    root = _root()
    return {
        "issuer": root,
        "authorization_endpoint": root + _AUTHORIZATION,
        "token_endpoint": f"{root}/token",
        "userinfo_endpoint": root + _USERINFO,
        "revocation_endpoint": f"{root}/revoke",
        "jwks_uri": root + _KEYS,
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "scopes_supported": ["openid", "email", "profile"],
        "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
        "claims_supported": [
            "aud", "email", "email_verified", "exp", "given_name", "iat", "iss", "name", "sub",
        ],
        "code_challenge_methods_supported": ["plain", "S256"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
    }  # fmt: skip


def _add_consent(app: Flask, simulator: GoogleSimulator) -> None:
    @app.get(_AUTHORIZATION)
    def authorize() -> Response:
        simulator.count_request("authorize")
        try:
            outcome = simulator.oauth.consent.begin(read(request.args.to_dict(flat=False), simulator.oauth.clients))
        except Refused as refused:
            outcome = refused.url
        if isinstance(outcome, str):
            return _redirect(outcome, 302)
        return Response(consent_page(outcome, _root() + _CONSENT, _WORDING), headers=HEADERS, mimetype="text/html")

    @app.post(_CONSENT)
    def decide() -> Response:
        simulator.count_request("consent")
        form = request.form
        decision = form.get("decision")
        if decision not in ("allow", "deny"):
            raise PageError("invalid_request", "Allow or deny.")
        url = simulator.oauth.consent.decide(
            form.get("page", ""), form.get("account", ""), form.getlist("scope"), decision == "allow"
        )
        return _redirect(url, 303)


def _add_tokens(app: Flask, simulator: GoogleSimulator) -> None:
    @app.post("/token")
    def token() -> tuple[Json, int, dict[str, str]]:
        simulator.count_request("token")
        if simulator.pushes.faults.latency:
            simulator.clock.sleep(simulator.pushes.faults.latency)
        authorization = request.headers.get("Authorization", "")
        return simulator.oauth.token_endpoint.answer(request.form.to_dict(), authorization, _root()), 200, _NOT_KEPT

    @app.post("/revoke")
    def revoke() -> Json:
        simulator.count_request("revoke")
        simulator.oauth.token_endpoint.revoke(request.form.get("token") or request.args.get("token", ""))
        return {}

    @app.get(_KEYS)
    def keys() -> Json:
        simulator.count_request("certs")
        return simulator.oauth.identity.key_set()

    @app.route(_USERINFO, methods=["GET", "POST"])
    def userinfo() -> Json | tuple[Json, int, dict[str, str]]:
        simulator.count_request("userinfo")
        token = simulator.oauth.tokens.bearer(request.headers.get("Authorization", ""))
        if token is None:
            return _unwelcome("invalid_token", "Invalid Credentials", 401)
        if scopes.IDENTITY.isdisjoint(token.scopes.split()):
            return _unwelcome("insufficient_scope", "The token tells nothing about its person.", 403)
        return claims_of(token)


def _add_control(app: Flask, simulator: GoogleSimulator) -> None:
    @app.put("/control/consent")
    def automate() -> Json:
        return simulator.oauth.consent.automate(request.get_json(force=True, silent=True))

    @app.put("/control/clients")
    def register() -> Json:
        body = request.get_json(force=True, silent=True)
        if not isinstance(body, dict) or "clients" not in body:
            raise ControlError("The body lacks 'clients'.")
        return {"clients": simulator.oauth.clients.register(body["clients"])}


def _root() -> str:
    return request.url_root.rstrip("/")


def _redirect(url: str, status: int) -> Response:
    return Response(status=status, headers={**HEADERS, "Location": url})


def _blocked(error: PageError) -> Response:
    return Response(error_page(error.error, error.sentence), 400, HEADERS, mimetype="text/html")


def _refused(error: TokenError) -> tuple[Json, int, dict[str, str]]:
    headers = dict(_NOT_KEPT)
    if error.status == 401 and "Authorization" in request.headers:
        headers["WWW-Authenticate"] = 'Basic realm="Google"'
    return error.body, error.status, headers


def _unwelcome(error: str, description: str, status: int) -> tuple[Json, int, dict[str, str]]:
    headers = {"WWW-Authenticate": f'Bearer realm="https://accounts.google.com/", error="{error}"'}
    return {"error": error, "error_description": description}, status, headers

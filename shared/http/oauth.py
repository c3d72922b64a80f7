"""The routes of consent, ``/oauth/{provider}/*``, for browsers in HTML and for applications in JSON, and of what it led to.

A browser route answers every error as a page; what it tells is one of our own sentences, never what a provider or a link
said. The browser is known by a cookie that our page sets before it shows its form, so that the form of a stranger's page
cannot be sent in its name.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import TypeAlias

from flask import Flask, Response, request
from werkzeug.exceptions import MethodNotAllowed

from shared.errors import InvalidRequest
from shared.http import errors, fields, pages
from shared.http.app import create_app, json_answer
from shared.http.auth import Verifier, caller, require_token
from shared.identity.users import ensure_user
from shared.mail.provider_accounts import ProviderAccounts
from shared.oauth.browser import Browser
from shared.oauth.callback import Answer, Callback
from shared.oauth.client import Client
from shared.oauth.identities import Identities
from shared.oauth.links import Links
from shared.oauth.stopped import Stopped, Why
from shared.observability import logs
from shared.ports import Clock, Store
from shared.privacy.tombstones import Tombstones
from shared.providers.base import PROVIDERS
from shared.settings import Settings

PROVIDER = f"<any({', '.join(PROVIDERS)}):provider>"
ROOT = f"/oauth/{PROVIDER}"
ACCOUNTS = "/api/auth/accounts"
PUBLIC = frozenset({"consent", "agree", "callback", "signin", "identity"})
"""The endpoints that ask for no access token: a browser has none."""

_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
_OURS = {"same-origin", "none"}
_MAX_DESCRIPTION = 2_000
_View: TypeAlias = Callable[[str], Response]
"""A view of one provider's routes."""

_LOG = logs.named(__name__)


@dataclass(frozen=True, slots=True)
class OAuthParts:
    """The flow at one provider, which exists only where it is configured."""

    client: Client
    links: Links
    callback: Callback
    identities: Identities


@dataclass(frozen=True, slots=True)
class OAuthDeps:
    """What the routes need; ``parts`` makes a provider's flow when it is first asked for, or raises ``ConfigurationError``."""

    settings: Settings
    clock: Clock
    store: Store
    verifier: Verifier
    tombstones: Tombstones
    parts: Callable[[str], OAuthParts]
    accounts: ProviderAccounts


def create_oauth(deps: OAuthDeps) -> Flask:
    """The consent flow as a Flask app."""
    app = create_app(deps.settings, deps.clock)
    require_token(app, deps.verifier, public=PUBLIC)

    @app.post(f"{ROOT}/start")
    def start(provider: str) -> Response:
        wanted = fields.body(fields.Start)
        hint, scopes = fields.login_hint(wanted.login_hint), fields.scopes(wanted.scopes)
        links = deps.parts(provider).links
        links.check(wanted.return_to, scopes)
        principal = caller()
        ensure_user(deps.store, deps.clock, principal, deps.tombstones)
        return json_answer({"consent_url": links.connect(principal.uid, wanted.return_to, hint, scopes)})

    @app.post(f"{ROOT}/identity")
    def identity(provider: str) -> Response:
        proof = fields.body(fields.Proof)
        return json_answer(deps.parts(provider).identities.take(proof.code, proof.code_verifier))

    _accounts(app, deps)
    _own_page(app, deps)
    _to_and_from_the_provider(app, deps)
    return app


def _accounts(app: Flask, deps: OAuthDeps) -> None:
    """What no browser opens and no page shows: the accounts behind the consents, and their access tokens."""

    @app.get(ACCOUNTS)
    def accounts() -> Response:
        return json_answer({"accounts": deps.accounts.listed(caller().uid)})

    @app.get(f"{ACCOUNTS}/{PROVIDER}/token")
    def account_token(provider: str) -> Response:
        principal = caller()
        uid = fields.parameter("user") or principal.uid
        response = json_answer(deps.accounts.token(principal, uid, provider, fields.parameter("account")))
        response.headers["Cache-Control"] = "no-store"  # said here too: for this answer it must not be a default alone
        return response


def _page(deps: OAuthDeps) -> Callable[[_View], _View]:
    """Makes a view answer whatever goes wrong in it as a page."""

    def decorate(view: _View) -> _View:
        @wraps(view)
        def shown(provider: str) -> Response:
            try:
                if request.method == "HEAD":
                    raise MethodNotAllowed(["GET", "POST"])  # what looks at links ahead of people must not use them up
                return view(provider)
            except Stopped as stopped:
                _LOG.info("consent_stopped", "A consent came to nothing.", why=stopped.why.value)
                return pages.stopped(deps.parts(provider).client, stopped)
            except Exception as error:
                said = errors.answer(error, now=deps.clock.now(), version=deps.settings.version)
                response = pages.failed(said.status_code)
                for name in {"Retry-After", "Allow"} & set(said.headers.keys()):
                    response.headers[name] = said.headers[name]
                return response

        return shown

    return decorate


def _own_page(app: Flask, deps: OAuthDeps) -> None:
    @app.get(f"{ROOT}/consent")
    @_page(deps)
    def consent(provider: str) -> Response:
        parts = deps.parts(provider)
        state, browser = _state(fields.parameter("state")), _browser(parts.client) or Browser.new(deps.clock)
        asked = parts.callback.flow.ask(state, browser)
        hidden = {"state": state, "form": asked.form}
        response = pages.consent(parts.client, asked, hidden)
        return _remember(response, parts.client, browser)

    @app.post(f"{ROOT}/consent")
    @_page(deps)
    def agree(provider: str) -> Response:
        parts = deps.parts(provider)
        state, form = _state(request.form.get("state")), request.form.get("form", "")
        if request.headers.get("Sec-Fetch-Site", "none") not in _OURS:
            raise Stopped(Why.MALFORMED)
        if (browser := _browser(parts.client)) is None:
            raise Stopped(Why.NO_COOKIE)
        return _remember(_see_other(parts.callback.flow.agree(state, form, browser)), parts.client, browser)


def _to_and_from_the_provider(app: Flask, deps: OAuthDeps) -> None:
    @app.get(f"{ROOT}/callback")
    @_page(deps)
    def callback(provider: str) -> Response:
        parts = deps.parts(provider)
        # A description is only searched for a code; it may be as long and as odd as it likes.
        description = request.args.get("error_description", "")[:_MAX_DESCRIPTION]
        state, code, error, issuer = (fields.parameter(name) for name in ("state", "code", "error", "iss"))
        answer = Answer(state, code, error, issuer, description)
        landing = parts.callback.finish(answer, _browser(parts.client))
        return pages.connected(landing.address) if landing.location is None else _see_other(landing.location)

    @app.get(f"{ROOT}/signin")
    @_page(deps)
    def signin(provider: str) -> Response:
        parts = deps.parts(provider)
        return_to, challenge = fields.parameter("return_to"), fields.parameter("code_challenge")
        if return_to is None or challenge is None or fields.parameter("code_challenge_method") not in (None, "S256"):
            raise InvalidRequest("return_to and an S256 code_challenge are required.")
        if not _CHALLENGE.fullmatch(challenge):
            raise InvalidRequest("code_challenge must be the base64url of a SHA-256.", field="code_challenge")
        browser = _browser(parts.client) or Browser.new(deps.clock)
        hint = fields.login_hint(fields.parameter("login_hint"))
        url = parts.callback.flow.signin(return_to, challenge, hint, browser)
        return _remember(_see_other(url), parts.client, browser)


def _state(value: str | None) -> str:
    if not value:
        raise Stopped(Why.MALFORMED)
    return value


def _browser(client: Client) -> Browser | None:
    return Browser.known(request.cookies.get(client.cookie))


def _remember(response: Response, client: Client, browser: Browser) -> Response:
    """Give the browser its cookie. Lax, because it has to come along when the provider sends the person back."""
    response.set_cookie(client.cookie, browser.cookie, secure=client.secure, httponly=True, samesite="Lax")
    return response


def _see_other(url: str) -> Response:
    return Response(status=303, headers={"Location": url})

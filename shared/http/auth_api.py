"""The routes of our own sign-in: ``/api/auth/*``, and ``/api/v1/auth/*`` whose answers come in an envelope.

Two things are secret here, the password that comes and the tokens that go, and neither is kept or logged. Whoever may not
sign in is answered alike, whatever the reason. The tokens of other issuers are good here too; they have no session. Where
nothing can be signed, no session is opened and no refresh token spent: ``_tokens`` asks for the key first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from flask import Flask, Response, request

from shared import refs
from shared.errors import NotFound
from shared.events.envelope import iso
from shared.http import fields, lists
from shared.http.app import create_app, json_answer
from shared.http.auth import Verifier, caller, require_token
from shared.http.limits import remote_address
from shared.identity.accounts import Accounts, Origin
from shared.identity.issuing import Issuing
from shared.identity.sessions import Opened, Sessions
from shared.identity.signing import TOKEN_SECONDS
from shared.identity.users import refuse_erasing
from shared.oauth.identities import Identities
from shared.oauth.tickets import Tickets
from shared.ports import Clock, Data, Store
from shared.providers.base import PROVIDERS
from shared.settings import Settings

PUBLIC = frozenset({"sign_up", "sign_in", "sign_in_with", "login", "refresh", "jwks"})
"""The endpoints that ask for no access token: who calls them has none yet."""

JWKS_SECONDS = 60
"""How long others may keep the key set; together with what they keep themselves it is less than ``signing.SETTLE``."""


@dataclass(frozen=True, slots=True)
class AuthDeps:
    """What the routes need."""

    settings: Settings
    clock: Clock
    store: Store
    verifier: Verifier
    accounts: Accounts
    sessions: Sessions
    issuing: Issuing


def create_auth(deps: AuthDeps) -> Flask:
    """Our own sign-in as a Flask app."""
    app = create_app(deps.settings, deps.clock)
    require_token(app, deps.verifier, public=PUBLIC)
    _signing_in(app, deps)
    _going_on(app, deps)
    _sessions(app, deps)
    return app


def _signing_in(app: Flask, deps: AuthDeps) -> None:
    @app.post("/api/auth/sign-up/email")
    def sign_up() -> Response:
        wanted = fields.body(fields.SignUp)
        open_one = partial(deps.accounts.sign_up, wanted.email, wanted.password, wanted.name, _origin(deps))
        return json_answer(_tokens(deps, open_one), 201)

    @app.post("/api/auth/sign-in/email")
    def sign_in() -> Response:
        return json_answer(_signed_in(deps))

    @app.post("/api/v1/auth/login")
    def login() -> Response:
        return _enveloped(deps, _signed_in(deps))

    @app.post(f"/api/auth/sign-in/<any({', '.join(PROVIDERS)}):provider>")
    def sign_in_with(provider: str) -> Response:
        proof = fields.body(fields.Proof)

        def opened() -> Opened:
            identity = Identities(Tickets(deps.store, deps.clock), provider).take(proof.code, proof.code_verifier)
            return deps.accounts.sign_in_with(identity, _origin(deps))

        return json_answer(_tokens(deps, opened))


def _going_on(app: Flask, deps: AuthDeps) -> None:
    @app.post("/api/v1/auth/refresh")
    def refresh() -> Response:
        refresh_token = fields.body(fields.Refresh).refresh_token
        return _enveloped(deps, _tokens(deps, partial(deps.sessions.refresh, refresh_token)))

    @app.delete("/api/v1/auth/logout")
    def logout() -> Response:
        principal = caller()
        if principal.session is not None:
            deps.sessions.end(principal.uid, principal.session, "sign_out")
        return _enveloped(deps, {"message": "signed out"})

    @app.get("/api/auth/jwks")
    def jwks() -> Response:
        response = json_answer(deps.issuing.signing.key_set())
        response.headers["Cache-Control"] = f"public, max-age={JWKS_SECONDS}"
        return response


def _sessions(app: Flask, deps: AuthDeps) -> None:
    @app.get("/api/auth/session")
    def session() -> Response:
        principal = caller()
        found = None if principal.session is None else deps.sessions.demand(principal.uid, principal.session)
        profile = _profile(deps, principal.uid)
        told = {"uid": principal.uid, "email": principal.email, "name": principal.name, "created_at": None}
        return json_answer(
            {
                "user": _user(told if profile is None else profile),
                "session": None if found is None else lists.session(found, principal.session),
            }
        )

    @app.get("/api/auth/sessions")
    def sessions() -> Response:
        principal = caller()
        _profile(deps, principal.uid)
        return lists.sessions(deps.sessions.of(principal.uid), principal.session)

    @app.delete("/api/auth/sessions/<session_id>")
    def revoke(session_id: str) -> Response:
        if not deps.sessions.end(caller().uid, session_id, "session_revoked"):
            raise NotFound("There is no such session.")
        return json_answer({"message": "session revoked"})


def _signed_in(deps: AuthDeps) -> dict[str, Any]:
    wanted = fields.body(fields.SignIn)
    return _tokens(deps, partial(deps.accounts.sign_in, wanted.email, wanted.password, _origin(deps)))


def _profile(deps: AuthDeps, uid: str) -> Data | None:
    """The profile, where there is one. Raises ``AccountDeleted`` for somebody who is being deleted."""
    ref = refs.user(uid)
    known = deps.store.get([ref]).get(ref)
    if known is None:
        return None
    refuse_erasing(known.data)
    return known.data


def _origin(deps: AuthDeps) -> Origin:
    return Origin(remote_address(deps.settings.trusted_proxies), request.headers.get("User-Agent", ""))


def _tokens(deps: AuthDeps, session: Callable[[], Opened]) -> dict[str, Any]:
    key = deps.issuing.signing.key()
    opened = session()
    return {
        "user": _user(opened.profile),
        "session_id": opened.id,
        "access_token": deps.issuing.token(key, opened.profile, opened.id),
        "token_type": "Bearer",
        "expires_in": int(TOKEN_SECONDS),
        "refresh_token": opened.refresh,
    }


def _user(profile: dict[str, Any]) -> dict[str, Any]:
    return {
        "user_id": profile["uid"],
        "email": profile["email"],
        "name": profile["name"],
        "created_at": None if profile["created_at"] is None else iso(profile["created_at"]),
    }


def _enveloped(deps: AuthDeps, data: dict[str, Any]) -> Response:
    meta = {"timestamp": iso(deps.clock.now()), "version": deps.settings.version}
    return json_answer({"success": True, "data": data, "meta": meta})

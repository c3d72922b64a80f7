"""Signing in with a provider, through its pages and ours, ends in a session of our own, as signing in with a password does."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from flask import Request
from werkzeug.test import TestResponse

from shared.errors import ConfigurationError
from shared.oauth.browser import challenge
from tests.unit.oauth.consent_world import APP, ORIGIN, ConsentWorld, query_of
from tests.unit.oauth.microsoft_world import MicrosoftWorld

VERIFIER = "v" * 43


@pytest.fixture(params=[ConsentWorld, MicrosoftWorld])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> ConsentWorld:
    world: ConsentWorld = request.param(tmp_path, auth_issuer=ORIGIN)
    return world


def _signed_in(world: ConsentWorld, email: str = "ann@gmail.example") -> TestResponse:
    wanted = urlencode({"return_to": APP, "code_challenge": challenge(VERIFIER)})
    browser = world.browser()
    pages = browser.get(f"{ORIGIN}/oauth/{world.provider}/signin?{wanted}").headers["Location"]
    code = query_of(browser.get(world.authorize(pages, email)).headers["Location"])["code"]
    return _ask(world, "POST", f"/api/auth/sign-in/{world.provider}", {"code": code, "code_verifier": VERIFIER})


def _ask(world: ConsentWorld, method: str, path: str, body: Any = None, uid: str | None = None) -> TestResponse:
    def auth_app(environ: dict[str, Any], start_response: Any) -> Any:
        return world.product.auth(Request(environ))(environ, start_response)

    return world.call(auth_app, method, path, body, uid)


def test_the_session_is_of_one_user_each_time_and_refreshes(world: ConsentWorld) -> None:
    first, again = _signed_in(world).json, _signed_in(world).json
    assert first is not None
    assert again is not None
    assert first["user"] == again["user"]
    assert first["user"]["user_id"].startswith("u_")
    assert first["session_id"] != again["session_id"]
    other = _signed_in(world, "bob@gmail.example").json
    assert other is not None
    assert other["user"]["user_id"] != first["user"]["user_id"]
    assert _ask(world, "POST", "/api/v1/auth/refresh", {"refresh_token": first["refresh_token"]}).status_code == 200


def test_neither_a_mailbox_nor_a_grant_comes_of_it(world: ConsentWorld) -> None:
    _signed_in(world)
    assert world.documents("mailboxes") == {}
    assert world.documents("grants") == {}


def test_the_token_of_another_issuer_has_no_session_here_and_is_good_all_the_same(world: ConsentWorld) -> None:
    answer = _ask(world, "GET", "/api/auth/session", uid="ann")
    assert answer.json == {
        "user": {"user_id": "ann", "email": "ann@example.org", "name": "Ann", "created_at": None},
        "session": None,
    }
    assert _ask(world, "DELETE", "/api/v1/auth/logout", uid="ann").status_code == 200
    assert _ask(world, "GET", "/api/auth/sessions", uid="ann").json == {"sessions": []}
    assert world.documents("users") == {}, "asking makes nobody"


def test_another_issuer_cannot_name_a_session(world: ConsentWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    first = _signed_in(world).json
    assert first is not None
    token = world.token(first["user"]["user_id"], sid=first["session_id"])
    monkeypatch.setattr(world, "token", lambda _: token)
    assert _ask(world, "DELETE", "/api/v1/auth/logout", uid="x").status_code == 200
    assert _ask(world, "DELETE", f"/api/auth/sessions/{first['session_id']}", uid="x").status_code == 404
    assert _ask(world, "POST", "/api/v1/auth/refresh", {"refresh_token": first["refresh_token"]}).status_code == 200


def test_without_an_issuer_of_our_own_nobody_signs_in_here(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="AUTH_ISSUER"):
        _ = ConsentWorld(tmp_path).product.auth

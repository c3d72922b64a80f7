"""Which web applications may call from a browser, and what they are told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from shared.errors import ConfigurationError
from shared.http import cors
from tests.unit.http.every_app import OPEN, EveryApp

APP = "https://app.example.org"
OTHER = "http://localhost:3000"
SHARES = re.compile(r"/(api|me|mail|events|health|admin)(/|$)|/oauth/.*/(start|identity)$")
"""The routes that take part, said once more."""


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory) -> EveryApp:
    with pytest.MonkeyPatch.context() as patch:
        return EveryApp(tmp_path_factory.mktemp("cors"), patch, cors_origins=(APP, OTHER), rate_limits=("0",))


def preflight(app: Flask, path: str, origin: str = APP, method: str = "POST") -> TestResponse:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "authorization,x-evil",
    }
    return app.test_client().options(path, headers=headers)


def names(response: TestResponse) -> set[str]:
    return {name for name, _ in response.headers.items() if name.startswith("Access-Control-")}


def test_a_preflight_is_answered_without_a_token(every: EveryApp) -> None:
    response = preflight(every.apps["api"], "/mail/connect")
    assert (response.status_code, response.data) == (204, b"")
    assert response.headers["Access-Control-Allow-Origin"] == APP
    assert response.headers["Access-Control-Allow-Methods"] == "POST"
    assert response.headers["Access-Control-Allow-Headers"] == "Authorization, Content-Type"
    assert response.headers["Access-Control-Max-Age"] == "600"
    assert response.headers["Vary"] == "Origin"


def test_a_preflight_names_the_methods_that_the_path_has_and_no_others(every: EveryApp) -> None:
    assert preflight(every.apps["api"], "/events").headers["Access-Control-Allow-Methods"] == "GET, POST"
    assert preflight(every.apps["api"], "/health", method="DELETE").headers["Access-Control-Allow-Methods"] == "GET"


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "https://app.example.org.evil.example",
        "https://evil-app.example.org",
        "https://sub.app.example.org",
        "http://app.example.org",
        "https://app.example.org:8443",
        "https://app.example.org/",
        "https://APP.example.org",
        "null",
        "*",
        "",
    ],
)
def test_any_other_origin_is_told_nothing(every: EveryApp, origin: str) -> None:
    refused = preflight(every.apps["api"], "/mail/connect", origin)
    assert (refused.status_code, names(refused)) == (401, set())
    served = every.apps["api"].test_client().get("/me", headers={**every.bearer(), "Origin": origin})
    assert (served.status_code, names(served)) == (200, set())
    assert served.headers["Vary"] == "Origin"


@pytest.mark.parametrize("origin", [APP, OTHER])
@pytest.mark.parametrize(("path", "status"), [("/health", 200), ("/me", 401), ("/events?limit=x", 401)])
def test_answers_and_errors_alike_can_be_read_by_an_origin_on_the_list(
    every: EveryApp, origin: str, path: str, status: int
) -> None:
    response = every.apps["api"].test_client().get(path, headers={"Origin": origin})
    assert (response.status_code, response.headers["Access-Control-Allow-Origin"]) == (status, origin)
    assert "Retry-After" in response.headers["Access-Control-Expose-Headers"]


def test_what_is_refused_for_coming_too_often_can_be_read_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    every = EveryApp(tmp_path, monkeypatch, cors_origins=(APP,), rate_limits=("read=1",))
    client = every.apps["api"].test_client()
    responses = [client.get("/me", headers={**every.bearer(), "Origin": APP}) for _ in range(3)]
    assert [response.status_code for response in responses] == [200, 200, 429]
    assert responses[-1].headers["Access-Control-Allow-Origin"] == APP


def test_cookies_never_count_for_another_origin(every: EveryApp) -> None:
    for name, method, path, _ in every.routes():
        response = every.apps[name].test_client().open(path, method=method, headers={"Origin": APP})
        assert "Access-Control-Allow-Credentials" not in response.headers
        assert response.headers.get("Access-Control-Allow-Origin") != "*"


def test_only_json_routes_that_people_call_take_part(every: EveryApp) -> None:
    taking: set[str] = set()
    for name, method, path, rule in every.routes():
        served = every.apps[name].test_client().open(path, method=method, headers={"Origin": APP})
        asked = preflight(every.apps[name], path)
        takes_part = name in OPEN and SHARES.match(path) is not None
        assert ("Access-Control-Allow-Origin" in served.headers) == takes_part, (name, method, path)
        assert (asked.status_code == 204) == takes_part, (name, path)
        assert bool(names(asked)) == takes_part, (name, path)
        if takes_part:
            taking.add(rule)
    assert {"/me", "/events", "/mail/connect"} < taking
    assert not any("consent" in rule or "callback" in rule or "signin" in rule for rule in taking)


def test_a_trigger_takes_no_part_whatever_path_it_is_called_by(every: EveryApp) -> None:
    for path in ("/me", "/mail/connect", "/api/auth/session", "/tick"):
        assert names(preflight(every.apps["tick"], path)) == set()


def test_without_a_list_nobody_is_told_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    every = EveryApp(tmp_path, monkeypatch)
    assert names(preflight(every.apps["api"], "/mail/connect")) == set()
    response = every.apps["api"].test_client().get("/health", headers={"Origin": APP})
    assert names(response) == set()
    assert "Vary" not in response.headers


def test_options_that_are_no_preflight_are_asked_for_a_token_as_ever(every: EveryApp) -> None:
    client = every.apps["api"].test_client()
    assert client.options("/me", headers={"Origin": APP}).status_code == 401
    assert client.get("/me", headers={"Origin": APP, "Access-Control-Request-Method": "GET"}).status_code == 401


@pytest.mark.parametrize(
    "origin",
    [
        "*",
        "null",
        "https://*.example.org",
        "https://app.example.org/",
        "https://app.example.org/path",
        "http://app.example.org",
        "https://App.example.org",
        "https://user@app.example.org",
        "https://app.example.org:0",
        "app.example.org",
        "https://app.example.org\n",
        "ftp://localhost",
    ],
)
def test_what_is_no_exact_origin_is_refused_when_the_app_is_made(origin: str) -> None:
    with pytest.raises(ConfigurationError, match="CORS_ORIGINS"):
        cors.share_with(Flask("x"), (APP, origin))


def test_usual_origins_are_taken() -> None:
    cors.share_with(
        Flask("x"),
        (APP, "https://app.example.org:8443", "http://localhost", "http://localhost:5173", "http://127.0.0.1:80"),
    )

"""What holds for every route of every function: headers, bounds on what is sent, limits on how often."""

from __future__ import annotations

import io
import logging
from pathlib import Path

import pytest
from flask import Flask, Request

from shared import wiring
from shared.http import app as http_app
from shared.http.app import HEADERS
from shared.settings import Settings
from tests.unit.http.every_app import OPEN, EveryApp

CHUNKED = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked", "CONTENT_LENGTH": ""}
"""What a server says of a body that comes in chunks."""

LENIENT = {"Cache-Control", "Content-Security-Policy"}
"""What a route may set otherwise, since pages have a style, and keys may be kept."""


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory) -> EveryApp:
    with pytest.MonkeyPatch.context() as patch:
        return EveryApp(tmp_path_factory.mktemp("every"), patch, rate_limits=("0",))


def test_there_are_apps_and_routes_to_judge(every: EveryApp) -> None:
    assert set(OPEN) >= {"api", "oauth"}
    assert set(every.apps) > {*OPEN, "sync", "tick", "graph_push", "gmail_push", "senders"}
    assert len(every.routes()) > 60


def test_every_answer_of_every_route_carries_the_security_headers(every: EveryApp) -> None:
    seen: set[int] = set()
    for name, method, path, _ in [*every.routes(), *((name, "GET", "/no/thing", "") for name in every.apps)]:
        for headers in ({}, every.bearer()):
            response = every.apps[name].test_client().open(path, method=method, headers=headers)
            seen.add(response.status_code)
            for header, value in HEADERS.items():
                assert header in response.headers, (name, method, path)
                assert header in LENIENT or response.headers[header] == value, (name, method, path)
            policy = response.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "frame-ancestors 'none'" in policy
            if response.mimetype == "text/html" and response.data:
                assert "base-uri 'none'" in policy
                assert response.headers["Cache-Control"] == "no-store"
    assert seen >= {200, 400, 401, 404, 405}


def test_the_headers_are_those_that_we_mean() -> None:
    assert HEADERS["X-Frame-Options"] == "DENY"
    assert HEADERS["X-Content-Type-Options"] == "nosniff"
    assert HEADERS["Referrer-Policy"] == "no-referrer"
    assert HEADERS["Cross-Origin-Opener-Policy"] == HEADERS["Cross-Origin-Resource-Policy"] == "same-origin"
    assert int(HEADERS["Strict-Transport-Security"].removeprefix("max-age=")) >= 31_536_000
    for feature in ("camera", "microphone", "geolocation"):
        assert f"{feature}=()" in HEADERS["Permissions-Policy"]


def test_a_process_whose_settings_are_wrong_answers_with_the_same_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAGE_SIZE", "many")
    root = logging.getLogger()
    before = (list(root.handlers), root.level)
    wiring.from_env.cache_clear()
    try:
        with Flask("outer").test_request_context("/me") as context:
            response = wiring.answer("api", Request(context.request.environ))
    finally:
        wiring.from_env.cache_clear()
        root.handlers[:], root.level = before
    assert response.status_code == 500
    assert HEADERS.items() <= dict(response.headers).items()


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_the_limit_is_refused_by_every_route_that_reads_one(every: EveryApp, chunked: bool) -> None:
    body = b'{"a": "' + b"x" * Settings().max_body_bytes + b'"}'
    refused: set[str] = set()
    for name, method, path, rule in every.routes():
        if method not in ("POST", "PUT", "PATCH", "DELETE"):
            continue
        headers = {**every.bearer(), "Content-Type": "application/json"}
        environ = CHUNKED if chunked else {}
        response = (
            every.apps[name]
            .test_client()
            .open(path, method=method, headers=headers, input_stream=io.BytesIO(body), environ_overrides=environ)
        )
        assert response.status_code < 500, (name, method, path)
        if response.status_code == 413:
            refused.add(rule)
    assert refused >= {"/mail/connect", "/events", "/", "/graph_push", "/graph_push/lifecycle"}


def test_a_chunked_body_within_the_limit_is_read_by_triggers(every: EveryApp) -> None:
    response = every.apps["tick"].test_client().post("/tick", input_stream=io.BytesIO(b"{}"), environ_overrides=CHUNKED)
    assert response.status_code == 200


def test_an_over_long_url_is_refused_by_every_route_before_anything_else(every: EveryApp) -> None:
    for name, method, path, _ in every.routes():
        response = every.apps[name].test_client().open(f"{path}?q={'x' * http_app.MAX_URL_BYTES}", method=method)
        assert response.status_code == 414, (name, method, path)
        assert method == "HEAD" or response.get_json()["error"]["code"] == "too_large"


@pytest.mark.parametrize("fields", [{"X-Any": "x" * 65_536}, {f"X-{number}": "y" * 600 for number in range(110)}])
def test_over_large_header_fields_are_refused_by_every_route(every: EveryApp, fields: dict[str, str]) -> None:
    for name, method, path, _ in every.routes():
        response = every.apps[name].test_client().open(path, method=method, headers=fields)
        assert response.status_code == 431, (name, method, path)
        assert method == "HEAD" or response.get_json()["error"]["code"] == "too_large"


def test_ordinary_urls_and_headers_are_not_near_the_bounds(every: EveryApp) -> None:
    headers = {"Cookie": "x" * 8_000, "X-Any": "y" * 16_000}
    assert every.apps["api"].test_client().get(f"/health?q={'x' * 8_192}", headers=headers).status_code == 200


def test_every_route_that_people_call_is_limited_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = tuple(f"{name}=1" for name in ("read", "write", "token", "service", "auth", "page", "open", "download"))
    every = EveryApp(tmp_path, monkeypatch, rate_limits=limits)
    limited: set[str] = set()
    for number, (name, method, path, rule) in enumerate(every.routes()):
        headers = {**every.bearer(f"uid{number}"), "X-Forwarded-For": f"192.0.2.{number}"}
        client = every.apps[name].test_client()
        # One of the instance's own, one of the store's, and one too many.
        response = [client.open(path, method=method, headers=headers) for _ in range(3)][-1]
        assert (response.status_code == 429) == (name in OPEN and rule != "/health"), (name, method, path)
        if response.status_code == 429:
            limited.add(rule)
            assert int(response.headers["Retry-After"]) >= 1
            assert (response.headers["RateLimit-Limit"], response.headers["RateLimit-Remaining"]) == ("1", "0")
    assert limited >= {"/me", "/mail/connect", "/events", "/oauth/<any(google, microsoft):provider>/signin"}

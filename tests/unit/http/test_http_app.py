"""The app below every function: errors in one envelope, headers, limits, the trace in the log, secrets out of it."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import functions_framework
import pytest
from flask import Flask, request
from werkzeug.exceptions import ImATeapot, ServiceUnavailable

from shared import errors as tree
from shared.errors import BrainstemError, ConfigurationError, ProviderUnavailable, RateLimited, Retry
from shared.http.app import as_function, create_app, json_answer
from shared.http.auth import require_token
from shared.observability import logs
from shared.settings import Settings
from tests.unit.fakes import FakeClock
from tests.unit.http.api_world import ApiWorld, code_of

CANARY = "".join(["can", "ary-", "51be02"])
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture
def output() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    root, own = logging.getLogger(), logging.getLogger(logs.ROOT)
    before = (list(root.handlers), root.level, own.level)
    logs.configure(FakeClock(), "DEBUG", stream)
    yield stream
    root.handlers[:], root.level = before[0], before[1]
    own.setLevel(before[2])


def entries(output: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.getvalue().splitlines()]


def app_that_raises(error: Exception) -> Flask:
    app = create_app(Settings(version="1.2.3"), FakeClock())

    @app.route("/fail/<name>", methods=["GET", "POST"])
    def fail(name: str) -> Any:
        raise error

    return app


def every_error(root: type[BrainstemError] = BrainstemError) -> Iterator[type[BrainstemError]]:
    yield root
    for kind in root.__subclasses__():
        if kind.__module__ == tree.__name__:
            yield from every_error(kind)


@pytest.mark.parametrize("kind", list(every_error()))
def test_each_of_our_errors_has_its_status_and_code(kind: type[BrainstemError]) -> None:
    response = app_that_raises(kind("One sentence.", field="x")).test_client().get("/fail/1")
    assert (response.status_code, code_of(response)) == (kind.status, kind.code)
    error = response.get_json()["error"]
    assert (error["message"], error["details"]) == ("One sentence.", {"field": "x"})
    assert response.get_json()["meta"]["timestamp"] == "2026-09-21T14:13:20.000Z"


@pytest.mark.parametrize(
    ("after", "shown"), [(None, None), (0, "1"), (0.2, "1"), (2, "2"), (2.1, "3"), (float("inf"), None)]
)
def test_retry_after_is_in_whole_seconds_rounded_up(after: float | None, shown: str | None) -> None:
    response = app_that_raises(RateLimited(retry_after=after)).test_client().get("/fail/1")
    assert response.headers.get("Retry-After") == shown


@pytest.mark.parametrize(
    "error", [RuntimeError(CANARY), KeyError(CANARY), ServiceUnavailable(CANARY), OSError(2, "x", CANARY)]
)
def test_the_unexpected_is_a_500_that_says_nothing_and_a_log_line_that_does(
    output: io.StringIO, error: Exception
) -> None:
    response = app_that_raises(error).test_client().get("/fail/1")
    assert (response.status_code, code_of(response)) == (500, "internal")
    assert response.get_json()["error"]["message"] == "Something went wrong on our side."
    assert CANARY not in response.text
    (entry,) = entries(output)
    assert (entry["severity"], entry["event"]) == ("ERROR", "request_failed")
    assert "in fail" in entry["stack_trace"]
    assert type(error).__name__ in entry["stack_trace"]
    assert CANARY not in output.getvalue()


def test_severity_follows_whose_matter_it_is(output: io.StringIO) -> None:
    for error in (ConfigurationError("JWT_ISSUER must be set."), Retry(), tree.InvalidRequest("No."), ImATeapot()):
        app_that_raises(error).test_client().get("/fail/1")
    assert [(entry["severity"], "stack_trace" in entry) for entry in entries(output)] == [
        ("ERROR", True),
        ("WARNING", False),
        ("INFO", False),
        ("INFO", False),
    ]


def test_details_are_cleaned_on_their_way_out() -> None:
    error = ProviderUnavailable("Google cannot be reached.", token=CANARY, cause=ValueError(CANARY), status=503)
    response = app_that_raises(error).test_client().get("/fail/1")
    assert CANARY not in response.text
    assert response.get_json()["error"]["details"]["status"] == 503


@pytest.mark.parametrize(
    "path", ["/", "/nothing", "//health", "/health/x", "/me/../health", "/%00", "/é", "/mail", "/static/x"]
)
def test_an_unknown_path_is_a_404_in_the_envelope(path: str) -> None:
    response = ApiWorld().client.get(path)
    assert (response.status_code, code_of(response)) == (404, "not_found")


def test_a_wrong_method_is_a_405_that_names_the_right_ones() -> None:
    response = ApiWorld().client.delete("/health")
    assert (response.status_code, code_of(response)) == (405, "method_not_allowed")
    assert "GET" in response.headers["Allow"]


@pytest.mark.parametrize("path", ["/health", "/me", "/nothing"])
def test_every_answer_carries_the_security_headers(path: str) -> None:
    headers = ApiWorld().client.get(path).headers
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in headers["Content-Security-Policy"]


def test_log_lines_of_a_request_carry_its_trace_and_route_and_the_next_request_starts_clean(
    output: io.StringIO,
) -> None:
    client = app_that_raises(Retry()).test_client()
    client.get(f"/fail/{CANARY}", headers={"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"})
    client.get("/fail/2")
    logs.named("test").info("afterwards")
    first, second, afterwards = entries(output)
    assert first["logging.googleapis.com/trace"] == TRACE
    assert first["route"] == "/fail/<name>"
    assert "logging.googleapis.com/trace" not in second
    assert "route" not in afterwards


def test_no_token_header_or_body_of_any_request_reaches_the_log(output: io.StringIO) -> None:
    api = ApiWorld()
    api.events.failure = RuntimeError(f"cannot read {CANARY}")
    good = api.token()
    headers = {"Authorization": f"Bearer {good}", "X-Any": CANARY, "Cookie": CANARY, "traceparent": CANARY}
    tokens = {"provider": "google", "access_token": CANARY, "refresh_token": CANARY, "expires_in": 3600}
    api.client.post("/mail/connect", json=tokens, headers=headers)
    api.client.post("/mail/connect", json={**tokens, "expires_in": CANARY}, headers=headers)
    api.client.post("/mail/connect", data=CANARY, content_type="application/json", headers=headers)
    api.client.post("/events", json={"type": CANARY, "data": {CANARY: CANARY}}, headers=headers)
    api.client.get(f"/events?after={CANARY}", headers=headers)
    assert api.client.get("/events", headers=headers).status_code == 500
    api.client.get(f"/{CANARY}", headers=headers)
    for broken in (good[:-4], CANARY, f"{CANARY}.{CANARY}.{CANARY}"):
        api.client.get("/me", headers={"Authorization": f"Bearer {broken}"})
    assert len(entries(output)) >= 8
    assert CANARY not in output.getvalue()
    assert good[:40] not in output.getvalue()


def test_a_route_without_a_verified_token_cannot_ask_who_is_calling() -> None:
    from shared.http.auth import caller

    class Nobody:
        def verify(self, authorization: str | None) -> Any:
            return None

    app = create_app(Settings(version="1.2.3"), FakeClock())
    require_token(app, Nobody(), public=frozenset())
    app.add_url_rule("/who", "who", lambda: caller().uid)
    assert app.test_client().get("/who").status_code == 500


FUNCTION = """
from flask import request
from shared.http.app import as_function, create_app, json_answer
from shared.settings import Settings
from tests.unit.fakes import FakeClock

app = create_app(Settings(version="1.2.3", max_body_bytes=1000), FakeClock())

@app.post("/echo/<name>")
def echo(name):
    return json_answer({"name": name, "body": request.get_json(), "query": request.args.get("q")}, 201)

function = as_function(app)
"""


def test_below_functions_framework_paths_bodies_and_errors_are_those_of_the_inner_app(tmp_path: Path) -> None:
    source = tmp_path / "main.py"
    source.write_text(FUNCTION)
    outer: Flask = functions_framework.create_app("function", str(source), "http")  # type: ignore[no-untyped-call]
    client = outer.test_client()
    response = client.post("/echo/x%20y?q=1", json={"a": [1]})
    assert (response.status_code, response.get_json()) == (201, {"name": "x y", "body": {"a": [1]}, "query": "1"})
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    refused = client.post("/echo/x", json={"a": "x" * 2000})
    assert (refused.status_code, code_of(refused)) == (413, "too_large")
    missing = client.get("/nothing")
    assert (missing.status_code, code_of(missing)) == (404, "not_found")
    chunked = client.post(
        "/echo/x",
        input_stream=io.BytesIO(b'{"a":1}'),
        headers={"Content-Type": "application/json", "Transfer-Encoding": "chunked"},
        environ_overrides={"wsgi.input_terminated": True},
    )
    assert chunked.status_code == 201


def test_the_outer_request_is_handed_on_with_its_body_unread() -> None:
    inner = create_app(Settings(), FakeClock())
    inner.add_url_rule("/in", "read", lambda: json_answer(request.get_json()), methods=["POST"])
    outer = Flask("outer")
    handle = as_function(inner)
    outer.add_url_rule("/<path:path>", "all", lambda path: handle(request._get_current_object()), methods=["POST"])  # type: ignore[attr-defined]
    assert outer.test_client().post("/in", json={"a": 1}).get_json() == {"a": 1}


def test_codes_are_short_and_stable() -> None:
    assert all(re.fullmatch(r"[a-z_]+", kind.code) for kind in every_error())

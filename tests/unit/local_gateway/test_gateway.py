"""The gateway routes by the longest beginning of a path, lets only invokers in where it should, and answers in the envelope."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import Client, TestResponse

from infra.local.catalogue import Function
from infra.local.gateway import QUERY, Gateway, mount
from infra.local.web import WSGIApp

SECRET = "the-invokers-secret"
INVOKER = {"Authorization": f"Bearer {SECRET}"}

_SOURCE = """
import functions_framework

@functions_framework.http
def {name}(request):
    return {{"function": "{name}", "path": request.path}}
"""
_EVENT_SOURCE = """
import functions_framework

@functions_framework.cloud_event
def {name}(event):
    return None
"""
_PLAIN_SOURCE = """
def {name}(request):
    return {{"function": "{name}", "path": request.path}}
"""


def _function(
    folder: Path, name: str, path: str, public: tuple[str, ...] = (), source: str = _SOURCE, also: tuple[str, ...] = ()
) -> Function:
    file = folder / name / "main.py"
    file.parent.mkdir()
    file.write_text(source.format(name=name))
    return Function(
        name=name, source=file, entry_point=name, trigger=("http", "true"), path=path, public=public, identity=name,
        concurrency=1, timeout_seconds=60, memory="512Mi", min_instances=0, secrets=(), grants="none", publishes=(),
        also=also,
    )  # fmt: skip


def _echo(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{environ.get('SCRIPT_NAME', '')}|{environ['PATH_INFO']}".encode()]


@pytest.fixture
def client(tmp_path: Path) -> Client:
    functions = [
        _function(tmp_path, "api", "/", ("/*",)),
        _function(tmp_path, "sync", "/sync"),
        _function(tmp_path, "gmail_push", "/gmail_push"),
    ]
    return Client(Gateway(functions, SECRET, "1.2.3", _echo, {"google": _echo}))


@pytest.mark.parametrize("path", ["/", "/health", "/events", "/mail/status", "/synchronise", "/v1/other"])
def test_what_no_other_function_takes_goes_to_the_api_with_its_whole_path(client: Client, path: str) -> None:
    assert client.get(path).json == {"function": "api", "path": path}


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/api/auth/session", "auth"), ("/api/auth", "auth"), ("/api/v1/auth/refresh", "auth"),
        ("/api/auth/accounts", "oauth"), ("/api/auth/accounts/google/token", "oauth"), ("/oauth/google", "oauth"),
        ("/api/auth/accountsx", "auth"), ("/api/authx", "api"), ("/api/v1/other", "api"), ("/api", "api"),
        ("/api//auth/accounts", "api"),
    ],
)  # fmt: skip
def test_of_several_beginnings_that_fit_the_longest_takes_the_path(tmp_path: Path, path: str, name: str) -> None:
    functions = [
        _function(tmp_path, "api", "/", ("*",)),
        _function(tmp_path, "auth", "/api/auth", ("*",), also=("/api/v1/auth",)),
        _function(tmp_path, "oauth", "/oauth", ("*",), also=("/api/auth/accounts",)),
    ]
    answer = Client(Gateway(functions, SECRET, "1", _echo, {})).get(path)
    assert answer.json is not None
    assert answer.json["function"] == name


@pytest.mark.parametrize("path", ["/sync", "/sync/step"])
def test_the_first_segment_chooses_the_function(client: Client, path: str) -> None:
    answer = client.post(path, headers=INVOKER)
    assert answer.json is not None
    assert answer.json["function"] == "sync"


@pytest.mark.parametrize("path", ["/sync", "/sync/step", "/gmail_push", "/v1/projects/local/topics/gmail:publish"])
@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 401, "unauthorized"),
        ({"Authorization": "Basic abc"}, 401, "unauthorized"),
        ({"Authorization": "Bearer "}, 401, "unauthorized"),
        ({"Authorization": "Bearer wrong"}, 403, "forbidden"),
        ({"Authorization": f"Bearer {SECRET}x"}, 403, "forbidden"),
        ({"Authorization": "Bearer ÿ"}, 403, "forbidden"),
    ],
)
def test_only_invokers_reach_what_is_not_public(
    client: Client, path: str, headers: dict[str, str], status: int, code: str
) -> None:
    answer = client.post(path, headers=headers)
    assert answer.status_code == status
    assert answer.json is not None
    assert answer.json["success"] is False
    assert answer.json["error"]["code"] == code
    assert answer.json["meta"]["version"] == "1.2.3"
    assert SECRET not in answer.text


_SEES_QUERY = """
def {name}(request):
    return {{"query": request.query_string.decode(), "uri": str(request.environ.get("REQUEST_URI"))}}
"""


def _pushed(folder: Path, kind: str, pubsub: WSGIApp | None = None) -> Client:
    function = replace(_function(folder, "gmail_push", "/gmail_push", source=_SEES_QUERY), trigger=(kind, "gmail"))
    return Client(Gateway([function], SECRET, "1", pubsub, {}))


def test_where_the_bus_is_elsewhere_its_pushes_carry_the_secret_in_the_url_and_no_function_sees_it(
    tmp_path: Path,
) -> None:
    path = f"/gmail_push?{QUERY}={SECRET}"
    answer = _pushed(tmp_path, "topic").post(path, environ_overrides={"REQUEST_URI": path})
    assert answer.json == {"query": "", "uri": "None"}


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 401), (QUERY, 401), (f"{QUERY}=", 401), (f"{QUERY}=wrong", 403), (f"{QUERY}={SECRET}x", 403),
        (f"other={SECRET}", 401), ("&".join(["a=1"] * 20), 401), (f"{QUERY}=%C3%BF", 403),
    ],
)  # fmt: skip
def test_a_push_with_another_secret_in_its_url_is_refused(tmp_path: Path, query: str, status: int) -> None:
    answer = _pushed(tmp_path, "topic").post(f"/gmail_push?{query}")
    assert answer.status_code == status
    assert SECRET not in answer.text


def test_the_secret_in_the_url_opens_nothing_else(tmp_path: Path) -> None:
    assert _pushed(tmp_path, "queue").post(f"/gmail_push?{QUERY}={SECRET}").status_code == 401


def test_where_the_bus_is_ours_the_secret_in_the_url_opens_nothing(tmp_path: Path) -> None:
    assert _pushed(tmp_path, "topic", _echo).post(f"/gmail_push?{QUERY}={SECRET}").status_code == 401


def test_where_the_bus_is_elsewhere_there_is_no_pub_sub_here(tmp_path: Path) -> None:
    assert (
        _pushed(tmp_path, "topic").post("/v1/projects/local/topics/gmail:publish", headers=INVOKER).status_code == 404
    )


def test_invokers_reach_pub_sub(client: Client) -> None:
    path = "/v1/projects/local/topics/gmail:publish"
    assert client.post(path, headers=INVOKER).text == f"|{path}"


def test_a_mounted_neighbour_sees_its_own_root(client: Client) -> None:
    assert client.get("/google/gmail/v1/users/me/profile").text == "/google|/gmail/v1/users/me/profile"


def test_a_function_takes_no_more_requests_at_once_than_it_declares(tmp_path: Path) -> None:
    function = _function(tmp_path, "slow", "/slow")
    gateway = Gateway([function], SECRET, "1", _echo, {})
    entered, leave = threading.Event(), threading.Event()

    def slow(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        entered.set()
        assert leave.wait(5)
        return _echo(environ, start_response)

    gateway._rooms["/slow"].app = slow
    answers: list[TestResponse] = []
    first = threading.Thread(target=lambda: answers.append(Client(gateway).post("/slow", headers=INVOKER)))
    first.start()
    assert entered.wait(5)

    busy = Client(gateway).post("/slow", headers=INVOKER)
    leave.set()
    first.join(5)

    assert busy.status_code == 429
    assert [answer.status_code for answer in answers] == [200]
    entered.clear()
    assert Client(gateway).post("/slow", headers=INVOKER).status_code == 200


def test_mounting_leaves_no_trace_for_the_next_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUNCTION_TARGET", "kept")
    monkeypatch.delenv("FUNCTION_SIGNATURE_TYPE", raising=False)
    monkeypatch.delitem(sys.modules, "main", raising=False)
    mount(_function(tmp_path, "listener", "/listener", source=_EVENT_SOURCE))
    plain = mount(_function(tmp_path, "plain", "/plain", source=_PLAIN_SOURCE))

    # An undecorated function would have inherited its predecessor's signature.
    assert Client(plain).get("/plain").json == {"function": "plain", "path": "/plain"}
    assert os.environ["FUNCTION_TARGET"] == "kept"
    assert "FUNCTION_SIGNATURE_TYPE" not in os.environ
    assert "main" not in sys.modules
    assert not [entry for entry in sys.path if entry.startswith(str(tmp_path))]

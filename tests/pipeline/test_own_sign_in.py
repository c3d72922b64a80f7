"""Somebody signs up at a Brainstem that runs here, over HTTP, and every function takes the token that ``auth`` has signed."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

from infra.local.catalogue import ROOT
from infra.local.environment import AUDIENCE, local_environment
from infra.local.tokens import USER, development_token

Ask = Callable[..., tuple[int, Any]]


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    folder: Path = tmp_path_factory.mktemp("run")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    home = f"http://127.0.0.1:{port}"
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **local_environment(folder, home, f"{home}/google")}
    with (folder / "log").open("wb") as log, urllib3.PoolManager(retries=False, timeout=30.0) as pool:
        process = subprocess.Popen(
            [sys.executable, "-m", "infra.local.serve", "--port", str(port), "--data", str(folder)],
            cwd=ROOT, env=environ, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip

        def ask(method: str, path: str, body: Any = None, token: str = "") -> tuple[int, Any]:
            headers = {"Authorization": f"Bearer {token or development_token(folder, AUDIENCE)}"}
            answer = pool.request(method, home + path, json=body, headers=headers)
            return answer.status, answer.json()

        try:
            pause = threading.Event()
            for _ in range(300):
                try:
                    pool.request("GET", f"{home}/health")
                    break
                except urllib3.exceptions.NewConnectionError:
                    pause.wait(0.1)
            yield ask
        finally:
            process.communicate(timeout=30)


def test_whoever_signs_up_is_known_to_every_function_and_beside_them_the_development_token(ask: Ask) -> None:
    person = {"email": "ann@example.org", "password": "correct horse battery", "name": "Ann"}
    status, signed_up = ask("POST", "/api/auth/sign-up/email", person)
    assert status == 201, signed_up
    token = signed_up["access_token"]
    assert ask("GET", "/me", token=token) == (200, signed_up["user"])
    assert ask("POST", "/oauth/google/start", {}, token=token)[0] == 200
    assert ask("GET", "/me")[1]["user_id"] == USER
    status, session = ask("GET", "/api/auth/session")
    assert (status, session["user"]["user_id"], session["session"]) == (200, USER, None)


def test_a_session_goes_on_by_refreshing_until_it_is_signed_out(ask: Ask) -> None:
    person = {"email": "bob@example.org", "password": "correct horse battery", "name": "Bob"}
    ask("POST", "/api/auth/sign-up/email", person)
    status, answer = ask("POST", "/api/v1/auth/login", person)
    assert (status, answer["success"]) == (200, True)
    status, answer = ask("POST", "/api/v1/auth/refresh", {"refresh_token": answer["data"]["refresh_token"]})
    assert (status, answer["success"]) == (200, True)
    assert ask("DELETE", "/api/v1/auth/logout", token=answer["data"]["access_token"])[0] == 200
    status, refused = ask("POST", "/api/v1/auth/refresh", {"refresh_token": answer["data"]["refresh_token"]})
    assert (status, refused["success"]) == (401, False)


def test_the_longest_beginning_of_a_path_chooses_the_function(ask: Ask) -> None:
    assert ask("GET", "/api/auth/jwks")[1]["keys"][0]["alg"] == "RS256"
    for path in ("/api/auth/none", "/api/v1/none", "/api/v1/auth/none"):
        status, refused = ask("GET", path)
        assert (status, refused["success"]) == (404, False)

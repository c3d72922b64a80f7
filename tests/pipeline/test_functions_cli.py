"""Each function runs from a clean checkout under the plain functions-framework, as the platform starts it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import urllib3

from infra.local.catalogue import ROOT, Function, load
from infra.local.tokens import public_key

FRAMEWORK = Path(sys.executable).with_name("functions-framework")
FUNCTIONS = load()
HEADERS = {"Content-Type": "application/json"}

each_function = pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.name)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the image holds: the source, without anything that was made here."""
    folder = tmp_path_factory.mktemp("checkout") / "source"
    made = shutil.ignore_patterns(".*", "__pycache__", "tests")
    shutil.copytree(ROOT, folder, ignore=made)
    return folder


@contextmanager
def served(function: Function, checkout: Path, data: Path, **settings: str) -> Iterator[str]:
    """The function in a process of its own, with nothing in its environment but what is said; answers its URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environ = {
        "PATH": os.environ["PATH"],
        "FUNCTION_SOURCE": str(function.source.relative_to(ROOT)),
        "FUNCTION_TARGET": function.entry_point,
        "PYTHONPATH": str(checkout),
        "NO_GCE_CHECK": "true",
        **settings,
    }
    with (data / "log").open("wb") as log:
        process = subprocess.Popen(
            [str(FRAMEWORK), "--host", "127.0.0.1", "--port", str(port)],
            cwd=checkout, env=environ, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(20)


def ask(url: str, method: str, path: str, log: Path) -> tuple[int, dict[str, object]]:
    """The first answer of a process that is only just starting."""
    pause = threading.Event()
    with urllib3.PoolManager(retries=False, timeout=20.0) as pool:
        for _ in range(200):
            try:
                answer = pool.request(method, url + path, headers=HEADERS, body=b"{}" if method == "POST" else None)
            except urllib3.exceptions.NewConnectionError:
                pause.wait(0.1)
                continue
            assert answer.headers["Content-Type"] == "application/json", answer.data[:300]
            return answer.status, json.loads(answer.data)
    raise AssertionError(f"It does not listen: {log.read_text(errors='replace')[-2000:]}")


def call_of(function: Function) -> tuple[str, str]:
    return ("GET", "/health" if function.name == "api" else "/nowhere") if function.public else ("POST", function.path)


EXPECTED = {
    "api": 200, "auth": 404, "oauth": 404, "sync": 400, "gmail_push": 400, "graph_push": 404, "tick": 200, "senders": 400,
    "privacy": 404,
}  # fmt: skip


@each_function
def test_a_function_answers_from_a_clean_checkout(function: Function, checkout: Path, tmp_path: Path) -> None:
    issuer = {"JWT_ISSUER": "https://issuer.test", "JWT_PUBLIC_KEY": str(public_key(tmp_path))}
    issuer["AUTH_ISSUER"] = "https://own.test"
    with served(function, checkout, tmp_path, DATA_DIR=str(tmp_path / "data"), **issuer) as url:
        status, body = ask(url, *call_of(function), tmp_path / "log")
    assert status == EXPECTED[function.name], body
    assert status == 200 or body["success"] is False


@each_function
def test_a_function_without_a_project_says_so(function: Function, checkout: Path, tmp_path: Path) -> None:
    with served(function, checkout, tmp_path, BACKEND="cloud", K_SERVICE=function.name) as url:
        status, body = ask(url, *call_of(function), tmp_path / "log")
    sentence = "GOOGLE_CLOUD_PROJECT must name the Google Cloud project."
    assert (status, body["error"]) == (500, {"code": "misconfigured", "message": sentence, "details": {}})
    assert sentence in (tmp_path / "log").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["api", "auth", "oauth"])
def test_a_function_without_settings_says_what_it_lacks(name: str, checkout: Path, tmp_path: Path) -> None:
    [function] = [function for function in FUNCTIONS if function.name == name]
    with served(function, checkout, tmp_path, DATA_DIR=str(tmp_path / "data")) as url:
        status, body = ask(url, *call_of(function), tmp_path / "log")
    assert (status, body["error"]["code"]) == (500, "misconfigured")  # type: ignore[index]

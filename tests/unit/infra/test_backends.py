"""One set of adapters is loaded, never the other; what a cloud lacks is said in one sentence."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from infra.local.catalogue import ROOT, load
from infra.local.tokens import public_key

CLOUD = {
    "BACKEND": "cloud",
    "K_SERVICE": "a-function",
    "GOOGLE_CLOUD_PROJECT": "brainstem-1",
    "CLOUD_LOCATION": "europe-west1",
    "GMAIL_TOPIC": "projects/brainstem-1/topics/gmail",
}
FOREIGN = ("shared.adapters.cloud", "google.cloud.", "google.api_core", "google.auth", "google.pubsub", "grpc")
NO_CREDENTIALS = {"GOOGLE_APPLICATION_CREDENTIALS": "/nowhere/credentials.json"}

_LOADED = """
import sys
from shared import wiring
brainstem = wiring.from_env()
for name in sys.argv[1:]:
    getattr(brainstem, name)
print(*sorted(name for name in sys.modules if name.startswith(("shared.", "google.", "grpc", "sqlite3"))), sep="\\n")
"""
_ANONYMOUS = """
import google.auth, google.auth.credentials
google.auth.default = lambda *_, **__: (google.auth.credentials.AnonymousCredentials(), None)
"""
_ANSWER = """
import flask
from werkzeug.test import EnvironBuilder
from shared import wiring
answer = wiring.answer("tick", flask.Request(EnvironBuilder(method="POST", path="/").get_environ()))
print(answer.status_code, answer.get_data(as_text=True))
"""


def run(source: str, folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter with these variables and none of Google's or ours beside them."""
    return subprocess.run(
        [sys.executable, "-c", source, *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=120,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "PYTHONPATH": str(ROOT),
            "NO_GCE_CHECK": "true",
            **environ,
        },
    )


def identity(folder: Path) -> dict[str, str]:
    folder.mkdir(exist_ok=True)
    return {
        "AUTH_ISSUER": "https://auth.test",
        "JWT_ISSUER": "https://issuer.test",
        "JWT_PUBLIC_KEY": str(public_key(folder)),
    }


_HERD = """
from concurrent.futures import ThreadPoolExecutor
import flask
from werkzeug.test import EnvironBuilder
from shared import sets, wiring
made = []
embedded = sets.embedded
wiring.embedded = lambda settings: made.append(settings) or embedded(settings)
def ask(_):
    return wiring.answer("tick", flask.Request(EnvironBuilder(method="POST", path="/").get_environ())).status_code
with ThreadPoolExecutor(32) as pool:
    print(len(made), set(pool.map(ask, range(32))), len(made))
"""

NAMES = [function.name for function in load()]


def test_first_requests_that_come_together_share_one_set_of_adapters(tmp_path: Path) -> None:
    done = run(_HERD, tmp_path, DATA_DIR=str(tmp_path / "data"), **identity(tmp_path / "keys"))
    assert done.stdout.split() == ["0", "{200}", "1"], done.stderr


def test_embedded_mode_loads_nothing_of_google_cloud(tmp_path: Path) -> None:
    done = run(_LOADED, tmp_path, *NAMES, DATA_DIR=str(tmp_path / "data"), **identity(tmp_path / "keys"))
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert "shared.adapters.embedded.store" in loaded
    assert not {name for name in loaded if name.startswith(FOREIGN)}


def test_cloud_mode_loads_nothing_of_the_database_but_the_clock_beside_it(tmp_path: Path) -> None:
    done = run(_ANONYMOUS + _LOADED, tmp_path, *NAMES, **CLOUD, **identity(tmp_path / "keys"))
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert "shared.adapters.cloud.store" in loaded
    assert "sqlite3" not in loaded
    assert {name for name in loaded if name.startswith("shared.adapters.embedded.")} == {
        "shared.adapters.embedded.clock"
    }
    assert not (tmp_path / ".data").exists()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"GOOGLE_CLOUD_PROJECT": ""}, "GOOGLE_CLOUD_PROJECT must name the Google Cloud project."),
        ({"CLOUD_LOCATION": ""}, "CLOUD_LOCATION must say where the task queues are, such as europe-west1."),
        (
            NO_CREDENTIALS,
            "Google Cloud credentials are missing: run `gcloud auth application-default login`,"
            " or start this under a service account.",
        ),
    ],
    ids=["project", "location", "credentials"],
)
def test_what_the_cloud_lacks_is_said_in_one_sentence(tmp_path: Path, change: dict[str, str], sentence: str) -> None:
    prefix = "" if change is NO_CREDENTIALS else _ANONYMOUS
    done = run(prefix + _ANSWER, tmp_path, **CLOUD | change)
    assert done.returncode == 0, done.stderr
    *logged, answer = done.stdout.splitlines()
    [line] = [orjson.loads(line) for line in logged]
    assert (line["severity"], line["message"]) == ("ERROR", sentence)
    status, _, body = answer.partition(" ")
    assert status == "500"
    assert orjson.loads(body)["error"] == {"code": "misconfigured", "message": sentence, "details": {}}
    assert done.stderr == ""

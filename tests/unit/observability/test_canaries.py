"""Nothing secret is logged by any test: the watch that says so sees what it has to see, and a whole life shows it nothing."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from base64 import urlsafe_b64encode
from pathlib import Path

import jwt
import pytest

from infra.local.catalogue import ROOT
from infra.local.generator import generate
from tests.canaries import Watch, canary, leaks
from tests.world import ADDRESS, World

RANDOM = urlsafe_b64encode(hashlib.sha256(b"x").digest()).decode().rstrip("=")
PEM = "-----BEGIN " + "PRIVATE KEY-----\nMC4C"


@pytest.mark.parametrize(
    ("secret", "kind"),
    [
        (canary("a password"), "canary"),
        ("ya29.0f3e", "token of Google's"),
        ("1//0gk3", "token of Google's"),
        ("EwB" + "1f" * 20, "token of Microsoft's"),
        ("M.C5_1f2e", "token of Microsoft's"),
        ("M.C5_code.1f2e", "token of Microsoft's"),
        ("4/01f2e3d4c", "code of Google's"),
        (jwt.encode({"sub": "ann"}, "x" * 32), "JWT"),
        (PEM, "key"),
        ("$argon2id$v=19$m=19456", "password"),
        ("Zoë <zoe@lefevre.example>", "address"),
        (RANDOM, "random"),
        (f"https://brain.example/oauth/google/consent?state={RANDOM}&x=1", "random"),
        ("Re: the leaking tap", "mail"),
        ("Please confirm by Friday so that the tickets can be printed.", "mail"),
    ],
)
def test_a_secret_is_known_by_its_mark_or_shape(secret: str, kind: str) -> None:
    beside = (
        f'{{"event":"x","reason":"{secret}"}}',
        f'{{"reason":["a {secret}, b"]}}',
        f"https://a.b/c?code={secret}&d=1",
    )
    for line in (secret, *beside):
        assert kind in leaks(line)


@pytest.mark.parametrize(
    "text",
    [
        "A page was committed.",
        "4bf92f3577b34da6a3ce929d0e0e4736",
        "user_abc123:primary:GOOGLE",
        "h_" + "a2" * 26,
        "u_" + "a2" * 13,
        hashlib.sha256(b"x").hexdigest(),
        "users/ann/mailboxes/user_abc123:primary:GOOGLE",
        "AAMkAGI2EwBTHV14/0aaaaSAAAeyJhbGciOiAx=" * 9,
        "test_a_secret_is_known_by_its_mark_or_shape_1",
        "https://brain.example/oauth/google/callback",
        "ann@example.org",
    ],
)
def test_what_may_be_logged_is_not_taken_for_a_secret(text: str) -> None:
    assert leaks(f'{{"severity":"INFO","message":"Said.","event":"x","reason":"{text}"}}') == []


CONFTEST = """
from tests import canaries

def pytest_configure(config):
    canaries.watch(config)
"""

CASES = {
    "a field": 'def test_it(): LOG.info("said", "Said.", reason=SECRET)',
    "a field of a debugging line": 'def test_it(): LOG.debug("said", "Said.", reason=SECRET)',
    "the message": 'def test_it(): LOG.warning("said", f"Said {SECRET}.")',
    "an error of ours": 'def test_it(): LOG.error("said", "Said.", error=errors.Busy(f"Busy with {SECRET}."))',
    "what is bound": 'def test_it():\n    logs.bind(route=SECRET)\n    LOG.info("said", "Said.")\n    logs.clear()',
    "a library": 'def test_it(): logging.getLogger("urllib3.pool").warning("Retrying %s", SECRET)',
    "a log that is set up": 'def test_it():\n    logs.configure(FakeClock())\n    LOG.info("said", "Said.", reason=SECRET)',
    "a thread": (
        'def test_it():\n    one = threading.Thread(target=lambda: LOG.info("said", "Said.", reason=SECRET))\n'
        "    one.start()\n    one.join()"
    ),
    "a fixture": (
        "@pytest.fixture(scope='session')\ndef made():\n    yield\n    LOG.info('said', 'Said.', reason=SECRET)\n\n"
        "def test_it(made): pass"
    ),
    "the log of a child process": (
        "def test_it(tmp_path):\n    (tmp_path / 'run').mkdir()\n"
        '    (tmp_path / \'run\' / \'log.jsonl\').write_text(f\'{{"event":"said","x":"{SECRET}"}}\\n\')'
    ),
}

HEAD = """
import logging
import threading

import pytest

from shared import errors
from shared.observability import logs
from tests.canaries import canary
from tests.unit.fakes import FakeClock

LOG = logs.named("shared.mail.sync")
SECRET = canary("nested")

"""


def nested(folder: Path, body: str, *options: str) -> subprocess.CompletedProcess[str]:
    """A run of pytest of its own that is watched as this one is."""
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_nested.py").write_text(HEAD + body + "\n")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--rootdir={folder}", *options, str(folder)],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_every_test_that_logs_a_secret_fails_however_it_does(tmp_path: Path) -> None:
    for number, body in enumerate(CASES.values()):
        (tmp_path / f"test_{number}.py").write_text(HEAD + body + "\n")
    done = nested(tmp_path, 'def test_it(): LOG.info("said", "Said.", mails=3, mailbox_id="u:primary:GOOGLE")')
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"{len(CASES) + 1} passed, {len(CASES)} errors" in done.stdout
    assert done.stdout.count("Secrets were logged: canary in") >= len(CASES)
    assert f"{canary('nested')}." not in "".join(line for line in done.stdout.splitlines() if "Secrets" in line)


def test_workers_watch_too(tmp_path: Path) -> None:
    done = nested(tmp_path, CASES["a field"], "-n", "1")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Secrets were logged: canary in said" in done.stdout


def test_this_run_is_watched(request: pytest.FixtureRequest) -> None:
    watch = request.config.pluginmanager.get_plugin("canaries")
    assert isinstance(watch, Watch)
    from shared.observability import logs

    before = watch.lines
    logs.named("shared.mail.sync").debug("looked", "It was looked at.")
    assert watch.lines == before + 1
    assert watch.found == []


def test_nothing_of_the_mail_or_the_tokens_of_two_mailboxes_is_logged_in_a_whole_life(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    watch = request.config.pluginmanager.get_plugin("canaries")
    assert isinstance(watch, Watch)
    before = watch.lines
    world = World(tmp_path, audit_seconds=60.0, poll_seconds=60.0)
    plans = [
        {
            **plan,
            "subject": canary(f"subject {number}"),
            "body": canary(f"body {number}"),
            "headers": {"List-Id": f"<{canary(f'header {number}')}>"},
        }
        for number, plan in enumerate(generate(1, 40, ADDRESS, world.clock.now() - 60))
    ]
    world.connect()
    world.connect_outlook()
    ids = world.google.add_mails(ADDRESS, plans)
    world.google.refuse(ADDRESS, ids[0], 500)
    world.outlook.add_mails(ADDRESS, plans)
    world.traffic(20, 400.0)
    world.run(400)
    world.api("POST", "/mail/disconnect", {"provider": "google"})
    world.run(60)
    assert watch.lines > before + 50
    assert watch.found == []

"""The whole machine on Google's emulators: the same verdict, and what lies in the emulators agrees with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from infra.local.catalogue import ROOT
from infra.local.emulators import RUN_FOLDER, Unavailable, are_given, emulators

pytestmark = pytest.mark.emulators


@pytest.fixture(autouse=True)
def _there_are_emulators() -> None:
    try:
        emulators()
    except Unavailable as error:
        pytest.skip(str(error))


def _demo(*arguments: str, own: bool = False) -> dict[str, Any]:
    """Run a small demo on the emulators of the tests, or on its own."""
    environ = {name: value for name, value in os.environ.items() if name != RUN_FOLDER or not own}
    done = subprocess.run(
        [sys.executable, "-m", "tests.pipeline.watched_demo", "--json", "--backend", "emulators", *arguments],
        cwd=ROOT, env=environ, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-6000:] + done.stdout[-2000:]
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert answer["ok"] is True
    assert answer["backend"] == "emulators"
    assert answer["lost"] == answer["duplicates"] == answer["differences"] == 0
    assert answer["contiguous"] is answer["consumer_ok"] is True
    assert answer["documents"] == answer["stored"]
    assert answer["pulled"] == answer["events"]
    return answer


def test_what_lies_in_the_emulators_is_what_the_api_lists_while_pushes_are_lost_doubled_and_early() -> None:
    verdict = _demo("--mails", "200", "--changes", "15", "--seed", "7")
    assert verdict["expected"] == verdict["stored"] > 150
    assert verdict["pushes"]["dropped"] > 0
    assert verdict["pushes"]["sent"] > verdict["pushes"]["failed"] == 0, "they went through the emulator"


def test_three_kills_at_random_moments_change_nothing_on_emulators() -> None:
    verdict = _demo("--mails", "200", "--changes", "15", "--kills", "3", "--seed", "11")
    assert verdict["kills"] == 3


def test_events_wait_while_pub_sub_is_away_and_none_is_lost_when_it_comes_back_empty() -> None:
    if are_given():
        pytest.skip("the emulators are not ours to take away")
    verdict = _demo("--mails", "200", "--changes", "30", "--outage", "15", "--seed", "5", own=True)
    assert verdict["outage"]["seconds"] == 15
    assert verdict["outage"]["outbox"] > 0

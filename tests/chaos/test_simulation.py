"""The whole product under a seeded scheduler: a fixed share of seeds, fresh ones of the day, and that a seed decides all."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.chaos.simulation.plan import CHANGES_AT_LEAST, MAILS_AT_LEAST, Action, Box, Plan
from tests.chaos.simulation.report import failure_text
from tests.chaos.simulation.shrink import shrink
from tests.chaos.simulation.world import run

FIXED = range(1, 26)
FRESH = 3

ROOT = Path(__file__).parents[2]
DIGEST = "from tests.chaos.simulation.campaign import summarise; print(summarise({seed}).digest)"


def judge(seed: int) -> None:
    outcome = run(Plan.of(seed))
    if not outcome.ok:
        pytest.fail(failure_text(seed, shrink(outcome, most=40)), pytrace=False)


@pytest.mark.parametrize("seed", FIXED)
def test_a_seed_ends_with_every_invariant_intact(seed):
    judge(seed)


@pytest.mark.parametrize("number", range(FRESH))
def test_a_seed_that_nobody_has_seen_before_today_does_as_well(number):
    """The day, as a number, is the seed's first part: a failure names it, and so it can be run again."""
    judge(int(time.strftime("%Y%m%d", time.gmtime())) * 10 + number)


@pytest.mark.parametrize("seed", [3, 11])
def test_the_same_seed_is_the_same_run_in_any_process(seed):
    def digest(hash_seed: str) -> str:
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", DIGEST.format(seed=seed)]
        return subprocess.run(command, env=environment, cwd=ROOT, check=True, capture_output=True, text=True).stdout

    assert digest("1") == digest("2") != ""


def test_every_plan_has_enough_to_do():
    for seed in range(200):
        plan = Plan.of(seed)
        assert sum(box.mails for box in plan.boxes) >= MAILS_AT_LEAST
        assert len(plan.actions) >= CHANGES_AT_LEAST
        assert 2 <= len(plan.boxes) <= 4
        assert 1 <= len(plan.skews) <= 3


@pytest.mark.parametrize("seed", range(1, 5))
def test_a_fresh_mail_that_is_404_to_instances_with_different_clocks_is_neither_lost_nor_stuck(seed):
    """One clock 27 s fast, one 180 s slow: a gap opened by the slow one looks old to the other, and young the other way."""
    mails = tuple(Action(20.0 + 7 * number, "mail", 0, 0.5, number) for number in range(6))
    not_yet = {"calls": [{"fault": "fresh_404", "probability": 1.0, "seconds": 8.0}]}
    plan = Plan(seed, (Box(0, 0, "box0@example.org", 3, 0.0),), mails, (27.5, -180.0), google=not_yet)
    assert run(plan).violations == []

"""The whole product under a seeded scheduler: a fixed share of seeds, fresh ones of the day, and that a seed decides all."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from infra.local.world import Served
from tests.chaos.simulation.host import Asked, Crossing
from tests.chaos.simulation.plan import CHANGES_AT_LEAST, MAILS_AT_LEAST, PROVIDERS, Action, Box, Plan
from tests.chaos.simulation.report import failure_text
from tests.chaos.simulation.shrink import shrink
from tests.chaos.simulation.world import Simulation, run

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


def test_seeds_have_mailboxes_at_either_provider_and_at_both():
    chosen = {Plan.of(seed).providers for seed in range(60)}
    assert chosen == {("google",), ("microsoft",), ("google", "microsoft")}


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_seed_can_be_had_for_one_provider_only(provider):
    assert {Plan.of(seed, (provider,)).providers for seed in range(20)} == {(provider,)}


def test_nothing_that_only_outlook_has_happens_in_a_mailbox_at_gmail():
    for seed in range(60):
        plan = Plan.of(seed)
        outlook = {box.number for box in plan.boxes if box.provider == "microsoft"}
        assert {action.box for action in plan.actions if "folder" in action.kind or action.kind == "move"} <= outlook


@pytest.fixture
def world(tmp_path):
    simulation = Simulation(tmp_path, Plan(1, (Box(0, 0, "box0@example.org", 3, 0.0),), ()))
    yield simulation
    simulation.close()


def audit_task(name, page="3"):
    body = {"mailbox": "user0:primary:GOOGLE", "kind": "audit", "epoch": 1, "page": page, "waits": 0}
    return name.format(page=page), body, None


def test_an_audit_that_did_not_begin_may_be_begun_again_at_the_next_poll_that_finds_it_due(world):
    world.enqueued(*audit_task("begin|user0:primary:GOOGLE|audit|1|{page}|300.0"))
    world.enqueued(*audit_task("begin|user0:primary:GOOGLE|audit|1|{page}|600.0"))
    world.enqueued(*audit_task("user0:primary:GOOGLE|audit|1|{page}|0"))
    assert world.violations == []


@pytest.mark.parametrize(
    "name", ["begin|user0:primary:GOOGLE|audit|1|{page}|300.0", "user0:primary:GOOGLE|audit|1|{page}|0"]
)
def test_an_audit_has_one_task_for_each_poll_and_page_all_the_same(world, name):
    world.enqueued(*audit_task(name))
    world.enqueued(*audit_task(name))
    assert [violation.name for violation in world.violations] == ["a_chain_never_forks"]


@pytest.fixture
def outlook(tmp_path):
    boxes = (Box(0, 0, "box0@example.org", 3, 0.0, "microsoft"),)
    simulation = Simulation(tmp_path, Plan(1, boxes, (), (0.0, 0.0)))
    yield simulation
    simulation.close()


def request(world, folder="a", cursor="", instance=0, **task):
    step = {"mailbox": "user0:primary:MICROSOFT", "kind": "live", "page": None, **task}
    asked = Asked("delta", "box0@example.org", folder, cursor)
    return world.sets_out(Crossing(asked, world.lives[instance], world.scheduler.now, step))


def violated(world):
    return [violation.name for violation in world.violations]


def test_a_folder_that_two_steps_ask_at_once_is_a_violation_and_two_folders_are_none(outlook):
    first = request(outlook)
    request(outlook, folder="b", instance=1)
    assert violated(outlook) == []
    request(outlook, instance=1)
    assert violated(outlook) == ["no_folder_is_asked_twice_at_once"]
    outlook.ended(first)


def test_a_chain_of_which_a_task_came_twice_may_ask_twice(outlook):
    task = {"mailbox": "user0:primary:MICROSOFT", "kind": "live", "epoch": 1, "page": "7", "hints": []}
    for _ in range(2):
        outlook.begun("sync", task)
        request(outlook, **task)
    assert violated(outlook) == []


def test_the_fifth_request_of_an_instance_is_a_violation_and_that_of_another_is_refused(outlook):
    for number in range(4):
        request(outlook, folder=str(number), cursor=None)
    request(outlook, folder="other", cursor=None, instance=1)
    assert violated(outlook) == []
    assert outlook.hosts["microsoft"].crowded(outlook.in_flight("box0@example.org"))[0].status == 429
    request(outlook, folder="fifth", cursor=None)
    assert violated(outlook) == ["a_mailbox_is_asked_little_at_once"]


def test_a_request_before_the_time_that_its_instance_was_told_is_a_violation(outlook):
    outlook.arrived(request(outlook), Served(429, {"retry-after": "30"}))
    outlook.ended(outlook.record.crossings[0])
    outlook.clock.advance(29.0)
    request(outlook, folder="b", instance=1)
    assert violated(outlook) == []
    request(outlook)
    assert violated(outlook) == ["nobody_asks_before_the_time_he_was_told"]

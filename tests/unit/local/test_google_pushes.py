"""Pushes: capped, lost, doubled, late, in wrong order, too early; and never what the truth depends on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from googleapiclient.errors import HttpError

from infra.local.google.app import create_app
from infra.local.google.simulator import GoogleSimulator
from infra.local.simulated.errors import ControlError
from infra.local.simulated.pump import PushPump
from tests.unit.local.conftest import World
from tests.unit.local.inprocess import ADDRESS, START, TOPIC, gmail_client, plan


@pytest.fixture
def watched(world: World) -> World:
    world.watch()
    world.pushed.clear()
    return world


def _arrive(world: World, after: float = 2.0) -> str:
    world.clock.time += after
    return world.sim.add_mails(ADDRESS, [plan()])[0]


def _users(sim: GoogleSimulator) -> Any:
    return gmail_client(create_app(sim), sim.add_mailbox(ADDRESS)["access_token"]).users()


def _counts(world: World) -> dict[str, int]:
    return {name: count for name, count in world.sim.report()["pushes"].items() if count}


def _pushed_ids(world: World) -> list[int]:
    return [data["historyId"] for _, data in world.pushed]


def test_a_change_rings_with_address_and_history_id(watched: World) -> None:
    _arrive(watched)
    assert watched.pushed == [(TOPIC, {"emailAddress": ADDRESS, "historyId": int(watched.cursor())})]


def test_without_a_watch_nothing_rings(world: World) -> None:
    _arrive(world)
    assert world.pushed == []
    assert _counts(world) == {}


def test_stop_and_expiry_end_the_ringing(watched: World) -> None:
    watched.clock.time += 7 * 86_400
    _arrive(watched)
    watched.open()
    watched.watch()
    watched.users.stop(userId="me").execute()
    watched.pushed.clear()
    _arrive(watched)
    assert watched.pushed == []


def test_at_most_one_a_second_and_the_excess_is_dropped(watched: World) -> None:
    for _ in range(5):
        _arrive(watched, after=0.4)
    assert len(watched.pushed) == 2
    watched.clock.time += 60
    watched.sim.pump()
    assert len(watched.pushed) == 2
    assert _counts(watched) == {"wanted": 6, "sent": 3, "throttled": 3}


def test_watch_rings_even_within_the_capped_second(watched: World) -> None:
    _arrive(watched)
    watched.watch()
    watched.watch()
    assert len(watched.pushed) == 3


@pytest.mark.parametrize(("behavior", "rings"), [("include", ["INBOX"]), ("exclude", ["SENT"])])
def test_a_label_filter_lets_some_changes_pass(world: World, behavior: str, rings: list[str]) -> None:
    world.watch(labelIds=["INBOX"], labelFilterBehavior=behavior)
    world.pushed.clear()
    seen = []
    for label in ("INBOX", "SENT"):
        world.clock.time += 2
        world.sim.add_mails(ADDRESS, [plan(labels=[label])])
        seen += [label] * len(world.pushed)
        world.pushed.clear()
    assert seen == rings


def test_dropped_pushes_never_come(watched: World) -> None:
    watched.sim.set_faults({"drop": 1.0})
    _arrive(watched)
    watched.clock.time += 60
    assert watched.sim.pump() is None
    assert watched.pushed == []
    assert _counts(watched) == {"wanted": 2, "sent": 1, "dropped": 1}


def test_doubled_pushes_come_twice(watched: World) -> None:
    watched.sim.set_faults({"duplicate": 1.0})
    _arrive(watched)
    assert len(watched.pushed) == 2
    assert _counts(watched)["duplicated"] == 1


def test_delayed_pushes_come_when_they_are_due(watched: World) -> None:
    watched.sim.set_faults({"delay": 1.0, "delay_seconds": 30})
    _arrive(watched)
    due = watched.sim.pump()
    assert watched.pushed == []
    assert due == watched.clock.time + 30
    watched.clock.time = due
    assert watched.sim.pump() is None
    assert len(watched.pushed) == 1


def test_reordered_pushes_come_behind_the_next_one(watched: World) -> None:
    watched.sim.set_faults({"reorder": 1.0})
    _arrive(watched)
    first = int(watched.cursor())
    watched.sim.set_faults({})
    _arrive(watched, after=1.5)
    assert _pushed_ids(watched) == [int(watched.cursor()), first]
    assert _counts(watched)["reordered"] == 1


def test_a_held_push_comes_alone_when_no_other_follows(watched: World) -> None:
    watched.sim.set_faults({"reorder": 1.0})
    _arrive(watched)
    watched.clock.time += 2
    watched.sim.pump()
    assert len(watched.pushed) == 1


def test_an_early_push_precedes_its_change(watched: World) -> None:
    watched.sim.set_faults({"early": 1.0, "early_seconds": 3})
    cursor = watched.cursor()
    message_id = _arrive(watched)
    assert _pushed_ids(watched)[0] > int(cursor)
    assert (watched.cursor(), watched.since(cursor), watched.list_ids()) == (cursor, [], [])
    with pytest.raises(HttpError, match="404"):
        watched.get(message_id)
    watched.clock.time += 3
    assert watched.cursor() == str(_pushed_ids(watched)[0])
    assert [record["messages"][0]["id"] for record in watched.since(cursor)] == [message_id]
    assert watched.get(message_id)["historyId"] == watched.cursor()


def test_early_changes_of_labels_and_deletions_show_late_as_well(watched: World) -> None:
    one = _arrive(watched)
    two = _arrive(watched)
    watched.clock.time += 2
    watched.sim.set_faults({"early": 1.0, "early_seconds": 3})
    watched.sim.trash(ADDRESS, one)
    watched.sim.delete(ADDRESS, two)
    assert watched.get(one)["labelIds"] == ["INBOX", "UNREAD"]
    assert watched.get(two)["id"] == two
    assert [mail["labels"] for mail in watched.sim.truth(ADDRESS)["mails"]] == [["TRASH", "UNREAD"]]
    watched.clock.time += 3
    assert watched.get(one)["labelIds"] == ["TRASH", "UNREAD"]
    with pytest.raises(HttpError, match="404"):
        watched.get(two)


def test_what_follows_an_early_change_does_not_show_before_it(watched: World) -> None:
    """Otherwise a client would move its cursor over a record that it has never seen."""
    watched.sim.set_faults({"early": 1.0, "early_seconds": 5})
    cursor = watched.cursor()
    first = _arrive(watched)
    watched.sim.set_faults({})
    second = _arrive(watched)
    assert watched.since(cursor) == []
    assert watched.sim.truth(ADDRESS)["visible"] == {first: START + 7, second: START + 7}
    watched.clock.time += 5
    assert [record["messages"][0]["id"] for record in watched.since(cursor)] == [first, second]


def test_early_changes_show_one_by_one_as_their_times_come(watched: World) -> None:
    watched.sim.set_faults({"early": 1.0, "early_seconds": 5})
    first = _arrive(watched)
    second = _arrive(watched, after=2)
    third = _arrive(watched, after=2)
    shown = []
    for wait in (0, 1, 2, 2):
        watched.clock.time += wait
        shown.append(watched.list_ids())
    assert shown == [[], [first], [second, first], [third, second, first]]


def test_a_restart_does_not_show_an_early_change_sooner_or_never(watched: World) -> None:
    watched.sim.set_faults({"early": 1.0, "early_seconds": 5})
    message_id = _arrive(watched)
    watched.sim.close()
    watched.open()
    assert watched.list_ids() == []
    watched.clock.time += 5
    assert watched.list_ids() == [message_id]


def test_a_failed_operation_does_not_hide_an_early_change_for_good(watched: World) -> None:
    watched.sim.set_faults({"early": 1.0, "early_seconds": 5})
    message_id = _arrive(watched)
    watched.clock.time += 5
    with pytest.raises(ControlError):
        watched.sim.delete(ADDRESS, "00ff")
    assert watched.list_ids() == [message_id]


def test_truth_tells_when_a_change_happened_and_when_it_showed(watched: World) -> None:
    watched.sim.set_faults({"early": 1.0, "early_seconds": 5})
    message_id = _arrive(watched)
    truth = watched.sim.truth(ADDRESS)
    assert truth["arrived"] == {message_id: START + 2}
    assert truth["visible"] == {message_id: START + 7}


def test_fates_follow_the_seed(tmp_path: Path, world: World) -> None:
    def run(seed: int, name: str) -> list[int]:
        sent: list[bytes] = []
        sim = GoogleSimulator(tmp_path / name, world.clock, lambda topic, data: sent.append(data), seed=1)
        _users(sim).watch(userId="me", body={"topicName": TOPIC}).execute()
        sim.set_faults({"drop": 0.3, "duplicate": 0.3, "seed": seed})
        counts = []
        for _ in range(40):
            world.clock.time += 2
            sim.add_mails(ADDRESS, [plan()])
            counts.append(len(sent))
        sim.close()
        return counts

    assert run(1, "a") == run(1, "b") != run(2, "c")


def test_a_publish_that_fails_is_counted_and_not_repeated(tmp_path: Path, world: World) -> None:
    def broken(topic: str, data: bytes) -> None:
        raise ConnectionError

    sim = GoogleSimulator(tmp_path / "broken.sqlite", world.clock, broken)
    _users(sim).watch(userId="me", body={"topicName": TOPIC}).execute()
    sim.add_mails(ADDRESS, [plan()])
    assert sim.pump() is None
    assert sim.report()["pushes"] | {"wanted": 2, "failed": 2, "sent": 0} == sim.report()["pushes"]
    sim.close()


def test_the_report_of_faults_counts_the_fates_that_were_planned(watched: World) -> None:
    watched.sim.set_faults({"drop": 1.0, "reorder": 0.5})
    _arrive(watched)
    assert watched.sim.report()["faults"] == {"push dropped": 1, "push out of order": 0}
    watched.sim.set_faults({})
    assert watched.sim.report()["faults"] == {"push dropped": 1}


def test_a_short_run_may_ask_for_some_of_each_fate(watched: World) -> None:
    rare = {"drop": 1e-9, "duplicate": 1e-9, "delay": 1e-9, "reorder": 1e-9, "early": 1e-9}
    watched.sim.set_faults({**rare, "sure": 6})
    for _ in range(8):
        _arrive(watched)
    counts = watched.sim.report()["pushes"]
    assert {name: counts[name] for name in ("dropped", "duplicated", "delayed", "reordered", "early")} == {
        "dropped": 2, "duplicated": 1, "delayed": 1, "reordered": 1, "early": 1,
    }  # fmt: skip


@pytest.mark.parametrize("faults", [{"drop": "much"}, {"drop": -1}, {"typo": 0.5}, {"early": True}, {"calls": {}}])
def test_a_fault_plan_that_makes_no_sense_is_refused(world: World, faults: dict[str, Any]) -> None:
    with pytest.raises(ControlError):
        world.sim.set_faults(faults)


def test_publishing_happens_outside_of_the_lock(tmp_path: Path, world: World) -> None:
    """Otherwise a receiver that asks back before it acknowledges would wait for itself."""
    answers: list[Any] = []

    def ask_back(topic: str, data: bytes) -> None:
        asking = threading.Thread(target=lambda: answers.append(users.getProfile(userId="me").execute()))
        asking.start()
        asking.join(timeout=5)

    sim = GoogleSimulator(tmp_path / "asking.sqlite", world.clock, ask_back)
    users = _users(sim)
    users.watch(userId="me", body={"topicName": TOPIC}).execute()
    sim.add_mails(ADDRESS, [plan()])
    assert len(answers) == 2
    sim.close()


def test_the_pump_thread_sends_what_falls_due(watched: World, until: Callable[[Callable[[], bool]], None]) -> None:
    watched.sim.set_faults({"delay": 1.0, "delay_seconds": 5})
    pump = PushPump(watched.sim)
    pump.start()
    _arrive(watched)
    assert watched.pushed == []
    watched.clock.time += 5
    watched.sim.pushes.rung.set()
    until(lambda: len(watched.pushed) == 1)
    pump.stop()

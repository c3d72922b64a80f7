"""Something that we need is away for an hour, or an instance's clock is wrong: it is seen, and it ends by itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from infra.local.changes import Traffic
from infra.local.world import Served
from tests.chaos.overload import Strained
from tests.chaos.wire import Asked, Wire, answered, judge, status
from tests.world import ADDRESS, UID, World

HOUR = 3600.0
LATENCY = 0.15
SOON = 900.0
"""Seconds after an outage within which all has to be as if it had not been."""


def test_what_happens_while_the_bus_is_away_for_an_hour_waits_in_the_outbox_and_goes_out_in_order(
    tmp_path: Path,
) -> None:
    seed = 1
    world = Strained(tmp_path, seed, page_size=20)
    world.google.set_faults({"latency": LATENCY})
    world.join(UID, ADDRESS, 400)
    traffic = Traffic(world.google, ADDRESS, seed, 60)
    world.run(2)
    sent = len(world.received)
    assert not world.status()["backfill"]["done"]
    world.bus.down = True
    depths = []
    for _ in range(60):
        traffic.change()
        world.run(HOUR / 60)
        depths.append(world.status()["outbox"])
    assert world.status()["backfill"]["done"], "mail is stored all the same"
    assert depths == sorted(depths)
    assert depths[-1] > 300
    assert len(world.received) == sent
    assert world.taken["sync", 200] + world.taken["sync", 503] < 400
    world.bus.down = False
    world.run(120)
    assert world.status()["outbox"] == 0
    world.run(SOON)
    world.judge(ADDRESS)
    world.close()


def refuse(world: World, _: Asked) -> tuple[Served, bytes]:
    raise ConnectionRefusedError("nobody listens")


def time_out(world: World, _: Asked) -> tuple[Served, bytes]:
    world.clock.sleep(world.settings.provider_timeout)
    raise TimeoutError("no answer")


def say_503(world: World, _: Asked) -> tuple[Served, bytes]:
    return answered({"error": {"code": 503, "message": "backend error", "status": "UNAVAILABLE"}}, 503)


Outage = Callable[[World, Asked], tuple[Served, bytes]]


@pytest.mark.parametrize("outage", [say_503, refuse, time_out])
def test_a_provider_that_is_away_for_an_hour_is_left_alone_and_followed_again_by_itself(
    tmp_path: Path, outage: Outage
) -> None:
    world = World(tmp_path, 5, page_size=20)
    wire = Wire(world)
    world.google.set_faults({"latency": LATENCY})
    world.connect(400)
    world.run(2)
    assert not status(world)["backfill"]["done"]
    wire.hook = lambda asked: outage(world, asked)
    down = world.clock.now()
    world.traffic(30, HOUR)
    shown = status(world)
    assert shown["status"] == "error", "ten failures in a row show"
    assert shown["retry_count"] >= 10
    assert shown["last_error"]
    assert len(wire.since(down)) < 150
    wire.hook = lambda _: None
    world.run(SOON)
    assert status(world)["status"] == "live"
    judge(world)
    world.close()


@pytest.mark.parametrize("outage", [say_503, refuse, time_out])
def test_a_mailbox_that_is_connected_while_the_provider_is_away_starts_by_itself(
    tmp_path: Path, outage: Outage
) -> None:
    world = World(tmp_path, 6)
    wire = Wire(world)
    wire.hook = lambda asked: outage(world, asked)
    world.connect(60)
    world.run(HOUR)
    assert status(world)["last_error"]
    assert status(world)["messages"] == 0
    assert len(wire.asked) < 60
    wire.hook = lambda _: None
    world.run(SOON)
    assert status(world)["status"] == "live"
    judge(world)
    world.close()


@pytest.mark.parametrize("offset", [600.0, -600.0])
@pytest.mark.parametrize("quota", ["none", "2026"])
def test_instances_whose_clocks_are_ten_minutes_apart_follow_one_mailbox_exactly(
    tmp_path: Path, offset: float, quota: str
) -> None:
    world = Strained(tmp_path, 8, gmail_quota=quota)
    world.skewed(offset)
    if quota != "none":
        world.google.set_quota({"profile": quota})
    world.join(UID, ADDRESS, 300)
    traffic = Traffic(world.google, ADDRESS, 8, 60)
    for _ in range(60):
        traffic.change()
        world.run(3 * HOUR / 60)  # three times as long as an access token lives
    world.run(SOON + 600)
    assert world.google.report()["requests"].get("token", 0) <= 12, "no storm of refreshes"
    assert not world.google.report()["quota"]["refused"].get(ADDRESS), "and the quota is kept"
    assert world.taken["sync", 200] < 300
    world.judge(ADDRESS)  # without an anchor: what is live and what is past, ten minutes cannot tell
    world.close()

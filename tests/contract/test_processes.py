"""Several processes at once on one world: what one wrote the others see, and no compare-and-set is lost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from shared.errors import Conflict
from shared.ports import BusMessage, Create, Enqueued, Store, Update
from tests.contract.worlds import World, reach, run

ROOT = Path(__file__).parents[2]
ROUNDS = 50


def start(kind: str, world: World, what: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "tests.contract.test_processes", kind, world.address, what],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    answer, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return answer.strip()


def count(store: Store) -> None:
    done = 0
    while done < ROUNDS:
        doc = store.get(["users/u"])["users/u"]
        try:
            store.commit([Update("users/u", {"n": doc.data["n"] + 1}, doc.version)])
        except Conflict:
            continue
        done += 1


def test_two_processes_race_and_lose_no_update(kind: str, world: World) -> None:
    store = world.store()
    store.commit([Create("users/u", {"n": 0})])
    other = start(kind, world, "count")
    count(store)
    finish(other)
    assert store.get(["users/u"])["users/u"].data == {"n": 2 * ROUNDS}


def test_another_process_sees_names_and_feeds_the_queue_and_the_bus(kind: str, world: World) -> None:
    world.subscribe("sub", "events")
    world.tasks.enqueue("wide", "/later", {}, "waits", not_before=world.clock.now() + 100)
    world.tasks.enqueue("wide", "/first", {}, "started")
    during: list[str] = []

    def answer(call: object) -> int:
        if not during:
            during.append(finish(start(kind, world, "feed")))
        return 200

    calls = run(world, answer)
    assert during == [f"{Enqueued.PENDING} {Enqueued.SPENT} {Enqueued.CREATED}"]
    assert sorted(call.target for call in calls) == ["/first", "/other", "/sub"]


def test_the_world_outlives_its_process(kind: str, world: World) -> None:
    finish(start(kind, world, "build"))
    assert world.store().get(["users/u"])["users/u"].data == {"n": 7}
    assert world.secrets.get("name") == b"value"
    assert [call.target for call in run(world, lambda call: 200)] == ["/built"]


def main(kind: str, address: str, what: str) -> None:
    world = reach(kind, address)
    if what == "count":
        count(world.store())
    elif what == "feed":
        world.bus.publish("events", [BusMessage(b"x")])
        print(*(world.tasks.enqueue("wide", "/other", {}, name) for name in ("waits", "started", "other")))
    elif what == "build":
        world.store().commit([Create("users/u", {"n": 7})])
        world.secrets.add("name", b"value")
        world.tasks.enqueue("wide", "/built", {})
    world.close()


if __name__ == "__main__":
    main(*sys.argv[1:])

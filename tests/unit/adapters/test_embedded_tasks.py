"""What a crash does to the embedded queue, and what its delivering side shows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.adapters.embedded.clock import VirtualClock
from shared.adapters.embedded.database import Database
from shared.adapters.embedded.tasks import EmbeddedTasks, QueueConfig
from shared.errors import StorageFull
from shared.ports import Enqueued

QUEUES = {"sync": QueueConfig(max_concurrent=2, min_backoff=10, max_backoff=30, max_attempts=3, deadline=25)}


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "b.db", synchronous="OFF")
    yield database
    database.close()


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def tasks(database: Database, clock: VirtualClock) -> EmbeddedTasks:
    return EmbeddedTasks(database, clock, QUEUES)


def test_a_task_in_flight_during_a_crash_is_delivered_again(
    tasks: EmbeddedTasks, database: Database, clock: VirtualClock
) -> None:
    tasks.enqueue("sync", "/x", {"n": 1}, "n")
    (before,) = tasks.claim(10)
    restarted = EmbeddedTasks(database, clock, QUEUES)
    assert restarted.enqueue("sync", "/x", {}, "n") is Enqueued.SPENT
    (after,) = restarted.claim(10)
    assert (after.id, after.path, after.body) == (before.id, "/x", b'{"n":1}')
    assert after.headers["X-CloudTasks-TaskRetryCount"] == "1"
    assert after.headers["X-CloudTasks-TaskExecutionCount"] == "0"


def test_crashes_do_not_count_as_failures(tasks: EmbeddedTasks, database: Database, clock: VirtualClock) -> None:
    tasks.enqueue("sync", "/x", {})
    for _ in range(5):
        assert len(EmbeddedTasks(database, clock, QUEUES).claim(1)) == 1
    survivor = EmbeddedTasks(database, clock, QUEUES)
    survivor.settle(survivor.claim(1)[0], 503)
    assert (survivor.depth(), survivor.dead_letters()) == (1, [])


def test_what_is_in_flight_is_not_claimed_again(tasks: EmbeddedTasks, clock: VirtualClock) -> None:
    tasks.enqueue("sync", "/x", {})
    (delivery,) = tasks.claim(10)
    clock.advance(3600)
    assert tasks.claim(10) == []
    assert delivery.timeout == 25
    tasks.settle(delivery, 200)
    assert (tasks.claim(10), tasks.depth()) == ([], 0)


def test_a_claim_takes_the_oldest_first_and_no_more_than_asked(tasks: EmbeddedTasks, clock: VirtualClock) -> None:
    tasks.enqueue("sync", "/b", {}, not_before=clock.now() + 2)
    tasks.enqueue("sync", "/a", {}, not_before=clock.now() + 1)
    clock.advance(5)
    assert [delivery.path for delivery in tasks.claim(1)] == ["/a"]
    assert [delivery.path for delivery in tasks.claim(1)] == ["/b"]


def test_next_due_looks_past_what_is_in_flight_and_full_queues(tasks: EmbeddedTasks, clock: VirtualClock) -> None:
    now = clock.now()
    assert tasks.next_due() is None
    tasks.enqueue("sync", "/a", {})
    tasks.enqueue("sync", "/b", {}, not_before=now + 7)
    assert tasks.next_due() == now
    (first,) = tasks.claim(1)
    assert tasks.next_due() == now + 7
    clock.advance(7)
    tasks.claim(1)
    tasks.enqueue("sync", "/c", {})
    assert tasks.next_due() is None, "the queue is full until something is settled"
    tasks.settle(first, 200)
    assert tasks.next_due() == now + 7


def test_a_call_without_an_answer_is_a_failure_but_no_execution(tasks: EmbeddedTasks, clock: VirtualClock) -> None:
    tasks.enqueue("sync", "/x", {})
    tasks.settle(tasks.claim(1)[0], 599)
    clock.advance(10)
    (again,) = tasks.claim(1)
    assert again.headers["X-CloudTasks-TaskRetryCount"] == "1"
    assert again.headers["X-CloudTasks-TaskExecutionCount"] == "0"
    assert float(again.headers["X-CloudTasks-TaskETA"]) == clock.now()


def test_a_task_that_was_given_up_can_be_looked_at(tasks: EmbeddedTasks, clock: VirtualClock) -> None:
    tasks.enqueue("sync", "/x", {"n": 1}, "n")
    for _ in range(3):
        tasks.settle(tasks.claim(1)[0], 500)
        clock.advance(30)
    (dead,) = tasks.dead_letters()
    assert (dead.queue, dead.name, dead.path, dead.body, dead.failures, dead.status) == (
        "sync", "n", "/x", b'{"n":1}', 3, 500,
    )  # fmt: skip
    assert tasks.depth() == 0


def test_spent_names_and_dead_letters_do_not_pile_up(
    tasks: EmbeddedTasks, clock: VirtualClock, database: Database
) -> None:
    for round_ in range(5):
        for n in range(10):
            tasks.enqueue("sync", "/x", {}, f"{round_}-{n}")
            tasks.settle(tasks.claim(1)[0], 200)
        tasks.enqueue("sync", "/dead", {})
        for _ in range(3):
            clock.advance(30)
            tasks.settle(tasks.claim(1)[0], 500)
        clock.advance(31 * 86400)
    tasks.enqueue("sync", "/x", {}, "last")
    tasks.settle(tasks.claim(1)[0], 200)
    with database.read() as connection:
        assert connection.execute("SELECT name FROM task_spent").fetchall() == [("last",)]
    assert tasks.dead_letters() == []


def test_names_and_dead_letters_are_forgotten_in_their_time_though_nothing_is_settled_any_more(
    tasks: EmbeddedTasks, clock: VirtualClock, database: Database
) -> None:
    tasks.enqueue("sync", "/dead", {}, "dead")
    for _ in range(3):
        clock.advance(30)
        tasks.settle(tasks.claim(1)[0], 500)
    for n in range(450):
        tasks.enqueue("sync", "/x", {}, f"{n}")
        tasks.settle(tasks.claim(1)[0], 200)

    def names() -> int:
        with database.read() as connection:
            return int(connection.execute("SELECT count(*) FROM task_spent").fetchone()[0])

    left = []
    for seconds in (0, 86_399, 1, 1, 1, 1):
        clock.advance(seconds)
        assert tasks.claim(1) == []
        left.append(names())
    assert left == [451, 451, 251, 51, 0, 0], "a bounded number with each look"
    assert len(tasks.dead_letters()) == 1
    clock.advance(30 * 86_400)
    assert tasks.claim(1) == []
    assert tasks.dead_letters() == []


def test_an_idle_queue_is_not_written_to(
    tasks: EmbeddedTasks, clock: VirtualClock, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks.enqueue("sync", "/x", {}, "n")
    tasks.settle(tasks.claim(1)[0], 200)
    monkeypatch.setattr(database, "write", None)
    for _ in range(100):
        clock.advance(800)
        assert tasks.claim(1) == []


def test_settling_twice_or_after_the_end_changes_nothing(tasks: EmbeddedTasks) -> None:
    tasks.enqueue("sync", "/x", {}, "n")
    (delivery,) = tasks.claim(1)
    tasks.settle(delivery, 200)
    tasks.settle(delivery, 500)
    assert (tasks.depth(), tasks.dead_letters(), tasks.claim(1)) == (0, [], [])


def test_a_full_disk_refuses_the_enqueue(tasks: EmbeddedTasks, database: Database) -> None:
    with database.write() as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StorageFull):
        tasks.enqueue("sync", "/x", {"x": "x" * 500_000}, "n")
    assert tasks.enqueue("sync", "/x", {}, "n") is Enqueued.CREATED, "the name was not taken"

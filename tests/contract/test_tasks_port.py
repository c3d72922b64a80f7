"""Tasks: delivered at least once, names taken once per queue and day, not before their time, given up visibly."""

from __future__ import annotations

from typing import Any

import pytest

from shared.errors import TooLarge
from shared.ports import Enqueued
from tests.contract.worlds import Answer, Call, World, run

CREATED, PENDING, SPENT = Enqueued.CREATED, Enqueued.PENDING, Enqueued.SPENT


def always(status: int) -> Answer:
    return lambda call: status


def paths(calls: list[Call]) -> list[str]:
    return [call.target for call in calls]


def add(world: World, path: str = "/sync/step", name: str | None = None, **options: Any) -> Enqueued:
    return world.tasks.enqueue(options.pop("queue", "wide"), path, options.pop("body", {}), name, **options)


def test_a_task_is_posted_as_cloud_tasks_posts_it(world: World) -> None:
    body = {"mailbox": "u:primary:GOOGLE", "n": 1, "é": [None, True]}
    assert add(world, body=body, name="u:live-1") is CREATED
    (call,) = run(world, always(200))
    assert call.target == "/sync/step"
    assert call.body == body
    assert call.headers["Content-Type"] == "application/json"
    assert call.headers["User-Agent"] == "Google-Cloud-Tasks"
    assert call.headers["X-CloudTasks-QueueName"] == "wide"
    assert call.headers["X-CloudTasks-TaskName"]
    assert call.headers["X-CloudTasks-TaskRetryCount"] == "0"
    assert call.headers["X-CloudTasks-TaskExecutionCount"] == "0"
    assert float(call.headers["X-CloudTasks-TaskETA"]) == pytest.approx(world.clock.now(), abs=1)


def test_headers_stay_headers_whatever_the_name(world: World) -> None:
    assert add(world, name="naïve name\r\nX-Evil: 1") is CREATED
    (call,) = run(world, always(200))
    for value in call.headers.values():
        assert value.isascii()
        assert value.isprintable()


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_a_task_answered_2xx_is_done(world: World, status: int) -> None:
    add(world)
    assert len(run(world, always(status))) == 1
    world.advance(7200)
    assert run(world, always(200)) == []


@pytest.mark.parametrize("status", [102, 300, 400, 404, 409, 429, 500, 503])
def test_any_other_answer_brings_it_back_after_the_backoff(world: World, status: int) -> None:
    add(world, body={"n": 1})
    run(world, always(status))
    world.advance(9.9)
    assert run(world, always(200)) == []
    world.advance(0.2)
    (again,) = run(world, always(200))
    assert again.body == {"n": 1}
    assert again.headers["X-CloudTasks-TaskRetryCount"] == "1"
    assert again.headers["X-CloudTasks-TaskExecutionCount"] == "1"


def test_the_backoff_doubles(world: World) -> None:
    add(world)
    run(world, always(500))
    world.advance(10.1)
    assert len(run(world, always(500))) == 1
    world.advance(19.8)
    assert run(world, always(500)) == []
    world.advance(0.3)
    assert len(run(world, always(500))) == 1


def test_a_task_is_given_up_after_its_last_attempt(world: World) -> None:
    add(world, name="n")
    calls: list[Call] = []
    for _ in range(10):
        calls += run(world, always(500))
        world.advance(61)
    assert len(calls) == 3
    assert add(world, name="n") is SPENT


def test_a_task_waits_for_its_time(world: World) -> None:
    add(world, "/later", not_before=world.clock.now() + 5)
    add(world, "/now")
    add(world, "/overdue", not_before=world.clock.now() - 5)
    assert sorted(paths(run(world, always(200)))) == ["/now", "/overdue"]
    world.advance(4.9)
    assert run(world, always(200)) == []
    world.advance(0.2)
    (call,) = run(world, always(200))
    assert call.target == "/later"


def test_tasks_without_a_name_are_all_delivered(world: World) -> None:
    assert [add(world), add(world)] == [CREATED, CREATED]
    assert len(run(world, always(200))) == 2


def test_a_name_is_pending_until_its_task_starts(world: World) -> None:
    assert add(world, name="n", body={"n": 1}) is CREATED
    assert add(world, name="n", body={"n": 2}) is PENDING
    calls = run(world, always(200))
    assert [call.body for call in calls] == [{"n": 1}], "the second was not added"


def test_a_name_waiting_for_its_time_is_pending(world: World) -> None:
    add(world, name="n", not_before=world.clock.now() + 100)
    run(world, always(200))
    assert add(world, name="n") is PENDING


def test_a_name_is_spent_as_soon_as_its_task_starts(world: World) -> None:
    add(world, name="n")
    during: list[Enqueued] = []

    def answer(call: Call) -> int:
        during.append(add(world, name="n"))
        return 200

    assert len(run(world, answer)) == 1
    assert during == [SPENT]


def test_a_name_is_spent_after_its_task_is_done(world: World) -> None:
    add(world, name="n")
    run(world, always(200))
    assert add(world, name="n") is SPENT
    assert run(world, always(200)) == []


def test_a_name_is_spent_after_a_failed_attempt_and_its_task_still_returns(world: World) -> None:
    add(world, name="n")
    run(world, always(503))
    assert add(world, name="n") is SPENT
    world.advance(11)
    assert add(world, name="n") is SPENT
    assert len(run(world, always(200))) == 1


def test_a_name_is_free_again_after_a_day(world: World) -> None:
    add(world, name="n")
    run(world, always(200))
    world.advance(86_300)
    assert add(world, name="n") is SPENT
    world.advance(200)
    assert add(world, name="n") is CREATED
    assert len(run(world, always(200))) == 1


def test_names_of_different_queues_are_different(world: World) -> None:
    assert add(world, name="n") is CREATED
    assert add(world, name="n", queue="narrow") is CREATED
    assert len(run(world, always(200))) == 2


def test_a_queue_delivers_no_more_at_once_than_it_may(world: World) -> None:
    for _ in range(6):
        add(world, "/wide")
    for _ in range(3):
        add(world, "/narrow", queue="narrow")
    first = paths(world.together())
    assert (first.count("/wide"), first.count("/narrow")) == (4, 1)
    second = paths(world.together())
    assert (second.count("/wide"), second.count("/narrow")) == (2, 1)


def test_a_failing_task_lets_the_others_pass(world: World) -> None:
    add(world, "/bad", queue="narrow")
    add(world, "/good", queue="narrow")
    assert paths(run(world, lambda call: 500 if call.target == "/bad" else 200)) == ["/bad", "/good"]


def test_a_task_may_enqueue_its_successor(world: World) -> None:
    def answer(call: Call) -> int:
        page = call.body["page"]
        if page < 3:
            add(world, body={"page": page + 1}, name=f"page-{page + 1}")
        return 200

    add(world, body={"page": 0}, name="page-0")
    assert [call.body["page"] for call in run(world, answer)] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("queue", "path", "body", "name"),
    [
        ("unknown", "/x", {}, None),
        ("wide", "x", {}, None),
        ("wide", "/x", {}, ""),
        ("wide", "/x", {"n": float("nan")}, None),
        ("wide", "/x", {"n": b"bytes"}, None),
        ("wide", "/x", [], None),
    ],
)
def test_what_cannot_be_a_task_is_refused(world: World, queue: str, path: str, body: Any, name: str | None) -> None:
    with pytest.raises(ValueError, match=r"."):
        world.tasks.enqueue(queue, path, body, name)
    assert run(world, always(200)) == []


def test_a_body_has_a_limit(world: World) -> None:
    with pytest.raises(TooLarge):
        add(world, body={"x": "x" * 1_000_000})
    assert run(world, always(200)) == []

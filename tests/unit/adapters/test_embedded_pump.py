"""The pump: prompt, parallel within bounds, deaf to nothing, and gone when stopped."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from shared.adapters.embedded.bus import EmbeddedBus
from shared.adapters.embedded.clock import SystemClock
from shared.adapters.embedded.database import Database
from shared.adapters.embedded.pump import Post, Pump
from shared.adapters.embedded.subscriptions import Subscription
from shared.adapters.embedded.tasks import EmbeddedTasks, QueueConfig, TaskDelivery
from shared.errors import Retry
from shared.ports import BusMessage

QUEUES = {"sync": QueueConfig(max_concurrent=3, min_backoff=0.02, max_backoff=0.02, max_attempts=5)}
PATIENCE = 10.0


class Endpoint:
    """Answers each target's statuses in turn, then 200, and lets a test wait for calls."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.answers: dict[str, list[int | Exception]] = {}
        self.gate: threading.Event | None = None
        self.most = self.now = 0
        self._changed = threading.Condition()

    def __call__(self, target: str, headers: Mapping[str, str], body: bytes, timeout: float) -> int:
        with self._changed:
            self.calls.append(target)
            self.now += 1
            self.most = max(self.most, self.now)
            self._changed.notify_all()
        if self.gate:
            assert self.gate.wait(PATIENCE)
        with self._changed:
            self.now -= 1
            answer = (self.answers.get(target) or [200]).pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def wait(self, calls: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.calls) >= calls, PATIENCE), self.calls


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "b.db", synchronous="OFF")
    yield database
    database.close()


@pytest.fixture
def tasks(database: Database) -> EmbeddedTasks:
    return EmbeddedTasks(database, SystemClock(), QUEUES)


@pytest.fixture
def endpoint() -> Endpoint:
    return Endpoint()


def started(tasks: EmbeddedTasks, post: Post, workers: int = 4) -> Pump[TaskDelivery]:
    pump = Pump(tasks, post, workers, SystemClock())
    pump.start()
    return pump


def test_what_is_enqueued_while_it_sleeps_is_posted_at_once(tasks: EmbeddedTasks, endpoint: Endpoint) -> None:
    pump = started(tasks, endpoint)
    before = time.monotonic()
    for n in range(5):
        tasks.enqueue("sync", f"/{n}", {})
        endpoint.wait(n + 1)
    taken = time.monotonic() - before
    assert pump.stop(PATIENCE)
    assert taken < 0.9, "five wakings, each faster than the nap of a second"
    assert tasks.depth() == 0


def test_what_waited_in_the_file_is_posted_after_the_start(tasks: EmbeddedTasks, endpoint: Endpoint) -> None:
    tasks.enqueue("sync", "/x", {})
    pump = started(tasks, endpoint)
    endpoint.wait(1)
    assert pump.stop(PATIENCE)


def test_a_task_is_posted_when_its_time_has_come(tasks: EmbeddedTasks, endpoint: Endpoint) -> None:
    pump = started(tasks, endpoint)
    due = SystemClock().now() + 0.15
    tasks.enqueue("sync", "/x", {}, not_before=due)
    endpoint.wait(1)
    assert due <= SystemClock().now() < due + 0.8
    assert pump.stop(PATIENCE)


@pytest.mark.parametrize("answer", [500, ConnectionError("http://secret?token=1")])
def test_a_failure_is_tried_again_and_an_exception_is_one(
    tasks: EmbeddedTasks, endpoint: Endpoint, answer: int | Exception, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint.answers["/x?token=1"] = [answer, answer, 200]
    pump = started(tasks, endpoint)
    tasks.enqueue("sync", "/x?token=1", {})
    endpoint.wait(3)
    assert pump.stop(PATIENCE)
    assert (tasks.depth(), endpoint.calls) == (0, ["/x?token=1"] * 3)
    assert ("ConnectionError" in caplog.text) == isinstance(answer, Exception)
    assert "token" not in caplog.text


def test_no_more_run_at_once_than_the_queue_allows(tasks: EmbeddedTasks, endpoint: Endpoint) -> None:
    endpoint.gate = threading.Event()
    pump = started(tasks, endpoint, workers=8)
    for n in range(9):
        tasks.enqueue("sync", f"/{n}", {})
    endpoint.wait(3)
    endpoint.gate.set()
    endpoint.wait(9)
    assert pump.stop(PATIENCE)
    assert endpoint.most == 3
    assert sorted(endpoint.calls) == [f"/{n}" for n in range(9)]


def test_no_more_run_at_once_than_there_are_workers(tasks: EmbeddedTasks, endpoint: Endpoint) -> None:
    pump = started(tasks, endpoint, workers=1)
    for n in range(5):
        tasks.enqueue("sync", f"/{n}", {})
    endpoint.wait(5)
    assert pump.stop(PATIENCE)
    assert endpoint.most == 1


def test_stopping_waits_for_those_in_flight_and_starts_no_other(tasks: EmbeddedTasks, endpoint: Endpoint) -> None:
    endpoint.gate = threading.Event()
    pump = started(tasks, endpoint, workers=2)
    tasks.enqueue("sync", "/first", {})
    endpoint.wait(1)
    assert not pump.stop(0.05)
    tasks.enqueue("sync", "/second", {})
    assert not pump.stop(0.05)
    endpoint.gate.set()
    assert pump.stop(PATIENCE)
    assert endpoint.calls == ["/first"]
    assert tasks.depth() == 1


def test_nothing_is_left_running(tasks: EmbeddedTasks, endpoint: Endpoint) -> None:
    before = set(threading.enumerate())
    pump = started(tasks, endpoint)
    assert len(set(threading.enumerate()) - before) == 5
    assert pump.stop(PATIENCE)
    assert set(threading.enumerate()) <= before


def test_a_pump_that_never_started_can_be_stopped(tasks: EmbeddedTasks, endpoint: Endpoint) -> None:
    assert Pump(tasks, endpoint, 2, SystemClock()).stop(0)


def test_a_source_that_fails_for_a_while_loses_no_answer(
    tasks: EmbeddedTasks, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("shared.adapters.embedded.pump.LONGEST_NAP", 0.02)
    settle_all, failures = tasks.settle_all, [Retry("busy"), LookupError("a bug")]

    def flaky(outcomes: list[tuple[TaskDelivery, int]]) -> None:
        if failures:
            raise failures.pop(0)
        settle_all(outcomes)

    monkeypatch.setattr(tasks, "settle_all", flaky)
    pump = started(tasks, endpoint)
    tasks.enqueue("sync", "/x", {})
    endpoint.wait(1)
    assert pump.stop(PATIENCE)
    assert (tasks.depth(), endpoint.calls) == (0, ["/x"])
    assert "unavailable" in caplog.text
    assert "LookupError" in caplog.text


def test_the_bus_is_pumped_in_order_per_key(database: Database) -> None:
    bus = EmbeddedBus(database, SystemClock())
    bus.subscribe(Subscription("sub", "events", "/sub"))
    seen: list[bytes] = []
    done = threading.Event()

    def post(target: str, headers: Mapping[str, str], body: bytes, timeout: float) -> int:
        seen.append(body)
        if len(seen) == 60:
            done.set()
        return 204

    pump = Pump(bus, post, 8, SystemClock())
    pump.start()
    for key in ("a", "b", "c"):
        bus.publish("events", [BusMessage(b"x", {"key": key, "n": f"{n:02}"}) for n in range(20)], key)
    assert done.wait(PATIENCE)
    assert pump.stop(PATIENCE)
    for key in ("a", "b", "c"):
        mine = [body for body in seen if b'"key":"%s"' % key.encode() in body]
        assert [body[body.index(b'"n":"') + 5 :][:2] for body in mine] == [b"%02d" % n for n in range(20)]
    assert bus.backlog("sub") == 0

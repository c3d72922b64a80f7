"""The way that the verdict depends on, over real sockets: publish over REST, bus, pump, HTTP push, subscriber."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from infra.local.client import AnswerError, JsonClient, ServerAway
from infra.local.gateway import Gateway
from infra.local.poster import Poster
from infra.local.publisher import HttpPublisher
from infra.local.pubsub_rest import create_app
from infra.local.sentences import CannotRun
from infra.local.subscriber import PATH, Recorder
from infra.local.web import WebServer
from shared.adapters.embedded.bus import EmbeddedBus
from shared.adapters.embedded.clock import SystemClock
from shared.adapters.embedded.database import Database
from shared.adapters.embedded.delivery import NO_ANSWER
from shared.adapters.embedded.pump import Pump
from shared.ports import BusMessage

SECRET = "invoker"


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def machine(tmp_path: Path, recorder: Recorder) -> Iterator[tuple[str, str, EmbeddedBus]]:
    """The gateway's URL, the subscriber's URL and the bus between them."""
    with ExitStack() as stack:
        database = Database(tmp_path / "brainstem.sqlite", synchronous="OFF")
        stack.callback(database.close)
        bus = EmbeddedBus(database, SystemClock())
        gateway = WebServer(Gateway([], SECRET, "1", create_app(bus), {}), 0, threads=4)
        subscriber = WebServer(recorder, 0, threads=4)
        for server in (gateway, subscriber):
            server.start()
            stack.callback(server.stop)
        post = Poster(gateway.url, SECRET, 4)
        stack.callback(post.close)
        pump = Pump(bus, post, 4, SystemClock())
        pump.start()
        stack.callback(pump.stop, 5.0)
        yield gateway.url, subscriber.url, bus


def test_events_arrive_in_order_with_their_attributes(
    machine: tuple[str, str, EmbeddedBus], recorder: Recorder
) -> None:
    gateway, subscriber, bus = machine
    invoker = JsonClient(gateway, SECRET)
    invoker.put(
        "/v1/projects/local/subscriptions/verify",
        {
            "topic": "projects/local/topics/events",
            "pushConfig": {"pushEndpoint": subscriber + PATH},
            "enableMessageOrdering": True,
        },
    )
    for first in range(0, 60, 20):
        messages = [BusMessage(json.dumps(n).encode(), {"ce-sequence": str(n)}) for n in range(first, first + 20)]
        bus.publish("events", messages, "stream")

    _wait(lambda: len(recorder.deliveries()) >= 60)

    assert [push.data for push in recorder.deliveries()] == list(range(60))
    assert [push.attributes["ce-sequence"] for push in recorder.deliveries()] == [str(n) for n in range(60)]
    assert all(abs(push.at - time.time()) < 30 for push in recorder.deliveries())


def test_a_push_of_the_simulator_reaches_its_topic(machine: tuple[str, str, EmbeddedBus], recorder: Recorder) -> None:
    gateway, subscriber, _ = machine
    JsonClient(gateway, SECRET).put(
        "/v1/projects/local/subscriptions/verify",
        {"topic": "projects/local/topics/gmail", "pushConfig": {"pushEndpoint": subscriber + PATH}},
    )
    publish = HttpPublisher(SECRET)
    publish.aim(gateway)
    publish("projects/local/topics/gmail", b'{"historyId": 7}')
    _wait(lambda: len(recorder.deliveries()) == 1)
    assert recorder.deliveries()[0].data == {"historyId": 7}


def test_without_the_secret_nothing_is_published(machine: tuple[str, str, EmbeddedBus]) -> None:
    publish = HttpPublisher("another")
    publish.aim(machine[0])
    with pytest.raises(AnswerError, match="403 forbidden"):
        publish("projects/local/topics/gmail", b"{}")


def test_a_broken_envelope_is_refused_and_counted(recorder: Recorder) -> None:
    server = WebServer(recorder, 0, threads=1)
    server.start()
    post = Poster("http://127.0.0.1:1", SECRET, 1)
    try:
        good = json.dumps({"message": {"data": base64.b64encode(b"1").decode()}}).encode()
        assert post(server.url + PATH, {}, good, 5.0) == 204
        for bad in (b"", b"[]", b'{"message": {}}', b'{"message": {"data": "e30x"}}'):
            assert post(server.url + PATH, {}, bad, 5.0) == 400
    finally:
        post.close()
        server.stop()
    assert recorder.broken == 4
    assert len(recorder.deliveries()) == 1


def test_the_invokers_secret_stays_on_this_machine() -> None:
    seen: list[str | None] = []

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        seen.append(environ.get("HTTP_AUTHORIZATION"))
        start_response("204 No Content", [])
        return []

    server = WebServer(app, 0, threads=1)
    server.start()
    post = Poster(server.url, SECRET, 1)
    try:
        assert post("/sync/step", {}, b"{}", 5.0) == 204
        assert post(f"{server.url}/elsewhere", {}, b"{}", 5.0) == 204
    finally:
        post.close()
        server.stop()
    assert seen == [f"Bearer {SECRET}", None]


def test_a_server_lets_running_requests_finish_and_then_is_gone() -> None:
    entered, leave = threading.Event(), threading.Event()

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        entered.set()
        assert leave.wait(5)
        start_response("200 OK", [])
        return [b"done"]

    server = WebServer(app, 0, threads=2)
    server.start()
    post = Poster(server.url, SECRET, 1)
    statuses: list[int] = []
    caller = threading.Thread(target=lambda: statuses.append(post("/", {}, b"", 5.0)))
    caller.start()
    assert entered.wait(5)
    stopper = threading.Thread(target=server.stop)
    stopper.start()
    leave.set()
    stopper.join(8)
    caller.join(5)

    assert not stopper.is_alive()
    assert statuses == [200]
    assert post("/", {}, b"", 1.0) == NO_ANSWER
    with pytest.raises(ServerAway):
        JsonClient(server.url).get("/")
    post.close()


def test_lists_are_walked_over_empty_pages_and_the_log_up_to_the_first_one() -> None:
    pages = {
        "": {"items": [1, 2], "next": "a"},
        "after=a": {"items": [], "next": "b"},
        "after=b": {"items": [3], "next": None},
    }

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [])
        return [json.dumps(pages[environ["QUERY_STRING"]]).encode()]

    server = WebServer(app, 0, threads=1)
    server.start()
    client = JsonClient(server.url)
    try:
        assert list(client.walk("/list", "items")) == [1, 2, 3]
        assert list(client.walk_log("/list", "items")) == [1, 2]
    finally:
        client.close()
        server.stop()


def test_a_port_in_use_is_one_sentence() -> None:
    first = WebServer(lambda environ, start_response: [], 0, threads=1)
    try:
        with pytest.raises(CannotRun, match=f"Port {first.port} is already in use.*PORT="):
            WebServer(lambda environ, start_response: [], first.port, threads=1)
    finally:
        first.start()
        first.stop()


def _wait(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)

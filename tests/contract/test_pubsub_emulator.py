"""The local infrastructure on the Pub/Sub emulator: made once, made again, pushed in order across failures."""

from __future__ import annotations

import base64
import json
import secrets
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from infra.local.catalogue import load, topics
from infra.local.emulators import Unavailable, emulators
from infra.local.pubsub_emulator import PubSubEmulator, Push, pushes
from shared.adapters.cloud.bus import CloudBus
from shared.adapters.cloud.connect import plain_channel
from shared.errors import Retry
from shared.ports import BusMessage

pytestmark = pytest.mark.emulators


class Endpoint(ThreadingHTTPServer):
    """Refuses the second message once, and knows when the last one came."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Received)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/sub"
        self.texts: list[str] = []
        self.complete = threading.Event()


class Received(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Endpoint

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["message"]
        text = base64.b64decode(message["data"]).decode()
        self.server.texts.append(text)
        self.send_response(500 if self.server.texts == ["1", "2"] else 204)
        self.send_header("Content-Length", "0")
        self.end_headers()
        if text == "4":
            self.server.complete.set()

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture
def host() -> str:
    try:
        return emulators().pubsub
    except Unavailable as error:
        pytest.skip(str(error))


@pytest.fixture
def project() -> str:
    return f"local-{secrets.token_hex(4)}"


@pytest.fixture
def emulator(host: str, project: str) -> Iterator[PubSubEmulator]:
    emulator = PubSubEmulator(host, project)
    yield emulator
    emulator.close()


@pytest.fixture
def bus(host: str, project: str) -> Iterator[CloudBus]:
    bus = CloudBus(project, plain_channel(host))
    yield bus
    bus.close()


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    endpoint = Endpoint()
    threading.Thread(target=endpoint.serve_forever, args=(0.05,), daemon=True).start()
    yield endpoint
    endpoint.shutdown()
    endpoint.server_close()


def test_the_functions_say_what_is_needed() -> None:
    functions = load()
    assert topics(functions) == ["events", "gmail", "segments"]
    assert pushes(functions, lambda function: f"http://machine{function.path}") == [
        Push("gmail_push", "gmail", "http://machine/gmail_push", 30),
        Push("senders", "segments", "http://machine/senders", 60),
    ]


def test_what_is_there_is_not_made_again(emulator: PubSubEmulator) -> None:
    wanted = [Push("sub", "events", "http://127.0.0.1:1/sub")]
    assert emulator.prepare(["events", "segments"], wanted) == 3
    assert emulator.prepare(["events", "segments"], wanted) == 0
    assert emulator.keep("look", "events")
    assert not emulator.keep("look", "events")
    emulator.drop("sub")


def test_a_topic_that_nobody_made_is_a_reason_to_try_again(emulator: PubSubEmulator, bus: CloudBus) -> None:
    with pytest.raises(Retry, match="The topic events cannot be used: it does not exist"):
        bus.publish("events", [BusMessage(b"x")])
    emulator.prepare(["events"], [])
    bus.publish("events", [BusMessage(b"x")])


def test_what_was_published_can_be_looked_at(emulator: PubSubEmulator, bus: CloudBus) -> None:
    emulator.prepare(["events"], [])
    emulator.keep("look", "events")
    bus.publish("events", [BusMessage(str(n).encode(), {"ce-id": str(n)}) for n in range(1200)], "stream")
    pulled = emulator.pull("look")
    assert [int(one.message.data) for one in pulled] == list(range(1200))
    assert {one.ordering_key for one in pulled} == {"stream"}
    assert pulled[7].message.attributes == {"ce-id": "7"}
    assert len({one.id for one in pulled}) == 1200
    assert emulator.pull("look") == [], "it is taken once"


def test_pushes_come_in_order_across_a_failure_and_to_where_the_endpoint_is_now(
    emulator: PubSubEmulator, bus: CloudBus, endpoint: Endpoint
) -> None:
    emulator.prepare(["events"], [Push("sub", "events", "http://127.0.0.1:1/gone")])
    emulator.prepare(["events"], [Push("sub", "events", endpoint.url)])
    bus.publish("events", [BusMessage(text.encode()) for text in "1234"], "k")
    assert endpoint.complete.wait(30)
    emulator.drop("sub")
    assert endpoint.texts == ["1", "2", "2", "3", "4"]


def test_nobody_there_is_to_be_tried_again() -> None:
    emulator = PubSubEmulator("127.0.0.1:1", "local-project")
    with pytest.raises(Retry):
        emulator.prepare(["events"], [])
    emulator.close()

"""The bus on Pub/Sub: what goes over the wire, in how many requests, and what becomes of every refusal."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.pubsub_v1.services.publisher.transports.grpc import PublisherGrpcTransport
from google.pubsub_v1.types import PublishRequest, PublishResponse

from shared.adapters.cloud.bus import MAX_REQUEST_BYTES, CloudBus
from shared.adapters.cloud.connect import plain_channel
from shared.errors import ConfigurationError, Retry, TooLarge
from shared.ports import BusMessage
from tests.contract.service_error import ServiceError
from tests.contract.services import handlers, serve


class Publisher:
    """Pub/Sub's publishing side: keeps requests, and answers with a status where the script has one."""

    def __init__(self) -> None:
        self.requests: list[PublishRequest] = []
        self.script: list[grpc.StatusCode | None] = []
        self.hang: threading.Event | None = None

    def publish(self, request: PublishRequest) -> PublishResponse:
        self.requests.append(request)
        if self.hang:
            self.hang.wait(10)
        code = self.script.pop(0) if self.script else None
        if code:
            raise ServiceError(code, "<hostile text>")
        return PublishResponse(message_ids=[str(n) for n in range(len(request.messages))])

    def texts(self) -> list[list[bytes]]:
        return [[message.data for message in request.messages] for request in self.requests]


@pytest.fixture
def publisher() -> Publisher:
    return Publisher()


@pytest.fixture
def address(publisher: Publisher) -> Iterator[str]:
    server, address = serve(*handlers(PublisherGrpcTransport, publisher))
    yield address
    server.stop(None).wait()


@pytest.fixture
def bus(address: str) -> Iterator[CloudBus]:
    bus = CloudBus("p-1", plain_channel(address))
    yield bus
    bus.close()


def numbered(count: int, size: int = 0) -> list[BusMessage]:
    return [BusMessage(str(n).encode().ljust(size, b"-")) for n in range(count)]


def test_a_call_is_one_request_of_one_key(bus: CloudBus, publisher: Publisher) -> None:
    bus.publish("events", [BusMessage(b"\x00", {"ce-id": "1", "ü": "é"}), BusMessage(b"2")], "stream")
    (request,) = publisher.requests
    assert request.topic == "projects/p-1/topics/events"
    assert [message.ordering_key for message in request.messages] == ["stream", "stream"]
    assert [message.data for message in request.messages] == [b"\x00", b"2"]
    assert dict(request.messages[0].attributes) == {"ce-id": "1", "ü": "é"}


def test_more_than_a_thousand_messages_are_several_requests_in_order(bus: CloudBus, publisher: Publisher) -> None:
    bus.publish("events", numbered(2500), "k")
    assert [len(texts) for texts in publisher.texts()] == [1000, 1000, 500]
    assert [int(text) for texts in publisher.texts() for text in texts] == list(range(2500))
    assert {message.ordering_key for request in publisher.requests for message in request.messages} == {"k"}


def test_heavy_messages_are_several_requests_in_order_each_below_the_limit() -> None:
    from shared.adapters.cloud.bus import _requests

    requests = _requests("projects/p/topics/t", numbered(30, 1_000_000), "k")
    assert all(request.ByteSize() <= MAX_REQUEST_BYTES for request in requests)
    assert [message.data[:2].strip(b"-") for request in requests for message in request.messages] == [
        str(n).encode() for n in range(30)
    ]
    assert {(request.topic, message.ordering_key) for request in requests for message in request.messages} == {
        ("projects/p/topics/t", "k")
    }


def test_a_message_over_the_limit_is_refused_before_anything_is_sent(bus: CloudBus, publisher: Publisher) -> None:
    with pytest.raises(TooLarge):
        bus.publish("events", [*numbered(1500), BusMessage(b"x" * MAX_REQUEST_BYTES)])
    assert publisher.requests == []


def test_a_bad_attribute_far_behind_is_refused_before_anything_is_sent(bus: CloudBus, publisher: Publisher) -> None:
    with pytest.raises(ValueError, match="strings"):
        bus.publish("events", [*numbered(1500), BusMessage(b"x", {"n": 1})])  # type: ignore[dict-item]
    assert publisher.requests == []


def test_nothing_is_sent_after_a_failed_request(bus: CloudBus, publisher: Publisher) -> None:
    publisher.script = [None, grpc.StatusCode.UNAVAILABLE]
    with pytest.raises(Retry):
        bus.publish("events", numbered(2500), "k")
    assert len(publisher.requests) == 2, "neither again, nor the third past the second"


@pytest.mark.parametrize(
    "code",
    [code for code in grpc.StatusCode if code not in (grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT)],
)
def test_every_failure_is_to_be_tried_again_and_was_not_by_us(
    bus: CloudBus, publisher: Publisher, code: grpc.StatusCode
) -> None:
    publisher.script = [code]
    with pytest.raises(Retry) as caught:
        bus.publish("events", numbered(1))
    assert len(publisher.requests) == 1
    assert "hostile" not in caught.value.message


def test_a_topic_that_is_gone_is_named(bus: CloudBus, publisher: Publisher) -> None:
    publisher.script = [grpc.StatusCode.NOT_FOUND]
    with pytest.raises(Retry, match="The topic events cannot be used: it does not exist"):
        bus.publish("events", numbered(1))


def test_what_pubsub_finds_too_large_is_too_large(bus: CloudBus, publisher: Publisher) -> None:
    publisher.script = [grpc.StatusCode.INVALID_ARGUMENT]
    with pytest.raises(TooLarge):
        bus.publish("events", numbered(1))


def test_a_call_has_an_end(address: str, publisher: Publisher) -> None:
    publisher.hang = threading.Event()
    bus = CloudBus("p-1", plain_channel(address), timeout=0.2)
    with pytest.raises(Retry):
        bus.publish("events", numbered(1))
    publisher.hang.set()
    bus.close()


def test_nobody_there_is_to_be_tried_again() -> None:
    bus = CloudBus("p-1", plain_channel("127.0.0.1:1"))
    with pytest.raises(Retry, match="cannot be reached"):
        bus.publish("events", numbered(1))
    bus.close()


def test_missing_credentials_are_one_clear_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    with pytest.raises(ConfigurationError, match="credentials are missing"):
        CloudBus("p-1")

"""The Pub/Sub subset takes what Google's takes and refuses the rest in Google's words."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import Client

from infra.local.pubsub_rest import create_app
from shared.adapters.embedded.bus import EmbeddedBus
from shared.adapters.embedded.database import Database
from tests.unit.fakes import FakeClock

TOPIC = "/v1/projects/local/topics/gmail:publish"
NAME = "/v1/projects/local/subscriptions/verify"
BODY = {"topic": "projects/local/topics/gmail", "pushConfig": {"pushEndpoint": "http://127.0.0.1:9/verify"}}


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[EmbeddedBus]:
    database = Database(tmp_path / "brainstem.sqlite", synchronous="OFF")
    yield EmbeddedBus(database, FakeClock())
    database.close()


@pytest.fixture
def client(bus: EmbeddedBus) -> Client:
    return Client(create_app(bus))


def _message(data: bytes, **more: Any) -> dict[str, Any]:
    return {"data": base64.b64encode(data).decode(), **more}


def test_what_is_published_reaches_the_subscription(client: Client, bus: EmbeddedBus) -> None:
    assert client.put(NAME, json=BODY).status_code == 200

    answer = client.post(TOPIC, json={"messages": [_message(b"one", attributes={"a": "b"}), _message(b"two")]})

    assert answer.status_code == 200
    assert answer.json is not None
    assert len(set(answer.json["messageIds"])) == 2
    assert bus.backlog("verify") == 2


def test_ordering_is_what_the_subscription_asks_for(client: Client, bus: EmbeddedBus) -> None:
    client.put(NAME, json=BODY)
    client.put(f"{NAME}-ordered", json={**BODY, "enableMessageOrdering": True})
    assert {known.name: known.ordered for known in bus.subscriptions()} == {"verify": False, "verify-ordered": True}


def test_a_subscription_exists_once_and_can_be_deleted(client: Client) -> None:
    assert client.put(NAME, json=BODY).status_code == 200
    again = client.put(NAME, json=BODY)
    assert again.status_code == 409
    assert again.json == {
        "error": {"code": 409, "message": "A subscription of this name exists.", "status": "ALREADY_EXISTS"}
    }
    assert client.delete(NAME).status_code == 200
    assert client.delete(NAME).status_code == 404
    assert client.put(NAME, json=BODY).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        None, [], {}, {"messages": []}, {"messages": "x"}, {"messages": [1]}, {"messages": [{"data": "***"}]},
        {"messages": [{"data": 7}]}, {"messages": [{"data": "", "attributes": [1]}]},
        {"messages": [_message(b"1", orderingKey="a"), _message(b"2", orderingKey="b")]},
    ],
)  # fmt: skip
def test_a_wrong_publish_is_refused_and_publishes_nothing(client: Client, bus: EmbeddedBus, body: Any) -> None:
    client.put(NAME, json=BODY)
    assert client.post(TOPIC, json=body).status_code == 400
    assert bus.backlog("verify") == 0


@pytest.mark.parametrize(
    "body",
    [{}, {**BODY, "pushConfig": None}, {**BODY, "pushConfig": {"pushEndpoint": "/sync"}}, {**BODY, "topic": "1"}],
)
def test_a_wrong_subscription_is_refused(client: Client, bus: EmbeddedBus, body: Any) -> None:
    assert client.put(NAME, json=body).status_code == 400
    assert bus.subscriptions() == []

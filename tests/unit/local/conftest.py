from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest

from infra.local.google.app import create_app
from infra.local.google.simulator import GoogleSimulator
from tests.unit.local.inprocess import ADDRESS, TOPIC, FakeClock, gmail_client


@dataclass
class World:
    """A simulator with one mailbox, Google's client for it, and what it has pushed."""

    path: Path
    clock: FakeClock = field(default_factory=FakeClock)
    pushed: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.open()

    def open(self) -> None:
        self.sim = GoogleSimulator(self.path, self.clock, self._publish, seed=7)
        self.app = create_app(self.sim)
        self.tokens = self.sim.add_mailbox(ADDRESS)
        self.users = gmail_client(self.app, self.tokens["access_token"]).users()

    def _publish(self, topic: str, data: bytes) -> None:
        self.pushed.append((topic, orjson.loads(data)))

    def watch(self, **body: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self.users.watch(userId="me", body={"topicName": TOPIC} | body).execute()
        return answer

    def cursor(self) -> str:
        return str(self.users.getProfile(userId="me").execute()["historyId"])

    def since(self, cursor: str, **more: Any) -> list[dict[str, Any]]:
        answer = self.users.history().list(userId="me", startHistoryId=cursor, **more).execute()
        return list(answer.get("history", []))

    def get(self, message_id: str, **more: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self.users.messages().get(userId="me", id=message_id, **more).execute()
        return answer

    def list_ids(self, **more: Any) -> list[str]:
        return [item["id"] for item in self.users.messages().list(userId="me", **more).execute().get("messages", [])]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "google.sqlite")
    yield world
    world.sim.close()


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], None]:
    """Wait for another thread, five seconds at most."""

    def wait(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 5
        while not condition():
            assert time.monotonic() < deadline, "waited in vain"
            time.sleep(0.005)

    return wait

"""Connections that the simulator breaks, over real sockets: the client sees it, the server goes on and logs nothing."""

from __future__ import annotations

import http.client
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from infra.local.google.app import create_app
from infra.local.google.simulator import GoogleSimulator
from infra.local.web import WebServer
from shared.adapters.embedded.clock import VirtualClock

ADDRESS = "ann@example.org"
PROFILE = "/gmail/v1/users/me/profile"


class Google:
    """A simulator on a port, and one connection to it that is kept open."""

    def __init__(self, folder: Path) -> None:
        self.sim = GoogleSimulator(folder / "google.sqlite", VirtualClock(), lambda topic, data: None)
        self.tokens = self.sim.add_mailbox(ADDRESS)
        self.server = WebServer(create_app(self.sim), 0, threads=4)
        self.server.start()
        self.connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=5)

    def suffer(self, fault: str, method: str = "users.getProfile") -> None:
        self.sim.set_faults({"calls": [{"fault": fault, "methods": [method], "at": [1]}]})

    def ask(self, path: str = PROFILE, method: str = "GET", body: str = "", kind: str = "") -> tuple[int, bytes]:
        headers = {"Authorization": f"Bearer {self.tokens['access_token']}", "Content-Type": kind or "application/json"}
        self.connection.request(method, path, body, headers)
        answer = self.connection.getresponse()
        return answer.status, answer.read()

    def close(self) -> None:
        self.connection.close()
        self.server.stop()
        self.sim.close()


@pytest.fixture
def google(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Iterator[Google]:
    caplog.set_level(logging.WARNING)
    google = Google(tmp_path)
    yield google
    google.close()
    assert caplog.records == []


def _asks_again(google: Google) -> None:
    """On the same object: http.client opens a new connection where the old one was closed."""
    google.connection.close()
    assert google.ask()[0] == 200


def test_a_cut_answer_ends_in_the_middle_of_its_body(google: Google) -> None:
    whole = google.ask()[1]
    google.suffer("cut")
    with pytest.raises(http.client.IncompleteRead) as caught:
        google.ask()
    assert caught.value.partial == whole[: len(whole) // 2]
    _asks_again(google)


def test_a_held_answer_ends_without_a_byte(google: Google) -> None:
    google.suffer("timeout")
    with pytest.raises(http.client.RemoteDisconnected):
        google.ask()
    _asks_again(google)


def test_a_batch_and_the_token_endpoint_are_cut_alike(google: Google) -> None:
    google.suffer("cut", "token")
    form = urlencode({"grant_type": "refresh_token", "refresh_token": google.tokens["refresh_token"]})
    token: dict[str, Any] = {"path": "/token", "method": "POST", "body": form}
    with pytest.raises(http.client.IncompleteRead):
        google.ask(**token, kind="application/x-www-form-urlencoded")
    google.connection.close()
    google.suffer("cut", "batch")
    part = f"--b\r\nContent-Type: application/http\r\n\r\nGET {PROFILE} HTTP/1.1\r\n\r\n\r\n--b--"
    with pytest.raises(http.client.IncompleteRead):
        google.ask("/batch/gmail/v1", "POST", part, "multipart/mixed; boundary=b")
    _asks_again(google)

"""Google's own Python client against the simulator, in one process: its HTTP goes straight into the application."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httplib2
from flask import Flask
from googleapiclient.discovery import build
from werkzeug.test import Client

ADDRESS = "ann@example.org"
TOPIC = "projects/local/topics/gmail"
START = 1_795_000_000.0


class FakeClock:
    def __init__(self) -> None:
        self.time = START
        self.slept: list[float] = []

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds

    def entropy(self, size: int) -> bytes:
        raise AssertionError("the simulator must be deterministic")


class InProcessHttp:
    """What google-api-python-client needs of httplib2, over werkzeug's test client."""

    def __init__(self, app: Flask, token: str) -> None:
        self._client = Client(app)
        self._token = token
        self.redirect_codes: set[int] = set()

    def request(
        self, uri: str, method: str = "GET", body: Any = None, headers: Mapping[str, str] | None = None, **_: Any
    ) -> tuple[httplib2.Response, bytes]:
        parts = urlsplit(uri)
        headers = dict(headers or {}) | {"authorization": f"Bearer {self._token}"}
        answer = self._client.open(
            parts.path, method=method, query_string=parts.query, data=body, headers=headers, buffered=True
        )
        fields = {name.lower(): value for name, value in answer.headers.items()} | {"status": str(answer.status_code)}
        return httplib2.Response(fields), answer.get_data()

    def close(self) -> None:
        pass


def gmail_client(app: Flask, token: str) -> Any:
    """The Gmail client by its static description, at another root."""
    return build(
        "gmail",
        "v1",
        http=InProcessHttp(app, token),
        static_discovery=True,
        cache_discovery=False,
        client_options={"api_endpoint": "http://simulator.test/"},
    )


def plan(subject: str = "Hello", **fields: Any) -> dict[str, Any]:
    return {
        "subject": subject,
        "sender": ["Bob", "bob@example.net"],
        "to": [["Ann", ADDRESS]],
        "labels": ["INBOX", "UNREAD"],
        "body": "A few words.",
    } | fields

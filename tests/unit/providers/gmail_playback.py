"""An HTTP client that plays scripted answers and remembers what it was asked: the lowest seam of the Gmail adapter."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httplib2

from shared.providers.gmail import GmailProvider
from shared.settings import Settings
from tests.unit.fakes import FakeClock

TOKEN = "access-canary"
SECRET = "secret-canary"
REFRESH = "refresh-canary"
NOW = 1_790_000_000.0


@dataclass(frozen=True)
class Request:
    method: str
    url: str
    headers: Mapping[str, str]
    body: Any

    @property
    def path(self) -> str:
        return urlsplit(self.url).path

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.url).query)

    @property
    def last(self) -> str:
        return self.path.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class Answer:
    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def play(self) -> tuple[Any, bytes]:
        content = self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()
        return httplib2.Response({"status": str(self.status), **self.headers}), content


class Playback:
    """Answers from a list in order, or from a function of the request; an exception is raised."""

    def __init__(self, script: Iterable[Answer | Exception] | Callable[[Request], Answer | Exception]) -> None:
        self.requests: list[Request] = []
        self._script = script if callable(script) else iter(list(script))

    def request(self, uri: str, method: str = "GET", body: Any = None, headers: Any = None) -> tuple[Any, bytes]:
        asked = Request(method, uri, dict(headers or {}), body)
        self.requests.append(asked)
        if callable(self._script):
            answer = self._script(asked)
        else:
            answer = next(self._script, AssertionError(f"nothing scripted for {method} {uri}"))
        if isinstance(answer, Exception):
            raise answer
        return answer.play()

    @property
    def paths(self) -> list[str]:
        return [f"{asked.method} {asked.path}" for asked in self.requests]


def provider(http: Playback, **settings: Any) -> GmailProvider:
    chosen = {
        "gmail_api_url": "http://gmail.test/google",
        "google_oidc_discovery_url": "http://id.test/.well-known/openid-configuration",
        "google_client_id": "client",
        "gmail_topic": "projects/p/topics/gmail",
        **settings,
    }
    return GmailProvider(Settings(**chosen), FakeClock(NOW), lambda: SECRET, lambda: http)


def error(status: int, reason: str = "", message: str = "", **headers: str) -> Answer:
    """An error in Google's usual shape."""
    detail = {"domain": "global", "reason": reason, "message": message}
    body = {"error": {"code": status, "message": message, "errors": [detail] if reason else []}}
    return Answer(status, body, headers)


def mail(id: str, history_id: int = 7, **fields: Any) -> dict[str, Any]:
    """A message resource as ``messages.get`` serves it."""
    headers = [{"name": "From", "value": "Ann <ann@example.org>"}, {"name": "Subject", "value": f"Mail {id}"}]
    return {
        "id": id,
        "threadId": f"t{id}",
        "labelIds": ["INBOX"],
        "snippet": "Hi",
        "historyId": str(history_id),
        "internalDate": "1790000000000",
        "payload": {"headers": headers},
        **fields,
    }

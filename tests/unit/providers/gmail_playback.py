"""An HTTP client that plays scripted answers and remembers what it was asked: the lowest seam of the Gmail adapter."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from shared.providers.base import Access
from shared.providers.gmail import GmailProvider
from shared.providers.http.wire import Reply
from shared.settings import Settings
from tests.meter import free
from tests.unit.fakes import FakeClock

TOKEN = "access-canary"
SECRET = "secret-canary"
REFRESH = "refresh-canary"
NOW = 1_790_000_000.0
BATCH = "/batch/gmail/v1"


def access() -> Access:
    """What calls go out with here: a token that must never be seen again, and a meter that only counts."""
    return free(TOKEN)


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
        return Reply(self.status, self.headers), content


class Playback:
    """Answers from a list in order, or from a function of the request; an exception is raised.

    The parts of a batch are answered like requests of their own, and are remembered among them; ``batches`` holds how
    many parts each had. Without ``batching`` there is no such endpoint.
    """

    def __init__(
        self, script: Iterable[Answer | Exception] | Callable[[Request], Answer | Exception], batching: bool = True
    ) -> None:
        self.requests: list[Request] = []
        self.batches: list[int] = []
        self._batching = batching
        self._script = script if callable(script) else iter(list(script))

    def request(self, uri: str, method: str = "GET", body: Any = None, headers: Any = None) -> tuple[Any, bytes]:
        if uri.endswith(BATCH):
            return self._batch(uri, body, dict(headers or {}))
        return self._one(Request(method, uri, dict(headers or {}), body)).play()

    def _batch(self, uri: str, body: bytes, headers: Mapping[str, str]) -> tuple[Any, bytes]:
        calls = calls_of(body)
        self.batches.append(len(calls))
        if not self._batching:
            return error(404).play()
        root = uri.partition(urlsplit(uri).path)[0]
        answers = [(id, self._one(Request("GET", root + target, headers, None))) for id, target in calls]
        return multipart([(id, answer) for id, answer in answers]).play()

    def _one(self, asked: Request) -> Answer:
        self.requests.append(asked)
        if callable(self._script):
            answer = self._script(asked)
        else:
            answer = next(self._script, AssertionError(f"nothing scripted for {asked.method} {asked.url}"))
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def paths(self) -> list[str]:
        return [f"{asked.method} {asked.path}" for asked in self.requests]


def calls_of(body: bytes) -> list[tuple[str, str]]:
    """The calls of a batch: Content-ID and target of each."""
    calls = re.findall(rb"Content-ID: <([^>]*)>\r\n\r\nGET (\S*) HTTP/1.1\r\n\r\n", body)
    return [(id.decode(), target.decode()) for id, target in calls]


def multipart(parts: Iterable[tuple[str | None, Answer]], newline: str = "\r\n") -> Answer:
    """A batch's answer; a part whose id is None gets no Content-ID."""
    boundary = "batch_X-y_Z"
    pieces = []
    for id, answer in parts:
        _, content = answer.play()
        name = "" if id is None else f"Content-ID: <response-{id}>\n"
        fields = "".join(f"{field}: {value}\n" for field, value in answer.headers.items())
        head = f"--{boundary}\nContent-Type: application/http\n{name}\nHTTP/1.1 {answer.status} Word\n"
        head += f"{fields}Content-Type: application/json; charset=UTF-8\nContent-Length: {len(content)}\n\n"
        pieces.append(head.replace("\n", newline).encode() + content + newline.encode())
    pieces.append(f"--{boundary}--{newline}".encode())
    return Answer(200, b"".join(pieces), {"content-type": f"multipart/mixed; boundary={boundary}"})


def provider(http: Any, clock: FakeClock | None = None, **settings: Any) -> GmailProvider:
    chosen = {
        "gmail_api_url": "http://gmail.test/google",
        "google_oidc_discovery_url": "http://id.test/.well-known/openid-configuration",
        "google_client_id": "client",
        "gmail_topic": "projects/p/topics/gmail",
        **settings,
    }
    return GmailProvider(Settings(**chosen), clock or FakeClock(NOW), lambda: SECRET, lambda: http)


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

"""An answer on its way out, and the ways in which it may fail to arrive.

A connection that breaks is an exception, ``ConnectionCut``: raised by the application before its headers, or by its body
after half of the bytes. Under waitress, which knows one of its bases, the socket closes there and nothing is logged; a
client that drives the application in one process sees the exception itself, a ``ConnectionResetError``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING

from waitress.channel import ClientDisconnected

from infra.local.simulated.errors import HTML, JSON, Refusal, page

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


class ConnectionCut(ConnectionResetError, ClientDisconnected):  # type: ignore[misc]  # waitress has no types
    """The connection breaks here, as the simulator was told."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One response; ``arriving`` is the share of it that reaches the client: 1, or 0.5, or 0."""

    code: int
    body: bytes
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()
    arriving: float = 1.0

    @property
    def status(self) -> str:
        """The status line behind the protocol's version."""
        try:
            return f"{self.code} {HTTPStatus(self.code).phrase}"
        except ValueError:
            return f"{self.code} Unknown"

    @classmethod
    def of(cls, error: Refusal) -> Answer:
        """The answer that says an error."""
        body, content_type = error.rendered()
        return cls(error.code, body, content_type, error.headers)

    def cut(self) -> Answer:
        """The same, but the connection breaks in the middle of the body; before the headers if there is no body."""
        return replace(self, arriving=0.5 if len(self.body) > 1 else 0.0)

    def garbled(self, number: int) -> Answer:
        """Success in name only: in turns a page of HTML and the first half of the body."""
        if number % 2 and len(self.body) > 1:
            return replace(self, code=200, body=self.body[: len(self.body) // 2])
        return Answer(200, page(200, "Service Unavailable"), HTML)


NOTHING = Answer(504, b"", arriving=0.0)
"""No answer at all: the connection closes without a byte."""


def send(answer: Answer, start_response: StartResponse) -> Iterable[bytes]:
    """Hand an answer to the server. Raises ``ConnectionCut``, or lets the body raise it, if not all of it arrives."""
    if answer.arriving == 0:
        raise ConnectionCut
    start_response(
        answer.status,
        [("Content-Type", answer.content_type), ("Content-Length", str(len(answer.body))), *answer.headers],
    )
    return [answer.body] if answer.arriving == 1 else _broken(answer.body)


def take(app: Callable[..., Iterable[bytes]], environ: WSGIEnvironment) -> Answer:
    """Let an application answer a request, and hold its answer back."""
    said: list[tuple[str, list[tuple[str, str]]]] = []

    def start_response(status: str, headers: list[tuple[str, str]], _: object = None) -> Callable[..., object]:
        said.append((status, headers))
        return _no_write

    pieces = app(environ, start_response)
    try:
        body = b"".join(pieces)
    finally:
        close = getattr(pieces, "close", None)
        if close is not None:
            close()
    status, headers = said[-1]
    kept = {name.lower(): value for name, value in headers}
    rest = tuple((name, value) for name, value in headers if name.lower() not in ("content-type", "content-length"))
    return Answer(int(status.split(" ")[0]), body, kept.get("content-type", JSON), rest)


def _no_write(data: bytes) -> object:
    raise NotImplementedError("The applications here answer by what they return.")


def _broken(body: bytes) -> Iterator[bytes]:
    yield body[: len(body) // 2]
    raise ConnectionCut

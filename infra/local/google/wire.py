"""The Gmail API over HTTP, straight on WSGI: requests in, Google's JSON out.

It stands before Flask because a backfill asks for every single message; routing here costs a few microseconds. Partial
responses and batches work as described.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

import orjson

from infra.local.google.batch import run_batch
from infra.local.google.errors import GoogleError
from infra.local.google.fields import select
from infra.local.google.routes import ROOT, Asked, Call, find
from infra.local.google.simulator import GoogleSimulator

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

_BATCH = ("/batch", "/batch/gmail/v1")
_MAX_BODY = 1 << 20


@dataclass(frozen=True, slots=True)
class Answer:
    """One response."""

    code: int
    body: bytes
    content_type: str = "application/json; charset=UTF-8"

    @property
    def status(self) -> str:
        """The status line behind the protocol's version."""
        try:
            return f"{self.code} {HTTPStatus(self.code).phrase}"
        except ValueError:
            return f"{self.code} Unknown"


def answer(simulator: GoogleSimulator, call: Call) -> Answer:
    """Answer one call of the Gmail API; never raises ``GoogleError``."""
    try:
        route, user, query = find(call)
        simulator.count_request(route.name)
        address = simulator.accounts.owner(call.authorization, user)
        result = route.run(Asked(simulator.gmail, address, query, call))
        if result is None:
            return Answer(204, b"")
        mask = query.get("fields")
        return Answer(200, orjson.dumps(select(result, mask[0]) if mask else result))
    except GoogleError as error:
        return Answer(error.code, orjson.dumps(error.body))


class GmailEndpoint:
    """WSGI middleware: serves the Gmail API, leaves every other path to the application behind it."""

    def __init__(self, simulator: GoogleSimulator, behind: Callable[..., Iterable[bytes]]) -> None:
        self._simulator = simulator
        self._behind = behind

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        path: str = environ.get("PATH_INFO", "")
        batch = path in _BATCH and environ["REQUEST_METHOD"] == "POST"
        if not batch and not path.startswith(ROOT):
            return self._behind(environ, start_response)
        latency = self._simulator.pushes.faults.latency
        if latency:
            self._simulator.clock.sleep(latency)
        length = int(environ.get("CONTENT_LENGTH") or 0)
        call = Call(
            environ["REQUEST_METHOD"],
            f"{path}?{environ.get('QUERY_STRING', '')}",
            environ.get("HTTP_AUTHORIZATION", ""),
            environ["wsgi.input"].read(min(length, _MAX_BODY)) if length else b"",
        )
        if batch:
            response = self._batch(call, environ.get("CONTENT_TYPE", ""), environ.get("SCRIPT_NAME", ""))
        else:
            response = answer(self._simulator, call)
        start_response(
            response.status, [("Content-Type", response.content_type), ("Content-Length", str(len(response.body)))]
        )
        return [response.body]

    def _batch(self, call: Call, content_type: str, mount: str) -> Answer:
        self._simulator.count_request("batch")

        def part(verb: str, target: str, authorization: str, body: bytes) -> tuple[str, bytes]:
            target = target.removeprefix(mount)  # parts name whole paths, as seen from outside
            response = answer(self._simulator, Call(verb, target, authorization or call.authorization, body))
            return response.status, response.body

        try:
            body, kind = run_batch(call.body, content_type, part)
        except GoogleError as error:
            return Answer(error.code, orjson.dumps(error.body))
        return Answer(200, body, kind)

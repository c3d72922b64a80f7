"""The Gmail API over HTTP, straight on WSGI: requests in, Google's JSON out, unless a fault or the quota says otherwise.

It stands before Flask because a backfill asks for every single message; routing here costs a few microseconds. Partial
responses and batches work as described. A call passes, in this order: its token, the limit of calls at one time, faults,
its price, the method itself. What the plan wants of the token endpoint happens here too; that endpoint itself, like
everything else, is the application's behind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

import orjson

from infra.local.google.batch import run_batch
from infra.local.google.errors import GoogleError
from infra.local.google.faults import refusal
from infra.local.google.fields import select
from infra.local.google.routes import ROOT, Asked, Call, find
from infra.local.google.simulator import GoogleSimulator
from infra.local.simulated.answers import NOTHING, Answer, send, take
from infra.local.simulated.errors import HTML, page
from infra.local.simulated.faults import Fired

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

_BATCH = ("/batch", "/batch/gmail/v1")
_TOKEN = "/token"  # noqa: S105 - a path
_MAX_BODY = 32 << 20
_TOKEN_ERRORS = {400: "invalid_request", 401: "invalid_client", 403: "access_denied", 429: "rate_limit_exceeded"}


def answer(simulator: GoogleSimulator, call: Call, flight: list[str], inner: bool = False) -> Answer:
    """Answer one call of the Gmail API; never raises ``GoogleError``.

    ``flight`` collects the places that the call takes; whoever sends the answer gives them back. ``inner``: the call is
    a part of a batch.
    """
    fired: Fired | None = None
    try:
        route, user, query = find(call)
        simulator.count_request(route.name)
        address = simulator.accounts.owner(call.authorization, user, route.name, query)
        if simulator.quota.concurrency is not None:
            simulator.quota.enter(address, flight)
        if simulator.faults.active:
            age = partial(simulator.age, address, call.target) if route.name == "users.messages.get" else None
            fired = simulator.faults.strike(route.name, inner, "pageToken" in query, age)
            if fired is not None and (spoiled := _instead(simulator, fired)) is not None:
                return spoiled
        if simulator.quota.profile is not None:
            simulator.quota.charge(address, route.name)
        result = route.run(Asked(simulator.gmail, address, query, call))
        mask = query.get("fields")
        response = (
            Answer(204, b"")
            if result is None
            else Answer(200, orjson.dumps(select(result, mask[0]) if mask else result))
        )
    except GoogleError as error:
        response = Answer.of(error)
    return response if fired is None else _afterwards(response, fired)


class GmailEndpoint:
    """WSGI middleware: serves the Gmail API, leaves every other path to the application behind it."""

    def __init__(self, simulator: GoogleSimulator, behind: Callable[..., Iterable[bytes]]) -> None:
        self._simulator = simulator
        self._behind = behind

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request. Raises ``ConnectionCut`` where the plan wants the connection to break."""
        path: str = environ.get("PATH_INFO", "")
        batch = path in _BATCH and environ["REQUEST_METHOD"] == "POST"
        if not batch and not path.startswith(ROOT):
            if path == _TOKEN and self._simulator.faults.active and environ["REQUEST_METHOD"] == "POST":
                return send(self._token(environ), start_response)
            return self._behind(environ, start_response)
        length = int(environ.get("CONTENT_LENGTH") or 0)
        call = Call(
            environ["REQUEST_METHOD"],
            f"{path}?{environ.get('QUERY_STRING', '')}",
            environ.get("HTTP_AUTHORIZATION", ""),
            environ["wsgi.input"].read(min(length, _MAX_BODY)) if length else b"",
        )
        flight: list[str] = []
        try:
            if batch:
                response = self._batch(call, environ.get("CONTENT_TYPE", ""), environ.get("SCRIPT_NAME", ""), flight)
            else:
                response = answer(self._simulator, call, flight)
            latency = self._simulator.pushes.faults.latency
            if latency:
                self._simulator.clock.sleep(latency)  # with its places still taken: the client is waiting
        finally:
            if flight:
                self._simulator.quota.leave(flight)
        return send(response, start_response)

    def _batch(self, call: Call, content_type: str, mount: str, flight: list[str]) -> Answer:
        simulator = self._simulator
        simulator.count_request("batch")
        if not simulator.batch:
            return Answer(404, page(404, "Not Found"), HTML)

        def part(verb: str, target: str, authorization: str, body: bytes) -> Answer:
            target = target.removeprefix(mount)  # parts name whole paths, as seen from outside
            return answer(simulator, Call(verb, target, authorization or call.authorization, body), flight, inner=True)

        faults = simulator.faults
        fired = faults.strike("batch", inner=False) if faults.active else None
        if fired is not None and (spoiled := _instead(simulator, fired)) is not None:
            return spoiled
        try:
            body, kind = run_batch(call.body, content_type, part, faults.reshape if faults.active else list)
        except GoogleError as error:
            return Answer.of(error)
        response = Answer(200, body, kind)
        return response if fired is None else _afterwards(response, fired)

    def _token(self, environ: WSGIEnvironment) -> Answer:
        """The token endpoint's answer, with what the plan wants of it; errors have the shape of RFC 6749."""
        fired = self._simulator.faults.strike("token", inner=False)
        if fired is None:
            return take(self._behind, environ)
        spoiled = _instead(self._simulator, fired)
        if spoiled is None:
            return _afterwards(take(self._behind, environ), fired)
        self._simulator.count_request("token")
        if spoiled is NOTHING:
            return spoiled
        error = fired.rule.reason or _TOKEN_ERRORS.get(spoiled.code, "internal_failure")
        body = {"error": error, "error_description": "The simulator was told to refuse this call."}
        return Answer(spoiled.code, orjson.dumps(body), headers=spoiled.headers)


def _instead(simulator: GoogleSimulator, fired: Fired) -> Answer | None:
    """What a fault answers in place of the call; None if the call is to be carried out."""
    if fired.rule.fault == "timeout":
        simulator.clock.sleep(fired.rule.seconds)
        return NOTHING
    refused = refusal(fired, simulator.clock.now())
    return None if refused is None else Answer.of(refused)


def _afterwards(response: Answer, fired: Fired) -> Answer:
    """What a fault makes of the answer to a call that was carried out."""
    return response.cut() if fired.rule.fault == "cut" else response.garbled(fired.number)

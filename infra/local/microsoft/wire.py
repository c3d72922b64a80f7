"""Graph over HTTP, straight on WSGI: requests in, Graph's JSON out, unless a fault or the throttle says otherwise.

A call passes, in this order: its token, its method, what the token is allowed, the throttle, faults, the method itself.
What the plan wants of the token endpoints happens here too; those, like everything else, are the application's behind.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import orjson

from infra.local.microsoft.asked import ROOT, Asked, Call, Plain, Route, preferences
from infra.local.microsoft.batch import run_batch
from infra.local.microsoft.errors import JSON, GraphError, denied
from infra.local.microsoft.faults import refusal
from infra.local.microsoft.routes import find, require
from infra.local.microsoft.simulator import MicrosoftSimulator
from infra.local.simulated.answers import NOTHING, Answer, send, take
from infra.local.simulated.faults import Fired

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

_BATCH = ROOT + "$batch"
_TOKEN = re.compile(r"/[^/]+/oauth2/v2\.0/token")
_MAX_BODY = 32 << 20
_TOKEN_ERRORS = {400: "invalid_request", 401: "invalid_client", 429: "temporarily_unavailable"}


def answer(simulator: MicrosoftSimulator, call: Call, flight: list[str], inner: bool = False) -> Answer:
    """Answer one call of Graph; never raises ``GraphError``.

    ``flight`` collects the places that the call takes; whoever sends the answer gives them back. ``inner``: the call is
    a part of a batch.
    """
    fired: Fired | None = None
    try:
        caller = simulator.identity.whose(call.headers.get("authorization", ""))
        address = caller.address
        route, user, words, query = find(call)
        if user.lower() not in ("me", address.lower(), simulator.identity.accounts.find(address).id):
            raise denied()
        require(route, caller.scopes)
        folder = simulator.count_call(address, route.name, words)
        simulator.throttle.enter(address, flight, folder if route.name == "messages.delta" else "")
        if simulator.faults.active:
            age = partial(simulator.age, address, words[-1]) if route.name == "messages.get" else None
            fired = simulator.faults.strike(route.name, inner, age=age)
            if fired is not None and (spoiled := _instead(simulator, fired)) is not None:
                return spoiled
        asked = Asked(
            simulator.outlook, address, caller.scopes, words, query, call,
            preferences(call.headers.get("prefer", "")),
        )  # fmt: skip
        response = _rendered(route, route.run(asked), asked)
    except GraphError as error:
        response = Answer.of(error)
    return response if fired is None else _afterwards(response, fired)


class GraphEndpoint:
    """WSGI middleware: serves Graph, leaves every other path to the application behind it."""

    def __init__(self, simulator: MicrosoftSimulator, behind: Callable[..., Iterable[bytes]]) -> None:
        self._simulator = simulator
        self._behind = behind

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request. Raises ``ConnectionCut`` where the plan wants the connection to break."""
        path: str = environ.get("PATH_INFO", "")
        if not path.startswith(ROOT):
            if environ["REQUEST_METHOD"] == "POST" and _TOKEN.fullmatch(path):
                return send(self._token(environ), start_response)
            return self._behind(environ, start_response)
        call = _call(environ, path)
        flight: list[str] = []
        try:
            if path == _BATCH and call.verb == "POST":
                response = self._batch(call)
            else:
                response = answer(self._simulator, call, flight)
            latency = self._simulator.hindrances.plan.latency
            if latency:
                self._simulator.clock.sleep(latency)  # with its places still taken: the client is waiting
            if path != _BATCH:
                self._promised(call, [response])  # only now the client hears of it
        finally:
            if flight:
                self._simulator.throttle.leave(flight)
        return send(response, start_response)

    def _batch(self, call: Call) -> Answer:
        simulator = self._simulator
        simulator.count_request("batch")
        faults = simulator.faults
        fired = faults.strike("batch", inner=False) if faults.active else None
        if fired is not None and (spoiled := _instead(simulator, fired)) is not None:
            return spoiled
        try:
            simulator.identity.whose(call.headers.get("authorization", ""))
            parts = run_batch(call, self._wave)
        except GraphError as error:
            return Answer.of(error)
        arranged = faults.reshape(parts) if faults.active else parts
        response = Answer(200, orjson.dumps({"responses": [part for _, part in arranged]}), JSON)
        return response if fired is None else _afterwards(response, fired)

    def _wave(self, calls: Sequence[Call]) -> list[Answer]:
        """Parts that run at the same time: all have taken their places before the first gives its own back."""
        flight: list[str] = []
        try:
            answers = [answer(self._simulator, call, flight, inner=True) for call in calls]
        finally:
            self._simulator.throttle.leave(flight)
        self._promised(calls[0], answers)
        return answers

    def _promised(self, call: Call, answers: Sequence[Answer]) -> None:
        """Note what answers say about coming back, once all that went out together have one."""
        waits = [float(value) for one in answers for name, value in one.headers if name == "Retry-After"]
        if waits:
            with suppress(GraphError):  # a stranger was promised nothing
                caller = self._simulator.identity.whose(call.headers.get("authorization", ""))
                self._simulator.throttle.promised(caller.address, max(waits))

    def _token(self, environ: WSGIEnvironment) -> Answer:
        """A token endpoint's answer, with what the plan wants of it."""
        simulator = self._simulator
        if simulator.hindrances.plan.latency:
            simulator.clock.sleep(simulator.hindrances.plan.latency)
        fired = simulator.faults.strike("token", inner=False) if simulator.faults.active else None
        if fired is None:
            return take(self._behind, environ)
        spoiled = _instead(simulator, fired)
        if spoiled is None:
            return _afterwards(take(self._behind, environ), fired)
        simulator.count_request("token")
        if spoiled is NOTHING:
            return spoiled
        error = fired.rule.reason or _TOKEN_ERRORS.get(spoiled.code, "temporarily_unavailable")
        body = {
            "error": error,
            "error_description": "AADSTS90033: A transient error has occurred.",
            "error_codes": [90033],
        }
        return Answer(spoiled.code, orjson.dumps(body), headers=spoiled.headers)


def _call(environ: WSGIEnvironment, path: str) -> Call:
    length = int(environ.get("CONTENT_LENGTH") or 0)
    headers = {
        name[5:].replace("_", "-").lower(): str(value) for name, value in environ.items() if name.startswith("HTTP_")
    } | {"content-type": str(environ.get("CONTENT_TYPE", ""))}
    host = headers.get("host") or f"{environ['SERVER_NAME']}:{environ['SERVER_PORT']}"
    return Call(
        environ["REQUEST_METHOD"],
        f"{path}?{environ.get('QUERY_STRING', '')}",
        headers,
        environ["wsgi.input"].read(min(length, _MAX_BODY)) if length else b"",
        f"{environ['wsgi.url_scheme']}://{host}{environ.get('SCRIPT_NAME', '')}",
    )


def _rendered(route: Route, result: object, asked: Asked) -> Answer:
    applied = (("Preference-Applied", 'IdType="ImmutableId"'),) if asked.immutable else ()
    if isinstance(result, Plain):
        return Answer(result.code, result.body, result.kind, applied)
    if result is None:
        return Answer(204, b"", JSON, applied)
    return Answer(route.code, orjson.dumps(result), JSON, applied)


def _instead(simulator: MicrosoftSimulator, fired: Fired) -> Answer | None:
    """What a fault answers in place of the call; None if the call is to be carried out."""
    if fired.rule.fault == "timeout":
        simulator.clock.sleep(fired.rule.seconds)
        return NOTHING
    refused = refusal(fired)
    return None if refused is None else Answer.of(refused)


def _afterwards(response: Answer, fired: Fired) -> Answer:
    """What a fault makes of the answer to a call that was carried out."""
    return response.cut() if fired.rule.fault == "cut" else response.garbled(fired.number)

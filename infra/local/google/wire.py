"""The Gmail API over HTTP, straight on WSGI: requests in, Google's JSON out.

It stands before Flask because a backfill asks for every single message; routing here costs a few microseconds. Unknown
parameters are refused as Google refuses them, partial responses and batches work as described.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import parse_qs, unquote

import orjson

from infra.local.google.batch import run_batch
from infra.local.google.errors import GoogleError
from infra.local.google.fields import select
from infra.local.google.gmail import Gmail, Query
from infra.local.google.simulator import GoogleSimulator

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

_ROOT = "/gmail/v1/users/"
_BATCH = ("/batch", "/batch/gmail/v1")
_MAX_BODY = 1 << 20
_EVERYWHERE = frozenset(
    {"alt", "fields", "key", "prettyPrint", "quotaUser", "access_token", "oauth_token", "callback", "uploadType",
     "upload_protocol", "$.xgafv"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Call:
    """One request, alone or as part of a batch; ``target`` is path and query."""

    verb: str
    target: str
    authorization: str
    body: bytes


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


@dataclass(frozen=True, slots=True)
class _Asked:
    """A call whose owner is known."""

    gmail: Gmail
    address: str
    query: Query
    call: Call


Method: TypeAlias = Callable[[_Asked], Any]


@dataclass(frozen=True, slots=True)
class _Route:
    name: str
    run: Method
    parameters: frozenset[str] = frozenset()


_ROUTES = {
    ("GET", "profile"): _Route("users.getProfile", lambda it: it.gmail.profile(it.address)),
    ("GET", "messages"): _Route(
        "users.messages.list",
        lambda it: it.gmail.messages(it.address, it.query),
        frozenset({"includeSpamTrash", "labelIds", "maxResults", "pageToken", "q"}),
    ),
    ("GET", "messages/{id}"): _Route(
        "users.messages.get",
        lambda it: it.gmail.message(it.address, _last_segment(it.call), it.query),
        frozenset({"format", "metadataHeaders"}),
    ),
    ("GET", "history"): _Route(
        "users.history.list",
        lambda it: it.gmail.history(it.address, it.query),
        frozenset({"startHistoryId", "historyTypes", "labelId", "maxResults", "pageToken"}),
    ),
    ("GET", "labels"): _Route("users.labels.list", lambda it: it.gmail.labels(it.address)),
    ("POST", "watch"): _Route("users.watch", lambda it: it.gmail.watch(it.address, _json(it.call))),
    ("POST", "stop"): _Route("users.stop", lambda it: it.gmail.stop(it.address)),
}


def answer(simulator: GoogleSimulator, call: Call) -> Answer:
    """Answer one call of the Gmail API; never raises ``GoogleError``."""
    try:
        route, user, query = _route(call)
        simulator.count_request(route.name)
        address = simulator.accounts.owner(call.authorization, user)
        result = route.run(_Asked(simulator.gmail, address, query, call))
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
        if not batch and not path.startswith(_ROOT):
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


def _route(call: Call) -> tuple[_Route, str, Query]:
    path, _, raw = call.target.partition("?")
    user, _, rest = path.removeprefix(_ROOT).partition("/")
    if not path.startswith(_ROOT):
        rest = ""
    if rest.startswith("messages/") and rest.count("/") == 1:
        rest = "messages/{id}"
    route = _ROUTES.get((call.verb, rest))
    if route is None:
        raise GoogleError(404, "The requested URL was not found on this server.")
    query = parse_qs(raw, keep_blank_values=True, errors="replace")
    for name in query:
        if name not in route.parameters and name not in _EVERYWHERE:
            raise GoogleError(
                400, f'Invalid JSON payload received. Unknown name "{name}": Cannot bind query parameter.'
            )
    return route, unquote(user), query


def _last_segment(call: Call) -> str:
    return unquote(call.target.partition("?")[0].rpartition("/")[2])


def _json(call: Call) -> dict[str, Any]:
    try:
        body = orjson.loads(call.body or b"{}")
    except ValueError:
        raise GoogleError(400, "Invalid JSON payload received.") from None
    if not isinstance(body, dict):
        raise GoogleError(400, "Invalid JSON payload received.")
    return body

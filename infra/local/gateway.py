"""One port for everything: each function behind what its paths begin with, the longest that fits (``infra/functions.yaml``).

Paths reach the functions whole. What is not public needs the invoker's secret, as Cloud Run demands the identity of an
invoker; the check comes before anything of the function runs. The Pub/Sub emulator knows no identities, so where it does the
pushing, functions that a topic triggers take the secret in the URL too; it never reaches them, nor any log.
"""

from __future__ import annotations

import hmac
import json
import os
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs

import functions_framework

from infra.local.catalogue import Function, routed
from infra.local.web import WSGIApp
from shared.errors import BrainstemError, Forbidden, NotFound, RateLimited, Unauthorized

QUERY = "invoker"
"""The query parameter that holds the secret in the URL of a push subscription."""

_FRAMEWORK_VARIABLES = ("FUNCTION_TARGET", "FUNCTION_SIGNATURE_TYPE", "FUNCTION_SOURCE")


class Gateway:
    """The WSGI app of the machine: functions, the Pub/Sub subset (for invokers), and mounted neighbours (for anyone)."""

    def __init__(
        self,
        functions: Sequence[Function],
        secret: str,
        version: str,
        pubsub: WSGIApp | None,
        mounts: Mapping[str, WSGIApp],
    ) -> None:
        """Without ``pubsub`` the bus is elsewhere and pushes from there: with the secret in the URL."""
        self._rooms = {prefix: room for room in map(_Room, functions) for prefix in room.function.prefixes}
        self._secret = secret.encode()
        self._version = version
        self._pubsub = pubsub
        self._mounts = dict(mounts)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request."""
        path = environ.get("PATH_INFO") or "/"
        head, _, rest = path.lstrip("/").partition("/")
        if head in self._mounts:
            environ["SCRIPT_NAME"] = f"{environ.get('SCRIPT_NAME', '')}/{head}"
            environ["PATH_INFO"] = f"/{rest}"
            return self._mounts[head](environ, start_response)
        try:
            if self._pubsub is not None and path.startswith("/v1/projects/"):
                self._require_invoker(environ)
                return self._pubsub(environ, start_response)
            prefix = routed(self._rooms, path)
            if prefix is None:
                raise NotFound()
            room = self._rooms[prefix]
            if room.function.is_public(path):
                return room.app(environ, start_response)
            if self._pubsub is None and room.function.trigger[0] == "topic":
                self._take_secret_from_url(environ)
            self._require_invoker(environ)
        except BrainstemError as error:
            return self._refuse(error, start_response)
        # A function that is called over HTTP by another (the simulator by sync) must never take the last thread.
        if not room.places.acquire(blocking=False):
            return self._refuse(RateLimited("Every instance of this function is busy."), start_response)
        try:
            return list(room.app(environ, start_response))
        finally:
            room.places.release()

    def _take_secret_from_url(self, environ: dict[str, Any]) -> None:
        try:
            given = parse_qs(environ.get("QUERY_STRING", ""), max_num_fields=8).get(QUERY)
        except ValueError:
            given = None
        for name in ("REQUEST_URI", "RAW_URI"):
            environ.pop(name, None)
        environ["QUERY_STRING"] = ""
        if given and not environ.get("HTTP_AUTHORIZATION"):
            environ["HTTP_AUTHORIZATION"] = f"Bearer {given[0]}"

    def _require_invoker(self, environ: dict[str, Any]) -> None:
        scheme, _, token = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthorized("This path is for invokers only.")
        if not hmac.compare_digest(token.strip().encode("latin-1", "replace"), self._secret):
            raise Forbidden("This is not the invoker's secret.")

    def _refuse(self, error: BrainstemError, start_response: Callable[..., Any]) -> Iterable[bytes]:
        body = json.dumps(
            {
                "success": False,
                "error": {"code": error.code, "message": error.message, "details": {}},
                "meta": {
                    "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                    "version": self._version,
                },
            }
        ).encode()
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        start_response(f"{error.status} {HTTPStatus(error.status).phrase}", headers)
        return [body]


class _Room:
    """One mounted function and how many requests it takes at once."""

    def __init__(self, function: Function) -> None:
        self.function = function
        self.app: WSGIApp = mount(function)
        self.places = threading.BoundedSemaphore(function.concurrency)


def mount(function: Function) -> WSGIApp:
    """Load a function through the functions framework, as its own instance would.

    The framework keeps its settings in the environment and the function in ``sys.modules['main']``; both are put back, or
    the next function would inherit them.
    """
    before = {name: os.environ.pop(name, None) for name in _FRAMEWORK_VARIABLES}
    module, path = sys.modules.pop("main", None), list(sys.path)
    try:
        app: WSGIApp = functions_framework.create_app(  # type: ignore[no-untyped-call]
            target=function.entry_point, source=str(function.source)
        )
        return app
    finally:
        sys.modules.pop("main", None)
        if module is not None:
            sys.modules["main"] = module
        sys.path[:] = path
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

"""The app that every HTTP function is made of: one body limit, one kind of error, the same headers, the trace in the log.

``as_function`` runs such an app below functions-framework, which has a Flask app of its own: the request's WSGI
environment is handed on with its body unread, so routes, limits and errors are those of our app.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
from flask import Flask, Request, Response, request
from werkzeug.exceptions import RequestEntityTooLarge, RequestHeaderFieldsTooLarge, RequestURITooLarge
from werkzeug.wrappers import Response as BaseResponse

from shared.http import errors
from shared.observability import logs
from shared.ports import Clock
from shared.settings import Settings

MAX_URL_BYTES = 16_384
MAX_HEADER_BYTES = 65_536
"""Of all header fields together; servers in front of us have limits of their own, and not all the same."""

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "no-referrer",
    "Strict-Transport-Security": "max-age=31536000",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""On every answer, unless it says something else itself. Browsers do not ask who may use a resource (CORP) where CORS does."""


def create_app(settings: Settings, clock: Clock) -> Flask:
    """An app without routes. Bodies over ``max_body_bytes`` are refused before they are read."""
    app = Flask("brainstem", static_folder=None, template_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
    # A path that is almost right is absent, not redirected: clients would follow without their body.
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False

    @app.before_request
    def trace() -> None:
        logs.clear()
        logs.bind_trace(dict(request.headers), settings.cloud_project)
        if request.url_rule is not None:
            logs.bind(method=request.method, route=request.url_rule.rule)

    app.before_request(_bounded)
    app.after_request(secured)

    @app.teardown_request
    def forget(_: BaseException | None) -> None:
        logs.clear()

    @app.errorhandler(Exception)
    def refuse(error: Exception) -> Response:
        return errors.answer(error, now=clock.now(), version=settings.version)

    return app


def as_function(app: Flask) -> Callable[[Request], BaseResponse]:
    """The app as a handler for functions-framework."""

    def handle(outer: Request) -> BaseResponse:
        return Response.from_app(app, outer.environ)

    return handle


def secured(response: Response) -> Response:
    """The answer with the headers that every one of ours has."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response


def content() -> bytes:
    """The request's body. Raises 413 for one over the app's limit, whether it says its length or comes in chunks."""
    read = request.get_data(cache=False)
    # Of a body that comes in chunks Werkzeug hands out no more than the limit, without saying that there was more.
    if request.content_length is None and len(read) >= (request.max_content_length or 0):
        raise RequestEntityTooLarge
    return read


def _bounded() -> None:
    environ = request.environ
    if len(environ.get("PATH_INFO", "")) + len(environ.get("QUERY_STRING", "")) > MAX_URL_BYTES:
        raise RequestURITooLarge
    fields = (len(name) + len(value) for name, value in environ.items() if name.startswith("HTTP_"))
    if sum(fields) > MAX_HEADER_BYTES:
        raise RequestHeaderFieldsTooLarge


def json_answer(data: Any, status: int = 200) -> Response:
    """A successful answer: the documented object, as it is."""
    return Response(orjson.dumps(data), status, mimetype="application/json")

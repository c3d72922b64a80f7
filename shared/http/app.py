"""The app that every HTTP function is made of: one body limit, one kind of error, the same headers, the trace in the log.

``as_function`` runs such an app below functions-framework, which has a Flask app of its own: the request's WSGI
environment is handed on with its body unread, so routes, limits and errors are those of our app.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
from flask import Flask, Request, Response, request
from werkzeug.wrappers import Response as BaseResponse

from shared.http import errors
from shared.observability import logs
from shared.ports import Clock
from shared.settings import Settings

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Strict-Transport-Security": "max-age=31536000",
    "X-Content-Type-Options": "nosniff",
}


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

    @app.after_request
    def secure(response: Response) -> Response:
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        return response

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


def json_answer(data: Any, status: int = 200) -> Response:
    """A successful answer: the documented object, as it is."""
    return Response(orjson.dumps(data), status, mimetype="application/json")

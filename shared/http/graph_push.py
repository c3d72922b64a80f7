"""Microsoft Graph's webhook: the handshake that proves the URL to be ours, and notifications (docs/graph.md, 8 and 9).

Anyone may call it, so it tells nobody what it knows: a notification of an unknown subscription is answered like any other.
What was not enqueued is answered with an error, and Graph brings it again for hours.
"""

from __future__ import annotations

from collections.abc import Callable

from flask import Flask, Response, request

from shared.errors import InvalidRequest
from shared.http.app import create_app
from shared.http.triggers import json_body
from shared.ports import Clock
from shared.settings import Settings

ROOT = "/graph_push"
TOKEN_CHARS = 2_048
"""Longest validation token that is said back; Graph's have about a hundred."""


def create_graph_push(settings: Settings, clock: Clock, ring: Callable[[object], object]) -> Flask:
    """An app that answers handshakes by itself, and hands the JSON of notifications and lifecycle events to ``ring``."""
    app = create_app(settings, clock)

    @app.post(ROOT)
    @app.post(f"{ROOT}/lifecycle")
    def graph_push() -> Response:
        tokens = request.args.getlist("validationToken")
        if tokens:
            return _handshake(tokens)
        ring(json_body())
        return Response(status=202, mimetype="text/plain")

    return app


def _handshake(tokens: list[str]) -> Response:
    """The decoded token as plain text, which no browser may take for anything else."""
    if len(tokens) != 1 or not 1 <= len(tokens[0]) <= TOKEN_CHARS:
        raise InvalidRequest("The validation token is not one that Microsoft Graph sends.")
    return Response(tokens[0], 200, mimetype="text/plain")

"""The HTTP API: `/health`, `/me`, `/events` and `/mail/*`, for people and their clients."""

from __future__ import annotations

import flask
import functions_framework
from flask.typing import ResponseReturnValue

from shared import wiring

wiring.prepare("api")


@functions_framework.http
def api(request: flask.Request) -> ResponseReturnValue:
    """Hand the request to the wired use case."""
    return wiring.answer("api", request)

"""Our own sign-in: `/api/auth/*` and `/api/v1/auth/*`, for people and their applications."""

from __future__ import annotations

import flask
import functions_framework
from flask.typing import ResponseReturnValue

from shared import wiring

wiring.prepare("auth")


@functions_framework.http
def auth(request: flask.Request) -> ResponseReturnValue:
    """Hand the request to the wired use case."""
    return wiring.answer("auth", request)

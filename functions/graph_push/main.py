"""Microsoft Graph's push, which comes from anywhere: a doorbell that wakes a step."""

from __future__ import annotations

import flask
import functions_framework
from flask.typing import ResponseReturnValue

from shared import wiring

wiring.prepare("graph_push")


@functions_framework.http
def graph_push(request: flask.Request) -> ResponseReturnValue:
    """Hand the request to the wired use case."""
    return wiring.answer("graph_push", request)

"""Gmail's push, delivered by Pub/Sub: a doorbell that wakes a step."""

from __future__ import annotations

import flask
import functions_framework
from flask.typing import ResponseReturnValue

from shared import wiring

wiring.prepare("gmail_push")


@functions_framework.http
def gmail_push(request: flask.Request) -> ResponseReturnValue:
    """Hand the request to the wired use case."""
    return wiring.answer("gmail_push", request)

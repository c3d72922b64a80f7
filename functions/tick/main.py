"""What Cloud Scheduler calls: it enqueues what is due and relays what was left unpublished."""

from __future__ import annotations

import flask
import functions_framework
from flask.typing import ResponseReturnValue

from shared import wiring

wiring.prepare("tick")


@functions_framework.http
def tick(request: flask.Request) -> ResponseReturnValue:
    """Hand the request to the wired use case."""
    return wiring.answer("tick", request)

"""The sample consumer, rung by the topic `segments`: mails per sender and day."""

from __future__ import annotations

import flask
import functions_framework
from flask.typing import ResponseReturnValue

from shared import wiring

wiring.prepare("senders")


@functions_framework.http
def senders(request: flask.Request) -> ResponseReturnValue:
    """Hand the request to the wired use case."""
    return wiring.answer("senders", request)

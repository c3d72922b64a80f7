"""One step of one mailbox, called by Cloud Tasks; the only function that talks to mail providers."""

from __future__ import annotations

import flask
import functions_framework
from flask.typing import ResponseReturnValue

from shared import wiring

wiring.prepare("sync")


@functions_framework.http
def sync(request: flask.Request) -> ResponseReturnValue:
    """Hand the request to the wired use case."""
    return wiring.answer("sync", request)

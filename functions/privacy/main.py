"""One step of a deletion or an export, called by Cloud Tasks: what a person may ask for about all that is kept of them."""

from __future__ import annotations

import flask
import functions_framework
from flask.typing import ResponseReturnValue

from shared import wiring

wiring.prepare("privacy")


@functions_framework.http
def privacy(request: flask.Request) -> ResponseReturnValue:
    """Hand the request to the wired use case."""
    return wiring.answer("privacy", request)

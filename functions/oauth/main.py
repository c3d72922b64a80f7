"""Consent at the providers: `/oauth/google/*` and `/oauth/microsoft/*`, for people and their browsers."""

from __future__ import annotations

import flask
import functions_framework
from flask.typing import ResponseReturnValue

from shared import wiring

wiring.prepare("oauth")


@functions_framework.http
def oauth(request: flask.Request) -> ResponseReturnValue:
    """Hand the request to the wired use case."""
    return wiring.answer("oauth", request)

"""Any exception becomes an answer here, for all functions, in one envelope.

``{"success": false, "error": {"code", "message", "details"}, "meta": {"timestamp", "version"}}``. Codes are those of
``shared/errors.py`` plus the few that only HTTP has (``HTTP_CODES``). An exception that nobody foresaw is a 500 that says
nothing of the inside; its stack is in the log.
"""

from __future__ import annotations

import math
from typing import Any

import orjson
from flask import Response
from werkzeug.exceptions import HTTPException

from shared.errors import BrainstemError, ConfigurationError
from shared.events.envelope import iso
from shared.observability import logs
from shared.observability.redaction import clean

INTERNAL = "internal"
HTTP_CODES = {
    400: "invalid_request",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    414: "too_large",
    415: "unsupported_media_type",
    431: "too_large",
}
"""Codes of the errors that the web framework finds; any other 4xx is an ``invalid_request``."""

_MESSAGES = {
    400: "The request is malformed.",
    404: "There is no such thing.",
    405: "The method is not allowed here.",
    413: "The body is larger than its limit.",
    414: "The URL is longer than its limit.",
    415: "The body must be JSON, sent as application/json.",
    431: "The header fields are larger than their limit.",
}
_LOG = logs.named(__name__)


def answer(error: Exception, *, now: float, version: str) -> Response:
    """The answer to a request that ended with this exception; says in the log what our side has to know."""
    if isinstance(error, BrainstemError):
        status, code, message = error.status, error.code, error.message
        details = clean(error.details)
        headers = _headers(error)
        _note(error)
    elif isinstance(error, HTTPException) and 400 <= (error.code or 500) < 500:
        status = error.code or 400
        code, message = HTTP_CODES.get(status, HTTP_CODES[400]), _MESSAGES.get(status, _MESSAGES[400])
        details = {}
        headers = {"Allow": ", ".join(sorted(methods))} if (methods := getattr(error, "valid_methods", None)) else {}
        _LOG.info("request_refused", "A request was refused.", status=status, code=code)
    else:
        status, code, message = 500, INTERNAL, "Something went wrong on our side."
        details, headers = {}, {}
        _LOG.error("request_failed", "A request failed unexpectedly.", error=error, status=status, code=code)
    envelope = {
        "success": False,
        "error": {"code": code, "message": message, "details": details},
        "meta": {"timestamp": iso(now), "version": version},
    }
    return Response(orjson.dumps(envelope), status, headers, mimetype="application/json")


def _headers(error: BrainstemError) -> dict[str, Any]:
    headers: dict[str, Any] = {}
    if error.retry_after is not None and math.isfinite(error.retry_after):
        headers["Retry-After"] = max(1, math.ceil(error.retry_after))
    if error.code == "unauthorized":
        headers["WWW-Authenticate"] = "Bearer"
    return headers


def _note(error: BrainstemError) -> None:
    if isinstance(error, ConfigurationError) or error.code == BrainstemError.code:
        _LOG.error("request_failed", error.message, error=error, status=error.status, code=error.code)
    elif error.status >= 500:
        _LOG.warning("request_postponed", "A request could not be served now.", error, code=error.code)
    else:
        reason = error.details.get("reason")
        _LOG.info("request_refused", "A request was refused.", status=error.status, code=error.code, reason=reason)

"""Reading what Pub/Sub pushes: the envelope around a message (cloud.google.com/pubsub/docs/push, wrapped payload)."""

from __future__ import annotations

import base64
from typing import Any

import orjson

from shared.errors import InvalidRequest


def pushed(envelope: object) -> dict[str, Any]:
    """The JSON object inside a push. Raises ``InvalidRequest``."""
    try:
        data = orjson.loads(base64.b64decode(envelope["message"]["data"], validate=True))  # type: ignore[index]
    except (TypeError, KeyError, ValueError):  # base64 and JSON report theirs as a ValueError
        data = None
    if not isinstance(data, dict):
        raise InvalidRequest("The body is not a Pub/Sub push of a JSON object.")
    return data

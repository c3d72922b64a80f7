"""A subscriber outside: an HTTP endpoint that keeps every push envelope as it came, in order of arrival."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from infra.local.verify_delivery import Delivery

PATH = "/verify"


class Recorder:
    """The WSGI app of the endpoint and what it has received; broken envelopes are answered 400 and counted."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._deliveries: list[Delivery] = []
        self.broken = 0

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Take one push; 204 acknowledges it."""
        at = time.time()
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        try:
            delivery = delivery_of(at, body)
        except (ValueError, KeyError, TypeError):
            self.broken += 1
            start_response("400 Bad Request", [("Content-Length", "0")])
            return []
        with self._lock:
            self._deliveries.append(delivery)
        start_response("204 No Content", [])
        return []

    def deliveries(self) -> list[Delivery]:
        """What has come so far."""
        with self._lock:
            return list(self._deliveries)


def delivery_of(at: float, body: bytes) -> Delivery:
    """Read a push envelope. Raises ``ValueError``, ``KeyError``, ``TypeError`` for anything else."""
    message = json.loads(body)["message"]
    return Delivery(at, dict(message.get("attributes", {})), json.loads(base64.b64decode(message["data"])))

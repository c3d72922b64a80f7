"""Carries the simulator's pushes to Pub/Sub over its REST interface, wherever that is."""

from __future__ import annotations

import base64

from infra.local.client import JsonClient


class HttpPublisher:
    """Publishes one message per call. Raises what ``JsonClient`` raises; the simulator counts such a push as failed."""

    def __init__(self, secret: str) -> None:
        self._secret = secret
        self._client: JsonClient | None = None

    def aim(self, base: str) -> None:
        """Say where Pub/Sub is; until then nothing can be published."""
        self._client = JsonClient(base, self._secret)

    def __call__(self, topic: str, data: bytes) -> None:
        """Publish to a topic by its full name."""
        if self._client is None:
            raise RuntimeError("Nobody has said yet where Pub/Sub is.")
        self._client.post(f"/v1/{topic}:publish", {"messages": [{"data": base64.b64encode(data).decode()}]})

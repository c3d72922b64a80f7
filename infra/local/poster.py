"""Carries deliveries of the queue and the bus to where they go, over kept connections, each with a timeout."""

from __future__ import annotations

from collections.abc import Mapping

import urllib3

from shared.adapters.embedded.delivery import NO_ANSWER

CONNECT_SECONDS = 5.0


class Poster:
    """POSTs to a path of this machine, as an invoker, or to a URL outside, without the invoker's secret."""

    def __init__(self, base: str, secret: str, connections: int) -> None:
        self._base = base
        self._invoker = {"Authorization": f"Bearer {secret}"}
        self._pool = urllib3.PoolManager(num_pools=8, maxsize=connections, retries=False)

    def __call__(self, target: str, headers: Mapping[str, str], body: bytes, timeout: float) -> int:
        """POST and answer the status; ``NO_ANSWER`` where there was none."""
        inside = target.startswith("/")
        try:
            answer = self._pool.request(
                "POST",
                self._base + target if inside else target,
                headers={**headers, **self._invoker} if inside else dict(headers),
                body=body,
                redirect=False,
                timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=timeout),
            )
        except (urllib3.exceptions.HTTPError, OSError):
            return NO_ANSWER
        return int(answer.status)

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()

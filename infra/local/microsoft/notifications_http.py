"""Notifications over HTTP, for a simulator that runs beside the product on one machine."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

import urllib3

from infra.local.microsoft.notifications import NOBODY, Heard
from shared.ports import Clock

# Longer than any answer that Graph would still take, so that a slow endpoint is seen to be slow.
_TIMEOUT = urllib3.Timeout(connect=5.0, read=15.0)
_MOST_BYTES = 4096


class HttpNotify:
    """A ``Notify`` over kept connections; redirects are not followed, and of an answer only the beginning is read."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._pool = urllib3.PoolManager(num_pools=4, maxsize=4, retries=False, timeout=_TIMEOUT)

    def __call__(self, url: str, body: bytes, headers: Mapping[str, str], query: Mapping[str, str]) -> Heard:
        """POST, and answer what was heard within how many seconds."""
        mark = "&" if "?" in url else "?"
        whole = f"{url}{mark}{urlencode(query)}" if query else url
        began = self._clock.now()
        try:
            answer = self._pool.request(
                "POST", whole, headers=dict(headers), body=body, redirect=False, preload_content=False
            )
        except (urllib3.exceptions.HTTPError, OSError):
            return NOBODY
        try:
            text = answer.read(_MOST_BYTES).decode("utf-8", "replace")
        except (urllib3.exceptions.HTTPError, OSError):
            return NOBODY
        finally:
            answer.drain_conn()
            answer.release_conn()
        return Heard(answer.status, self._clock.now() - began, text, answer.headers.get("Content-Type", ""))

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()

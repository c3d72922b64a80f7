"""Calls what runs on a schedule, as Cloud Scheduler would: a POST per period, the next one whatever became of the last."""

from __future__ import annotations

import threading
from collections.abc import Callable

TIMEOUT_SECONDS = 60.0


class Scheduler:
    """One thread per job; a call that takes longer than the period delays the next one."""

    def __init__(self, post: Callable[[str, dict[str, str], bytes, float], int]) -> None:
        self._post = post
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self, path: str, period: float) -> None:
        """Call a path every ``period`` seconds, the first time at once."""
        thread = threading.Thread(target=self._run, args=(path, max(0.2, period)), name=f"schedule {path}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def stop(self, timeout: float) -> None:
        """Start no further call, and wait for those that run."""
        self._stopped.set()
        for thread in self._threads:
            thread.join(timeout)

    def _run(self, path: str, period: float) -> None:
        headers = {"Content-Type": "application/json", "X-CloudScheduler": "true"}
        while not self._stopped.is_set():
            self._post(path, headers, b"{}", TIMEOUT_SECONDS)
            self._stopped.wait(period)

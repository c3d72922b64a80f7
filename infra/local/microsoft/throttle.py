"""How often and how many at once a mailbox may be asked, what was promised about coming back, and who came too early.

Counted for every mailbox, whether a limit is enforced or not: the most requests at one time, the most deltas of one folder
at one time, and the requests that came before a Retry-After had passed. Counts live in memory and begin anew with ``put``;
a storm, in which everything answers 429, passes with the time.
"""

from __future__ import annotations

import math
import threading
from collections import Counter, deque
from collections.abc import Mapping
from typing import Any

from infra.local.microsoft.errors import GraphError, throttled
from infra.local.simulated.errors import ControlError
from shared.ports import Clock

GRAPH = {"requests": 10_000, "seconds": 600, "concurrency": 4}
"""What Graph allows an application per mailbox."""

_NONE = {"requests": None, "seconds": 600, "concurrency": None}
_EARLY = 1e-6


class Throttle:
    """Admits or refuses calls. Thread-safe."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._limits: dict[str, int | None] = dict(_NONE)
        self._storms: dict[str, tuple[float, int]] = {}
        self._begin()

    def _begin(self) -> None:
        self._seen: dict[str, deque[float]] = {}
        self._in_flight: Counter[str] = Counter()
        self._most: Counter[str] = Counter()
        self._refused: dict[str, Counter[str]] = {}
        self._too_early: Counter[str] = Counter()
        self._not_before: dict[str, float] = {}

    def put(self, plan: Mapping[str, Any]) -> dict[str, Any]:
        """Enforce ``{"requests": int | None, "seconds": int, "concurrency": int | None}``; what is absent has no limit.

        Answers the whole plan. Raises ``ControlError``.
        """
        if unknown := sorted(set(plan) - set(_NONE)):
            raise ControlError(f"A quota has requests, seconds and concurrency, not {', '.join(unknown)}.")
        for name, value in plan.items():
            whole = isinstance(value, int) and not isinstance(value, bool) and value > 0
            if not whole and (value is not None or name == "seconds"):
                raise ControlError(f"{name} must be a number from 1 on, or null for no limit.")
        with self._lock:
            in_flight = self._in_flight
            self._begin()
            self._in_flight = in_flight
            self._limits = _NONE | dict(plan)
            return dict(self._limits)

    def storm(self, seconds: float, retry_after: int, address: str = "") -> None:
        """For so long every request of a mailbox, or of all, answers 429 and names ``retry_after``."""
        if not seconds >= 0 or retry_after < 1:
            raise ControlError("A storm lasts some seconds, and Retry-After is 1 or more.")
        with self._lock:
            self._storms[address] = (self._clock.now() + seconds, retry_after)

    def enter(self, address: str, flight: list[str], folder: str = "") -> None:
        """Take a place for a call until ``leave(flight)``. Raises ``GraphError`` 429; then none is taken.

        ``folder`` is given where the call is a delta.
        """
        now = self._clock.now()
        with self._lock:
            if now < self._not_before.get(address, now) - _EARLY:
                self._too_early[address] += 1
            for storm in (address, ""):
                until, retry_after = self._storms.get(storm, (now, 0))
                if now < until:
                    raise self._refusal(address, retry_after, "ApplicationThrottled")
            concurrency = self._limits["concurrency"]
            if concurrency is not None and self._in_flight[address] >= concurrency:
                raise self._refusal(address, 1, "MailboxConcurrency")
            if (wait := self._wait(address, now)) > 0:
                raise self._refusal(address, wait, "ApplicationThrottled")
            for key in (address, f"{address} {folder}") if folder else (address,):
                self._in_flight[key] += 1
                self._most[key] = max(self._most[key], self._in_flight[key])
                flight.append(key)

    def leave(self, flight: list[str]) -> None:
        """Give back the places of a request and all its parts."""
        with self._lock:
            self._in_flight.subtract(flight)

    def promised(self, address: str, seconds: float) -> None:
        """An answer told the mailbox's client when to come back."""
        with self._lock:
            self._not_before[address] = max(self._not_before.get(address, 0.0), self._clock.now() + seconds)

    def report(self) -> dict[str, Any]:
        """What was enforced and seen since the last ``put``.

        ``{"requests", "seconds", "concurrency", "most_at_once": {address: n}, "most_deltas_at_once": {address: {folder:
        n}}, "refused": {address: {code: n}}, "too_early": {address: n}}``
        """
        with self._lock:
            deltas: dict[str, dict[str, int]] = {}
            for key, most in self._most.items():
                address, _, folder = key.partition(" ")
                if folder:
                    deltas.setdefault(address, {})[folder] = most
            return {
                **self._limits,
                "most_at_once": {key: most for key, most in self._most.items() if " " not in key},
                "most_deltas_at_once": deltas,
                "refused": {address: dict(counts) for address, counts in self._refused.items()},
                "too_early": dict(self._too_early),
            }

    def _wait(self, address: str, now: float) -> float:
        """Seconds until the mailbox may be asked again; 0 if now, and then that is noted."""
        most, window = self._limits["requests"], self._limits["seconds"]
        if most is None or window is None:
            return 0.0
        seen = self._seen.setdefault(address, deque())
        while seen and seen[0] <= now - window:
            seen.popleft()
        if len(seen) >= most:
            return seen[0] + window - now
        seen.append(now)
        return 0.0

    def _refusal(self, address: str, seconds: float, reason: str) -> GraphError:
        self._refused.setdefault(address, Counter())[reason] += 1
        return throttled(math.ceil(seconds), reason)

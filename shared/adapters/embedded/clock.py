"""The machine's clock, and one that tests turn by hand; the only place in ``shared`` that reads time or chance."""

from __future__ import annotations

import hashlib
import secrets
import threading
import time


class SystemClock:
    """The time and the randomness of the operating system."""

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Wait for real."""
        time.sleep(max(0.0, seconds))

    def entropy(self, size: int) -> bytes:
        """So many bytes that nobody can predict."""
        return secrets.token_bytes(size)


class VirtualClock:
    """A clock that stands still until it is moved, with chance that repeats itself for a seed; safe between threads."""

    def __init__(self, start: float = 1_795_183_200.0, seed: int = 0) -> None:
        self._now = start
        self._seed = seed
        self._drawn = 0
        self._lock = threading.Lock()

    def now(self) -> float:
        """Seconds since the epoch, the same until somebody advances."""
        with self._lock:
            return self._now

    def sleep(self, seconds: float) -> None:
        """Take no time at all, and be later afterwards."""
        self.advance(max(0.0, seconds))

    def advance(self, seconds: float) -> None:
        """Let time pass. Raises ``ValueError`` for a step back."""
        if seconds < 0:
            raise ValueError("A clock does not go back.")
        with self._lock:
            self._now += seconds

    def advance_to(self, moment: float) -> None:
        """Let time pass up to a moment; one that has passed changes nothing."""
        with self._lock:
            self._now = max(self._now, moment)

    def entropy(self, size: int) -> bytes:
        """The next bytes of a sequence that the seed decides."""
        with self._lock:
            self._drawn += 1
            return hashlib.shake_256(f"{self._seed}:{self._drawn}".encode()).digest(size)

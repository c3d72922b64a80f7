"""What happened, in order: one readable line each, the last ones kept, all of them hashed."""

from __future__ import annotations

import hashlib
from collections import deque

KEPT = 4_000


class Trace:
    """The events of a run; ``digest`` is the same for the same seed, in any process."""

    def __init__(self, start: float) -> None:
        self._start = start
        self._lines: deque[str] = deque(maxlen=KEPT)
        self._hash = hashlib.blake2b(digest_size=16)
        self.count = 0

    def say(self, now: float, instance: str, call: str, what: str) -> None:
        """Note one event: when, in which instance, in which call, and what came of it."""
        line = f"{now - self._start:10.3f}  {instance:<5} {call:<44} {what}"
        self.count += 1
        self._hash.update(line.encode("utf-8", "replace"))
        self._lines.append(line)

    @property
    def digest(self) -> str:
        """A hash of everything that was said."""
        return self._hash.hexdigest()

    def tail(self, lines: int, about: str = "") -> list[str]:
        """The last lines, those that name something where that is asked for."""
        chosen = [line for line in self._lines if about in line] if about else list(self._lines)
        return chosen[-lines:]

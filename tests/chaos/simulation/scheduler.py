"""Virtual time and calls in flight: each runs until it hands on, and goes on when its time has come.

A call is a greenlet, so handing on costs about a microsecond where a thread costs thirty, and nothing but this queue
decides who goes next: time first, then a draw. Nobody may hand on inside a transaction or while holding a lock.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from random import Random
from typing import Any

from greenlet import getcurrent, greenlet

from shared.adapters.embedded.clock import VirtualClock


class Crash(BaseException):
    """The instance is gone; nothing in the product may catch it."""


class Call:
    """One call in flight: what it is called in the trace, and what hooks note about it."""

    __slots__ = ("failure", "label", "notes", "started", "thread")

    def __init__(self, label: str, started: float) -> None:
        self.label = label
        self.started = started
        self.notes: dict[str, Any] = {}
        self.failure: BaseException | None = None
        self.thread: greenlet


class Scheduler:
    """Runs what is due; ``now`` is the true time, that of services and providers."""

    def __init__(self, clock: VirtualClock, chance: Random) -> None:
        self.clock = clock
        self._chance = chance
        self._due: list[tuple[float, float, int, Callable[[], None]]] = []
        self._order = 0
        self.current: Call | None = None
        self.flying = 0

    @property
    def now(self) -> float:
        """Seconds since the epoch."""
        return self.clock.now()

    def at(self, moment: float, act: Callable[[], None]) -> None:
        """Have something done at a moment, outside of any call; what is due at once comes in an order of chance."""
        self._order += 1
        heapq.heappush(self._due, (max(moment, self.now), self._chance.random(), self._order, act))

    def start(self, label: str, body: Callable[[Call], None], delay: float = 0.0) -> None:
        """Have a call begin. What it raises, a crash apart, ends the run."""

        def begin() -> None:
            call = Call(label, self.now)

            def main() -> None:
                try:
                    body(call)
                except Crash:
                    pass  # whoever waits for an answer has arranged for that itself
                except BaseException as failure:  # handed to the loop, which raises it
                    call.failure = failure
                self.flying -= 1

            call.thread = greenlet(main)
            self.flying += 1
            self._go(call)

        self.at(self.now + delay, begin)

    def pause(self, seconds: float) -> None:
        """Hand on for so long; outside of any call time just passes."""
        call = self.current
        if call is None:
            self.clock.advance(max(0.0, seconds))
            return
        self.at(self.now + max(0.0, seconds), lambda: self._go(call))
        call.thread.parent.switch()

    def next_due(self) -> float | None:
        """When the next thing happens."""
        return self._due[0][0] if self._due else None

    def step(self) -> None:
        """Do the next thing."""
        moment, _, _, act = heapq.heappop(self._due)
        self.clock.advance_to(moment)
        act()

    def _go(self, call: Call) -> None:
        before, self.current = self.current, call
        call.thread.parent = getcurrent()
        call.thread.switch()
        self.current = before
        if call.failure is not None:
            raise call.failure


def _always() -> None:
    """Somebody who cannot die."""


class SkewedClock:
    """A clock that is wrong by so many seconds; who sleeps on it hands on, and finds out whether it is still ``alive``."""

    def __init__(self, scheduler: Scheduler, skew: float = 0.0, alive: Callable[[], None] = _always) -> None:
        self._scheduler, self._skew, self._alive = scheduler, skew, alive

    def now(self) -> float:
        """What this clock takes for the time."""
        return self._scheduler.now + self._skew

    def sleep(self, seconds: float) -> None:
        """Wait."""
        self._scheduler.pause(seconds)
        self._alive()

    def entropy(self, size: int) -> bytes:
        """Bytes that the seed and the order of events decide."""
        return self._scheduler.clock.entropy(size)

"""The thread that sends delayed pushes on the laptop; tests pump by themselves."""

from __future__ import annotations

import threading
from typing import Protocol

from shared.ports import Clock

_LONGEST_WAIT = 1.0


class Pumped(Protocol):
    """A simulator that has something to send now and then; ``rung`` is set whenever something was queued."""

    @property
    def clock(self) -> Clock:
        """The time it goes by."""

    @property
    def rung(self) -> threading.Event:
        """Set whenever something was queued."""

    def pump(self) -> float | None:
        """Send what is due; answer when the next thing is, None if nothing waits."""


class PushPump:
    """Calls ``simulator.pump()`` whenever a push falls due, from ``start`` to ``stop``."""

    def __init__(self, simulator: Pumped) -> None:
        self._simulator = simulator
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="push-pump", daemon=True)

    def start(self) -> None:
        """Start the thread; once per pump."""
        self._thread.start()

    def stop(self) -> None:
        """Stop it and wait until it has ended; what is due later stays unsent."""
        self._stopping.set()
        self._simulator.rung.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        rung = self._simulator.rung
        while not self._stopping.is_set():
            rung.clear()
            due = self._simulator.pump()
            wait = _LONGEST_WAIT if due is None else min(_LONGEST_WAIT, max(0.0, due - self._simulator.clock.now()))
            if not self._stopping.is_set():
                rung.wait(wait)

"""Calls that run under virtual time as if at once: each in a thread of its own, one of them at a time, none by chance.

Whoever sleeps on the crew's clock hands on, and goes on once the time has come. So a step that waits for its quota holds up
nobody, as on real instances, and a run repeats itself exactly: no thread ever decides anything.
"""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable

from shared.adapters.embedded.clock import VirtualClock

PATIENCE = 60.0
"""Real seconds after which a call that neither ends nor sleeps is taken for stuck."""


class CrewClock(VirtualClock):
    """A virtual clock on which the members of a crew sleep, each in its own time."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed=seed)
        self.crew = Crew(self)

    def sleep(self, seconds: float) -> None:
        """Wait for the time to pass; outside of the crew it passes at once."""
        if not self.crew.sleep(seconds):
            super().sleep(seconds)


class Crew:
    """Runs calls; ``start`` and ``wake`` return when nobody can go on without time passing."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._members: dict[int, _Member] = {}
        self._idle: list[_Member] = []
        self._asleep: list[tuple[float, int, _Member]] = []
        self._slept = 0

    def start(self, call: Callable[[], None]) -> None:
        """Run a call until it ends or sleeps. Raises what it raises."""
        member = self._idle.pop() if self._idle else self._hired()
        member.call = call
        self._let(member)

    def wake(self) -> bool:
        """Let the one go on that was to wake first, if its time has come; answers whether there was one."""
        if not self._asleep or self._asleep[0][0] > self._clock.now():
            return False
        self._let(heapq.heappop(self._asleep)[2])
        return True

    def next_due(self) -> float | None:
        """When somebody wakes, None if nobody sleeps."""
        return self._asleep[0][0] if self._asleep else None

    def sleep(self, seconds: float) -> bool:
        """Called by the clock: hand on, if the caller is a member; answers whether it is."""
        member = self._members.get(threading.get_ident())
        if member is None:
            return False
        self._slept += 1
        heapq.heappush(self._asleep, (self._clock.now() + max(0.0, seconds), self._slept, member))
        member.rests.release()
        member.goes.acquire()
        return True

    def dismiss(self) -> None:
        """End the threads that have nothing to do; those asleep are daemons and end with the process."""
        while self._idle:
            member = self._idle.pop()
            member.call = None
            member.goes.release()
            member.thread.join(PATIENCE)

    def _hired(self) -> _Member:
        member = _Member()
        member.thread.start()
        assert member.thread.ident is not None
        self._members[member.thread.ident] = member
        return member

    def _let(self, member: _Member) -> None:
        member.goes.release()
        if not member.rests.acquire(timeout=PATIENCE):
            raise RuntimeError("A call of the crew neither ends nor sleeps.")
        if member.call is None:
            self._idle.append(member)
        if member.failure is not None:
            failure, member.failure = member.failure, None
            raise failure


class _Member:
    """A thread that waits to be let go, does its call, and rests."""

    def __init__(self) -> None:
        self.goes, self.rests = threading.Semaphore(0), threading.Semaphore(0)
        self.call: Callable[[], None] | None = None
        self.failure: BaseException | None = None
        self.thread = threading.Thread(target=self._main, name="crew", daemon=True)

    def _main(self) -> None:
        while True:
            self.goes.acquire()
            if self.call is None:
                return
            try:
                self.call()
            except BaseException as failure:  # handed to whoever started the call
                self.failure = failure
            self.call = None
            self.rests.release()

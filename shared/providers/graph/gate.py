"""What this process keeps to for each mailbox: four requests at a time, and silence for as long as Graph has asked for it.

Graph counts both by app and mailbox (docs/graph.md, 11), so threads that serve one mailbox share what one of them was
told. A short wait is waited out by whoever meets it; a long one is for the task queue. Waiting is done by the clock alone
and holds no lock, so that whatever drives the clock drives this too.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock

from shared.errors import Paced, RateLimited
from shared.ports import Clock

AT_ONCE = 4
MAX_MAILBOXES = 4_096

_LOOK_AGAIN = 0.05  # seconds until a place may have become free
_SHORTEST = 0.01  # seconds: less may be nothing to a clock
_FULL = 1.0


@dataclass(slots=True)
class _Traffic:
    """Requests of a mailbox that are out, and when the next may go."""

    out: int = 0
    until: float = 0.0


class Gate:
    """The traffic of the mailboxes that were asked for last."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = Lock()
        self._mailboxes: OrderedDict[str, _Traffic] = OrderedDict()

    def enter(self, mailbox: str, patience: float) -> float:
        """Take a place among those of the mailbox, and answer what is left of ``patience``, the seconds to wait at most.

        Raises ``RateLimited`` where Graph has asked for a longer silence, ``Paced`` where no place becomes free.
        """
        while True:
            now = self._clock.now()
            with self._lock:
                traffic = self._of(mailbox, now)
                silence = traffic.until - now
                if silence <= 0 and traffic.out < AT_ONCE:
                    traffic.out += 1
                    return patience
            wait = max(silence if silence > 0 else _LOOK_AGAIN, _SHORTEST)
            if wait > patience:
                if silence > 0:
                    raise RateLimited("Outlook has asked us to slow down.", retry_after=silence)
                raise Paced("The mailbox is being read by as many as may read it at once.", retry_after=_FULL)
            self._clock.sleep(wait)
            patience -= wait

    def leave(self, mailbox: str) -> None:
        """Give the place back."""
        with self._lock:
            self._mailboxes[mailbox].out -= 1

    def silence(self, mailbox: str, seconds: float) -> None:
        """Let nothing go out for the mailbox for so long."""
        now = self._clock.now()
        with self._lock:
            traffic = self._of(mailbox, now)
            traffic.until = max(traffic.until, now + seconds)

    def _of(self, mailbox: str, now: float) -> _Traffic:
        traffic = self._mailboxes.setdefault(mailbox, _Traffic())
        self._mailboxes.move_to_end(mailbox)
        if len(self._mailboxes) > MAX_MAILBOXES:
            # Whoever has requests out is kept, since they will be given back; then whoever was told to wait.
            idle = [name for name, other in self._mailboxes.items() if other.out == 0 and name != mailbox]
            over = [name for name in idle if self._mailboxes[name].until <= now]
            if idle:
                del self._mailboxes[(over or idle)[0]]
        return traffic

"""The way of a notification: wanted, capped to one a second and user, then lost, doubled, late or in wrong order.

Every fate is drawn from the seed and the change's history id, so two runs with the same changes fail alike. What is due
later waits in memory: a killed process loses it, which is one more way to lose a push.
"""

from __future__ import annotations

import heapq
import json
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from infra.local.simulated.fates import FATES, REORDER_HOLD_SECONDS, Faults

CAP_SECONDS = 1.0
_COUNTERS = ("wanted", "sent", "dropped", "duplicated", "delayed", "reordered", "early", "throttled", "failed")


@dataclass(frozen=True, slots=True)
class Notice:
    """One notification that Gmail would like to send."""

    topic: str
    address: str
    history: int

    @property
    def data(self) -> bytes:
        """The payload: who and up to where, nothing else."""
        # Python's own writer, because orjson's knows no integers beyond 64 bits, and history ids may be longer.
        return json.dumps({"emailAddress": self.address, "historyId": self.history}, separators=(",", ":")).encode()


class Pushes:
    """Decides fates, keeps what is due later, publishes what is due now. Thread-safe by a lock of its own."""

    def __init__(self, publish: Callable[[str, bytes], None], faults: Faults) -> None:
        self._publish = publish
        self._lock = threading.Lock()
        self._due: list[tuple[float, int, Notice]] = []
        self._held: dict[str, Notice] = {}
        self._order = 0
        self._counts: Counter[str] = Counter()
        self.faults = faults
        self.rung = threading.Event()
        """Set whenever something was queued; ``PushPump`` waits for it."""

    def announce_watch(self, notice: Notice, now: float) -> None:
        """Queue the notification that follows every watch: always sent, never faulty, not part of the cap."""
        with self._lock:
            self._counts["wanted"] += 1
            self._queue(now, notice)

    def throttle(self) -> None:
        """Count a notification that the cap swallowed."""
        with self._lock:
            self._counts["wanted"] += 1
            self._counts["throttled"] += 1

    def announce(self, notice: Notice, now: float) -> float:
        """Queue a change's notification as its fate wills; answer by how many seconds the change itself lags behind."""
        faults = self.faults
        fate = faults.fate(notice.address, notice.history)
        with self._lock:
            self._counts["wanted"] += 1
            for fault in fate:
                self._counts[FATES[fault][0]] += 1
            if "drop" in fate:
                return 0.0
            due: float | None = now
            if "delay" in fate:
                due = now + faults.delay_seconds
            elif "reorder" in fate:
                due = None
            copies = 2 if "duplicate" in fate else 1
            if due is None:
                self._hold(notice, now, copies)
            else:
                self._send_with_held(notice, due, copies)
            return faults.early_seconds if "early" in fate else 0.0

    def send_due(self, now: float) -> float | None:
        """Publish everything that is due; answer when the next is, None if nothing waits. Call it without any lock."""
        while True:
            with self._lock:
                if not self._due or self._due[0][0] > now:
                    return self._due[0][0] if self._due else None
                _, _, notice = heapq.heappop(self._due)
                if self._held.get(notice.address) == notice:
                    del self._held[notice.address]
            outcome = "sent"
            try:
                self._publish(notice.topic, notice.data)
            except Exception:
                # Whatever stops a notification, Gmail does not try again; clients must not need it to.
                outcome = "failed"
            with self._lock:
                self._counts[outcome] += 1

    def counts(self) -> dict[str, int]:
        """What became of the notifications since the process started."""
        with self._lock:
            return {name: self._counts[name] for name in _COUNTERS}

    def fates(self) -> dict[str, int]:
        """How often each fault fired since the process started, by readable label; those in the plan are there with 0."""
        with self._lock:
            return self.faults.labelled(self._counts)

    def _hold(self, notice: Notice, now: float, copies: int) -> None:
        """Keep it until the mailbox's next one has gone out, at most for two seconds."""
        self._held[notice.address] = notice
        for _ in range(copies):
            self._queue(now + REORDER_HOLD_SECONDS, notice)

    def _send_with_held(self, notice: Notice, due: float, copies: int) -> None:
        for _ in range(copies):
            self._queue(due, notice)
        held = self._held.pop(notice.address, None)
        if held is None:
            return
        waiting = [entry for entry in self._due if entry[2] == held]
        self._due = [entry for entry in self._due if entry[2] != held]
        heapq.heapify(self._due)
        for _ in waiting:
            self._queue(due, held)

    def _queue(self, due: float, notice: Notice) -> None:
        self._order += 1
        heapq.heappush(self._due, (due, self._order, notice))
        self.rung.set()

"""What carries deliveries from the queue or the bus to their endpoints.

One thread does all the work on the file: it settles what came back since it last looked, in one transaction, claims as
much as there are idle workers, and sleeps until a publish, an enqueue or an answer wakes it or the next delivery is
due. The workers only POST. What another process adds is found within a second.

::

    on_work ──▶ pump thread ── claim ──▶ inbox ──▶ workers ── post ──▶ endpoint
                     ▲                                │
                     └───────── answers ◀─────────────┘
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from queue import SimpleQueue
from typing import Generic, TypeAlias

from shared.adapters.embedded.delivery import NO_ANSWER, D, Source
from shared.errors import StoreError
from shared.ports import Clock

Post: TypeAlias = Callable[[str, Mapping[str, str], bytes, float], int]
"""POST to a path or URL: target, headers, body, timeout in seconds; answers the HTTP status."""

LONGEST_NAP = 1.0
_SHORTEST_NAP = 0.001

_log = logging.getLogger(__name__)


def deliver(source: Source[D], post: Post, limit: int = 100) -> int:
    """Claim once, post one after the other in this thread, settle, and answer how many there were; for tests."""
    outcomes = [(delivery, _status(delivery, post)) for delivery in source.claim(limit)]
    if outcomes:
        source.settle_all(outcomes)
    return len(outcomes)


class Pump(Generic[D]):
    """Delivers from one source, at most ``workers`` at once, until stopped."""

    def __init__(self, source: Source[D], post: Post, workers: int, clock: Clock) -> None:
        self._source, self._post, self._clock = source, post, clock
        self._inbox: SimpleQueue[D | None] = SimpleQueue()
        self._changed = threading.Condition()
        self._answers: list[tuple[D, int]] = []
        self._awake = True
        self._stopping = False
        self._idle = workers
        self._threads = [threading.Thread(target=self._run, name="pump", daemon=True)]
        self._threads += [threading.Thread(target=self._work, name="pump-worker", daemon=True) for _ in range(workers)]
        source.on_work(self._wake)

    def start(self) -> None:
        """Begin to deliver. Once only."""
        for thread in self._threads:
            thread.start()

    def stop(self, timeout: float) -> bool:
        """Claim no more and wait for those in flight; False if some were still out after so many seconds.

        Those are settled when they come back, or delivered again by the next process.
        """
        with self._changed:
            self._stopping = self._awake = True
            self._changed.notify_all()
        deadline = self._clock.now() + timeout
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, deadline - self._clock.now()))
        return not any(thread.is_alive() for thread in self._threads)

    def _wake(self) -> None:
        with self._changed:
            self._awake = True
            self._changed.notify_all()

    def _run(self) -> None:
        unsettled: list[tuple[D, int]] = []
        workers = self._idle
        while True:
            with self._changed:
                self._awake = False
                unsettled += self._answers
                self._answers = []
                stopping = self._stopping
            try:
                unsettled = self._settle(unsettled)
                if stopping and self._idle == workers:
                    break
                nap = LONGEST_NAP if stopping else self._claim()
            except Exception as error:
                # What is unsettled stays so, and is settled at the next turn; a pump that died would be silent.
                if isinstance(error, StoreError):
                    _log.warning("the pump could not use its source: %s", error.code)
                else:
                    _log.exception("the pump failed and goes on")
                self._pause()
                continue
            with self._changed:
                self._changed.wait_for(self._has_news, nap)
        for _ in range(workers):
            self._inbox.put(None)

    def _has_news(self) -> bool:
        return self._awake or bool(self._answers)

    def _pause(self) -> None:
        """Leave a source that fails alone for a while, whoever rings."""
        with self._changed:
            self._changed.wait_for(lambda: False, LONGEST_NAP)

    def _settle(self, outcomes: list[tuple[D, int]]) -> list[tuple[D, int]]:
        if outcomes:
            self._source.settle_all(outcomes)
            self._idle += len(outcomes)
        return []

    def _claim(self) -> float:
        """Hand out what is due and idle workers can take; answer how long nothing else will be due."""
        claimed = self._source.claim(self._idle) if self._idle else []
        self._idle -= len(claimed)
        for delivery in claimed:
            self._inbox.put(delivery)
        due = self._source.next_due() if self._idle else None
        return LONGEST_NAP if due is None else min(LONGEST_NAP, max(_SHORTEST_NAP, due - self._clock.now()))

    def _work(self) -> None:
        while (delivery := self._inbox.get()) is not None:
            status = _status(delivery, self._post)
            with self._changed:
                self._answers.append((delivery, status))
                self._changed.notify_all()


def _status(delivery: D, post: Post) -> int:
    try:
        return post(delivery.target, delivery.headers, delivery.body, delivery.timeout)
    except Exception as error:
        # Whatever the transport raises, a lost worker would be worse; the delivery comes again.
        _log.warning("no answer from %s: %s", delivery.target.partition("?")[0], type(error).__name__)
        return NO_ANSWER

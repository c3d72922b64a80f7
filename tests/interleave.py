"""A deterministic scheduler: several actors, one running at a time, handed on at every port call in an order a seed decides."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from typing import Any

TIMEOUT = 30.0


class Interleaver:
    """Runs actors to their end; ``point`` is where one may be interrupted in favour of another."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._actors: dict[int, _Actor] = {}

    def run(self, bodies: Sequence[Callable[[], Any]]) -> None:
        """Run all bodies, interleaved. Raises what the first failing one raised, after all have ended."""
        actors = [_Actor(body) for body in bodies]
        for actor in actors:
            actor.thread.start()
            self._actors[actor.thread.ident or 0] = actor
        alive = list(actors)
        while alive:
            actor = self._random.choice(alive)
            actor.go.release()
            assert actor.paused.acquire(timeout=TIMEOUT), "an actor does not come back"
            if actor.ended:
                actor.thread.join()
                alive.remove(actor)
        for actor in actors:
            self._actors.pop(actor.thread.ident or 0, None)
        for actor in actors:
            if actor.failure is not None:
                raise actor.failure

    def point(self) -> None:
        """Let somebody else run, if the caller is an actor."""
        actor = self._actors.get(threading.get_ident())
        if actor is not None:
            actor.paused.release()
            assert actor.go.acquire(timeout=TIMEOUT), "the scheduler is gone"


class _Actor:
    def __init__(self, body: Callable[[], Any]) -> None:
        self.go, self.paused = threading.Semaphore(0), threading.Semaphore(0)
        self.ended = False
        self.failure: BaseException | None = None
        self._body = body
        self.thread = threading.Thread(target=self._main, daemon=True)

    def _main(self) -> None:
        self.go.acquire()
        try:
            self._body()
        except BaseException as failure:  # handed to the scheduler, which raises it
            self.failure = failure
        self.ended = True
        self.paused.release()

"""A deterministic scheduler: several actors, one running at a time, handed on at every port call in an order a seed decides.

An actor is a greenlet, as a call is in ``tests.chaos.simulation``, which has virtual time besides. Nobody may hand on inside
a transaction or while holding a lock.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from greenlet import getcurrent, greenlet


class Interleaver:
    """Runs actors to their end; ``point`` is where one may be interrupted in favour of another."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._actors: set[greenlet] = set()

    def run(self, bodies: Sequence[Callable[[], Any]]) -> None:
        """Run all bodies, interleaved. Raises what the first failing one raised, after all have ended."""
        failures: list[BaseException | None] = [None] * len(bodies)

        def main(number: int) -> None:
            try:
                bodies[number]()
            except BaseException as failure:  # raised below, once all have ended
                failures[number] = failure

        alive = [greenlet(lambda number=number: main(number)) for number in range(len(bodies))]
        self._actors.update(alive)
        while alive:
            actor = self._random.choice(alive)
            actor.switch()
            if actor.dead:
                alive.remove(actor)
                self._actors.discard(actor)
        for failure in failures:
            if failure is not None:
                raise failure

    def point(self) -> None:
        """Let somebody else run, if the caller is an actor."""
        actor = getcurrent()
        if actor in self._actors:
            actor.parent.switch()

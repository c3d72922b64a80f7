"""Many points on several processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from multiprocessing import get_context

from tests.chaos.crashes.points import Point, Result, attempt

_TOGETHER = 8


def results(points: Sequence[Point], jobs: int) -> Iterator[Result]:
    """One result after the other, in the order in which they are done."""
    if jobs == 1:
        yield from map(attempt, points)
        return
    with get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap_unordered(attempt, points, chunksize=_TOGETHER)

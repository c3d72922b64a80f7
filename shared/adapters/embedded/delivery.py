"""What the task queue and the bus have in common: things to POST, when to try again, and who wants to hear of work."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

NO_ANSWER = 599
"""The status that stands for a call without an answer: refused, cut, timed out."""

KEEP_DEAD_SECONDS = 30 * 86400.0
"""How long dead letters stay to be looked at."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One attempt: POST ``body`` with ``headers`` to ``target`` (a path or a URL) within ``timeout`` seconds."""

    id: int
    target: str
    headers: Mapping[str, str]
    body: bytes
    timeout: float


D = TypeVar("D", bound=Delivery)


class Source(Protocol[D]):
    """Where a pump gets its work; the queue and the bus are sources."""

    def claim(self, limit: int) -> Sequence[D]:
        """Take what is due; it is not handed out again before it is settled or the process ends."""

    def settle_all(self, outcomes: Sequence[tuple[D, int]]) -> None:
        """Say with which HTTP status each delivery was answered."""

    def next_due(self) -> float | None:
        """When there will be something to claim; None while only a new message or a settlement can bring it."""

    def on_work(self, callback: Callable[[], None]) -> None:
        """Call back, in the thread that brings it, whenever there may be new work."""


def backoff(failures: int, least: float, most: float) -> float:
    """How long to wait after so many failures in a row: doubling, without jitter, so that tests can foretell it."""
    return min(most, least * 2.0 ** min(failures - 1, 60))

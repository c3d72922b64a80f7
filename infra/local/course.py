"""The course of one mailbox through a demo: what is still to be done to it, and when it is time for the next of it.

The first part keeps step with the backfill, so that changes hit a mailbox that is half in; the rest follows in its own time.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from rich.progress import Progress

from infra.local.progress import MailboxProgress
from infra.local.sides import Happening

BACKFILL_SHARE = 0.6
"""So much of the traffic is spread over the backfill, the rest comes after it."""

PAUSE_SECONDS = (0.2, 1.0)
"""How long nothing happens between two changes after the backfill: Google sends one push a second at most."""


class Course:
    """``acts`` are words, of which this class knows none; ``traffic`` is what makes the changes."""

    def __init__(
        self, traffic: Happening, acts: Sequence[str], chance: random.Random, progress: Progress, title: str
    ) -> None:
        self.traffic = traffic
        self._acts = list(acts)
        self._chance = chance
        self._progress = progress
        self._done = 0
        self._not_before = 0.0
        self._now: MailboxProgress | None = None
        self._expected = traffic.mails
        self._changes = progress.add_task(f"{title} live", total=len(acts), note="")
        self._backfill = progress.add_task(f"{title} past", total=None, note="")

    @property
    def is_over(self) -> bool:
        """Whether everything has been done."""
        return self._done == len(self._acts)

    @property
    def is_in(self) -> bool:
        """Whether the past of the mailbox has been walked."""
        return self._now is not None and not self._now.backfilling

    def look(self, now: MailboxProgress | None) -> None:
        """Note and show where the mailbox stands; None while nobody says."""
        self._now = now
        if now is not None:
            completed = min(now.messages, self._expected)
            self._progress.update(self._backfill, total=self._expected, completed=completed, note=now.status)

    def is_due(self, at: float) -> bool:
        """Whether it is time for the next act."""
        if self.is_over or self._now is None or at < self._not_before:
            return False
        return not self._now.backfilling or (self._share < 1 and self._now.messages >= self._share * self._expected)

    def take(self, at: float) -> str:
        """The next act, which is done now."""
        if self._share >= 1:
            self._not_before = at + self._chance.uniform(*PAUSE_SECONDS)
        self._done += 1
        self._progress.advance(self._changes)
        return self._acts[self._done - 1]

    @property
    def _share(self) -> float:
        """How much of the mailbox is to be in before the next act."""
        return self._done / len(self._acts) / BACKFILL_SHARE

"""When what is looked at by the clock is due: polls and audits have fixed slots, so that being due needs no write."""

from __future__ import annotations

import math
from dataclasses import dataclass

from shared import queries
from shared.settings import Settings

DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class Schedule:
    """Periods in seconds; ``tick`` is how long until the next tick may come, ``retention`` of the log, 0 for ever.

    ``audit`` 0: there are none. ``audit_window`` is how far back from its beginning an audit looks.
    """

    poll: float = 900.0
    poll_unchannelled: float = 30.0
    tick: float = 60.0
    retention: float = 0.0
    audit: float = 0.0
    audit_window: float = 7 * DAY

    @classmethod
    def of(cls, settings: Settings) -> Schedule:
        """The schedule that the settings give."""
        return cls(
            poll=settings.poll_seconds,
            poll_unchannelled=settings.poll_seconds_unchannelled,
            tick=settings.tick_seconds,
            retention=settings.log_retention_days * DAY,
            audit=settings.audit_seconds,
            audit_window=settings.audit_days * DAY,
        )

    def audit_slot(self, mailbox: str, now: float) -> float:
        """When the audit of a mailbox last was, or is now, due: a place in the period that it keeps for ever."""
        offset = queries.spread(f"audit|{mailbox}", max(1, round(self.audit)))
        return math.floor((now - offset) / self.audit) * self.audit + offset

    def poll_slot(self, mailbox: str, now: float, channelled: bool) -> float:
        """When a mailbox last was, or is now, due to be polled."""
        if not channelled:
            return math.floor(now / self.poll_unchannelled) * self.poll_unchannelled
        offset = queries.slot_of(mailbox) * self.poll / queries.POLL_SLOTS
        return math.floor((now - offset) / self.poll) * self.poll + offset

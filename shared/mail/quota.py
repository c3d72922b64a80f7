"""What a mailbox has asked of its provider, and how much more it may ask now: one token bucket, cut in two lanes.

Steps of one mailbox run on instances that know nothing of each other, so the bucket is in the mailbox's document and is
brought up to date by the commits that are made anyway; keeping it costs no write. ``live`` has a small share that nothing
else may touch, ``background`` (backfill, resync, gaps) the rest. What live leaves unused goes to the background, but only
looking back: a step cannot see what the other lane is spending. The other way round that would not do, since a page of the
background is read for many seconds before its commit shows what it has cost. So the background *lends*: where live has more
to read than its share allows, a backfill gives way between two of its pages and says until when.

Amounts are in the provider's units, times in seconds since the epoch.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

from shared.errors import Paced
from shared.ports import Clock
from shared.providers.base import Limits

LaneName: TypeAlias = Literal["live", "background"]

LIVE_SHARE = 0.1
"""Of what comes back each second, what is kept for live sync."""

LIVE_BURST, BACKGROUND_BURST = 0.2, 0.6
"""Of what may go at once. The rest is a margin for what steps spend without a commit, such as looks that find nothing."""

_SHARES: dict[LaneName, float] = {"live": LIVE_SHARE, "background": 1.0 - LIVE_SHARE}
_BURSTS: dict[LaneName, float] = {"live": LIVE_BURST, "background": BACKGROUND_BURST}

LONGEST_SLEEP = 10.0
"""Seconds that a step sleeps at most; for a longer wait its task is put off."""

_DAY = 86_400.0
_UNLIMITED = Limits(per_second=1e12, burst=1e12)


@dataclass(frozen=True, slots=True)
class Lane:
    """``owed``: what has been spent and has not come back yet; 0 is a full lane. ``spent``: everything, ever."""

    owed: float = 0.0
    spent: float = 0.0


@dataclass(frozen=True, slots=True)
class Quota:
    """The two lanes as they stood ``at`` a time, and what was spent on the day with this number (UTC).

    Until ``lent_until`` nothing of the background is under way, so live may use all there is.
    """

    live: Lane = field(default_factory=Lane)
    background: Lane = field(default_factory=Lane)
    at: float = 0.0
    day: int = 0
    today: float = 0.0
    lent_until: float = 0.0

    @property
    def spent(self) -> float:
        """Everything that was ever spent."""
        return self.live.spent + self.background.spent

    def spent_on(self, at: float) -> float:
        """What has been spent on the day of a time."""
        return self.today if self.day == int(at // _DAY) else 0.0


class Pace:
    """The meter of one step: it lets units go as its lane allows, and remembers how many went."""

    def __init__(self, clock: Clock, limits: Limits | None, quota: Quota, lane: LaneName, alone: bool) -> None:
        """``alone``: nothing of the other lane is under way, so this one may use all there is."""
        limits = limits or _UNLIMITED
        self._clock = clock
        self._per_second = limits.per_second
        self._lane = lane
        self._alone = alone
        self._begun = self._at = clock.now()
        self._from = _refilled(quota, limits, self._begun)
        if alone:
            self._burst, self._rate = limits.burst * (LIVE_BURST + BACKGROUND_BURST), limits.per_second
            self._owed = self._from.live.owed + self._from.background.owed
        else:
            self._burst, self._rate = limits.burst * _BURSTS[lane], limits.per_second * _SHARES[lane]
            self._owed = self._owed_at_first(lane)
        # What it owes if all that comes back is for this lane: what comes when both are full is lost, and no credit later.
        self._least = self._owed
        self._full = min(0.0, self._burst - limits.burst * (LIVE_BURST + BACKGROUND_BURST))
        self.spent = 0.0

    def room(self) -> float:
        """How many units may go at this moment."""
        now = self._clock.now()
        passed = max(0.0, now - self._at)
        self._owed = max(0.0, self._owed - self._rate * passed)
        self._least = max(self._full, self._least - self._per_second * passed)
        self._at = max(now, self._at)
        return self._burst - self._owed

    def spend(self, units: float) -> None:
        """Let so many units go, after a sleep where the lane needs it. Raises ``Paced`` where that would be a long one.

        A price above what may ever go at once goes when the lane is full, and leaves it owing more than it holds.
        """
        lacking = min(units, self._burst) - self.room()
        if lacking > 0:
            wait = lacking / self._rate
            if wait > LONGEST_SLEEP:
                raise Paced("The mailbox has used what it may for now.", retry_after=wait)
            self._clock.sleep(wait)
            self.room()
        self._owed += units
        self._least += units
        self.spent += units

    def charged(self, now: Quota) -> Quota:
        """The quota of the mailbox, as it is by ``now``, with what this step has spent: others may have spent meanwhile."""
        at = self._clock.now()
        others = {name: max(0.0, _lane(now, name).spent - _lane(self._from, name).spent) for name in _SHARES}
        self.room()
        if self._alone:
            owed = {"live": self._owed + sum(others.values()), "background": 0.0}
        else:
            other: LaneName = "background" if self._lane == "live" else "live"
            share = self._per_second * _SHARES[other]
            unused = share * max(0.0, at - self._begun) - self._owed_at_first(other) - others[other]
            credit = max(0.0, unused) if self._lane == "background" else 0.0
            owed = {
                other: max(0.0, _lane(now, other).owed - share * max(0.0, at - now.at)),
                self._lane: max(0.0, self._least, self._owed - credit) + others[self._lane],
            }
        charged = replace(
            now,
            live=Lane(round(owed["live"], 3), now.live.spent),
            background=Lane(round(owed["background"], 3), now.background.spent),
            at=max(at, now.at),
            day=int(at // _DAY),
            today=round(now.spent_on(at) + self.spent, 3),
        )
        own = _lane(charged, self._lane)
        spent = replace(own, spent=round(own.spent + self.spent, 3))
        return replace(charged, live=spent) if self._lane == "live" else replace(charged, background=spent)

    def _owed_at_first(self, lane: LaneName) -> float:
        return _lane(self._from, lane).owed


def drained(quota: Quota, limits: Limits | None, until: float) -> Quota:
    """The quota of a mailbox whose provider has had enough until a time: it starts anew from empty lanes."""
    if limits is None:
        return quota
    live = replace(quota.live, owed=limits.burst * LIVE_BURST)
    background = replace(quota.background, owed=limits.burst * BACKGROUND_BURST)
    return replace(quota, live=live, background=background, at=until)


def _refilled(quota: Quota, limits: Limits, now: float) -> Quota:
    """What came back since the lanes were last written; what live has no use for goes to the background."""
    elapsed = max(0.0, now - quota.at)
    # More than its own burst a lane can only owe from a time when it was alone; that is everybody's debt.
    beyond = max(0.0, quota.live.owed - limits.burst * LIVE_BURST)
    live = quota.live.owed - beyond - limits.per_second * _SHARES["live"] * elapsed
    background = quota.background.owed + beyond - limits.per_second * _SHARES["background"] * elapsed
    background += min(0.0, live)
    return replace(
        quota,
        live=replace(quota.live, owed=max(0.0, live)),
        background=replace(quota.background, owed=max(0.0, background)),
        at=max(now, quota.at),
    )


def _lane(quota: Quota, name: LaneName) -> Lane:
    return quota.live if name == "live" else quota.background

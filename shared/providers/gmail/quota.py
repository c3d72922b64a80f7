"""What Gmail's calls cost in its quota units, and how many units a mailbox may spend: tables of Google's, as settings.

The price of a call does not depend on how much of a resource is asked for, and a batch costs what its parts cost
(docs/gmail.md, 15 to 17).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf

from shared.errors import ConfigurationError
from shared.providers.base import Limits
from shared.settings import Settings

_SAME = {
    "messages.list": 5.0,
    "history.list": 2.0,
    "getProfile": 1.0,
    "labels.list": 1.0,
    "watch": 100.0,
    "stop": 50.0,
}
_NEW = {"messages.get": 20.0, "threads.get": 40.0, **_SAME}
_OLD = {"messages.get": 5.0, "threads.get": 10.0, **_SAME}
_PROFILES = {"2026": (6_000.0, _NEW), "2025": (15_000.0, _OLD), "none": (0.0, _NEW)}
"""Units a minute (0: no limit) and prices by method, for projects made since May 2026, for older ones, and without limit."""

_SHARE = 0.98  # of the limit: Gmail's clock and ours count seconds a little differently
_LEAST = 30  # messages a minute: with fewer a step could not read in its time what it has to read at once
_BURST = 10.0  # seconds whose units may be spent at once


@dataclass(frozen=True, slots=True)
class Quota:
    """Prices by method, and the limits of one mailbox (None where there are none to keep)."""

    prices: Mapping[str, float]
    limits: Limits | None

    @classmethod
    def of(cls, settings: Settings) -> Quota:
        """Read the settings. Raises ``ConfigurationError``."""
        if settings.gmail_quota not in _PROFILES:
            raise ConfigurationError(f"GMAIL_QUOTA must be one of {', '.join(_PROFILES)}.")
        per_minute, prices = _PROFILES[settings.gmail_quota]
        per_minute = settings.gmail_units_per_minute or per_minute
        prices = {**prices, **_parsed(settings.gmail_prices, prices)}
        if not per_minute:
            return cls(prices, None)
        if per_minute < _LEAST * prices["messages.get"]:
            raise ConfigurationError(f"GMAIL_UNITS_PER_MINUTE must pay for {_LEAST} messages.get at least.")
        per_second = per_minute / 60 * _SHARE
        # However little there is, it has to pay for any one call sooner or later.
        return cls(prices, Limits(per_second, max(per_second * _BURST, *prices.values())))

    def price(self, method: str) -> float:
        """What one call of a method (``messages.get``) costs, in units."""
        return self.prices[method]

    @property
    def at_once(self) -> float:
        """What one batch may cost: half a burst, so that others get their turn."""
        return inf if self.limits is None else self.limits.burst / 2

    def within(self, method: str, seconds: float) -> int | None:
        """How many calls the limits let through in so many seconds, at least one; None for any number."""
        if self.limits is None or not self.prices[method]:
            return None
        return max(int(self.limits.per_second * seconds / self.prices[method]), 1)


def _parsed(overrides: Sequence[str], known: Mapping[str, float]) -> dict[str, float]:
    prices: dict[str, float] = {}
    for entry in overrides:
        method, _, price = entry.partition("=")
        if method.strip() not in known:
            raise ConfigurationError("GMAIL_PRICES names a method that has no price here.")
        if not price.strip().isdecimal():
            raise ConfigurationError("GMAIL_PRICES must be a list like messages.get=20,threads.get=40.")
        prices[method.strip()] = float(price)
    return prices

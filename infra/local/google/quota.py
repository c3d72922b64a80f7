"""What calls cost and how many are allowed: units per user and minute at either price list, and calls at one time.

Each user has a bucket that fills with ``per_minute / 60`` units a second and holds ten seconds' worth, which is close to
what Google does (about 2,900 units were seen to pass in 18 s under 6,000 a minute). A call that does not find its price
is refused without being charged, and the bucket stays closed for two seconds, however often it is knocked at. Refusals
take the documented shapes in turn. A part of a batch costs what the call costs alone; the batch itself is free.

The published prices are those of ``get``, ``list``, ``history``, ``getProfile``, ``watch``, ``stop``, ``modify`` and
``send``. The rest is our choice after the older public table: writes of labels 5, of a thread twice those of a message,
a deletion 10, insert and import 25, drafts 10 and their sending 100, anything else 5. Buckets and sums live in memory and
begin anew with every ``put``.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from infra.local.google.errors import GoogleError, exhausted, too_many_at_once, units_used_up, user_too_fast
from infra.local.simulated.chance import digest
from infra.local.simulated.errors import ControlError
from shared.ports import Clock

BURST_SECONDS = 10.0
CLOSED_SECONDS = 2.0
_USUAL_PRICE = 5
_SAME = {
    "users.getProfile": 1, "users.history.list": 2, "users.watch": 100, "users.stop": 50,
    "users.messages.list": 5, "users.messages.modify": 5, "users.messages.trash": 5, "users.messages.untrash": 5,
    "users.messages.batchModify": 50, "users.messages.batchDelete": 50, "users.messages.delete": 10,
    "users.messages.send": 100, "users.messages.insert": 25, "users.messages.import": 25,
    "users.threads.list": 10, "users.threads.modify": 10, "users.threads.trash": 10, "users.threads.untrash": 10,
    "users.threads.delete": 20, "users.labels.list": 1, "users.labels.get": 1,
    "users.drafts.list": 5, "users.drafts.create": 10, "users.drafts.update": 10, "users.drafts.delete": 10,
    "users.drafts.send": 100,
}  # fmt: skip
_READS = ("users.messages.get", "users.messages.attachments.get", "users.drafts.get")


@dataclass(frozen=True, slots=True)
class Profile:
    """One price list: units per user and minute, and what each method costs."""

    per_minute: int
    prices: Mapping[str, int]

    def price(self, method: str) -> int:
        """Units for one call of a method."""
        return self.prices.get(method, _USUAL_PRICE)


PROFILES = {
    "2026": Profile(6_000, _SAME | dict.fromkeys(_READS, 20) | {"users.threads.get": 40}),
    "2025": Profile(15_000, _SAME | dict.fromkeys(_READS, 5) | {"users.threads.get": 10}),
}
"""Projects since May 2026, and those that keep what they had before."""


@dataclass(slots=True)
class _User:
    """One user's bucket and sums."""

    level: float
    at: float
    closed_until: float = 0.0
    units: int = 0
    calls: int = 0
    first: float | None = None
    last: float | None = None
    refusals: int = 0
    refused: Counter[str] = field(default_factory=Counter)


class Quota:
    """Admits or refuses calls. Thread-safe; without a profile and a limit it admits all and counts nothing."""

    def __init__(self, clock: Clock, seed: int) -> None:
        self._clock = clock
        self._seed = seed
        self._lock = threading.Lock()
        self._users: dict[str, _User] = {}
        self._in_flight: Counter[str] = Counter()
        self._name = "none"
        self.profile: Profile | None = None
        self.concurrency: int | None = None

    def put(self, plan: Mapping[str, Any]) -> dict[str, Any]:
        """Enforce ``{"profile": "2026" | "2025" | "none", "concurrency": int | None}`` from now on; both are optional.

        Answers the whole plan. Raises ``ControlError``.
        """
        name, concurrency = plan.get("profile", "none"), plan.get("concurrency")
        if unknown := sorted(set(plan) - {"profile", "concurrency"}):
            raise ControlError(f"A quota has profile and concurrency, not {', '.join(unknown)}.")
        if not isinstance(name, str) or (name != "none" and name not in PROFILES):
            raise ControlError(f"profile must be none or one of {', '.join(PROFILES)}.")
        if concurrency is not None and (isinstance(concurrency, bool) or not isinstance(concurrency, int)):
            raise ControlError("concurrency must be a number of calls, or null for no limit.")
        if concurrency is not None and concurrency < 1:
            raise ControlError("concurrency must be 1 or more, or null for no limit.")
        with self._lock:
            self._users = {}
            self._name = name
            self.profile = PROFILES.get(name)
            self.concurrency = concurrency
        return {"profile": name, "concurrency": concurrency}

    def enter(self, address: str, flight: list[str]) -> None:
        """Take a place for one call until ``leave(flight)``. Raises ``GoogleError`` 429 where all are taken."""
        with self._lock:
            if self.concurrency is not None and self._in_flight[address] >= self.concurrency:
                self._user(address).refused["429 too many concurrent requests"] += 1
                raise too_many_at_once()
            self._in_flight[address] += 1
            flight.append(address)

    def leave(self, flight: list[str]) -> None:
        """Give back the places of a request and all its parts."""
        with self._lock:
            self._in_flight.subtract(flight)

    def charge(self, address: str, method: str) -> None:
        """Take a call's price from the user's bucket. Raises ``GoogleError`` 403 or 429, and then takes nothing."""
        now = self._clock.now()
        with self._lock:
            profile = self.profile
            if profile is None:
                return
            user = self._user(address)
            rate = profile.per_minute / 60
            user.level = min(rate * BURST_SECONDS, user.level + max(0.0, now - user.at) * rate)
            user.at = max(user.at, now)
            price = profile.price(method)
            if now >= user.closed_until:
                if user.level >= price:
                    user.level -= price
                    user.units += price
                    user.calls += 1
                    user.first = now if user.first is None else user.first
                    user.last = now
                    return
                user.closed_until = now + CLOSED_SECONDS
            raise self._refusal(address, user, now)

    def report(self) -> dict[str, Any]:
        """What was enforced, spent and refused since the last ``put``.

        ``{"profile", "concurrency", "per_minute", "spent": {address: {"units", "calls", "first", "last",
        "utilisation"}}, "refused": {address: {shape: count}}}``; times in seconds since the epoch; ``utilisation`` is
        units over what the limit lets flow between the first and the last charged call (the initial burst comes on top,
        so a little over 1 is possible), None before there are two moments.
        """
        with self._lock:
            return {
                "profile": self._name,
                "concurrency": self.concurrency,
                "per_minute": None if self.profile is None else self.profile.per_minute,
                "spent": {address: self._spent(user) for address, user in self._users.items() if user.calls},
                "refused": {
                    address: dict(sorted(user.refused.items())) for address, user in self._users.items() if user.refused
                },
            }

    def _spent(self, user: _User) -> dict[str, Any]:
        share = None
        if self.profile is not None and user.first is not None and user.last is not None and user.last > user.first:
            share = user.units / (self.profile.per_minute / 60 * (user.last - user.first))
        return {
            "units": user.units, "calls": user.calls, "first": user.first, "last": user.last, "utilisation": share,
        }  # fmt: skip

    def _user(self, address: str) -> _User:
        user = self._users.get(address)
        if user is None:
            full = 0.0 if self.profile is None else self.profile.per_minute / 60 * BURST_SECONDS
            user = self._users[address] = _User(full, self._clock.now())
        return user

    def _refusal(self, address: str, user: _User, now: float) -> GoogleError:
        """The next shape in turn; where the turn begins is the seed's affair."""
        turn = user.refusals + digest(self._seed, "refusals", address)[0]
        user.refusals += 1
        wait = max(user.closed_until - now, 0.001)
        match turn % 4:
            case 0:
                error, name = units_used_up(), "403 rateLimitExceeded"
            case 1:
                error, name = user_too_fast(now + wait), "403 userRateLimitExceeded"
            case 2:
                error, name = exhausted(wait, retry_after=False), "429 rateLimitExceeded"
            case _:
                error, name = exhausted(wait, retry_after=True), "429 rateLimitExceeded with Retry-After"
        user.refused[name] += 1
        return error

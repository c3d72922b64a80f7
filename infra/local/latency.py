"""How long it took from a change at the provider to its event at a subscriber of the bus."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from infra.local.verify_delivery import Delivery

_TYPES = {
    "mail": frozenset({"email.received", "email.sent"}),
    "labels": frozenset({"email.updated"}),
    "trash": frozenset({"email.updated"}),
    "untrash": frozenset({"email.updated"}),
    "delete": frozenset({"email.deleted"}),
    "move": frozenset({"email.updated", "email.received", "email.sent"}),
    "read": frozenset({"email.updated"}),
    "flag": frozenset({"email.updated"}),
    "category": frozenset({"email.updated"}),
}
"""Which events tell of a change; of what happens to folders none does."""


@dataclass(frozen=True, slots=True)
class Change:
    """One live change: when it happened (seconds), to which message, and what it was."""

    at: float
    id: str
    kind: str


def latencies(changes: Iterable[Change], delivered: Sequence[Delivery]) -> list[float]:
    """Seconds from each change to the first delivery of an event that tells of it, ascending.

    A change without such an event is left out: one to a message that was not announced yet needs none.
    """
    arrivals: dict[tuple[str, str], list[float]] = {}
    for push in delivered:
        key = (str(push.data.get("provider_message_id")), push.attributes.get("ce-type", ""))
        arrivals.setdefault(key, []).append(push.at)
    found = []
    for change in changes:
        times = (
            at
            for type_ in _TYPES.get(change.kind, ())
            for at in arrivals.get((change.id, type_), ())
            if at >= change.at
        )
        if (first := min(times, default=None)) is not None:
            found.append(first - change.at)
    return sorted(found)


def percentile(ascending: Sequence[float], share: float) -> float | None:
    """The value below which this share of the values lies (nearest rank); None where there are none."""
    if not ascending:
        return None
    return ascending[max(0, math.ceil(share * len(ascending)) - 1)]

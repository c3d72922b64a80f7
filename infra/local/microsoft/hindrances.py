"""What makes Graph's deltas and changes harder to follow than they could be, by chance and seed.

Probabilities from 0 to 1, seconds, and the seed: ``replays`` (an incremental page has an item that did not change),
``duplicates`` (an item comes twice), ``empty_pages`` (nothing but a next link), ``token_eviction`` (a token that is shown
has been forgotten), ``late`` (a change shows only after ``late_seconds``), ``latency`` (seconds that every call takes).
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from infra.local.simulated.chance import draw
from infra.local.simulated.errors import ControlError

_LABELS = {
    "replays": "unchanged item again", "duplicates": "item twice", "empty_pages": "empty page",
    "token_eviction": "delta token forgotten", "late": "change shows late",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Plan:
    """The numbers; see the module."""

    replays: float = 0.0
    duplicates: float = 0.0
    empty_pages: float = 0.0
    token_eviction: float = 0.0
    late: float = 0.0
    late_seconds: float = 2.0
    latency: float = 0.0
    seed: int = 0

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Plan:
        """Read them out of a fault plan; what is absent has its default. Raises ``ControlError``."""
        mine = {name: value for name, value in data.items() if name in NAMES}
        for name, value in mine.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
                raise ControlError(f"{name} must be a number and not negative.")
        return cls(**mine)

    def to_json(self) -> dict[str, Any]:
        """Write the plan."""
        return asdict(self)


NAMES = frozenset(spec.name for spec in fields(Plan))


class Hindrances:
    """Decides what happens, and counts it. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self.plan = Plan()

    def strikes(self, name: str, *parts: object) -> bool:
        """Whether a hindrance strikes here; the same parts give the same answer."""
        probability = getattr(self.plan, name)
        if not probability or draw(self.plan.seed, name, *parts) >= probability:
            return False
        with self._lock:
            self._counts[name] += 1
        return True

    def counts(self) -> dict[str, int]:
        """How often each has struck since the process started, by readable label; those in the plan are there with 0."""
        with self._lock:
            return {
                label: self._counts[name]
                for name, label in _LABELS.items()
                if self._counts[name] or getattr(self.plan, name)
            }

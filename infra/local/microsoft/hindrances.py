"""What makes Graph's deltas and changes harder to follow than they could be, by chance and seed.

Probabilities from 0 to 1, seconds, and the seed: ``replays`` (an incremental page has an item that did not change),
``duplicates`` (an item comes twice), ``empty_pages`` (nothing but a next link), ``halves`` (an item that was
there before tells only what can change of it), ``lost_returns`` (a message that left its folder and came back between two
calls is told of as removed, and not again until something becomes of it), ``token_eviction`` (a token that is shown has been
forgotten), ``dead_cursor`` (a token gets the same 400 or 500 whenever it is shown, which says nothing of why),
``recoverable`` (a deleted message can be read by its immutable id for ``recoverable_seconds``, in a folder that nobody lists),
``late`` (a change shows only after ``late_seconds``), ``latency`` (seconds that every call takes).
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
    "halves": "half an item", "lost_returns": "return told as removal", "token_eviction": "delta token forgotten",
    "dead_cursor": "delta token refused for ever", "recoverable": "deleted mail still read", "late": "change shows late",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Plan:
    """The numbers; see the module."""

    replays: float = 0.0
    duplicates: float = 0.0
    empty_pages: float = 0.0
    halves: float = 0.0
    lost_returns: float = 0.0
    token_eviction: float = 0.0
    dead_cursor: float = 0.0
    recoverable: float = 0.0
    recoverable_seconds: float = 14 * 86_400.0
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

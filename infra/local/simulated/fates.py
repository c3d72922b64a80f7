"""What may befall a notification on its way: lost, doubled, late, in wrong order, or before the change that it tells of.

Every fate is drawn from the seed and from what the notification is about, so two runs with the same changes fail alike. A run
that is short may ask for some that are ``sure``: else a kind with a low probability might not come at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from infra.local.simulated.chance import draw
from infra.local.simulated.errors import ControlError

REORDER_HOLD_SECONDS = 2.0
FATES = {
    "drop": ("dropped", "push dropped"), "duplicate": ("duplicated", "push doubled"), "delay": ("delayed", "push late"),
    "reorder": ("reordered", "push out of order"), "early": ("early", "push before its change shows"),
}  # fmt: skip
"""Which counter and which words belong to each fault."""


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong: probabilities from 0 to 1, seconds, and the seed that decides.

    The first ``sure`` notifications suffer one planned fault each, all in turn, whatever the draw.
    """

    drop: float = 0.0
    duplicate: float = 0.0
    delay: float = 0.0
    delay_seconds: float = 5.0
    reorder: float = 0.0
    early: float = 0.0
    early_seconds: float = 2.0
    latency: float = 0.0
    seed: int = 0
    sure: int = 0
    _met: dict[tuple[object, ...], int] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Faults:
        """Read a whole plan; what is absent has its default. Raises ``ControlError``."""
        known = {spec.name for spec in fields(cls) if spec.init}
        for name, value in data.items():
            if name not in known:
                raise ControlError(f"There is no fault {name!r}; known are {', '.join(sorted(known))}.")
            if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
                raise ControlError(f"{name} must be a number and not negative.")
        return cls(**data)

    def to_json(self) -> dict[str, Any]:
        """Write the plan."""
        return {name: value for name, value in asdict(self).items() if not name.startswith("_")}

    def fate(self, *about: object) -> frozenset[str]:
        """Which faults strike a notification: ``drop`` alone, or at most one of the timings and perhaps ``duplicate``."""
        planned = [name for name in FATES if getattr(self, name)]
        if planned and (about in self._met or len(self._met) < self.sure):
            return frozenset({planned[self._met.setdefault(about, len(self._met)) % len(planned)]})
        if self._strikes("drop", self.drop, about):
            return frozenset({"drop"})
        timings = (("early", self.early), ("delay", self.delay), ("reorder", self.reorder))
        timing = next((name for name, probability in timings if self._strikes(name, probability, about)), None)
        struck = {"duplicate"} if self._strikes("duplicate", self.duplicate, about) else set()
        return frozenset(struck if timing is None else struck | {timing})

    def labelled(self, counts: Mapping[str, int]) -> dict[str, int]:
        """How often each fault fired, by readable label, from the counters of ``FATES``; planned ones are there with 0."""
        return {
            label: counts.get(counter, 0)
            for fault, (counter, label) in FATES.items()
            if counts.get(counter, 0) or getattr(self, fault)
        }

    def _strikes(self, fault: str, probability: float, about: tuple[object, ...]) -> bool:
        return draw(self.seed, fault, *about) < probability

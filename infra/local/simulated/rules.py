"""The rules of a fault plan: which calls go wrong, how often, and in which way.

A rule is JSON; only ``fault`` is required, and one of ``probability`` and ``at``::

    {"fault": kind, "methods": [names as in the simulator's routes, "*", "batch", "token"],
     "where": "inner" | "outer" | "any", "probability": 0..1, "at": [1-based numbers of eligible calls],
     "most": firings at most or null, "status": int, "reason": str, "retry_after": seconds, "seconds": number, "label": str}

``*`` means every method of the API (its name has a dot); batches as a whole, the token endpoint and the like have to be
named. ``inner`` are parts of a batch. ``status``, with ``reason``, is for the fault of that name, ``retry_after`` for it
and for the limits, ``seconds`` for how long a ``timeout`` holds the answer and how long a mail is fresh. What a rule lacks
has the default of its kind. Which kinds there are is the provider's affair: its ``Vocabulary``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from infra.local.simulated.errors import ControlError, Refusal

STATUSES = (400, 401, 403, 404, 409, 429, 500, 502, 503, 504)
ANY = ("*",)

SHAPES = ("lost_part", "shuffled_parts", "no_content_ids")
"""The kinds that change a batch's answer and not those of its parts."""

_BREAKS = ("timeout", "cut")


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What can go wrong at a provider.

    ``methods`` maps every kind to the methods that it usually hits, ``words`` to what a report calls it (``status`` needs
    none), ``seconds`` some to their usual duration; ``status`` is what a rule of the kind ``status`` answers; ``prefix``
    is what all names of methods begin with.
    """

    methods: Mapping[str, tuple[str, ...]]
    words: Mapping[str, str]
    status: Callable[[Rule], Refusal]
    seconds: Mapping[str, float] = field(default_factory=dict)
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """One way for some calls to go wrong; see the module for what the fields mean."""

    fault: str
    methods: tuple[str, ...] = ()
    probability: float = 0.0
    at: tuple[int, ...] = ()
    most: int | None = None
    where: str = "any"
    status: int = 0
    reason: str = ""
    retry_after: int = 0
    seconds: float = 0.0
    label: str = ""

    @classmethod
    def from_json(cls, data: Any, vocabulary: Vocabulary) -> Rule:
        """Read one rule and fill in its defaults. Raises ``ControlError``."""
        if not isinstance(data, Mapping) or data.get("fault") not in tuple(vocabulary.methods):
            raise ControlError(f"A rule needs a fault; known are {', '.join(vocabulary.methods)}.")
        if unknown := sorted(set(data) - {spec.name for spec in fields(cls)}):
            raise ControlError(f"A rule has no {', '.join(map(str, unknown))}.")
        fault = str(data["fault"])
        try:
            rule = cls(
                fault=fault,
                methods=_names(data.get("methods") or vocabulary.methods[fault]),
                probability=_number(data.get("probability", 0.0)),
                at=tuple(sorted(_whole(number) for number in data.get("at", ()))),
                most=None if data.get("most") is None else _whole(data["most"]),
                where=data.get("where", "any"),
                status=_whole(data.get("status") or 0),
                reason=_text(data.get("reason") or ""),
                retry_after=_whole(data.get("retry_after") or 0),
                seconds=_number(data.get("seconds") or vocabulary.seconds.get(fault, 0.0)),
                label=_text(data.get("label") or ""),
            )
        except (TypeError, ValueError) as error:
            raise ControlError(f"A rule for {fault} makes no sense: {error}.") from None
        rule._check(vocabulary)
        return rule if rule.label else _labelled(rule, vocabulary)

    def to_json(self) -> dict[str, Any]:
        """Write the rule."""
        return asdict(self)

    def matches(self, method: str, inner: bool) -> bool:
        """Whether a call of a method is of this rule's kind."""
        if self.fault in _BREAKS and inner:
            return False
        if self.where != "any" and inner != (self.where == "inner"):
            return False
        return method in self.methods or ("*" in self.methods and "." in method)

    def _check(self, vocabulary: Vocabulary) -> None:
        usual = vocabulary.methods[self.fault]
        if usual != ANY and not set(self.methods) <= set(usual):
            raise ControlError(f"{self.fault} is for {', '.join(usual)} only.")
        if self.probability > 1 or self.where not in ("inner", "outer", "any") or (self.at and self.at[0] < 1):
            raise ControlError("probability is at most 1, where is inner, outer or any, at counts from 1.")
        if (self.status in STATUSES) != (self.fault == "status"):
            raise ControlError(f"The fault status, and no other, needs a status: {', '.join(map(str, STATUSES))}.")
        if self.fault in _BREAKS and self.where == "inner":
            raise ControlError(f"A part of a batch has no connection of its own: {self.fault} cannot be inner.")
        if not self.probability and not self.at:
            raise ControlError(f"The rule for {self.fault} never fires: it needs a probability or at.")


def read_rules(data: Any, vocabulary: Vocabulary) -> tuple[Rule, ...]:
    """Read the rules of a plan. Raises ``ControlError``."""
    if not isinstance(data, (list, tuple)):
        raise ControlError("calls must be a list of rules.")
    return tuple(Rule.from_json(rule, vocabulary) for rule in data)


def _labelled(rule: Rule, vocabulary: Vocabulary) -> Rule:
    """Give a rule a readable name: what happens, to which calls."""
    error = vocabulary.status(rule) if rule.fault == "status" else None
    what = f"{rule.status} {error.reason}" if error is not None else vocabulary.words[rule.fault]
    usual = rule.methods == vocabulary.methods[rule.fault]
    of = "" if usual else " of " + ", ".join(_plain(name, vocabulary.prefix) for name in rule.methods)
    side = {"any": "", "inner": ", in batches", "outer": ", alone"}[rule.where]
    return replace(rule, label=f"{what}{of}{side}")


def _plain(method: str, prefix: str) -> str:
    return {"*": "any method", "batch": "a batch", "token": "the token endpoint"}.get(
        method, method.removeprefix(prefix)
    )


def _names(value: Any) -> tuple[str, ...]:
    if isinstance(value, str) or not all(isinstance(name, str) and name for name in value):
        raise TypeError("methods is a list of names")
    return tuple(value)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1e9:
        raise TypeError(f"{value!r:.20} is no number from 0 on")
    return float(value)


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise TypeError(f"{value!r:.20} is no whole number from 0 on")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.isprintable() or len(value) > 100:
        raise TypeError("reason and label are short texts")
    return value

"""The rules of a fault plan: which calls go wrong, how often, and in which way.

A rule is JSON; only ``fault`` is required, and one of ``probability`` and ``at``::

    {"fault": kind, "methods": [names as in routes, "*", "batch", "token"], "where": "inner" | "outer" | "any",
     "probability": 0..1, "at": [1-based numbers of eligible calls], "most": firings at most or null,
     "status": int, "reason": str, "retry_after": seconds, "seconds": number, "label": str}

``*`` means every method of the API; batches as a whole and the token endpoint have to be named. ``inner`` are parts of a
batch. ``status``, with ``reason``, is for the fault of that name, ``retry_after`` for it and for the limits, ``seconds``
for how long a ``timeout`` holds the answer and how long a mail is fresh. What a rule lacks has the default of its kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from infra.local.google.errors import ControlError, GoogleError, exhausted, not_found, unauthenticated

STATUSES = (400, 401, 403, 404, 409, 429, 500, 502, 503, 504)
_ANY = ("*",)
_LISTS = ("users.messages.list", "users.threads.list", "users.history.list", "users.drafts.list")
_METHODS = {
    "status": _ANY, "precondition": _ANY, "limit_403": _ANY, "limit_429": _ANY, "timeout": _ANY, "cut": _ANY,
    "garbage": _ANY, "bad_page_token": _LISTS, "expired_history": ("users.history.list",),
    "one_push_client": ("users.watch",), "fresh_404": ("users.messages.get",),
    "lost_part": ("batch",), "shuffled_parts": ("batch",), "no_content_ids": ("batch",),
}  # fmt: skip
KINDS = tuple(_METHODS)
"""Every kind of fault."""

SHAPES = ("lost_part", "shuffled_parts", "no_content_ids")
"""The kinds that change a batch's answer and not those of its parts."""

_BREAKS = ("timeout", "cut")
_SECONDS = {"timeout": 30.0, "fresh_404": 3.0}
_WORDS = {
    "precondition": "400 failedPrecondition", "limit_403": "403 rate limit", "limit_429": "429 rate limit",
    "timeout": "held and cut", "cut": "cut in the middle", "garbage": "garbage", "bad_page_token": "invalid page token",
    "expired_history": "history expired", "one_push_client": "one push client only", "fresh_404": "404 for a fresh mail",
    "lost_part": "part of a batch missing", "shuffled_parts": "parts of a batch in another order",
    "no_content_ids": "batch without Content-IDs",
}  # fmt: skip
_MESSAGES = {
    400: "Bad Request", 401: str(unauthenticated()), 403: "Forbidden", 404: str(not_found()),
    409: "The operation was aborted.", 429: "Too many requests.", 500: "Internal error encountered.", 502: "Bad Gateway",
    503: "The service is currently unavailable.", 504: "Deadline expired before operation could complete.",
}  # fmt: skip


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
    def from_json(cls, data: Any) -> Rule:
        """Read one rule and fill in its defaults. Raises ``ControlError``."""
        if not isinstance(data, Mapping) or data.get("fault") not in KINDS:
            raise ControlError(f"A rule needs a fault; known are {', '.join(KINDS)}.")
        if unknown := sorted(set(data) - {spec.name for spec in fields(cls)}):
            raise ControlError(f"A rule has no {', '.join(map(str, unknown))}.")
        fault = str(data["fault"])
        try:
            rule = cls(
                fault=fault,
                methods=_names(data.get("methods") or _METHODS[fault]),
                probability=_number(data.get("probability", 0.0)),
                at=tuple(sorted(_whole(number) for number in data.get("at", ()))),
                most=None if data.get("most") is None else _whole(data["most"]),
                where=data.get("where", "any"),
                status=_whole(data.get("status") or 0),
                reason=_text(data.get("reason") or ""),
                retry_after=_whole(data.get("retry_after") or 0),
                seconds=_number(data.get("seconds") or _SECONDS.get(fault, 0.0)),
                label=_text(data.get("label") or ""),
            )
        except (TypeError, ValueError) as error:
            raise ControlError(f"A rule for {fault} makes no sense: {error}.") from None
        rule._check()
        return rule if rule.label else _labelled(rule)

    def to_json(self) -> dict[str, Any]:
        """Write the rule."""
        return asdict(self)

    def matches(self, method: str, inner: bool) -> bool:
        """Whether a call of a method is of this rule's kind."""
        if self.fault in _BREAKS and inner:
            return False
        if self.where != "any" and inner != (self.where == "inner"):
            return False
        return method in self.methods or ("*" in self.methods and method.startswith("users."))

    def _check(self) -> None:
        usual = _METHODS[self.fault]
        if usual != _ANY and not set(self.methods) <= set(usual):
            raise ControlError(f"{self.fault} is for {', '.join(usual)} only.")
        if self.probability > 1 or self.where not in ("inner", "outer", "any") or (self.at and self.at[0] < 1):
            raise ControlError("probability is at most 1, where is inner, outer or any, at counts from 1.")
        if (self.status in STATUSES) != (self.fault == "status"):
            raise ControlError(f"The fault status, and no other, needs a status: {', '.join(map(str, STATUSES))}.")
        if self.fault in _BREAKS and self.where == "inner":
            raise ControlError(f"A part of a batch has no connection of its own: {self.fault} cannot be inner.")
        if not self.probability and not self.at:
            raise ControlError(f"The rule for {self.fault} never fires: it needs a probability or at.")


def read_rules(data: Any) -> tuple[Rule, ...]:
    """Read the rules of a plan. Raises ``ControlError``."""
    if not isinstance(data, (list, tuple)):
        raise ControlError("calls must be a list of rules.")
    return tuple(Rule.from_json(rule) for rule in data)


def _labelled(rule: Rule) -> Rule:
    """Give a rule a readable name: what happens, to which calls."""
    error = status_error(rule) if rule.fault == "status" else None
    what = f"{rule.status} {error.reason}" if error is not None else _WORDS[rule.fault]
    usual = rule.methods == _METHODS[rule.fault]
    of = "" if usual else " of " + ", ".join(_plain(name) for name in rule.methods)
    side = {"any": "", "inner": ", in batches", "outer": ", alone"}[rule.where]
    return replace(rule, label=f"{what}{of}{side}")


def _plain(method: str) -> str:
    return {"*": "any method", "batch": "a batch", "token": "the token endpoint"}.get(
        method, method.removeprefix("users.")
    )


def status_error(rule: Rule) -> GoogleError:
    """What a rule of the kind ``status`` answers."""
    if rule.status == 429 and not rule.reason:
        return exhausted(rule.retry_after or 1, retry_after=bool(rule.retry_after))
    headers = [("Retry-After", str(rule.retry_after))] if rule.retry_after else []
    return GoogleError(rule.status, _MESSAGES[rule.status], rule.reason, headers=headers)


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

"""What a run does, as data: mailboxes, changes with their moments, instances with their clocks, faults with their rates.

A plan is a pure function of its seed, can be written by hand (scenarios), and can be made smaller (``shrink``): leaving
something out shifts nothing else, because every concern draws from a stream of chance of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from types import MappingProxyType
from typing import Any

from infra.local.google.everything import everything
from infra.local.simulated.chance import stream
from tests.chaos.simulation.kinds import KINDS, RATES

_CHANGES = {
    "mail": 34, "labels": 20, "trash": 6, "untrash": 3, "delete": 9, "rescue": 4, "sent": 4, "draft": 5, "save": 4,
    "send": 3, "burst": 2, "drop_label": 1, "refuse": 1, "expire": 3, "post": 5, "rebuild": 1,
}  # fmt: skip
_OUTLOOK_CHANGES = {
    "folder": 4, "rename_folder": 2, "move_folder": 2, "drop_folder": 2, "move": 12, "expire": 3, "missed": 1, "removed": 1,
    "reauthorize": 1,
}  # fmt: skip
"""What happens in Outlook mailboxes beside all that, in place of so large a share of it."""

_OUTLOOK_SHARE = 0.4
_PUSHES: Mapping[str, tuple[float, float]] = {
    "drop": (0.1, 0.9), "duplicate": (0.1, 0.5), "early": (0.1, 0.6), "delay": (0.1, 0.5), "reorder": (0.1, 0.4),
}  # fmt: skip
_DELTAS: Mapping[str, tuple[float, float]] = {
    "replays": (0.05, 0.5), "duplicates": (0.05, 0.5), "empty_pages": (0.05, 0.4), "token_eviction": (0.005, 0.05),
    "late": (0.05, 0.4),
}  # fmt: skip
_EXCHANGE: Mapping[str, tuple[float, float]] = {
    "halves": (0.3, 1.0), "lost_returns": (0.8, 1.0), "recoverable": (0.3, 1.0), "dead_cursor": (0.005, 0.03),
}  # fmt: skip
_EVERY, _TOKEN = {"methods": ["*"]}, {"methods": ["token"]}
_OUTLOOK_CALLS: tuple[dict[str, Any], ...] = (
    {"fault": "status", "status": 503, **_TOKEN, "most": 1},
    {"fault": "status", "status": 429, **_TOKEN, "most": 1},
    {"fault": "status", "status": 401, **_EVERY},
    {"fault": "status", "status": 500, **_EVERY, "probability": 0.002},
    {"fault": "status", "status": 502, **_EVERY, "probability": 0.001},
    {"fault": "status", "status": 503, **_EVERY, "probability": 0.002, "retry_after": 1},
    {"fault": "status", "status": 504, **_EVERY, "probability": 0.001},
    {"fault": "limit_429", **_EVERY, "probability": 0.003, "retry_after": 4},
    {"fault": "limit_429", **_EVERY, "probability": 0.002, "retry_after": 25},
    {"fault": "concurrency_429", **_EVERY, "probability": 0.003, "retry_after": 2},
    {"fault": "timeout", **_EVERY, "probability": 0.002, "most": 3, "seconds": 2.0},
    {"fault": "cut", **_EVERY, "probability": 0.005},
    {"fault": "garbage", **_EVERY, "probability": 0.005},
    {"fault": "fresh_404", "probability": 0.3, "seconds": 6.0},
)
_SELDOM_ASKED = ("one_push_client", "bad_page_token")
"""Faults of calls that a small mailbox makes a few times only."""

PROVIDERS = ("google", "microsoft")
"""Whose mailboxes there can be."""

MAILS_AT_LEAST, CHANGES_AT_LEAST = 40, 30


@dataclass(frozen=True, slots=True)
class Box:
    """One mailbox: whose it is, which account of which provider it follows, how much is in it, when it is connected."""

    number: int
    user: int
    address: str
    mails: int
    at: float
    provider: str = "google"


@dataclass(frozen=True, slots=True)
class Action:
    """Something that happens in or to a mailbox, ``at`` seconds after the start; ``pick`` and ``seed`` make it concrete."""

    at: float
    kind: str
    box: int
    pick: float = 0.0
    seed: int = 0


def _none() -> Mapping[str, Any]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Plan:
    """One run.

    ``skews`` has one clock's error in seconds per instance. ``rates`` are probabilities by kind (``kinds.KINDS``);
    ``forced`` are numbers of opportunities, from 1, at which a kind strikes for sure; ``google`` is the simulator's fault
    plan, ``microsoft`` that of the other one. ``pace`` stretches how long calls take.
    """

    seed: int
    boxes: tuple[Box, ...]
    actions: tuple[Action, ...]
    skews: tuple[float, ...] = (0.0,)
    rates: Mapping[str, float] = field(default_factory=_none)
    forced: Mapping[str, frozenset[int]] = field(default_factory=_none)
    google: Mapping[str, Any] = field(default_factory=_none)
    microsoft: Mapping[str, Any] = field(default_factory=_none)
    page_size: int = 25
    batch_size: int = 10
    tick_seconds: float = 60.0
    poll_seconds: float = 300.0
    token_seconds: float = 3600.0
    history_base: int = 0
    channels: bool = True
    pace: float = 1.0

    @property
    def faultless(self) -> bool:
        """Whether nothing is planned to go wrong: budgets are exact then."""
        return not self.rates and not self.forced and not any(map(self.faults, PROVIDERS)) and not any(self.skews)

    @property
    def providers(self) -> tuple[str, ...]:
        """The providers that its mailboxes have."""
        return tuple(name for name in PROVIDERS if any(box.provider == name for box in self.boxes))

    def faults(self, provider: str) -> Mapping[str, Any]:
        """The fault plan of a provider's simulator."""
        return self.google if provider == "google" else self.microsoft

    def with_faults(self, provider: str, faults: Mapping[str, Any]) -> Plan:
        """The plan with another fault plan for a provider's simulator."""
        return replace(self, google=faults) if provider == "google" else replace(self, microsoft=faults)

    @classmethod
    def of(cls, seed: int, providers: Sequence[str] = PROVIDERS) -> Plan:
        """The plan of a seed, with mailboxes of these providers."""
        boxes = _boxes(seed, providers)
        chance = stream(seed, "plan")
        quiet = seed % 10 == 0
        skewed = not quiet and chance.random() < 0.5
        instances = chance.choice((1, 2, 2, 3))
        skews = tuple(_skew(chance) if skewed else 0.0 for _ in range(instances))
        return cls(
            seed,
            boxes,
            _in_outlook(seed, _actions(seed, boxes), boxes),
            skews,
            {} if quiet else _rates(seed),
            {},
            {} if quiet else _google(seed),
            {} if quiet else _microsoft(seed),
            page_size=chance.choice((3, 7, 10, 25, 100)),
            batch_size=chance.choice((3, 10, 25)),
            tick_seconds=chance.choice((60.0, 60.0, 120.0)),
            poll_seconds=chance.choice((180.0, 300.0, 600.0)),
            token_seconds=chance.choice((330.0, 600.0, 3600.0)),
            history_base=chance.choice((0, 0, 10**20)),
            channels=chance.random() < 0.85,
            pace=chance.choice((0.3, 1.0, 3.0)),
        )


def _boxes(seed: int, providers: Sequence[str]) -> tuple[Box, ...]:
    chance, theirs = stream(seed, "boxes"), stream(seed, "providers")
    chosen = theirs.choice((providers, providers, *((name,) for name in providers)))
    count = chance.choice((2, 2, 3, 4))
    users = chance.choice((1, 2, 2))
    owners = [number % users for number in range(count)]
    boxes: list[Box] = []
    total = chance.randint(MAILS_AT_LEAST, MAILS_AT_LEAST + 30)
    for number, user in enumerate(owners):
        address, provider = f"box{number}@example.org", theirs.choice(chosen)
        others = [
            box.address
            for box in boxes
            if box.user != user
            and box.provider == provider
            and all(b.address != box.address or b is box for b in boxes)
        ]
        if others and chance.random() < 0.1:
            address = others[0]  # two people follow one account
        mails = total // count + (number == 0) * (total % count)
        boxes.append(Box(number, user, address, mails, round(chance.uniform(0, 40), 3), provider))
    return tuple(boxes)


def _actions(seed: int, boxes: tuple[Box, ...]) -> tuple[Action, ...]:
    chance = stream(seed, "actions")
    span = chance.choice((60.0, 180.0, 600.0))
    count = chance.randint(CHANGES_AT_LEAST, CHANGES_AT_LEAST + 15)
    kinds = chance.choices(list(_CHANGES), list(_CHANGES.values()), k=count)
    actions = [_action(chance, kind, span, boxes) for kind in kinds]
    walks = [action for action in actions if action.kind == "expire"]
    actions = [_beside_a_walk(chance, action, boxes, walks) for action in actions]
    for _ in range(chance.choice((0, 0, 1, 1, 2))):
        leave = _action(chance, "disconnect", span, boxes)
        actions.append(leave)
        if chance.random() < 0.8:
            back = leave.at + chance.choice((0.5, 5.0, 40.0))
            actions.append(Action(round(back, 3), "reconnect", leave.box, chance.random(), chance.getrandbits(32)))
    if chance.random() < 0.2:
        actions.append(_action(chance, "erase", span, boxes))
    return tuple(sorted(actions, key=lambda action: action.at))


def _action(chance: Random, kind: str, span: float, boxes: tuple[Box, ...]) -> Action:
    box = chance.choice(boxes).number
    return Action(round(chance.uniform(1.0, span), 3), kind, box, chance.random(), chance.getrandbits(32))


def _in_outlook(seed: int, actions: tuple[Action, ...], boxes: tuple[Box, ...]) -> tuple[Action, ...]:
    """A share of what happens in Outlook mailboxes is what can happen only there."""
    outlook = {box.number for box in boxes if box.provider == "microsoft"}
    chance = stream(seed, "outlook")
    changed = []
    for action in actions:
        draw, kind = chance.random(), chance.choices(list(_OUTLOOK_CHANGES), list(_OUTLOOK_CHANGES.values()))[0]
        special = action.box in outlook and action.kind in _CHANGES and draw < _OUTLOOK_SHARE
        changed.append(replace(action, kind=kind) if special else action)
    return tuple(changed)


def _beside_a_walk(chance: Random, action: Action, boxes: tuple[Box, ...], walks: list[Action]) -> Action:
    """Much happens while a mailbox is being backfilled or compared: only then can the two get in each other's way."""
    draw, after = chance.random(), chance.expovariate(1 / 5)
    if action.kind != "expire" and draw < 0.4:
        at = next(box.at for box in boxes if box.number == action.box) + 1 + after
    elif action.kind != "expire" and walks and draw < 0.65:
        walk = chance.choice(walks)
        return replace(action, at=round(walk.at + after, 3), box=walk.box)
    else:
        return action
    return replace(action, at=round(at, 3))


def _skew(chance: Random) -> float:
    return round(chance.choice((0.0, chance.uniform(-2, 2), chance.uniform(-30, 30), chance.uniform(-240, 240))), 3)


def _rates(seed: int) -> dict[str, float]:
    chance = stream(seed, "rates")
    share = chance.choice((0.15, 0.4, 0.7))
    chosen = {kind: (chance.random() < share, chance.uniform(*RATES[kind])) for kind in KINDS}
    return {kind: round(rate, 4) for kind, (has, rate) in chosen.items() if has}


def _google(seed: int) -> dict[str, Any]:
    """The simulator's own faults: those of ``everything``, each in some seeds, at moments that a small mailbox reaches."""
    chance = stream(seed, "google")
    share = chance.choice((0.0, 0.15, 0.4, 0.7))
    calls = []
    for rule in everything(seed)["calls"]:
        has, at, boost = chance.random() < share, chance.randint(1, 25), chance.uniform(1, 6)
        if rule["fault"] in _SELDOM_ASKED or rule.get("methods") == ["token"]:
            at = 1 + at % 2
        elif "most" in rule:
            at = 1 + at % 10
        if has:
            chosen = {**rule, "at": [at] if "most" in rule else [at, at + chance.randint(1, 40)]}
            if rule.get("probability"):
                chosen["probability"] = min(0.3, rule["probability"] * boost)
            calls.append(chosen)
    pushes = {name: round(chance.uniform(*_PUSHES[name]), 3) for name in _PUSHES if chance.random() < 0.5}
    if not calls and not pushes:
        return {}
    return {**pushes, "early_seconds": 1.5, "delay_seconds": 4.0, "seed": seed, "calls": calls}


def _microsoft(seed: int) -> dict[str, Any]:
    """The same for Outlook: its own rules, notifications that go astray as Gmail's do, and deltas that are hard to follow."""
    chance = stream(seed, "microsoft")
    share = chance.choice((0.0, 0.15, 0.4, 0.7))
    calls = []
    for rule in _OUTLOOK_CALLS:
        often = 1.5 if rule.get("methods") == ["token"] or rule["fault"] == "fresh_404" else 1.0
        has, at, boost = chance.random() < share * often, chance.randint(1, 40), chance.uniform(1, 6)
        if has:
            chosen = {
                **rule,
                "at": [1 + at % 2] if rule.get("methods") == ["token"] else [at, at + chance.randint(1, 60)],
            }
            if rule.get("probability"):
                chosen["probability"] = min(0.3, rule["probability"] * boost)
            calls.append(chosen)
    odds = {**_PUSHES, **_DELTAS}
    fates = {name: round(chance.uniform(*odds[name]), 3) for name in odds if chance.random() < 0.5}
    own = stream(seed, "exchange")
    fates |= {name: round(own.uniform(*_EXCHANGE[name]), 3) for name in _EXCHANGE if own.random() < 0.5}
    if not calls and not fates:
        return {}
    return {**fates, "early_seconds": 1.5, "delay_seconds": 4.0, "late_seconds": 2.0, "seed": seed, "calls": calls}

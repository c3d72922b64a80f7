"""Decides which calls go wrong, by the rules of the plan, and remembers how often each rule has fired.

A rule counts its eligible calls from the moment it was put and fires at those in ``at`` for sure, at the others by a draw
from seed, the rule's place in the list and that count. One call suffers one fault, of the first rule that fires; a sure
firing that loses to another rule is made up for at the next eligible call. Those counts live in memory: a restart begins
them anew.

Refusals come before the call has any effect and before its price is charged; ``cut``, ``garbage`` and the faults of
batches spoil the answer to a call that was carried out; after a ``timeout`` the call was not carried out.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from infra.local.simulated.chance import draw, stream
from infra.local.simulated.rules import SHAPES, Rule

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Fired:
    """A rule that hits a call, for the ``number``-th time."""

    rule: Rule
    number: int


@dataclass(slots=True)
class _Armed:
    """A rule at work."""

    rule: Rule
    index: int
    seen: int = 0
    owed: int = 0
    fired: int = 0
    sure: frozenset[int] = field(default_factory=frozenset)

    def count(self) -> None:
        """One more eligible call."""
        self.seen += 1
        self.owed += self.seen in self.sure

    def fires(self, seed: int) -> bool:
        """Whether the call that was just counted is hit."""
        if self.rule.most is not None and self.fired >= self.rule.most:
            return False
        if self.owed:
            self.owed -= 1
        elif not self.rule.probability or draw(seed, "call", self.index, self.seen) >= self.rule.probability:
            return False
        self.fired += 1
        return True


class CallFaults:
    """Decides which calls go wrong. Thread-safe; ``active`` is False without rules, and then nobody need ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._armed: list[_Armed] = []
        self._seed = 0
        self._counts: Counter[str] = Counter()
        self.active = False

    def put(self, rules: Sequence[Rule], seed: int) -> None:
        """Replace all rules; what was counted stays counted."""
        with self._lock:
            self._armed = [_Armed(rule, index, sure=frozenset(rule.at)) for index, rule in enumerate(rules)]
            self._seed = seed
            self.active = bool(rules)

    def strike(
        self, method: str, inner: bool, paged: bool = False, age: Callable[[], float | None] | None = None
    ) -> Fired | None:
        """What happens to this call. ``paged``: it has a page token; ``age``: seconds since its message arrived."""
        known = age() if age is not None and self._wants_age() else None
        with self._lock:
            hit: Fired | None = None
            for armed in self._armed:
                rule = armed.rule
                if rule.fault in SHAPES or not rule.matches(method, inner):
                    continue
                if rule.fault == "bad_page_token" and not paged:
                    continue
                if rule.fault == "fresh_404" and (known is None or known >= rule.seconds):
                    continue
                armed.count()
                if hit is None and armed.fires(self._seed):
                    hit = self._note(armed)
            return hit

    def reshape(self, parts: Sequence[tuple[str, T]]) -> list[tuple[str, T]]:
        """What is left of a batch's answers (Content-ID and answer), and in which order.

        An answer stays attributable: either by its Content-ID, or, where none are sent, because all are there in order.
        """
        arranged = list(parts)
        if len(arranged) < 2:
            return arranged
        hits: list[Fired] = []
        with self._lock:
            for armed in self._armed:
                if armed.rule.fault not in SHAPES:
                    continue
                armed.count()
                alone = armed.rule.fault == "no_content_ids"
                if (hits and alone) or any(hit.rule.fault == "no_content_ids" for hit in hits):
                    continue
                if armed.fires(self._seed):
                    hits.append(self._note(armed))
            seed = self._seed
        for hit in hits:
            chance = stream(seed, hit.rule.fault, hit.number)
            match hit.rule.fault:
                case "lost_part":
                    del arranged[chance.randrange(len(arranged))]
                case "shuffled_parts":
                    # A turn by some places: nothing stays where it was.
                    turn = chance.randrange(1, max(2, len(arranged)))
                    arranged = arranged[turn:] + arranged[:turn]
                case _:
                    arranged = [("", answer) for _, answer in arranged]
        return arranged

    def counts(self) -> dict[str, int]:
        """How often each label has fired since the process started; the rules in force are there with 0 too."""
        with self._lock:
            return {armed.rule.label: 0 for armed in self._armed} | dict(self._counts)

    def _wants_age(self) -> bool:
        return any(armed.rule.fault == "fresh_404" for armed in self._armed)

    def _note(self, armed: _Armed) -> Fired:
        self._counts[armed.rule.label] += 1
        return Fired(armed.rule, armed.fired)

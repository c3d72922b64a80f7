"""A simulation that notes every call by name, knows what scenarios need beside it, and plays one with one thing gone wrong."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from shared.mail.message import PRESENT
from shared.ports import Delete
from tests.chaos.crashes.consent import Consenting
from tests.chaos.crashes.scenarios import Scenario
from tests.chaos.simulation import checker
from tests.chaos.simulation.host import Host
from tests.chaos.simulation.instance import Life
from tests.chaos.simulation.kinds import Dice
from tests.chaos.simulation.plan import Action, Plan
from tests.chaos.simulation.record import place
from tests.chaos.simulation.scheduler import Scheduler
from tests.chaos.simulation.world import PATIENCE, Outcome, Simulation, run

NIGHTLY_TICK = 28_800.0

_METHODS = {
    "messages": "messages.list", "messages/": "messages.get", "threads/": "threads.get", "history": "history.list",
    "labels": "labels.list", "profile": "getProfile",
}  # fmt: skip
"""What a path of the provider's API is called where that is not its first part."""


@dataclass(frozen=True, slots=True)
class Played:
    """What came of a life; ``calls`` names, by kind of crash, the call at each of its numbers (the first is number 1).

    ``shared`` says how many of those, from the first, are of the beginning that it shares with other lives.
    """

    outcome: Outcome
    calls: dict[str, list[str]]
    shared: Mapping[str, int]


def play(scenario: Scenario, plan: Plan | None = None) -> Played:
    """Play a scenario, or a variation of its plan, from connecting to quiescence; the invariants have judged it."""
    stages: list[Stage] = []

    def build(folder: Path, chosen: Plan) -> Stage:
        stages.append(Stage(folder, chosen, scenario))
        return stages[-1]

    outcome = run(plan or scenario.plan, build)
    return Played(outcome, dict(stages[0].dice.calls), stages[0].dice.shared)


class Stage(Simulation):
    """One life: the simulation under the settings of a scenario, with what only scenarios do."""

    def __init__(self, folder: Path, plan: Plan, scenario: Scenario) -> None:
        super().__init__(folder, plan)
        self.dice: NotingDice = NotingDice(plan, self.scheduler, self._start + scenario.own_from)
        self.settings = replace(self.settings, **scenario.settings)
        self._by_day = self.settings
        self._lost: dict[str, tuple[Host, str, str]] = {}
        self.lives = [NotedLife(self, number, skew, 0) for number, skew in enumerate(plan.skews)]
        if scenario.consent:
            self.people = {box.user: Consenting(self, box.user) for box in plan.boxes}

    def bury(self, life: Life) -> None:
        """An instance has died: a new one takes its place, and knows nothing of how seldom ticks come at night."""
        shown, self.settings = self.settings, self._by_day
        self.lives[life.number] = NotedLife(self, life.number, life.skew, life.generation + 1)
        self.settings = shown

    def _act(self, action: Action) -> None:
        match action.kind:
            case "wait":
                return
            case "night":  # a day of ticks would be most of the run
                self.settings = replace(self.settings, tick_seconds=NIGHTLY_TICK)
            case "morning":
                self.settings = self._by_day
            case "lose":
                self._lose(action)
            case "revoke":
                self._host_of(action).simulator.revoke(self.plan.boxes[action.box].address)
            case _:
                super()._act(action)
                return
        self.trace.say(self.scheduler.now, "world", "-", action.kind)

    def _settle(self) -> None:
        """As ever; and what was lost behind our backs is back, which takes an audit that nothing else waits for."""
        super()._settle()
        end = self.scheduler.now + PATIENCE
        while not self.violations and (self._missing() or checker.left_to_do(self)) and self.scheduler.now < end:
            self._run_until(self.scheduler.now + self.plan.tick_seconds)
        for ref in self._missing() if not self.violations else ():
            self.complain("what_was_lost_is_repaired", ref)

    def _host_of(self, action: Action) -> Host:
        return self.host(self.plan.boxes[action.box])

    def _missing(self) -> list[str]:
        """The lost messages that the provider still has and the store has not."""
        return [ref for ref, mail in self._lost.items() if ref not in self.record.docs and mail[0].is_alive(*mail[1:])]

    def _lose(self, action: Action) -> None:
        """Delete an announced message behind everybody's back."""
        found = sorted(
            ref
            for ref, data in self.record.docs.items()
            if place(ref)[1] == "messages" and data["state"] == PRESENT and data["announced"]
        )
        if found:  # otherwise a crash has come before any was stored
            lost = Delete(found[int(action.pick * len(found))])
            address = self.plan.boxes[action.box].address
            self._lost[lost.ref] = self._host_of(action), address, self.record.docs[lost.ref]["id"]
            self.ports.store.commit([lost])
            self.record.commit(self.scheduler.now, None, [lost])


class NotingDice(Dice):
    """Dice that note which call was about to begin or end at each opportunity."""

    def __init__(self, plan: Plan, scheduler: Scheduler, own_from: float) -> None:
        super().__init__(plan.seed, plan.rates, plan.forced)
        self._scheduler, self._own_from = scheduler, own_from
        self.shared: Counter[str] = Counter()
        self.calls: dict[str, list[str]] = defaultdict(list)

    def strikes(self, kind: str) -> bool:
        """Whether the fault happens at this opportunity."""
        if self.on:
            call = self._scheduler.current
            self.shared[kind] += self._scheduler.now < self._own_from
            self.calls[kind].append(call.notes.get("about", "") if call is not None else "")
        return super().strikes(kind)


class NotedLife(Life):
    """An instance that says which call it is at before anybody decides whether that is the last."""

    def begin(self, port: str, detail: str, hands_on: Any = True) -> None:
        """A port call sets out."""
        self.note("about", called(port, detail, bool(hands_on)))
        super().begin(port, detail, hands_on)


def called(port: str, detail: str, hands_on: bool) -> str:
    """What a call is called: the port's method, the provider's, or the topic's; nothing in it is of one run only."""
    match port:
        case "google":
            name, slash, _ = detail.strip("/").partition("/")
            return f"google {_METHODS.get(name + slash, name)}"
        case "microsoft":
            return f"microsoft {detail.partition('/me/')[2] or detail}"
        case "publish":
            return f"publish {detail.partition(' ')[0]}"
        case "get" | "query" | "commit" if not hands_on:
            return f"keys {port}"
    return port

"""The other side of queue, bus and scheduler: who calls which instance, when, how often, and what if nobody answers."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import orjson

from shared.events.push import pushed
from tests.chaos.simulation.record import Answered
from tests.chaos.simulation.scheduler import Call, Crash

if TYPE_CHECKING:
    from tests.chaos.simulation.world import Simulation

NO_ANSWER = 599
HEARD_WITHIN = 10.0
"""Seconds after which a provider that posts to us believes that nobody has heard it."""

GIVEN_UP_AFTER = 4 * 3600.0
LONGEST_PAUSE = 600.0

TOGETHER = 0.02
"""Seconds within which new work is looked for once."""

_OLD = 20


class Deliveries:
    """Takes what is due from queue and bus and hands it to instances."""

    def __init__(self, world: Simulation) -> None:
        self._world = world
        self._planned: float | None = None
        self.coming: list[tuple[float, Any]] = []
        self._old: deque[Any] = deque(maxlen=_OLD)
        self._webhooks = _Webhooks(self)
        self._sources: tuple[tuple[Any, str], ...] = ((world.ports.tasks, "tasks"), (world.ports.bus, "pushes"))
        for source, _ in self._sources:
            source.on_work(self._rung)

    def tick(self) -> None:
        """The scheduler's job: once a period, unless it is lost, late, or comes twice."""
        world = self._world
        world.scheduler.at(world.scheduler.now + world.settings.tick_seconds, self.tick)
        if world.dice.strikes("tick.lost"):
            return
        delay = world.durations.uniform(1, 45) if world.dice.strikes("tick.late") else 0.0
        world.scheduler.start("tick", self._tick, delay)
        if world.dice.strikes("tick.again"):
            world.scheduler.start("tick again", self._tick, delay + world.durations.choice((0.0, 0.3, 20.0)))

    def _tick(self, _call: Call) -> None:
        self._world.ask(self._world.life(), "tick", "POST", "/")

    def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> None:
        """A provider posts to one of our functions, which is named by the first part of the path."""
        function = path.strip("/").partition("/")[0]
        self._webhooks.send(_Notice(f"/{function}{path}", body, headers, self._world.scheduler.now))

    def _rung(self) -> None:
        self._plan(self._world.scheduler.now + TOGETHER)

    def _plan(self, moment: float) -> None:
        if self._planned is None or moment < self._planned:
            self._planned = moment
            self._world.scheduler.at(moment, self._pump)

    def _pump(self) -> None:
        if self._planned is None or self._planned > self._world.scheduler.now:
            return  # it was planned anew for later
        self._planned = None
        for source, kind in self._sources:
            for delivery in source.claim(100):
                self._dispatch(source, kind, delivery)
        moments = [moment for source, _ in self._sources if (moment := source.next_due()) is not None]
        if moments:
            self._plan(max(min(moments), self._world.scheduler.now + TOGETHER))

    def _dispatch(self, source: Any, kind: str, delivery: Any) -> None:
        world = self._world
        sent = _Sent(self, source, delivery)
        world.scheduler.at(world.scheduler.now + delivery.timeout, sent.expire)
        delay = world.durations.uniform(0.5, 90.0) if world.dice.strikes(f"{kind}.late") else 0.0
        self._send(sent, kind, delay)
        if world.dice.strikes(f"{kind}.again"):
            self._send(sent, kind, delay + world.durations.uniform(1.0, 60.0))
        if kind == "tasks":
            if world.dice.strikes("tasks.overlapping"):
                self._send(sent, kind, delay + world.durations.uniform(0.0, 0.5))
            return
        if self._old and world.dice.strikes("pushes.old"):
            self._send(world.durations.choice(self._old), kind, world.durations.uniform(0.0, 30.0))
        self._old.append(sent)

    def _send(self, sent: _Sent, kind: str, delay: float) -> None:
        coming = (self._world.scheduler.now + delay, sent.body)
        self.coming.append(coming)

        def arrive(call: Call) -> None:
            self.coming.remove(coming)
            sent.run(call)

        self._world.scheduler.start(kind, arrive, delay)


@dataclass(frozen=True, slots=True)
class _Notice:
    """What a provider posts, since when, and how often it has."""

    target: str
    body: bytes
    headers: Mapping[str, str]
    since: float
    attempts: int = 0
    timeout: float = HEARD_WITHIN


class _Webhooks:
    """A provider that posts to us without a bus between, and again after a failure, for hours."""

    def __init__(self, deliveries: Deliveries) -> None:
        self._deliveries = deliveries

    def send(self, notice: _Notice) -> None:
        """Post it."""
        self._deliveries._dispatch(self, "pushes", replace(notice, attempts=notice.attempts + 1))

    def settle(self, notice: _Notice, status: int) -> None:
        """What was not taken comes again, later and later."""
        scheduler = self._deliveries._world.scheduler
        if status >= 300 and scheduler.now < notice.since + GIVEN_UP_AFTER:
            scheduler.at(scheduler.now + min(LONGEST_PAUSE, 5.0 * 2.0**notice.attempts), lambda: self.send(notice))


class _Sent:
    """One delivery on its way, however many copies of it there are; the first good answer counts."""

    def __init__(self, deliveries: Deliveries, source: Any, delivery: Any) -> None:
        self._deliveries, self._source, self._delivery = deliveries, source, delivery
        self._settled = False
        function, _, rest = delivery.target.strip("/").partition("/")
        self._function, self._path = function, f"/{rest}"
        self.body = orjson.loads(delivery.body)
        self._label = _label(function, self.body)

    def run(self, call: Call) -> None:
        """Call an instance, and settle with what it answers."""
        world = self._deliveries._world
        life = world.life()
        call.label = self._label
        world.begun(self._function, self.body)
        began = world.scheduler.now
        try:
            status, _ = world.ask(
                life, self._function, "POST", self._path, self._delivery.body, dict(self._delivery.headers)
            )
        except Crash:
            if world.durations.random() < 0.5:
                self._settle(NO_ANSWER)  # the connection broke; otherwise nobody notices before the deadline
            raise
        life.say("answer", str(status))
        world.answered(Answered(self._function, self.body, status, began, call, life.skew))
        self._settle(status)

    def expire(self) -> None:
        """The deadline has passed: as if it had been refused."""
        self._settle(NO_ANSWER)

    def _settle(self, status: int) -> None:
        if not self._settled:
            self._settled = True
            self._source.settle(self._delivery, status)
            self._deliveries._rung()


def _label(function: str, body: Any) -> str:
    if function == "sync":
        page = "" if body.get("page") is None else f" page {body['page']}"
        flags = " rung" if body.get("rung") else ""
        flags += f" {len(body['hints'])} hints" if body.get("hints") else ""
        return f"{body['kind']}{page}{flags} {body['mailbox'].partition(':')[0]}:{body['mailbox'].split(':')[1]}"
    if "value" in body:
        return f"{function} {len(body['value'])} notices"
    data = pushed(body)
    return f"{function} {data.get('emailAddress') or data.get('stream')}"

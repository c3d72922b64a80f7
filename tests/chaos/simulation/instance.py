"""One instance of the functions: its own clock, its own caches, its own death. A new life starts with nothing remembered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared.sets import Ports
from shared.wiring import Brainstem
from tests.chaos.simulation.ports import SlowBus, SlowHttp, SlowSecrets, SlowStore, SlowTasks
from tests.chaos.simulation.scheduler import Crash, SkewedClock

if TYPE_CHECKING:
    from tests.chaos.simulation.world import World


class Life:
    """An instance from its start to its crash. All calls in flight end with it, each at its next port call."""

    def __init__(self, world: World, number: int, skew: float, generation: int) -> None:
        self.world, self.number, self.skew, self.generation = world, number, skew, generation
        self.name = f"{'abcdefgh'[number]}{generation}"
        self.dead = False
        self.clock = SkewedClock(world.scheduler, skew, self.survive)
        inner = world.ports
        ports = Ports(
            store=SlowStore(self, inner.store),
            keys=SlowStore(self, inner.keys, hands_on=False),
            bus=SlowBus(self, inner.bus),
            tasks=SlowTasks(self, inner.tasks),
            secrets=SlowSecrets(self, inner.secrets),
            clock=self.clock,
            blobs=inner.blobs,
        )
        self.product = Brainstem(world.settings, ports, *[lambda: SlowHttp(self)] * 2)

    def survive(self) -> None:
        """Raise ``Crash`` in whoever is still running here after the end."""
        if self.dead:
            raise Crash

    def begin(self, port: str, detail: str, hands_on: Any = True) -> None:
        """A port call sets out; ``hands_on`` is False where it must not, and ``read`` where the answer takes the time."""
        self.survive()
        self._perhaps_crash("crash.before", port, detail)
        if hands_on is True:
            self.pause(self.world.duration())
        call = self.world.scheduler.current
        if call is not None:
            call.notes[port] = call.notes.get(port, 0) + 1
            if not call.label.startswith("tick"):
                self.world.record.totals[port] += 1
        self.say(port, detail)
        if port in ("get", "query", "commit") and hands_on and self.strikes("store.slow"):
            self.pause(self.world.durations.uniform(2.0, 40.0))

    def end(self, port: str, outcome: str, hands_on: bool = True) -> None:
        """The answer of a port call sets out."""
        if outcome:
            self.say(port, f"-> {outcome}")
        self._perhaps_crash("crash.after", port, outcome)
        if hands_on:
            self.pause(self.world.duration())

    def pause(self, seconds: float) -> None:
        """Wait for something outside."""
        self.world.scheduler.pause(seconds)
        self.survive()

    def strikes(self, kind: str) -> bool:
        """Whether a fault happens here and now; it is in the trace."""
        struck = self.world.dice.strikes(kind)
        if struck:
            self.say("FAULT", kind)
        return struck

    def note(self, name: str, value: Any) -> None:
        """Note something with the call that is running."""
        call = self.world.scheduler.current
        if call is not None:
            call.notes[name] = value

    def noted(self, name: str) -> Any:
        """What was noted with the call that is running, an empty tuple where nothing was."""
        call = self.world.scheduler.current
        return call.notes.get(name, ()) if call is not None else ()

    def say(self, port: str, what: str) -> None:
        """Put a line in the trace."""
        world = self.world
        label = world.scheduler.current.label if world.scheduler.current else "-"
        world.trace.say(world.scheduler.now, self.name, label, f"{port} {what}")

    def _perhaps_crash(self, kind: str, port: str, detail: str) -> None:
        if self.world.dice.strikes(kind):
            self.say("CRASH", f"{kind} {port} {detail}")
            self.dead = True
            self.world.bury(self)
            raise Crash

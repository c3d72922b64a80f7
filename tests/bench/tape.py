"""Gmail's answers, recorded from the simulator and played back, so that only our own work is timed.

Everything in a world is decided by its seed and its virtual clock, so a second backfill asks for exactly the same things.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared.providers.gmail import GmailProvider
from shared.providers.http.wire import HttpAnswer, HttpLike
from shared.wiring import Brainstem
from tests.world import InProcess, World

SEED = 1
PAGE = 100
SETTLED = 20.0
"""Virtual seconds after which a connected mailbox has come to rest."""


@dataclass(slots=True)
class Tape:
    """An HTTP client that answers from memory; it knows what was asked by method, address and body."""

    answers: dict[tuple[str, str, Any], tuple[HttpAnswer, bytes]] = field(default_factory=dict)

    def request(
        self, uri: str, method: str = "GET", body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[HttpAnswer, bytes]:
        return self.answers[method, uri, body]


@dataclass(frozen=True, slots=True)
class _Recorder:
    """An HTTP client that asks another and keeps what it said."""

    inner: HttpLike
    tape: Tape

    def request(
        self, uri: str, method: str = "GET", body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[HttpAnswer, bytes]:
        answer = self.inner.request(uri, method, body, headers)
        self.tape.answers[method, uri, body] = answer
        return answer


def recording(world: World, tape: Tape) -> GmailProvider:
    """A provider whose every answer goes onto the tape."""
    recorder = _Recorder(InProcess(world.website), tape)
    return GmailProvider(world.settings, world.clock, lambda: "secret", lambda: recorder)


def record(folder: Path, mails: int) -> tuple[World, Tape]:
    """Backfill a generated mailbox once, and keep all that Gmail said; answers the world that it was in, too."""
    tape = Tape()
    world = World(folder, SEED, page_size=PAGE)
    recorder = _Recorder(InProcess(world.website), tape)
    world.product = Brainstem(world.settings, world.ports, lambda: recorder)
    world.connect(mails)
    world.run(SETTLED)
    return world, tape

"""Gmail's answers, recorded from the simulator and played back, so that only our own work is timed.

Everything in a world is decided by its seed and its virtual clock, so a second backfill asks for exactly the same things.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httplib2

from infra.local.google.app import create_app
from shared.providers.gmail.provider import GmailProvider
from shared.wiring import Brainstem
from tests.world import InProcess, World

SEED = 1
PAGE = 100
SETTLED = 20.0
"""Virtual seconds after which a connected mailbox has come to rest."""


@dataclass(slots=True)
class Tape:
    """An HTTP client that answers from memory; it knows what was asked by method and address."""

    answers: dict[tuple[str, str], tuple[httplib2.Response, bytes]] = field(default_factory=dict)

    def request(
        self, uri: str, method: str = "GET", body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[httplib2.Response, bytes]:
        return self.answers[method, uri]


@dataclass(frozen=True, slots=True)
class _Recorder:
    """An HTTP client that asks another and keeps what it said."""

    inner: InProcess
    tape: Tape

    def request(
        self, uri: str, method: str = "GET", body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[httplib2.Response, bytes]:
        answer = self.inner.request(uri, method, body, headers)
        self.tape.answers[method, uri] = answer
        return answer


def record(folder: Path, mails: int) -> tuple[World, Tape]:
    """Backfill a generated mailbox once, and keep all that Gmail said; answers the world that it was in, too."""
    tape = Tape()
    world = World(folder, SEED, page_size=PAGE)
    recorder = _Recorder(InProcess(create_app(world.google)), tape)
    provider = GmailProvider(world.settings, world.clock, lambda: "secret", lambda: recorder)
    world.product = Brainstem(world.settings, world.ports, {"GOOGLE": provider})
    world.connect(mails)
    world.run(SETTLED)
    return world, tape

"""The simulated providers of a local run, side by side: each holds one mailbox of the same person.

What differs between them is said here, so that ``run`` and ``demo`` treat them alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console

from infra.local.changes import Traffic, arrival
from infra.local.generator import Plan
from infra.local.google.app import create_app as create_google
from infra.local.google.everything import everything as everything_of_google
from infra.local.google.simulator import GoogleSimulator
from infra.local.latency import Change
from infra.local.loading import as_it_is, fill
from infra.local.microsoft.app import create_app as create_microsoft
from infra.local.microsoft.everything import everything as everything_of_microsoft
from infra.local.microsoft.notifications_http import HttpNotify
from infra.local.microsoft.simulator import MicrosoftSimulator
from infra.local.outlook_changes import OutlookTraffic, filed
from infra.local.simulated.control import Simulator
from infra.local.simulated.pump import Pumped
from infra.local.web import WSGIApp
from shared.adapters.embedded.clock import SystemClock

TITLES = {"google": "Gmail", "microsoft": "Outlook"}
"""What people call them."""

PROVIDERS = tuple(TITLES)
_ADDRESSES = {"google": "demo@example.org", "microsoft": "demo@outlook.example"}
_APART = 7_919
"""How far the seeds of two mailboxes lie apart: the same mail in both would hide that one was taken for the other."""


class Driven(Simulator, Pumped, Protocol):
    """A simulator on the laptop: it notifies by itself, and is closed at the end."""

    def close(self) -> None:
        """Close the file."""


class Happening(Protocol):
    """What happens to a mailbox; see ``changes`` and ``outlook_changes``."""

    made: list[Change]

    @property
    def mails(self) -> int:
        """How many mails are there now."""

    def change(self) -> Change:
        """Make the next change now, and answer it."""

    def summary(self) -> Counter[str]:
        """How many changes of each kind there were."""


@dataclass(frozen=True, slots=True)
class Side:
    """One provider: what it is called in the API, its simulator, what that serves, and how it is treated."""

    provider: str
    simulator: Driven
    app: WSGIApp
    traffic_of: Callable[[int, int], Happening]
    everything: Callable[[int], dict[str, Any]]
    filed: Callable[[Plan], Plan]

    @property
    def name(self) -> str:
        """The provider as mailbox ids and events write it."""
        return self.provider.upper()

    @property
    def title(self) -> str:
        """The provider as people call it."""
        return TITLES[self.provider]

    @property
    def address(self) -> str:
        """Whose mailbox it holds."""
        return _ADDRESSES[self.provider]

    def fill(self, mbox: str, mails: int, seed: int, console: Console) -> int:
        """Make the mailbox and load it, and answer how many mails are in it; see ``loading.fill``. Raises ``CannotRun``."""
        self.simulator.add_mailbox(self.address)
        return fill(self.simulator, self.address, mbox, mails, self._own(seed), console, self.filed)

    def traffic(self, seed: int, count: int) -> Happening:
        """So many changes to what is in the mailbox now."""
        return self.traffic_of(self._own(seed), count)

    def arrive(self) -> None:
        """Let a new mail come."""
        now = self.simulator.clock.now()
        self.simulator.add_mails(self.address, [arrival(self.address, now)])

    def _own(self, seed: int) -> int:
        return seed + _APART * PROVIDERS.index(self.provider)


def open_sides(
    providers: Sequence[str], folder: Path, publish: Callable[[str, bytes], None], seed: int, stack: ExitStack
) -> list[Side]:
    """Open the simulators on their files in a folder; ``publish`` carries Google's pushes. Raises ``OtherVersion``."""
    makers: Mapping[str, Callable[[Path], Side]] = {
        "google": lambda path: _google(path, publish, seed, stack),
        "microsoft": lambda path: _microsoft(path, seed, stack),
    }
    return [makers[provider](file_of(folder, provider)) for provider in providers]


def file_of(folder: Path, provider: str) -> Path:
    """Where a simulator keeps its mailbox."""
    return folder / f"{provider}.sqlite"


def _google(path: Path, publish: Callable[[str, bytes], None], seed: int, stack: ExitStack) -> Side:
    simulator = GoogleSimulator(path, SystemClock(), publish, seed=seed)
    stack.callback(simulator.close)
    address = _ADDRESSES["google"]
    return Side(
        provider="google",
        simulator=simulator,
        app=create_google(simulator),
        traffic_of=lambda seed, count: Traffic(simulator, address, seed, count),
        everything=everything_of_google,
        filed=as_it_is,
    )


def _microsoft(path: Path, seed: int, stack: ExitStack) -> Side:
    clock = SystemClock()
    notify = HttpNotify(clock)
    stack.callback(notify.close)
    simulator = MicrosoftSimulator(path, clock, seed=seed, notify=notify)
    stack.callback(simulator.close)
    address = _ADDRESSES["microsoft"]
    return Side(
        provider="microsoft",
        simulator=simulator,
        app=create_microsoft(simulator),
        traffic_of=lambda seed, count: OutlookTraffic(simulator, address, seed, count),
        everything=everything_of_microsoft,
        filed=filed,
    )

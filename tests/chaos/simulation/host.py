"""A mail provider as the simulation drives it: mailboxes in which things happen, requests to it, faults, doorbells, the truth.

What a request is called in the trace, and what it asks after, is the host's to say: the checker knows no URLs. ``Crossing``
is one request on its way, from setting out to the answer's arrival, however many simulated seconds that takes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from infra.local.world import Served

if TYPE_CHECKING:
    from tests.chaos.simulation.instance import Life
    from tests.chaos.simulation.plan import Action

MICROSOFT = "http://microsoft.test"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request is: its name in the trace, the account that it is for, and the folder and cursor it asks after.

    ``cursor`` None: it does not ask for changes. ``refresh`` is the refresh token that it brings, '' for none.
    """

    name: str
    address: str = ""
    folder: str = ""
    cursor: str | None = None
    refresh: str = ""


@dataclass(eq=False, slots=True)
class Crossing:
    """One request on its way: what it asks, which instance sent it when, in which task, and the links that came back."""

    asked: Asked
    life: Life
    since: float
    task: Any
    links: tuple[str, ...] = field(default=())


class Host(Protocol):
    """One provider. Addresses are those of ``Box``; what a client should know by now is ``truth``."""

    provider: str
    """What the API calls it; its port in traces and counts."""

    origin: str
    """Where its requests go: ``http://name``."""

    ways: Mapping[str, Any]
    """The fault plan of what is no fault: how the provider is where nothing goes wrong."""

    website: Any
    """The WSGI application that answers them."""

    simulator: Any
    """The simulator, whose control methods are alike for all providers."""

    def asked(self, uri: str, body: Any, headers: Mapping[str, str]) -> Asked:
        """What a request asks for."""

    def links(self, asked: Asked, content: bytes) -> tuple[str, ...]:
        """The cursors that an answer gives out."""

    def crowded(self, at_once: int) -> tuple[Served, bytes] | None:
        """The refusal of a request that would be one of so many for its account; None where it is served."""

    def rotated(self, refresh: str, content: bytes) -> bytes:
        """The answer to a refresh with another refresh token in it, which ends the old one once it is used."""

    def refreshed(self, refresh: str) -> None:
        """A refresh token was used: the one that it has replaced ends."""

    def happen(self, address: str, action: Action, now: float) -> str | None:
        """Let what only this provider has take place; answers what, None for what all have."""

    def draft_of(self, address: str, message_id: str) -> str:
        """The draft that a message is the content of."""

    def is_alive(self, address: str, message_id: str) -> bool:
        """Whether the provider has a message, whatever its API shows yet."""

    def ringing(self, now: float) -> Iterable[tuple[str, str]]:
        """The account and id of every channel that is open ('' where channels have none)."""

    def pump(self) -> float | None:
        """Send the doorbells that are due; answer when the next one is."""

    def faults(self) -> Mapping[str, int]:
        """How often each kind of misbehaviour has struck, by label."""

    def close(self) -> None:
        """Close the files."""


def faults_of(hosts: Sequence[Host]) -> Counter[str]:
    """How often each kind of misbehaviour of the providers has struck, by provider and label."""
    return Counter(
        {f"{host.provider}: {name}": count for host in hosts for name, count in host.faults().items() if count}
    )

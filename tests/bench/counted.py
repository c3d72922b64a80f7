"""The whole product in one process with every port counted, call by call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import orjson

from infra.local.generator import generate
from shared.sets import Ports
from shared.vault.seal import Vault
from tests.bench.ledger import CountingBus, CountingStore, CountingTasks, Ledger
from tests.bench.stopwatch import Stopwatch
from tests.world import ADDRESS, World

PAGE = 100
QUIET = 20.0
"""Virtual seconds after which a connected mailbox has come to rest; the first tick comes later."""


Adapters: TypeAlias = Callable[[Ports, Stopwatch, Ledger], Ports]
"""Puts adapters in the place of a world's own; told what must not be charged to them, and where to book what they send."""


def embedded_alone(ports: Ports, _watch: Stopwatch, _ledger: Ledger) -> Ports:
    """The world's own."""
    return ports


class CountedWorld(World):
    """``World``, whose functions write every operation into a ledger under their names.

    With ``folders`` its one mailbox is an Outlook mailbox with so many of a person's own; else it is a Gmail mailbox.
    """

    def __init__(self, folder: Path, adapters: Adapters = embedded_alone, folders: int = 0) -> None:
        super().__init__(folder, seed=1, page_size=PAGE)
        self.ledger = Ledger()
        ports = adapters(self.ports, Stopwatch(), self.ledger)
        # The installation's own key is there before anybody connects a mailbox, and no part of what that costs.
        Vault(ports.keys, ports.secrets, ports.clock).seal("nobody", "bench", b"")
        counted = replace(
            ports,
            store=CountingStore(ports.store, self.ledger),
            keys=CountingStore(ports.keys, self.ledger),
            bus=CountingBus(ports.bus, self.ledger),
            tasks=CountingTasks(ports.tasks, self.ledger),
        )
        self.product = self.brainstem(counted)
        self._folders = folders

    def call(self, function: str, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """One HTTP call of a function, booked; an error would be work done twice, so there must be none."""
        what = _named(function, body, headers)
        provider = self.outlook if self._folders else self.google
        with self.ledger.during(what, lambda: provider.report()["requests"]):
            status, answer = super().call(function, method, path, body, **headers)
        assert status < 300, (what, status, answer)
        return status, answer

    def followed(self, mails: int, during: Callable[[], None] = lambda: None) -> Ledger:
        """Connect a mailbox of so many mails and let it come to rest; answer the book of just that."""
        if self._folders:
            self.connect_outlook(self._filed(mails))
        else:
            self.connect(mails)
        during()
        self.run(QUIET)
        return self._turn_page()

    def pass_time(self, seconds: float) -> Ledger:
        """Let time pass; answer the book of just that."""
        self.run(seconds)
        return self._turn_page()

    def receive(self, number: int) -> Ledger:
        """One mail arrives, is pushed, looked at, looked at again, and told to the consumer; answer the book of it."""
        mail = {
            "subject": f"Live mail {number}",
            "sender": ["Bob", "bob@example.org"],
            "to": [["Ann", ADDRESS]],
            "labels": ["INBOX", "UNREAD"],
            "body": "Hello.",
        }
        (self.outlook if self._folders else self.google).add_mails(ADDRESS, [mail])
        return self.pass_time(QUIET)

    def _filed(self, mails: int) -> Iterator[dict[str, Any]]:
        """Old mails, half of them filed."""
        for number, plan in enumerate(generate(1, mails, ADDRESS, self.clock.now() - 60)):
            filed = number < self._folders or (number % 2 and "DRAFT" not in plan["labels"])
            yield plan | {"folder": f"Folder {number % self._folders}"} if filed else plan

    def _turn_page(self) -> Ledger:
        done = Ledger(list(self.ledger.calls))
        self.ledger.calls.clear()
        return done


def _named(function: str, body: Any, headers: dict[str, str]) -> str:
    """``sync live ring``, ``sync backfill``, ``gmail_push``: looks are told apart by the names of their tasks."""
    if function != "sync":
        return function
    kind = orjson.loads(body)["kind"]
    first = headers["X-CloudTasks-TaskName"].partition("|")[0]
    return f"sync {kind} {first}" if first in ("ring", "settle", "poll") else f"sync {kind}"

"""Graph counts what is asked of a mailbox at once, and says when to come back: both are kept to, and nothing is lost."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from infra.local.microsoft.app import create_app
from infra.local.microsoft.simulator import MicrosoftSimulator
from infra.local.world import settings_in
from shared.adapters.embedded.clock import SystemClock
from shared.providers.base import Access
from shared.providers.graph.provider import GraphProvider
from tests.world import ADDRESS, OUTLOOK, InProcess, World

Build = Callable[..., World]
AT_ONCE = 4


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Build]:
    opened: list[World] = []

    def build(seed: int = 1, **settings: Any) -> World:
        opened.append(World(tmp_path, seed, **settings))
        return opened[-1]

    yield build
    for one in opened:
        one.close()


def mail(subject: str, at: float, folder: str = "") -> dict[str, Any]:
    return {
        "subject": subject, "sender": ["Bob", "bob@example.org"], "to": [["Ann", ADDRESS]], "date": at,
        "labels": ["INBOX", "UNREAD"], "body": f"{subject}.", **({"folder": folder} if folder else {}),
    }  # fmt: skip


def old(world: World, count: int, folders: int) -> list[dict[str, Any]]:
    now = world.clock.now() - 86_400
    return [
        mail(f"Old {n}", now - 60 * n, f"Folder {n % folders}") | {"received_at": now - 60 * n} for n in range(count)
    ]


def deliver(world: World, count: int, chance: random.Random, seconds: float) -> list[str]:
    """Mails that arrive one after another, each with its doorbell."""
    made: list[str] = []
    for number in range(count):
        made += world.outlook.add_mails(ADDRESS, [mail(f"New {number}", world.clock.now())])
        world.run(chance.uniform(0.0, 2 * seconds / count))
    return made


def received(world: World) -> list[str]:
    return [e["data"]["provider_message_id"] for e in world.events(OUTLOOK) if e["type"] == "email.received"]


def test_backfill_polls_and_doorbells_together_ask_four_at_a_time_at_most(world):
    here = world(4, graph_page_size=10, poll_seconds=60.0)
    here.connect_outlook(old(here, 400, 20))
    here.outlook.set_faults({"latency": 0.3, "duplicate": 0.5})
    here.outlook.set_quota({"concurrency": AT_ONCE})
    here.run(2.0)
    made = deliver(here, 40, random.Random(4), 6.0)
    assert not here.status()["backfill"]["done"]
    here.run(600)
    quota = here.outlook.report()["quota"]
    assert quota["most_at_once"] == {ADDRESS: AT_ONCE}, "as many as may, and no more"
    assert quota["refused"] == {}
    assert set(quota["most_deltas_at_once"][ADDRESS].values()) == {1}, "no two walks of one folder"
    assert sorted(set(made) & set(received(here))) == sorted(made)
    here.outlook.set_faults({})
    here.run(300)
    here.judged_outlook()


def test_threads_that_share_a_mailbox_share_its_four_places(tmp_path):
    clock = SystemClock()
    simulator = MicrosoftSimulator(tmp_path / "microsoft.sqlite", clock)
    tokens = simulator.add_mailbox(ADDRESS)
    ids = simulator.add_mails(ADDRESS, [mail(f"Mail {n}", 1_700_000_000.0 + n) for n in range(12)], silent=True)
    simulator.set_faults({"latency": 0.02})
    simulator.set_quota({"concurrency": AT_ONCE})
    app = create_app(simulator)
    provider = GraphProvider(settings_in(tmp_path), clock, lambda: "secret", lambda: InProcess(app))
    access = Access(tokens["access_token"], Free(), ADDRESS)
    together = threading.Barrier(12)

    def read(number: int) -> int:
        together.wait(10)
        return len(provider.fetch(access, ids[number:] + ids[:number]))

    with ThreadPoolExecutor(12) as pool:
        assert list(pool.map(read, range(12))) == [12] * 12
    quota = simulator.report()["quota"]
    simulator.close()
    assert quota["most_at_once"] == {ADDRESS: AT_ONCE}
    assert quota["refused"] == {}


class Free:
    """A meter that counts nothing."""

    def room(self) -> float:
        return 1e9

    def spend(self, units: float) -> None:
        pass


@pytest.mark.parametrize("retry_after", [3, 9, 45])
def test_in_a_storm_of_429_nothing_goes_out_too_early_whatever_rings_and_nothing_is_lost(world, retry_after):
    here = world(5, graph_page_size=10, poll_seconds=60.0)
    here.connect_outlook(old(here, 120, 6))
    here.outlook.set_faults({"latency": 0.2, "duplicate": 0.3})
    here.run(4.0)
    here.outlook.storm(150, retry_after)
    chance = random.Random(retry_after)
    during = deliver(here, 30, chance, 160.0)
    refused = here.outlook.report()["quota"]["refused"][ADDRESS]["ApplicationThrottled"]
    assert 3 <= refused <= AT_ONCE * (160 / retry_after + 2), "it is asked again, but only when told to"
    here.run(600)
    assert here.outlook.report()["quota"]["too_early"] == {}
    here.outlook.set_faults({})
    here.run(300)
    told = received(here)
    assert [told.count(id_) for id_ in during] == [1] * len(during)
    here.judged_outlook()


class Twins(World):
    """A world whose functions run in two processes, as far as what each remembers goes."""

    def __init__(self, folder: Path, seed: int, **settings: Any) -> None:
        super().__init__(folder, seed, **settings)
        self._both = (self.product, self.brainstem(self.ports))

    def call(self, function: str, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        self.product = self.random.choice(self._both)
        return super().call(function, method, path, body, **headers)


def test_what_one_process_is_told_in_a_storm_holds_for_the_others_but_for_what_was_under_way(tmp_path):
    here = Twins(tmp_path, 6, graph_page_size=10, poll_seconds=60.0)
    here.connect_outlook(old(here, 60, 3))
    here.run(60)
    here.outlook.storm(150, 45)
    during = deliver(here, 20, random.Random(6), 160.0)
    here.run(600)
    told = received(here)
    assert [told.count(id_) for id_ in during] == [1] * len(during)
    here.judged_outlook()
    early = here.outlook.report()["quota"]["too_early"]
    here.close()
    # A step that has read the mailbox, and then waits for its share of the quota, does not read it again before it asks.
    assert early.get(ADDRESS, 0) <= 1

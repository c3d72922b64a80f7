"""An Outlook mailbox of many nested folders, in which everything moves while it is read and while it is followed.

Whatever happens, what is stored in the end is what is there, every mail is announced once, and only folders whose cursors
were forgotten are read again.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.local.generator import generate
from infra.local.microsoft.folders import KNOWN
from tests.world import ADDRESS, OUTLOOK, World

Build = Callable[..., World]
HOUR = 3_600.0
UNTIDY = {
    "latency": 0.04, "replays": 0.3, "duplicates": 0.2, "empty_pages": 0.2, "late": 0.1, "late_seconds": 2.0,
    "drop": 0.2, "duplicate": 0.3, "delay": 0.2, "delay_seconds": 4.0, "reorder": 0.2,
}  # fmt: skip
"""Everything that Graph does to a client without refusing anything."""

HAPPENS = {
    "move": 60, "delete": 30, "category": 34, "mark": 20, "create": 20, "rename": 18, "move folder": 10,
    "delete folder": 8,
}  # fmt: skip
HALF = sum(HAPPENS.values()) // 2


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Build]:
    opened: list[World] = []

    def build(seed: int = 1, **settings: Any) -> World:
        opened.append(World(tmp_path, seed, **settings))
        return opened[-1]

    yield build
    for one in opened:
        one.close()


def nested(chance: random.Random, count: int) -> list[str]:
    """The paths of so many folders, up to four deep."""
    paths: list[str] = []
    for number in range(count):
        parent = chance.choice(["", *(path for path in paths if path.count("/") < 3)])
        paths.append(f"{parent}/Folder {number}".lstrip("/"))
    return paths


def filed(chance: random.Random, count: int, now: float, paths: list[str]) -> Iterator[dict[str, Any]]:
    """So many mails of the last two years, most of them filed by hand; no folder is empty."""
    for number, plan in enumerate(generate(chance.randrange(10**6), count, ADDRESS, now - 60)):
        if number < len(paths):
            yield plan | {"labels": ["UNREAD"], "folder": paths[number]}
        elif chance.random() < 0.8 and not {"DRAFT", "SPAM", "TRASH"} & set(plan["labels"]):
            yield plan | {"folder": chance.choice(paths)}
        else:
            yield plan


class Person:
    """Somebody who tidies up, and mail that keeps coming; the chance decides what, ``done`` counts it."""

    def __init__(self, world: World, chance: random.Random) -> None:
        self._world, self._outlook, self._chance = world, world.outlook, chance
        self._alive = sorted(mail["id"] for mail in self._outlook.truth(ADDRESS)["mails"])
        self.arrived: list[str] = []
        self.done: Counter[str] = Counter()
        self._script = [what for what, times in HAPPENS.items() for _ in range(times)]
        chance.shuffle(self._script)

    @property
    def busy(self) -> bool:
        """Whether there is anything left to do."""
        return bool(self._script)

    def act(self) -> None:
        """Do the next thing."""
        what = self._script.pop()
        self.done[what] += 1
        getattr(self, f"_{what.replace(' ', '_')}")()

    def receive(self) -> None:
        """A mail arrives, in some folder, where a rule has put it."""
        now = self._world.clock.now()
        folder = self._chance.choice(self._places())
        mail = {
            "subject": f"New mail {len(self.arrived)}", "sender": ["Bob", "bob@example.org"], "to": [["Ann", ADDRESS]],
            "date": now, "labels": [f"folder:{folder}", "UNREAD"], "body": "Hello.",
        }  # fmt: skip
        [made] = self._outlook.add_mails(ADDRESS, [mail])
        self.arrived.append(made)
        self._alive.append(made)

    def _mail(self) -> str:
        while True:
            id_ = self._chance.choice(self._alive)
            if self._outlook.is_alive(ADDRESS, id_):
                return id_
            self._alive.remove(id_)

    def _own(self) -> list[str]:
        return [one["id"] for one in self._outlook.folders(ADDRESS) if not one["well_known"]]

    def _places(self) -> list[str]:
        known = [name for name in ("inbox", "archive") if name in KNOWN]
        inboxes = [one["id"] for one in self._outlook.folders(ADDRESS) if one["well_known"] in known]
        return [*self._own(), *inboxes]

    def _move(self) -> None:
        self._outlook.move(ADDRESS, self._mail(), self._chance.choice([*self._places(), "deleteditems", "junkemail"]))

    def _delete(self) -> None:
        self._outlook.delete(ADDRESS, self._mail())

    def _category(self) -> None:
        name = f"category:{self._chance.choice(('Red', 'Blue', 'Ärger, täglich'))}"
        add, remove = ([name], []) if self._chance.random() < 0.7 else ([], [name])
        self._outlook.change_labels(ADDRESS, self._mail(), add, remove)

    def _mark(self) -> None:
        label = self._chance.choice(("UNREAD", "STARRED", "IMPORTANT"))
        add, remove = ([label], []) if self._chance.random() < 0.5 else ([], [label])
        self._outlook.change_labels(ADDRESS, self._mail(), add, remove)

    def _create(self) -> None:
        parent = self._chance.choice(["", *self._own()])
        made = self._outlook.create_folder(ADDRESS, f"New folder {self.done['create']}", parent)
        for _ in range(self._chance.randrange(3)):
            self._outlook.move(ADDRESS, self._mail(), made)

    def _rename(self) -> None:
        self._outlook.rename_folder(ADDRESS, self._chance.choice(self._own()), f"Renamed {self.done['rename']}")

    def _move_folder(self) -> None:
        own = {one["id"]: one["parent"] for one in self._outlook.folders(ADDRESS) if not one["well_known"]}
        leaves = sorted(set(own) - set(own.values()))
        leaf = self._chance.choice(leaves)
        into = self._chance.choice(["", *(one for one in own if one != leaf)])
        self._outlook.move_folder(ADDRESS, leaf, into)

    def _delete_folder(self) -> None:
        own = {one["id"]: one["parent"] for one in self._outlook.folders(ADDRESS) if not one["well_known"]}
        self._outlook.delete_folder(ADDRESS, self._chance.choice(sorted(set(own) - set(own.values()))))


def announcements(world: World) -> Counter[str]:
    """How often each message was received, as the stream says."""
    return Counter(
        event["data"]["provider_message_id"] for event in world.events(OUTLOOK) if event["type"] == "email.received"
    )


def inbound(world: World) -> list[str]:
    """The mails that are there now, came in from outside, and lie where they count as received."""
    mails = world.outlook.truth(ADDRESS)["mails"]
    return [mail["id"] for mail in mails if not {"SENT", "DRAFT", "SPAM", "TRASH"} & set(mail["labels"])]


def documents(world: World) -> dict[str, str]:
    """Every message document and its content."""
    return dict(world.database.execute("SELECT key, data FROM doc WHERE grp = 'messages'"))


def requests(world: World) -> Counter[str]:
    """Delta requests of each folder, ``walks`` over all of them, and ``get``: messages that were read alone."""
    report = world.outlook.report()
    found = Counter({folder: counts["messages.delta"] for folder, counts in report["folders"][ADDRESS].items()})
    return found + Counter(walks=report["requests"]["mailFolders.delta"], get=report["requests"].get("messages.get", 0))


def rearranged(world: World, chance: random.Random, folders: int, mails: int, pace: float = 0.1) -> Person:
    """A mailbox in which everything moves, the first half of it during its backfill; at rest in the end.

    ``pace``: seconds from one thing to the next at most, during the backfill.
    """
    paths = nested(chance, folders)
    world.connect_outlook(filed(chance, mails, world.clock.now(), paths))
    world.outlook.set_faults(UNTIDY | {"seed": chance.randrange(10**6)})
    person = Person(world, chance)
    while world.status()["messages"] < mails / 20:
        world.run(0.2)
    for act in range(HALF):
        assert not world.status()["backfill"]["done"], f"the backfill was over after {act} things had happened"
        person.act()
        if chance.random() < 0.25:
            person.receive()
        world.run(chance.uniform(0.0, pace))
    while not world.status()["backfill"]["done"]:
        world.run(5.0)
    while person.busy:
        person.act()
        if chance.random() < 0.25:
            person.receive()
        world.run(chance.choice((0.0, 0.3, 3.0, 30.0)))
    world.outlook.set_faults({})
    world.run(HOUR)
    return person


def test_five_thousand_mails_in_sixty_folders_end_exact_however_they_are_moved_meanwhile(world):
    here = world(1, graph_page_size=25, audit_seconds=0.0)
    person = rearranged(here, random.Random(1), folders=60, mails=5_000)
    assert sum(person.done.values()) == 200
    assert here.judged_outlook().gaps == 0
    received = announcements(here)
    assert set(received.values()) == {1}
    assert set(inbound(here)) <= set(received)


def test_a_small_mailbox_of_pages_of_five_ends_exact_as_well(world):
    here = world(2, graph_page_size=5, audit_seconds=0.0)
    rearranged(here, random.Random(2), folders=12, mails=300, pace=0.02)
    assert here.judged_outlook().gaps == 0
    assert set(announcements(here).values()) == {1}


def test_what_is_only_delivered_again_is_no_event_and_costs_no_message_document(world):
    here = world(2, poll_seconds=300.0, audit_seconds=0.0)
    chance = random.Random(2)
    ids = here.connect_outlook(filed(chance, 240, here.clock.now(), nested(chance, 12)))
    here.run(120)
    before, told = documents(here), here.events(OUTLOOK)
    here.outlook.set_faults({"replays": 1.0, "duplicates": 1.0, "empty_pages": 0.5, "duplicate": 1.0})
    here.run(HOUR)
    again = here.outlook.report()["faults"]
    assert again["unchanged item again"] > 50
    assert again["empty page"] > 10
    assert here.events(OUTLOOK) == told
    assert documents(here) == before
    here.outlook.move(ADDRESS, ids[0], "archive")
    here.outlook.expire_delta(ADDRESS)
    here.run(HOUR)
    assert [event["type"] for event in here.events(OUTLOOK)[len(told) :] if "provider_message_id" in event["data"]] == [
        "email.updated"
    ], "a move is one change, however often its ends are told of, and a resync of everything else is none"
    here.judged_outlook()


def test_only_folders_whose_cursors_were_forgotten_are_walked_again(world):
    here = world(3, poll_seconds=900.0, audit_seconds=0.0, graph_page_size=10)
    chance = random.Random(3)
    here.connect_outlook(filed(chance, 900, here.clock.now(), nested(chance, 60)))
    here.run(300)
    assert here.status()["status"] == "live"
    own = [one["id"] for one in here.outlook.folders(ADDRESS) if not one["well_known"]]
    expired = set(chance.sample(own, 10))
    held = Counter(mail["folder"] for mail in here.outlook.truth(ADDRESS)["mails"])
    told, before = here.events(OUTLOOK), requests(here)
    here.outlook.expire_delta(ADDRESS, sorted(expired))
    while requests(here)["walks"] == before["walks"]:
        here.run(60)
    here.run(120)
    after = requests(here)
    assert after["walks"] - before["walks"] == 1
    asked = {folder: after[folder] - before[folder] for folder in after if folder not in ("walks", "get")}
    assert len(own) == 60
    for folder in own:
        # The refused request, then its pages; of the others what every walk asks, which is one.
        pages = -(-held[folder] // 10)
        assert asked[folder] in ((1 + pages, 2 + pages) if folder in expired else (1,)), (folder, held[folder])
    assert after["get"] == before["get"], "nothing had gone, so nothing was asked for"
    kinds = Counter(event["type"] for event in here.events(OUTLOOK)[len(told) :])
    assert not any(kind.startswith("email.") for kind in kinds), kinds
    here.judged_outlook()

"""What a doorbell of Outlook's leads to: its mail is announced at once, whatever else is being read, and for one request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.local.verify import seconds
from tests.world import ADDRESS, MAILBOX, OUTLOOK, World

Build = Callable[..., World]
DAY = 86_400.0
ANNOUNCED_WITHIN = 30.0


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
        "labels": ["INBOX", "UNREAD"], "body": "Hello.", **({"folder": folder} if folder else {}),
    }  # fmt: skip


def old(world: World, count: int, folders: int) -> Iterator[dict[str, Any]]:
    """Half of them in the inbox, the rest in so many folders."""
    now = world.clock.now() - DAY
    for n in range(count):
        folder = "" if n < count / 2 else f"Group {n % folders % 7}/Folder {n % folders}"
        yield mail(f"Old {n}", now - 60 * n, folder) | {"received_at": now - 60 * n}


def arrives(world: World, subject: str, folder: str = "") -> str:
    [id_] = world.outlook.add_mails(ADDRESS, [mail(subject, world.clock.now(), folder)])
    return id_


def announced_at(world: World, messages: set[str]) -> dict[str, float]:
    """When each of some messages was announced."""
    return {
        event["data"]["provider_message_id"]: seconds(event["time"])
        for event in world.events(OUTLOOK)
        if event["type"] == "email.received" and event["data"]["provider_message_id"] in messages
    }


def test_mail_that_comes_during_the_first_round_of_twenty_thousand_is_announced_within_half_a_minute(world):
    here = world(1)
    here.connect_outlook(old(here, 20_000, 30))
    here.outlook.set_faults({"latency": 0.3})
    arrived: dict[str, float] = {}
    for at, folder in ((4, ""), (8, "Group 3/Folder 3"), (12, "A new one"), (16, "")):
        here.run(at - (here.clock.now() - here.anchor))
        arrived[arrives(here, f"At {at}", folder)] = here.clock.now()
    here.run(ANNOUNCED_WITHIN)
    status = here.status()
    assert not status["backfill"]["done"]
    assert 0 < status["backfill"]["listed"] < 20_000
    told = announced_at(here, set(arrived))
    waited = {id_: told[id_] - at for id_, at in arrived.items()}
    assert max(waited.values()) < ANNOUNCED_WITHIN, waited


def spent(world: World, change: Callable[[], object]) -> Counter[str]:
    """What Microsoft is asked for because of a change, to its doorbell and everything that follows."""
    before = Counter(world.outlook.report()["requests"])
    change()
    world.run(20)
    return Counter(world.outlook.report()["requests"]) - before


def test_a_doorbell_of_sixty_folders_costs_one_request_and_walks_none(world):
    here = world(2, audit_seconds=0.0)
    ids = here.connect_outlook(old(here, 600, 52))
    here.run(70)
    assert len(here.outlook.folders(ADDRESS)) >= 60
    box = here.outlook
    assert spent(here, lambda: arrives(here, "New")) == {"messages.get": 1}
    assert spent(here, lambda: box.change_labels(ADDRESS, ids[0], [], ["UNREAD"])) == {"messages.get": 1}
    assert spent(here, lambda: box.move(ADDRESS, ids[1], "archive")) == {"messages.get": 1}
    # A 404 may mean "not yet", and is asked for again.
    assert spent(here, lambda: box.delete(ADDRESS, ids[2])) == {"messages.get": 2}
    here.judged_outlook()


def test_a_poll_asks_each_folder_once_and_the_list_of_folders(world):
    here = world(3, audit_seconds=0.0)
    here.connect_outlook(old(here, 300, 52))
    here.run(70)
    before = Counter(here.outlook.report()["requests"])
    here.run(900)
    asked = Counter(here.outlook.report()["requests"]) - before
    folders = len([one for one in here.outlook.folders(ADDRESS) if one["well_known"] != "msgfolderroot"])
    assert asked == {"mailFolders.delta": 1, "messages.delta": folders}
    here.judged_outlook()


def test_a_user_may_have_a_gmail_and_an_outlook_mailbox_side_by_side(world):
    here = world(4)
    here.connect(40)
    ids = here.connect_outlook(old(here, 40, 5))
    here.run(60)
    new = arrives(here, "New")
    [gmail] = here.google.add_mails(ADDRESS, [mail("New too", here.clock.now())])
    here.run(60)
    assert here.status(MAILBOX)["messages"] == 41
    assert here.status(OUTLOOK)["messages"] == 41
    received = {
        stream: [e["data"]["provider_message_id"] for e in here.events(stream) if e["type"] == "email.received"]
        for stream in (MAILBOX, OUTLOOK)
    }
    assert received[MAILBOX][-1] == gmail
    assert sorted(received[OUTLOOK]) == sorted([*ids, new])

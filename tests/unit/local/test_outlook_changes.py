"""The script of an Outlook mailbox: everything that people do there happens, and the same seed does the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.local.generator import generate
from infra.local.microsoft.simulator import MicrosoftSimulator
from infra.local.outlook_changes import OutlookTraffic, filed
from tests.unit.fakes import FakeClock

ADDRESS = "ann@outlook.example"


@pytest.fixture
def outlook(tmp_path: Path) -> Iterator[MicrosoftSimulator]:
    simulator = MicrosoftSimulator(tmp_path / "microsoft.sqlite", FakeClock(1_795_000_000.0))
    simulator.add_mailbox(ADDRESS)
    simulator.add_mails(
        ADDRESS, [filed(plan) for plan in generate(1, 120, ADDRESS, simulator.clock.now() - 3600)], silent=True
    )
    yield simulator
    simulator.close()


def _done(outlook: MicrosoftSimulator, seed: int, count: int) -> OutlookTraffic:
    traffic = OutlookTraffic(outlook, ADDRESS, seed, count)
    for _ in range(count):
        traffic.change()
    return traffic


def test_mail_is_moved_read_flagged_categorised_and_deleted_and_folders_come_and_go(
    outlook: MicrosoftSimulator,
) -> None:
    traffic = _done(outlook, seed=2, count=400)
    assert set(traffic.summary()) == {
        "mail", "move", "move back", "read", "category", "flag", "trash", "delete",
        "new folder", "rename folder", "move folder", "delete folder",
    }  # fmt: skip
    assert len(traffic.made) == 400


def test_a_mail_that_is_moved_back_at_once_is_where_it_was(outlook: MicrosoftSimulator) -> None:
    traffic, there = OutlookTraffic(outlook, ADDRESS, 2, 400), {}
    for _ in range(400):
        before = {mail["id"]: mail["folder"] for mail in outlook.truth(ADDRESS)["mails"]}
        change = traffic.change()
        if change.kind == "move back":
            there[change.id] = before == {mail["id"]: mail["folder"] for mail in outlook.truth(ADDRESS)["mails"]}
    assert there
    assert all(there.values())


def test_how_many_mails_there_are_is_known_at_any_time(outlook: MicrosoftSimulator) -> None:
    traffic = OutlookTraffic(outlook, ADDRESS, 3, 200)
    for _ in range(200):
        traffic.change()
        assert traffic.mails == len(outlook.truth(ADDRESS)["mails"])


def test_the_same_seed_makes_the_same_changes(outlook: MicrosoftSimulator, tmp_path: Path) -> None:
    again = MicrosoftSimulator(tmp_path / "again.sqlite", FakeClock(1_795_000_000.0))
    again.add_mailbox(ADDRESS)
    again.add_mails(ADDRESS, [filed(plan) for plan in generate(1, 120, ADDRESS, again.clock.now() - 3600)], silent=True)
    first, second = _done(outlook, 5, 60), _done(again, 5, 60)
    again.close()
    assert first.made == second.made
    assert first.made != _done(outlook, 6, 60).made


def test_most_mails_outlive_the_folders_that_are_deleted(outlook: MicrosoftSimulator) -> None:
    before = len(outlook.truth(ADDRESS)["mails"])
    traffic = _done(outlook, seed=4, count=300)
    assert traffic.summary()["delete folder"] > 0
    assert traffic.mails > before / 2


def test_a_mailbox_that_is_empty_gets_mail(tmp_path: Path) -> None:
    simulator = MicrosoftSimulator(tmp_path / "empty.sqlite", FakeClock(1_795_000_000.0))
    simulator.add_mailbox(ADDRESS)
    traffic = _done(simulator, 7, 5)
    simulator.close()
    assert traffic.mails > 0
    assert traffic.made[0].kind in ("mail", "new folder")


def test_what_was_set_aside_lies_in_nested_folders_and_the_inbox_stays_the_inbox() -> None:
    folders = Counter(filed(plan).get("folder", "") for plan in generate(1, 500, ADDRESS, 1_795_000_000.0))
    assert any(folder.count("/") == 2 for folder in folders)
    assert len(folders) > 5
    assert folders[""] > 250
    inbox = next(plan for plan in generate(1, 500, ADDRESS, 1_795_000_000.0) if "INBOX" in plan["labels"])
    assert filed(inbox) is inbox

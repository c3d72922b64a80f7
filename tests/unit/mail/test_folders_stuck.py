"""What cannot be read of a mailbox by folders, for long or for ever, holds up nothing else of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from shared import queries
from shared.errors import ProviderRefused, ProviderUnavailable
from shared.mail import sync
from shared.mail.context import load
from shared.mail.folders import places
from shared.mail.folders.places import ANEW_AFTER, FIRST, FOLLOWING, read_place
from shared.mail.folders.reading import FOLDERS_AT_ONCE
from shared.mail.schedule import Schedule
from shared.mail.tasks import StepTask
from shared.providers.base import Access, Folders, Page, Profile, Upsert
from tests import machine
from tests.folders import WELL_KNOWN, MemoryFolders
from tests.machine import MAILBOX
from tests.unit.mail.test_folders import Outlook

DAY = 86_400.0
SCHEDULE = Schedule(poll=900.0, poll_unchannelled=900.0, tick=300.0, audit=DAY)
TROUBLES = [ProviderRefused("Outlook refused it (403)."), ProviderUnavailable("Outlook did not serve it (504).")]

troubles = pytest.mark.parametrize("trouble", TROUBLES, ids=["refused", "not-served"])


@pytest.fixture
def outlook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Outlook:
    monkeypatch.setattr(machine, "SCHEDULE", SCHEDULE)
    made = Outlook(tmp_path)
    made.ctx = replace(made.ctx, schedule=SCHEDULE)
    for folder in ("f-odd", "f-work"):
        made.provider.create_folder(folder)
    for number in range(4):
        at = made.clock.now() - 40 * DAY - number
        made.provider.deliver(f"w{number}", at=at, folder="f-work")
        made.provider.deliver(f"o{number}", at=at, folder="f-odd")
    return made


def place(outlook: Outlook, folder: str) -> places.Place:
    docs = queries.scan(outlook.store.inner, queries.folders_of(MAILBOX))
    return next(found for found in map(read_place, docs) if found.id == folder)


def get_stuck(outlook: Outlook, trouble: Exception, folder: str = "f-odd") -> None:
    outlook.provider.trouble[folder] = trouble
    outlook.run(3_600, ticks=True)
    assert place(outlook, folder).phase == FIRST
    assert place(outlook, folder).failures >= ANEW_AFTER


@troubles
def test_beside_a_folder_that_cannot_be_read_others_are_read_anew_and_swept(
    outlook: Outlook, trouble: Exception
) -> None:
    outlook.followed(mails=3)
    get_stuck(outlook, trouble)
    outlook.provider.delete("w0")
    outlook.provider.expire("f-work")
    outlook.provider.calls.clear()
    outlook.run(1_800, ticks=True)
    assert outlook.told("w0") == ["email.received", "email.deleted"]
    assert (outlook.state.status, outlook.state.resync) == ("live", None)
    assert outlook.places()["f-work"] == (FOLLOWING, 0)
    assert outlook.provider.calls["get"] == 1
    assert outlook.places()["f-odd"][0] == FIRST
    assert outlook.places()["f-odd"][1] > 0  # it is still to be swept


@troubles
def test_beside_a_folder_that_cannot_be_read_audits_come_to_their_end(outlook: Outlook, trouble: Exception) -> None:
    outlook.followed(mails=3)
    get_stuck(outlook, trouble)
    before = outlook.state.audits
    outlook.run(2 * DAY, ticks=True)
    assert outlook.state.audits >= before + 2
    assert outlook.state.audited is not None
    assert outlook.state.audited.at > outlook.clock.now() - 1.5 * DAY


@troubles
def test_a_mailbox_with_a_folder_that_never_could_be_read_ends_its_backfill(
    outlook: Outlook, trouble: Exception
) -> None:
    outlook.provider.trouble["f-odd"] = trouble
    outlook.followed(mails=3)
    outlook.run(1_800, ticks=True)
    assert (outlook.state.status, outlook.state.backfill.done) == ("live", True)
    assert [event.type for event in outlook.log()].count("sync.completed") == 1
    assert outlook.told("w0") == ["email.received"]
    outlook.provider.trouble.clear()
    outlook.run(7_200, ticks=True)
    assert outlook.told("o0") == ["email.received"]
    assert outlook.places()["f-odd"] == (FOLLOWING, 0)
    outlook.verify()


@troubles
def test_a_folder_that_can_be_read_again_is_read_whole_and_swept(outlook: Outlook, trouble: Exception) -> None:
    outlook.followed(mails=3)
    get_stuck(outlook, trouble)
    outlook.provider.delete("o0")
    outlook.provider.deliver("late", folder="f-odd")
    outlook.run(DAY, ticks=True)
    outlook.provider.trouble.clear()
    outlook.run(2 * 3_600, ticks=True)
    assert outlook.told("o0") == ["email.received", "email.deleted"]
    assert outlook.told("late")[0] == "email.received"
    assert outlook.places()["f-odd"] == (FOLLOWING, 0)
    assert place(outlook, "f-odd").failures == 0
    assert outlook.state.troubles == {}
    outlook.verify()


@troubles
def test_a_stuck_folder_is_tried_about_once_an_hour_and_no_resync_is_begun_for_it(
    outlook: Outlook, trouble: Exception
) -> None:
    outlook.followed(mails=3)
    get_stuck(outlook, trouble)
    outlook.provider.asked.clear()
    events = len(outlook.log())
    outlook.run(DAY, ticks=True)
    assert 18 <= outlook.provider.asked["f-odd"] <= 26
    assert (outlook.state.resyncs, len(outlook.log())) == (0, events)


@troubles
def test_the_mailbox_says_why_as_long_as_a_folder_cannot_be_read(outlook: Outlook, trouble: Exception) -> None:
    for number in range(45):
        outlook.provider.create_folder(f"f-{number}")
    outlook.followed(mails=3)
    outlook.provider.trouble["f-inbox"] = trouble
    outlook.poll()
    assert place(outlook, "f-inbox").failures == 1
    assert "folders" in outlook.state.troubles
    for _ in range(40):
        outlook.run(900, ticks=True)
        assert "folders" in outlook.state.troubles
        assert str(trouble) in str(outlook.state.last_error)
    outlook.provider.trouble.clear()
    outlook.run(2 * 3_600, ticks=True)
    assert outlook.state.troubles == {}


def test_a_round_that_got_stuck_twice_goes_on_where_it_stood_and_what_it_named_is_not_asked_for(
    outlook: Outlook,
) -> None:
    outlook.provider.folder_page = 2
    for number in range(10):
        outlook.provider.deliver(f"p{number}", at=1_000.0 + number, folder="f-odd")
    outlook.followed(mails=1)
    get_stuck(outlook, TROUBLES[0])
    outlook.provider.delete("p5")
    outlook.provider.trouble.clear()
    outlook.provider.asked.clear()

    def again(call: str) -> None:
        if call == "changed" and outlook.provider.asked["f-odd"] == 4:  # one to see whether it can be read, three pages
            outlook.provider.on_call = None
            outlook.provider.trouble["f-odd"] = TROUBLES[0]

    outlook.provider.on_call = again
    outlook.run(3_000, ticks=True)
    assert place(outlook, "f-odd").failures > ANEW_AFTER
    assert outlook.state.resync is None
    assert place(outlook, "f-odd").link is not None
    outlook.provider.trouble.clear()
    outlook.provider.calls.clear()
    asked = outlook.provider.asked["f-odd"]
    while outlook.places()["f-odd"] != (FOLLOWING, 0):
        outlook.run(900, ticks=True)
    assert outlook.provider.asked["f-odd"] - asked < 3 + 7
    assert outlook.told("p5") == ["email.received", "email.deleted"]
    assert outlook.provider.calls["get"] <= 1 + 1
    outlook.verify()


@troubles
def test_a_cursor_of_the_folders_that_dies_in_other_words_has_them_read_anew(
    outlook: Outlook, monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    plain = MemoryFolders.folders
    outlook.followed(mails=3)
    dead = outlook.state.cursor

    def folders(self: MemoryFolders, access: Access, cursor: str) -> Folders:
        if cursor == dead:
            raise trouble
        return plain(self, access, cursor)

    monkeypatch.setattr(MemoryFolders, "folders", folders)
    outlook.provider.deliver("lost", folder="f-work")
    outlook.provider.delete_folder("f-odd")
    outlook.run(1_800, ticks=True)
    assert outlook.told("lost") == ["email.received"]
    assert outlook.told("o0") == ["email.received", "email.deleted"]
    assert (outlook.state.status, outlook.state.last_error) == ("live", None)
    outlook.verify()


@troubles
def test_where_the_folders_cannot_be_read_at_all_their_cursor_is_kept(
    outlook: Outlook, monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    plain = MemoryFolders.folders
    outlook.followed(mails=3)
    cursor, asked = outlook.state.cursor, []

    def folders(_self: MemoryFolders, _access: Access, cursor: str) -> Folders:
        asked.append(cursor)
        raise trouble

    monkeypatch.setattr(MemoryFolders, "folders", folders)
    outlook.run(6 * 3_600, ticks=True)
    assert outlook.state.cursor == cursor
    assert 1 <= asked.count("") <= 25
    assert asked.count("") <= asked.count(str(cursor))
    monkeypatch.setattr(MemoryFolders, "folders", plain)
    outlook.run(2 * 3_600, ticks=True)
    assert outlook.state.status == "live"
    outlook.verify()


def test_a_doorbell_that_the_end_of_a_walk_has_overtaken_begins_another(
    outlook: Outlook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mail comes behind the reading of its folder; the mailbox is read by the doorbell's step before the walk ends."""
    outlook.followed(mails=3)
    sync.step(outlook.ctx, StepTask(MAILBOX, "live"))
    sync.step(outlook.ctx, StepTask(MAILBOX, "live", outlook.state.epoch, str(outlook.state.pages)))
    read = []

    def arrive(call: str) -> None:
        if call == "changed" and not read:
            outlook.provider.deliver("new")
            read.append(load(outlook.ctx, MAILBOX))

    outlook.provider.on_call = arrive
    sync.step(outlook.ctx, StepTask(MAILBOX, "live", outlook.state.epoch, str(outlook.state.pages)))
    assert outlook.state.walk is None
    assert outlook.told("new") == []
    monkeypatch.setattr(sync, "load", lambda ctx, mailbox: read.pop() if read else load(ctx, mailbox))
    sync.step(outlook.ctx, StepTask(MAILBOX, "live", rung=True))
    outlook.run(10)
    assert outlook.told("new") == ["email.received"]
    outlook.verify()


@pytest.mark.parametrize("connected", [False, True])
def test_pages_that_lead_in_a_circle_end_in_a_folder_that_waits(
    outlook: Outlook, monkeypatch: pytest.MonkeyPatch, connected: bool
) -> None:
    plain = MemoryFolders._answer
    if connected:
        outlook.followed(mails=1)

    def circle(self: MemoryFolders, cursor: str, folder: str) -> Page:
        return Page((), "one" if cursor == "two" else "two", True) if folder == "f-odd" else plain(self, cursor, folder)

    monkeypatch.setattr(MemoryFolders, "_answer", circle)
    monkeypatch.setattr(places, "PAGES_WITHOUT_CHANGE", 30)
    outlook.provider.deliver("other", folder="f-work")
    outlook.provider.asked.clear()
    outlook.poll() if connected else outlook.followed(mails=1)
    assert outlook.told("other") == ["email.received"]
    assert outlook.provider.asked["f-odd"] == 31
    assert "lead on and on" in str(outlook.state.last_error)
    outlook.run(DAY, ticks=True)
    assert outlook.state.status == "live"
    assert outlook.provider.asked["f-odd"] < 8 * (31 + 5)
    assert outlook.state.resyncs <= 8
    monkeypatch.setattr(MemoryFolders, "_answer", plain)
    outlook.run(2 * 3_600, ticks=True)
    assert outlook.state.troubles == {}
    outlook.verify()


@pytest.mark.parametrize("connected", [False, True])
def test_pages_that_lead_in_a_circle_and_repeat_what_they_tell_end_in_a_folder_that_waits(
    outlook: Outlook, monkeypatch: pytest.MonkeyPatch, connected: bool
) -> None:
    plain = MemoryFolders._answer
    if connected:
        outlook.followed(mails=1)

    def circle(self: MemoryFolders, cursor: str, folder: str) -> Page:
        if folder != "f-odd":
            return plain(self, cursor, folder)
        return Page((Upsert(self.messages["o1"]),), "one" if cursor == "two" else "two", True)

    monkeypatch.setattr(MemoryFolders, "_answer", circle)
    monkeypatch.setattr(places, "PAGES_OF_A_ROUND", 30)
    outlook.provider.deliver("other", folder="f-work")
    outlook.provider.asked.clear()
    outlook.poll() if connected else outlook.followed(mails=1)
    assert outlook.told("other") == ["email.received"]
    assert 30 <= outlook.provider.asked["f-odd"] <= 32
    assert "lead on and on" in str(outlook.state.last_error)
    outlook.run(DAY, ticks=True)
    assert outlook.state.status == "live"
    assert outlook.provider.asked["f-odd"] < 10 * (32 + 5)
    monkeypatch.setattr(MemoryFolders, "_answer", plain)
    outlook.run(2 * 3_600, ticks=True)
    assert outlook.state.troubles == {}
    outlook.verify()


def test_a_folder_may_have_more_pages_the_more_it_held(outlook: Outlook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "PAGES_OF_A_ROUND", 2)
    monkeypatch.setattr(places, "MESSAGES_OF_A_PAGE", 1)
    outlook.provider.folder_page = 1
    outlook.followed(mails=6)
    assert outlook.state.last_error is None
    outlook.verify()


def test_beside_an_inbox_that_cannot_be_read_a_step_takes_as_many_folders_as_it_may(outlook: Outlook) -> None:
    outlook.provider.trouble["f-inbox"] = TROUBLES[0]
    ids = [f"m{number:02}" for number in range(2 * FOLDERS_AT_ONCE + 5)]
    for id_ in ids:
        outlook.provider.create_folder(f"f-{id_}")
        outlook.provider.deliver(id_, at=outlook.clock.now() - DAY, folder=f"f-{id_}")
    outlook.followed(mails=1)
    assert [id_ for id_ in ids if not outlook.told(id_)] == []


def test_pages_without_a_change_are_counted_from_the_last_one_that_had_one(
    outlook: Outlook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of three pages are empty, and there are more of these than a folder may have in a row."""
    plain = MemoryFolders._answer
    calls = 0

    def sparse(self: MemoryFolders, cursor: str, folder: str) -> Page:
        nonlocal calls
        if folder != "f-odd":
            return plain(self, cursor, folder)
        calls += 1
        name = cursor.partition("/")[0]
        return plain(self, name, folder) if calls % 3 == 0 else Page((), f"{name}/{calls}", True)

    monkeypatch.setattr(MemoryFolders, "_answer", sparse)
    monkeypatch.setattr(places, "PAGES_WITHOUT_CHANGE", 5)
    outlook.provider.folder_page = 1
    outlook.followed(mails=1)
    assert calls >= 10
    assert outlook.state.last_error is None
    assert outlook.told("o3") == ["email.received"]


def test_a_folder_that_appears_is_known_by_its_well_known_name(outlook: Outlook) -> None:
    del outlook.provider.names["f-junk"]
    outlook.followed(mails=2)
    assert "f-junk" not in outlook.state.folders
    outlook.provider.create_folder("f-junk")
    outlook.provider.deliver("spam", folder="f-junk")
    outlook.poll()
    assert outlook.told("spam") == []
    assert "SPAM" in outlook.documents()["spam"]["labels"]
    outlook.verify()


@pytest.mark.parametrize("new_first", [False, True])
def test_a_folder_that_takes_the_place_of_a_well_known_one_has_its_name(
    outlook: Outlook, monkeypatch: pytest.MonkeyPatch, new_first: bool
) -> None:
    outlook.followed(mails=2)
    for new in (new_first, not new_first):
        if new:
            outlook.provider.create_folder("f-junk2")
            monkeypatch.setitem(WELL_KNOWN, "f-junk2", "SPAM")
        else:
            outlook.provider.delete_folder("f-junk")
            monkeypatch.delitem(WELL_KNOWN, "f-junk")
        outlook.poll()
    assert outlook.state.folders.get("f-junk2") == "SPAM"
    assert "f-junk" not in outlook.state.folders
    calls = outlook.provider.calls["profile"]
    outlook.provider.deliver("spam", folder="f-junk2")
    outlook.provider.create_folder("f-newest")
    outlook.poll()
    assert outlook.told("spam") == []
    assert outlook.provider.calls["profile"] == calls, "all are known again"


def test_the_well_known_names_are_read_again_only_where_a_folder_is_new_and_one_of_them_may_be_meant(
    outlook: Outlook,
) -> None:
    del outlook.provider.names["f-junk"]
    outlook.followed(mails=2)
    assert outlook.provider.calls["profile"] == 1
    outlook.provider.create_folder("f-work", "Another name")
    outlook.poll()
    outlook.provider.expire_folders()
    outlook.poll()
    assert outlook.provider.calls["profile"] == 1
    for name, more in (("f-new", 1), ("f-junk", 2), ("f-newer", 2)):
        outlook.provider.create_folder(name)
        outlook.poll()
        assert outlook.provider.calls["profile"] == 1 + more, "all are known now, so none can be meant any more"


@troubles
def test_a_folder_that_appears_is_followed_though_the_names_cannot_be_read(
    outlook: Outlook, monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    del outlook.provider.names["f-junk"]
    outlook.followed(mails=2)

    def profile(_self: MemoryFolders, _access: Access) -> Profile:
        raise trouble

    monkeypatch.setattr(MemoryFolders, "profile", profile)
    outlook.provider.create_folder("f-new")
    outlook.provider.deliver("n0", folder="f-new")
    outlook.run(1_800, ticks=True)
    assert outlook.told("n0") == ["email.received"]
    assert outlook.state.last_error is None

"""Mailboxes whose provider tells of changes for each folder apart, followed to the same ends as any other."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from shared import queries, refs
from shared.errors import FolderAbsent, ProviderRefused, ProviderUnavailable
from shared.mail import fold, live
from shared.mail.context import amend_mailbox
from shared.mail.folders import places, resync, rounds, unnamed
from shared.mail.folders.places import FOLLOWING, read_place
from shared.mail.tasks import StepTask, poll, ring
from shared.providers.base import Page, Upsert
from tests.folders import MemoryFolders
from tests.machine import MAILBOX, UID, Machine


class Outlook(Machine):
    """A machine whose provider has folders."""

    provider: MemoryFolders

    def __init__(self, folder: Path, seed: int = 0) -> None:
        super().__init__(folder, seed, provider=MemoryFolders)

    def types(self) -> list[str]:
        return [event.type for event in self.log() if event.type.startswith("email.")]

    def told(self, id_: str) -> list[str]:
        return [event.type for event in self.log() if event.data.get("provider_message_id") == id_]

    def places(self) -> dict[str, tuple[str, int]]:
        docs = queries.scan(self.store.inner, queries.folders_of(MAILBOX))
        return {place.id: (place.phase, place.sweep) for place in map(read_place, docs)}

    def poll(self) -> None:
        """The walk that the schedule begins."""
        poll(self.tasks, MAILBOX, self.clock.now())
        self.run(10)


@pytest.fixture
def outlook(tmp_path: Path) -> Outlook:
    return Outlook(tmp_path)


def test_the_past_of_every_folder_is_read_and_each_is_followed_from_then_on(outlook: Outlook) -> None:
    outlook.provider.create_folder("f-work")
    for number in range(250):
        outlook.provider.deliver(f"w{number}", at=1000.0 + number, folder="f-work")
    outlook.followed(mails=30)
    assert outlook.state.status == "live"
    assert outlook.state.backfill.total == 280
    assert set(outlook.places().values()) == {(FOLLOWING, 0)}
    outlook.verify()
    assert Counter(outlook.types()) == {"email.received": 280}
    assert outlook.provider.asked["f-work"] == 3


def test_a_message_that_a_doorbell_names_costs_one_request_and_no_walk(outlook: Outlook) -> None:
    outlook.followed(mails=3)
    outlook.provider.calls.clear()
    outlook.provider.asked.clear()
    outlook.provider.deliver("new")
    outlook.ring("new")
    outlook.run(10)
    assert outlook.told("new") == ["email.received"]
    assert outlook.provider.calls["fetch"] == 1
    assert not outlook.provider.asked
    outlook.poll()
    assert outlook.told("new") == ["email.received"]
    outlook.verify()


def test_a_hint_that_is_not_served_yet_is_looked_at_again(outlook: Outlook) -> None:
    outlook.followed(mails=1)
    outlook.ring("late")
    outlook.run(0.5)
    outlook.provider.deliver("late")
    outlook.run(10)
    assert outlook.told("late") == ["email.received"]
    outlook.verify()


def test_a_hint_of_a_deleted_message_tells_of_it_within_seconds(outlook: Outlook) -> None:
    outlook.followed(mails=2)
    outlook.provider.delete("old0")
    outlook.ring("old0")
    outlook.run(10)
    assert outlook.told("old0") == ["email.received", "email.deleted"]
    outlook.verify()


def test_a_walk_finds_what_no_doorbell_has_told_of(outlook: Outlook) -> None:
    outlook.provider.create_folder("f-work")
    outlook.followed(mails=3)
    outlook.provider.deliver("new", folder="f-work")
    outlook.provider.touch("old0", add=["STARRED"], remove=["UNREAD"])
    outlook.provider.delete("old1")
    outlook.poll()
    assert outlook.told("new") == ["email.received"]
    assert outlook.told("old0") == ["email.received", "email.updated"]
    assert outlook.told("old1") == ["email.received", "email.deleted"]
    outlook.verify()


@pytest.mark.parametrize("target", ["f-archive", "f-trash"])
def test_a_move_is_one_update_whichever_folder_is_walked_first(outlook: Outlook, target: str) -> None:
    outlook.provider.create_folder("f-archive")
    outlook.provider.deliver("there", folder=target, at=10.0)
    outlook.followed(mails=2)
    outlook.provider.move("old0", target)
    outlook.poll()
    assert outlook.told("old0") == ["email.received", "email.updated"]
    if target == "f-archive":
        outlook.provider.move("there", "f-inbox")
        outlook.poll()
        assert outlook.told("there") == ["email.received", "email.updated"]
    outlook.verify()


def test_an_empty_walk_asks_once_for_the_folders_and_once_for_each(outlook: Outlook) -> None:
    for number in range(55):
        outlook.provider.create_folder(f"f-{number}")
    outlook.followed(mails=5)
    outlook.provider.asked.clear()
    outlook.provider.calls.clear()
    rev = outlook.state.rev
    outlook.store.writes = 0
    outlook.poll()
    assert (outlook.provider.calls["folders"], outlook.provider.asked.total()) == (1, 60)
    assert set(outlook.provider.asked.values()) == {1}
    assert outlook.store.writes == 60 + (outlook.state.rev - rev)
    assert outlook.state.rev - rev == 1 + 1 + 4
    assert outlook.told("old0") == ["email.received"]


def test_cursors_that_expired_cost_their_folders_another_round_and_no_event(outlook: Outlook) -> None:
    for number in range(20):
        outlook.provider.create_folder(f"f-{number}")
        outlook.provider.deliver(f"m{number}", at=100.0 + number, folder=f"f-{number}")
    outlook.followed(mails=5)
    before = len(outlook.log())
    expired = [f"f-{number}" for number in range(0, 20, 4)]
    outlook.provider.expire(*expired)
    outlook.provider.asked.clear()
    outlook.poll()
    outlook.run(60)
    assert outlook.state.resync is None
    assert set(outlook.places().values()) == {(FOLLOWING, 0)}
    asked = outlook.provider.asked
    assert {folder for folder, times in asked.items() if times > 1} == set(expired)
    assert [event.type for event in outlook.log()[before:]] == ["sync.completed"]
    outlook.verify()


def test_what_went_while_a_cursor_was_expired_is_found_by_the_sweep(outlook: Outlook) -> None:
    outlook.provider.create_folder("f-work")
    for number in range(5):
        outlook.provider.deliver(f"w{number}", at=100.0 + number, folder="f-work")
    outlook.followed(mails=1)
    outlook.provider.delete("w1")
    outlook.provider.move("w2", "f-inbox")
    outlook.provider.expire("f-work")
    outlook.poll()
    outlook.run(60)
    assert outlook.told("w1") == ["email.received", "email.deleted"]
    assert outlook.told("w2") == ["email.received", "email.updated"]
    assert outlook.told("w3") == ["email.received"]
    outlook.verify()


def test_a_folder_that_goes_takes_its_messages_along(outlook: Outlook) -> None:
    outlook.provider.create_folder("f-work")
    for number in range(5):
        outlook.provider.deliver(f"w{number}", at=100.0 + number, folder="f-work")
    outlook.followed(mails=2)
    outlook.provider.move("w0", "f-inbox")
    outlook.provider.delete_folder("f-work")
    outlook.poll()
    outlook.run(60)
    assert "f-work" not in outlook.places()
    assert outlook.told("w0") == ["email.received", "email.updated"]
    assert outlook.told("w1") == ["email.received", "email.deleted"]
    outlook.verify()


def test_a_folder_that_appears_is_read_from_its_beginning(outlook: Outlook) -> None:
    outlook.followed(mails=2)
    outlook.provider.create_folder("f-new")
    outlook.provider.deliver("n0", at=50.0, folder="f-new")
    outlook.provider.move("old0", "f-new")
    outlook.poll()
    assert outlook.told("n0") == ["email.received"]
    assert outlook.told("old0") == ["email.received", "email.updated"]
    outlook.verify()


def test_a_cursor_of_the_folders_that_expired_has_them_all_read_again(outlook: Outlook) -> None:
    outlook.provider.create_folder("f-work")
    outlook.provider.deliver("w0", at=100.0, folder="f-work")
    outlook.followed(mails=2)
    outlook.provider.create_folder("f-new")
    outlook.provider.deliver("n0", folder="f-new")
    outlook.provider.delete_folder("f-work")
    outlook.provider.expire_folders()
    outlook.poll()
    outlook.run(60)
    assert outlook.told("n0") == ["email.received"]
    assert outlook.told("w0") == ["email.received", "email.deleted"]
    outlook.verify()


def test_a_cursor_refused_within_the_first_round_begins_it_anew_and_loses_nothing(outlook: Outlook) -> None:
    outlook.provider.folder_page = 5
    for number in range(30):
        outlook.provider.deliver(f"m{number}", at=100.0 + number)
    outlook.connect()
    seen = 0

    def after_two(call: str) -> None:
        nonlocal seen
        seen += call == "changes" and outlook.provider.asked["f-inbox"] == 3
        if seen == 1 and call == "changes":
            seen += 1
            outlook.provider.on_call = None
            outlook.provider.delete("m29")
            outlook.provider.expire("f-inbox")

    outlook.provider.on_call = after_two
    outlook.run(120)
    assert outlook.state.status == "live"
    assert outlook.told("m29") == ["email.received", "email.deleted"]
    outlook.verify()


def test_a_mail_that_comes_during_the_first_rounds_is_told_of_at_once(outlook: Outlook) -> None:
    outlook.provider.folder_page = 2
    for number in range(60):
        outlook.provider.deliver(f"m{number}", at=100.0 + number)
    outlook.connect()
    outlook.clock.advance(1)
    for _ in range(6):
        for delivery in outlook.queue.claim(5):
            outlook.deliver(delivery)
    assert not outlook.state.backfill.done
    outlook.provider.deliver("new")
    outlook.ring("new")
    outlook.deliver(outlook.claim(hints=["new"]))
    assert outlook.told("new") == ["email.received"]
    assert not outlook.state.backfill.done
    outlook.run(300)
    outlook.verify()


def test_no_two_steps_use_the_cursor_of_a_folder_at_once(outlook: Outlook) -> None:
    """Polls, doorbells and rescues all meet the one walk; a folder's cursor is asked for once in each."""
    outlook.followed(mails=5)
    outlook.provider.asked.clear()
    for offset in (0.0, 0.1, 0.2):
        poll(outlook.tasks, MAILBOX, outlook.clock.now() + offset)
    outlook.ring()
    for delivery in outlook.queue.claim(10):
        outlook.deliver(delivery)
    outlook.run(0.05)
    assert set(outlook.provider.asked.values()) <= {1, 2}
    outlook.run(30)
    outlook.verify()


def test_a_walk_that_others_write_beside_goes_on_at_once(outlook: Outlook) -> None:
    written = 0

    def write(call: str) -> None:
        nonlocal written
        if call in ("folders", "changes") and written < 20:
            written += 1
            amend_mailbox(outlook.ctx, MAILBOX, lambda state: replace(state, updated_at=state.updated_at + 1))

    outlook.provider.deliver("m0", at=10.0)
    outlook.provider.on_call = write
    outlook.connect()
    outlook.run(30)
    assert written > 5
    assert outlook.state.status == "live"
    assert outlook.failures == []
    outlook.verify()


def test_a_spent_step_takes_its_page_again_if_nobody_else_has(outlook: Outlook) -> None:
    """Enqueued under its own name, which is spent, its successor would never come."""
    outlook.followed(mails=1)
    begun = replace(outlook.state, more=True, pages=7)
    assert not live.resume(outlook.ctx, begun, StepTask(MAILBOX, "live", begun.epoch, "7"))
    assert live.resume(outlook.ctx, begun, StepTask(MAILBOX, "live", begun.epoch, "6"))
    assert live.resume(outlook.ctx, begun, StepTask(MAILBOX, "live"))


def test_a_doorbell_without_hints_during_a_walk_has_another_follow(outlook: Outlook) -> None:
    outlook.followed(mails=2)
    outlook.provider.asked.clear()
    late: list[str] = []

    def arrive(call: str) -> None:
        if call == "changes" and not late and outlook.provider.asked["f-sent"]:
            late.append("late")
            outlook.provider.deliver("late")
            ring(outlook.tasks, outlook.clock, MAILBOX)

    outlook.provider.on_call = arrive
    outlook.poll()
    outlook.run(30)
    assert outlook.told("late") == ["email.received"]
    outlook.verify()


def test_a_page_that_a_doorbell_overtook_does_not_bring_the_older_message_back(outlook: Outlook) -> None:
    """The page was read before the change, the doorbell's look after it, and the look was written first."""
    outlook.followed(mails=3)
    outlook.provider.touch("old0", add=["STARRED"])
    stale = False

    def overtake(call: str) -> None:
        nonlocal stale
        if call == "changed" and not stale:
            stale = True
            outlook.provider.touch("old0", add=["IMPORTANT"])
            outlook.ring("old0")
            outlook.deliver(outlook.claim(hints=["old0"]))

    outlook.provider.on_call = overtake
    outlook.poll()
    outlook.run(30)
    updates = [e for e in outlook.log() if e.type == "email.updated"]
    assert [("IMPORTANT" in e.data["labels"], "STARRED" in e.data["labels"]) for e in updates] == [(True, True)]
    outlook.verify()


def test_what_is_told_again_is_no_event(outlook: Outlook) -> None:
    outlook.followed(mails=3)
    before = outlook.state.head
    for _ in range(3):
        outlook.ring("old0", "old1")
        outlook.run(10)
        outlook.poll()
    assert outlook.state.head == before
    outlook.verify()


def test_erasing_leaves_no_folder_behind(outlook: Outlook) -> None:
    outlook.followed(mails=3)
    outlook.accounts.erase(UID, MAILBOX)
    outlook.run(120, ticks=True)
    assert outlook.places() == {}
    assert refs.stream(MAILBOX) not in outlook.store.get([refs.stream(MAILBOX)])


def test_a_pause_within_a_walk_keeps_what_was_read_and_holds_for_all(outlook: Outlook) -> None:
    outlook.followed(mails=2)
    outlook.provider.deliver("new")
    outlook.provider.asked.clear()

    def limit(call: str) -> None:
        if call == "changes" and outlook.provider.asked["f-drafts"]:
            outlook.provider.on_call = None
            outlook.provider.limit_next = 45.0

    outlook.provider.on_call = limit
    begun = outlook.clock.now()
    outlook.poll()
    assert outlook.told("new") == ["email.received"]
    assert (outlook.state.resume_at or 0) >= begun + 45
    before = outlook.provider.asked.total()
    outlook.ring("old0")
    outlook.run(30)
    assert outlook.provider.asked.total() == before
    assert outlook.provider.calls["fetch"] == 0
    outlook.run(60)
    assert outlook.state.status == "live"
    assert outlook.state.walk is None
    outlook.verify()


def overtaken(outlook: Outlook) -> None:
    test_a_page_that_a_doorbell_overtook_does_not_bring_the_older_message_back(outlook)


def stored_before_its_folder(outlook: Outlook) -> None:
    """A hint stores a message of a folder that has yet to be read, and it is deleted before that."""
    outlook.provider.create_folder("f-work")
    outlook.provider.deliver("early", folder="f-work", at=50.0)
    outlook.connect()
    outlook.deliver(outlook.claim(kind="connect"))
    outlook.ring("early")
    outlook.deliver(outlook.claim(hints=["early"]))
    assert outlook.told("early") == ["email.received"]
    outlook.provider.delete("early")
    outlook.run(60)
    assert outlook.told("early") == ["email.received", "email.deleted"]
    outlook.verify()


def in_a_folder_nobody_knows(outlook: Outlook) -> None:
    """A message comes to a new folder, which goes before any walk has come to it; no other ever tells of the message."""
    outlook.followed(mails=1)
    outlook.provider.create_folder("f-brief")
    outlook.provider.deliver("brief", at=outlook.clock.now() - 3_600, folder="f-brief")
    outlook.ring("brief")
    outlook.run(10)
    outlook.provider.delete_folder("f-brief")
    outlook.poll()
    outlook.poll()
    outlook.run(60)
    assert outlook.told("brief") == ["email.received", "email.deleted"]
    outlook.verify()


def named_by_an_earlier_round(outlook: Outlook) -> None:
    """A folder is read anew, and again; what only the first of the two rounds has named is gone."""
    outlook.provider.folder_page = 2
    outlook.provider.create_folder("f-work")
    for number in range(8):
        outlook.provider.deliver(f"w{number}", at=100.0 + number, folder="f-work")
    outlook.followed(mails=1)
    outlook.provider.expire("f-work")
    outlook.provider.asked.clear()

    def again(call: str) -> None:
        if call == "changes" and outlook.provider.asked["f-work"] == 3:
            outlook.provider.on_call = None
            outlook.provider.delete("w7")
            outlook.provider.expire("f-work")

    outlook.provider.on_call = again
    outlook.poll()
    outlook.run(60)
    assert outlook.told("w7") == ["email.received", "email.deleted"]
    outlook.verify()


PROTECTIONS = {
    "doubt": (overtaken, fold.Work, "doubts", lambda *_: False),
    "held": (stored_before_its_folder, places, "is_held", lambda *_: False),
    "house": (in_a_folder_nobody_knows, places, "seen", lambda *_: ({}, ())),
}


@pytest.mark.parametrize("name", PROTECTIONS)
def test_the_traces_of_folders_end_exact(outlook: Outlook, name: str) -> None:
    PROTECTIONS[name][0](outlook)


@pytest.mark.parametrize("name", PROTECTIONS)
def test_without_its_protection_a_trace_fails(outlook: Outlook, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    trace, owner, attribute, without = PROTECTIONS[name]
    monkeypatch.setattr(owner, attribute, without)
    monkeypatch.setattr(unnamed, "AT_ONCE", 0)  # what a walk reads again at its end hides what went wrong before
    with pytest.raises(AssertionError):
        trace(outlook)


def test_what_only_an_earlier_round_has_named_is_gone(outlook: Outlook) -> None:
    named_by_an_earlier_round(outlook)


def test_without_the_numbers_of_rounds_that_trace_fails(outlook: Outlook, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = places.changed
    monkeypatch.setattr(places, "changed", lambda doc, **values: changed(doc, **(values | {"round": 0})))
    with pytest.raises(AssertionError):
        named_by_an_earlier_round(outlook)


def test_connected_again_in_the_middle_of_a_walk_it_goes_on(outlook: Outlook) -> None:
    outlook.followed(mails=2)

    def leave(call: str) -> None:
        if call == "changes":
            outlook.provider.on_call = None
            outlook.accounts.disconnect(UID, "google")

    outlook.provider.on_call = leave
    outlook.poll()
    assert outlook.state.status == "disconnected"
    outlook.provider.deliver("new", folder="f-sent")
    outlook.connect()
    outlook.run(600, ticks=True)
    assert outlook.state.walk is None
    assert outlook.told("new") == ["email.sent"]
    outlook.verify()


@pytest.mark.parametrize("trouble", [ProviderRefused("No."), ProviderUnavailable("Not now.")])
@pytest.mark.parametrize("folder", ["f-inbox", "f-work", "f-trash"])
def test_a_folder_that_cannot_be_read_holds_up_no_other(outlook: Outlook, folder: str, trouble: Exception) -> None:
    outlook.provider.create_folder("f-work")
    outlook.provider.deliver("held", at=50.0, folder=folder)
    outlook.provider.trouble[folder] = trouble
    outlook.provider.deliver("other", at=60.0, folder="f-sent")
    outlook.connect()
    outlook.run(900, ticks=True)
    assert outlook.told("other") == ["email.sent"]
    assert "could not be read" in str(outlook.state.last_error)
    outlook.provider.trouble.clear()
    outlook.run(3 * 3600, ticks=True)
    assert outlook.state.status == "live"
    assert outlook.state.last_error is None
    outlook.provider.trouble[folder] = trouble
    outlook.provider.deliver("later", folder="f-sent")
    outlook.run(1800, ticks=True)
    assert outlook.told("later") == ["email.sent"]
    outlook.provider.deliver("last", folder=folder)
    outlook.provider.trouble.clear()
    outlook.run(3 * 3600, ticks=True)
    assert outlook.state.last_error is None
    outlook.verify()


def test_a_first_round_that_is_refused_again_and_again_comes_to_its_end_all_the_same(outlook: Outlook) -> None:
    outlook.provider.folder_page = 2
    for number in range(9):
        outlook.provider.deliver(f"m{number}", at=100.0 + number)
    refusals = 0

    def forget(call: str) -> None:
        nonlocal refusals
        if call == "changed" and refusals < 8 and outlook.provider.asked["f-inbox"] % 2:
            refusals += 1
            outlook.provider.expire("f-inbox")

    outlook.provider.on_call = forget
    outlook.connect()
    outlook.run(6 * 3600, ticks=True)
    assert refusals == 8
    assert outlook.state.status == "live"
    outlook.verify()


def test_a_folder_that_was_missed_once_is_found_again(outlook: Outlook) -> None:
    """One wrong 404, and no word of the folder ever after."""
    outlook.provider.create_folder("f-work")
    outlook.provider.deliver("w0", at=100.0, folder="f-work")
    outlook.followed(mails=1)
    outlook.provider.trouble["f-work"] = FolderAbsent()
    outlook.poll()
    outlook.provider.trouble.clear()
    outlook.run(60)
    outlook.provider.deliver("w1", folder="f-work")
    outlook.poll()
    outlook.poll()
    outlook.run(60)
    assert outlook.told("w1") == ["email.received"]
    assert outlook.told("w0") == ["email.received"]
    outlook.verify()


def test_thousands_of_folders_are_made_known_in_several_steps(
    outlook: Outlook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "LEARNED_AT_ONCE", 7)
    for number in range(20):
        outlook.provider.create_folder(f"f-{number}")
    outlook.provider.deliver("m", at=100.0, folder="f-19")
    outlook.followed()
    assert len(outlook.places()) == 25
    outlook.verify()


def test_two_folders_are_swept_one_after_the_other(outlook: Outlook, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first is marked anew in the middle of its sweep: the second is swept from its own beginning."""
    monkeypatch.setattr(resync, "SWEPT_AT_ONCE", 3)
    monkeypatch.setattr(resync, "ASKED_AT_ONCE", 3)
    for folder in ("f-a", "f-b"):
        outlook.provider.create_folder(folder)
        for number in range(12):
            outlook.provider.deliver(f"{folder}{number}", at=100.0 + number, folder=folder)
    outlook.followed()
    for folder in ("f-a", "f-b"):
        for number in range(6):
            outlook.provider.delete(f"{folder}{number}")
    outlook.provider.expire("f-a", "f-b")
    fetches = 0

    def again(call: str) -> None:
        nonlocal fetches
        if call == "fetch" and outlook.state.resync is not None:
            fetches += 1
            if fetches == 2:
                outlook.provider.expire("f-a", "f-b")
                poll(outlook.tasks, MAILBOX, outlook.clock.now())

    outlook.provider.on_call = again
    outlook.poll()
    outlook.run(600)
    outlook.verify()


def test_an_old_state_that_a_folder_tells_of_again_moves_nothing_back(outlook: Outlook) -> None:
    outlook.provider.create_folder("f-work")
    outlook.followed(mails=2)
    old = outlook.provider.messages["old0"]
    outlook.provider.move("old0", "f-work")
    outlook.ring("old0")
    outlook.run(10)
    plain = outlook.provider._later
    outlook.provider.__class__._later = lambda self, folder, link: replace(  # type: ignore[method-assign]
        plain(folder, link), changes=(Upsert(old),) if folder == "f-inbox" else ()
    )
    try:
        outlook.poll()
    finally:
        outlook.provider.__class__._later = plain.__func__  # type: ignore[attr-defined,method-assign]
    assert outlook.told("old0") == ["email.received", "email.updated"]
    outlook.run(30)
    outlook.verify()


@pytest.mark.parametrize("connected", [False, True])
def test_a_folder_whose_pages_have_no_end_holds_up_no_other(
    outlook: Outlook, monkeypatch: pytest.MonkeyPatch, connected: bool
) -> None:
    if connected:
        outlook.followed(mails=1)
    plain = MemoryFolders._answer

    def endless(self: MemoryFolders, cursor: str, folder: str) -> Page:
        page = plain(self, cursor, folder)
        return replace(page, more=True) if folder == "f-inbox" else page

    monkeypatch.setattr(MemoryFolders, "_answer", endless)
    outlook.provider.deliver("other", folder="f-sent")
    if not connected:
        outlook.connect()
    with suppress(AssertionError):  # the inbox never comes to rest
        outlook.poll() if connected else outlook.run(60)
    assert outlook.told("other") == ["email.sent"]


def test_a_message_that_has_passed_through_a_folder_is_where_it_came_to_rest(outlook: Outlook) -> None:
    """One step reads all three folders, and the last of them says only that it has left."""
    outlook.provider.create_folder("f-a")
    outlook.provider.deliver("m", at=100.0, folder="f-a")
    outlook.followed(mails=1)
    outlook.provider.move("m", "f-junk")
    outlook.provider.move("m", "f-inbox")
    outlook.poll()
    assert outlook.told("m") == ["email.received", "email.updated"]
    outlook.verify()


def test_pages_that_lead_on_make_no_walk_follow_the_walk(outlook: Outlook) -> None:
    outlook.provider.folder_page = 2
    outlook.followed(mails=3)
    for number in range(9):
        outlook.provider.deliver(f"n{number}", folder="f-sent")
    outlook.provider.calls.clear()
    outlook.poll()
    assert outlook.provider.calls["folders"] == 1
    assert outlook.provider.asked["f-sent"] >= 5
    outlook.verify()

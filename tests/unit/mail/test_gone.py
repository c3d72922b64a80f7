"""When a message counts as gone: whatever the changes of a folder leave out, whatever a 404 says too early, and back again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import product, repeat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from infra.local.verify_log import FIELDS, check_streams, fold_stream
from shared import refs
from shared.mail import fold, gaps
from shared.mail import message as mail
from shared.mail.apply import CLOCKS_DIFFER, SETTLED_AFTER, apply
from shared.mail.context import load
from shared.mail.fold import FIRST_GAP_RETRY, Work
from shared.mail.schedule import DAY
from shared.mail.tasks import poll
from shared.ports import Data, Doc
from shared.providers.base import FOLDER, Change, Deleted, Fetched, Left, Missing, Page, Upsert
from tests.chaos.simulation import checker
from tests.chaos.simulation.record import Record
from tests.folders import MemoryFolders
from tests.machine import MAILBOX, Machine
from tests.unit.mail.test_fold import AT, FOLLOWED, Stored, message_of


@dataclass(slots=True)
class Forgetful(MemoryFolders):
    """Tells that a message has left a folder only where this folder's changes had told of it, as Exchange does.

    Of what is in ``undone`` it tells only that it has left, although it has come back.
    """

    undone: set[str] = field(default_factory=set)
    _given: dict[str, set[str]] = field(default_factory=dict)

    def _answer(self, cursor: str, folder: str) -> Page:
        page = MemoryFolders._answer(self, cursor, folder)
        given = self._given.setdefault(folder, set())
        changes: list[Change] = []
        for change in page.changes:
            if isinstance(change, Upsert) and change.id not in self.undone:
                given.add(change.id)
                changes.append(change)
            elif change.id in given:
                given.discard(change.id)
                changes.append(Left(change.id, f"{FOLDER}{folder}"))
        return replace(page, changes=tuple(changes))


class Outlook(Machine):
    """A machine whose provider has folders, each with changes of its own."""

    provider: Forgetful

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, provider=Forgetful)

    def walks(self, number: int) -> None:
        for _ in range(number):
            self.run(900.0)
            poll(self.tasks, MAILBOX, self.clock.now())
            self.run(10.0)


def told(machine: Machine, id_: str) -> list[str]:
    return [event.type for event in machine.log() if event.data.get("provider_message_id") == id_]


def state_of(machine: Machine, id_: str) -> str:
    return str(machine.documents()[id_]["state"])


@pytest.fixture
def outlook(tmp_path: Path) -> Outlook:
    machine = Outlook(tmp_path)
    machine.provider.create_folder("f-work")
    machine.followed(mails=3)
    return machine


@pytest.fixture
def gmail(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path)
    machine.followed(mails=3)
    return machine


# What the changes of folders leave out


def test_a_mail_that_was_put_into_the_trash_and_emptied_is_gone_by_the_word_of_the_folder_that_it_was_in(
    outlook: Outlook,
) -> None:
    outlook.provider.move("old0", "f-trash")
    outlook.ring("old0")
    outlook.run(10)
    outlook.provider.delete("old0")  # and no push tells of it
    outlook.walks(2)
    assert told(outlook, "old0") == ["email.received", "email.updated", "email.deleted"]
    outlook.verify()


def test_a_young_mail_whose_deletion_is_pushed_is_gone_though_no_folder_ever_told_of_it(outlook: Outlook) -> None:
    outlook.provider.deliver("new")
    outlook.ring("new")
    outlook.run(300)
    outlook.provider.delete("new")
    outlook.ring("new")
    outlook.run(20)
    assert told(outlook, "new") == ["email.received"], "a 404 of a young mail may mean that it is not there yet"
    outlook.walks(2)
    assert told(outlook, "new") == ["email.received", "email.deleted"]
    outlook.verify()


def test_a_young_mail_that_a_hint_cannot_read_for_a_moment_stays(outlook: Outlook) -> None:
    outlook.provider.deliver("new")
    outlook.ring("new")
    outlook.run(60)
    outlook.provider.unreadable.add("new")
    outlook.ring("new")
    outlook.run(600)
    outlook.provider.unreadable.clear()
    outlook.walks(2)
    assert told(outlook, "new") == ["email.received"]
    outlook.verify()


def test_a_move_that_is_undone_and_told_of_as_leaving_alone_ends_in_the_right_folder(outlook: Outlook) -> None:
    outlook.provider.move("old0", "f-work")
    outlook.ring("old0")
    outlook.run(10)
    outlook.provider.move("old0", "f-inbox")
    outlook.provider.undone.add("old0")
    outlook.walks(1)
    assert outlook.documents()["old0"]["folder"] == "folder:f-inbox"
    outlook.verify()


def test_a_move_that_its_push_has_told_of_costs_one_request_more_at_most(outlook: Outlook) -> None:
    """None where the folder that it is in now is read behind the other, in one step, and so has the last word."""
    for folder, more in (("f-work", 0), ("f-inbox", 1)):
        outlook.provider.move("old0", folder)
        outlook.ring("old0")
        outlook.run(10)
        gets = outlook.provider.calls["get"]
        outlook.walks(1)
        assert outlook.provider.calls["get"] - gets == more
    outlook.verify()


def test_a_mail_that_only_its_push_has_told_of_and_that_goes_unheard_is_gone_after_the_next_walk(
    outlook: Outlook,
) -> None:
    """It came after its folder's link and left before it was followed, so the folder never tells of it."""
    outlook.provider.deliver("brief", at=outlook.clock.now() - DAY)
    outlook.ring("brief")
    outlook.run(10)
    assert told(outlook, "brief") == ["email.received"]
    outlook.provider.delete("brief")
    outlook.walks(2)
    assert told(outlook, "brief") == ["email.received", "email.deleted"]
    assert outlook.state.unwalked == {}
    outlook.verify()


def test_what_a_folder_names_is_not_asked_for_again(outlook: Outlook) -> None:
    for number in range(3):
        outlook.provider.deliver(f"new{number}")
        outlook.ring(f"new{number}")
    outlook.run(10)
    assert outlook.state.unwalked.keys() == {"new0", "new1", "new2"}
    gets = outlook.provider.calls["get"]
    outlook.walks(2)
    assert outlook.state.unwalked == {}
    assert outlook.provider.calls["get"] == gets
    outlook.verify()


def test_what_no_folder_names_is_asked_for_at_each_walk_while_it_is_there(outlook: Outlook) -> None:
    hidden = message_of("hidden", "1")
    outlook.provider.messages["hidden"] = replace(
        hidden, labels=(f"{FOLDER}f-inbox", "INBOX"), received_at=outlook.clock.now()
    )
    outlook.ring("hidden")
    outlook.run(10)
    outlook.walks(3)
    assert outlook.state.unwalked.keys() == {"hidden"}
    del outlook.provider.messages["hidden"]
    outlook.provider.discarded.add("hidden")
    outlook.walks(1)
    assert told(outlook, "hidden") == ["email.received", "email.deleted"]
    assert outlook.state.unwalked == {}


def test_so_many_are_remembered_and_the_newest_of_them() -> None:
    stored = Stored(FOLLOWED)
    for number in range(fold.UNWALKED + 20):
        change = Upsert(replace(message_of(f"m{number:03}", "1"), labels=(f"{FOLDER}a",)))
        stored.take(Work("live", AT, (change,), unordered=True, loose=True, since=stored.state.rev))
    assert sorted(stored.state.unwalked) == [f"m{number:03}" for number in range(20, fold.UNWALKED + 20)]
    named = Upsert(replace(message_of("m050", "1"), labels=(f"{FOLDER}a",)))
    for label, remembered in ((f"{FOLDER}b", True), (f"{FOLDER}a", False)):
        walked = frozenset({label})
        stored.take(Work("live", AT, (named,), unordered=True, since=stored.state.rev, walked=walked))
        assert ("m050" in stored.state.unwalked) is remembered, "the folder that named it has to be the one it is in"


# What a 404 says too early


def believed_at(order: Sequence[float]) -> float:
    """The true time at which a 404 is believed that clocks, each so many seconds ahead, judge in an order, the last for good.

    The gap is opened at 0 by one that is right.
    """
    fields: Data = {"id": "m", "attempts": 0, "first_at": 0.0, "reason": "404", "status": "open"}
    fields["next_at"] = FIRST_GAP_RETRY
    true = 0.0
    for ahead in (*order, *repeat(order[-1], len(gaps.RETRIES))):
        true = max(true, fields["next_at"] - ahead)
        fields = {**fields, **gaps._judge(Doc("r", fields, "1"), Missing("m"), None, true + ahead).fields}
        if fields["status"] == "resolved":
            return true
    raise AssertionError("it is never believed")


def test_a_404_is_believed_only_once_the_message_has_settled_whatever_two_clocks_say() -> None:
    for ahead in (130.0, CLOCKS_DIFFER):
        times = [believed_at(order) for order in product((0.0, ahead), repeat=gaps.GONE_ATTEMPTS)]
        assert min(times) > SETTLED_AFTER
    assert believed_at([0.0]) < 1_800.0, "where clocks agree it takes less than half an hour"


def test_a_404_counts_after_as_long_as_it_takes_and_what_clocks_differ_by() -> None:
    assert gaps.GONE_AFTER - CLOCKS_DIFFER >= SETTLED_AFTER
    assert FIRST_GAP_RETRY + sum(gaps.RETRIES[: gaps.GONE_ATTEMPTS - 1]) >= gaps.GONE_AFTER


def test_a_young_mail_that_cannot_be_read_for_minutes_behind_its_move_is_not_gone(outlook: Outlook) -> None:
    outlook.provider.deliver("new")
    outlook.run(900)
    outlook.provider.deliver("fresh")
    outlook.run(930)
    outlook.provider.move("fresh", "f-work")
    outlook.provider.unreadable.add("fresh")
    outlook.ring("fresh")
    outlook.run(600)
    outlook.provider.unreadable.clear()
    outlook.walks(3)
    assert "email.deleted" not in told(outlook, "fresh")
    outlook.verify()


def test_a_young_mail_of_which_the_provider_says_that_it_was_deleted_is_gone_at_once(outlook: Outlook) -> None:
    outlook.provider.deliver("new")
    outlook.ring("new")
    outlook.run(30)
    outlook.provider.delete("new")
    outlook.provider.discarded.add("new")
    outlook.ring("new")
    outlook.run(2)
    assert told(outlook, "new") == ["email.received", "email.deleted"]
    outlook.verify()


def test_what_was_deleted_for_certain_before_anybody_knew_of_it_is_no_gap(outlook: Outlook) -> None:
    outlook.provider.discarded.add("brief")
    outlook.ring("brief")
    outlook.run(30)
    loaded = load(outlook.ctx, MAILBOX)
    assert loaded is not None
    missing = (Missing("brief", certain=True), Missing("late"))
    apply(outlook.ctx, loaded, Work("live", outlook.clock.now(), missing), lambda state: state.rev)
    gap_refs = [refs.gap(MAILBOX, id_) for id_ in ("brief", "late")]
    assert list(outlook.store.get(gap_refs)) == [refs.gap(MAILBOX, "late")]


def test_a_gap_is_closed_as_soon_as_its_message_is_gone_for_certain() -> None:
    fields: Data = {"id": "m", "attempts": 0, "first_at": 0.0, "reason": "404", "status": "open"}
    verdict = gaps._judge(Doc("r", fields, "1"), Missing("m", certain=True), None, 5.0)
    assert verdict.fields["status"] == "resolved"


# Back again


def lose(machine: Machine, id_: str) -> None:
    """The provider denies a message until it is believed."""
    machine.provider.unreadable.add(id_)
    loaded = load(machine.ctx, MAILBOX)
    assert loaded is not None
    apply(machine.ctx, loaded, Work("live", machine.clock.now(), (Missing(id_),)), lambda state: state.rev)
    machine.run(1_500)
    machine.provider.unreadable.clear()
    assert state_of(machine, id_) == mail.TOMBSTONE


def test_what_was_denied_comes_back_by_an_update_whose_id_is_new_though_its_version_is_not(gmail: Machine) -> None:
    gmail.provider.relabel("old0", add=["STARRED"])
    gmail.ring()
    gmail.run(20)
    for _ in range(2):
        lose(gmail, "old0")
        gmail.provider.expire_history()
        gmail.ring()
        gmail.run(300)
    assert told(gmail, "old0") == ["email.received", "email.updated", *["email.deleted", "email.updated"] * 2]
    assert [id_ for id_, times in Counter(event.id for event in gmail.log()).items() if times > 1] == []
    gmail.verify()


def test_what_a_sweep_has_taken_for_gone_is_taken_back_by_the_next_listing(gmail: Machine) -> None:
    gmail.provider.deliver("x", at=gmail.clock.now() - 30 * DAY)
    gmail.ring()
    gmail.run(20)
    lagging = {"old0"}
    inner = gmail.provider

    class Lagging:
        def __getattr__(self, name: str) -> Any:
            return getattr(inner, name)

        def list_ids(self, *args: Any, **options: Any) -> Any:
            listing = inner.list_ids(*args, **options)
            return replace(listing, ids=tuple(id_ for id_ in listing.ids if id_ not in lagging), threads=())

    gmail.ctx = replace(gmail.ctx, providers={"GOOGLE": Lagging()})
    inner.unreadable.add("old0")
    inner.expire_history()
    gmail.ring()
    gmail.run(60)
    assert told(gmail, "old0") == ["email.received", "email.deleted"]
    lagging.clear()
    inner.unreadable.clear()
    inner.expire_history()
    gmail.ring()
    gmail.run(120)
    assert told(gmail, "old0") == ["email.received", "email.deleted", "email.updated"]
    gmail.verify()


def test_a_deletion_record_keeps_out_what_a_listing_still_names(gmail: Machine) -> None:
    stale = gmail.provider.messages["old0"]
    gmail.provider.delete("old0")
    gmail.ring()
    gmail.run(20)
    gmail.provider.messages["old0"] = stale
    gmail.provider.expire_history()
    gmail.ring()
    gmail.run(120)
    assert told(gmail, "old0") == ["email.received", "email.deleted"]
    assert state_of(gmail, "old0") == mail.TOMBSTONE


@pytest.mark.parametrize("unordered", [False, True])
def test_a_deletion_that_was_never_told_of_does_not_count_as_one(unordered: bool) -> None:
    """A page that deletes a message and brings it back tells nothing, so the deletion to come is the first."""
    stored = Stored(FOLLOWED)

    def take(*changes: Fetched | Deleted) -> None:
        read = {"m": stored.state.rev} if unordered else {}
        stored.take(Work("live", AT, changes, unordered=unordered, since=stored.state.rev, read=read))

    take(Upsert(message_of("m", "1")))
    take(Deleted("m", "5"), Upsert(message_of("m", "6")))
    assert "returned" not in stored.docs[refs.message(FOLLOWED.id, "m")].data
    assert [event.type for event in stored.events] == ["email.received"]


# What a verdict allows


def told_of(*types: str) -> list[dict[str, Any]]:
    """A stream that tells of one message; what differs from event to event is its labels."""
    log: list[dict[str, Any]] = []
    for number, type_ in enumerate(types, start=1):
        data: dict[str, Any] = dict.fromkeys(FIELDS, "") | {"labels": ["INBOX"], "msg_date": "now"}
        data |= {"provider_message_id": "m", "changed": ["labels", "msg_date"]}
        log.append({"type": type_, "sequence": number, "id": f"e{number}", "data": data})
    return log


def wrong_in(log: list[dict[str, Any]]) -> list[str]:
    said: list[str] = []
    fold_stream(log, said.append)
    return said


RECEIVED, DELETED, UPDATED = "email.received", "email.deleted", "email.updated"


def test_the_verdict_allows_an_update_to_bring_a_message_back_and_another_deletion_after_it() -> None:
    log = told_of(RECEIVED, DELETED, UPDATED, DELETED)
    assert wrong_in(log) == []
    said: list[str] = []
    assert fold_stream(log[:3], said.append)["m"]["announced"] == "received"
    assert said == []


@pytest.mark.parametrize(
    ("types", "wrong"),
    [
        ((RECEIVED, DELETED, DELETED), "follows the deletion"),
        ((RECEIVED, DELETED, RECEIVED), "follows the deletion"),
        ((UPDATED,), "before message m was received"),
    ],
)
def test_the_verdict_allows_nothing_else_after_a_deletion(types: tuple[str, ...], wrong: str) -> None:
    [said] = wrong_in(told_of(*types))
    assert wrong in said


def test_the_verdict_wants_an_update_that_brings_back_to_name_all_that_it_brings() -> None:
    log = told_of(RECEIVED, DELETED, UPDATED)
    log[-1]["data"]["changed"] = ["labels"]
    [said] = wrong_in(log)
    assert "brings back ['labels', 'msg_date']" in said


def test_the_verdict_takes_a_second_deletion_for_a_repetition_unless_the_message_was_back() -> None:
    def repeated(log: list[dict[str, Any]]) -> int:
        for event in log:  # its envelope is another test's business
            event |= {"source": "u:p:G", "user_id": "u", "subject": f"user.u.{event['type']}"}
            event |= {"provider": "G", "origin": "live", "time": "now"}
        return check_streams({"u:p:G": log}, lambda _: None)[1]

    assert repeated(told_of(RECEIVED, DELETED, UPDATED, DELETED)) == 0
    assert repeated(told_of(RECEIVED, UPDATED, DELETED, DELETED)) == 1
    same = told_of(RECEIVED, DELETED, UPDATED, DELETED)
    same[3]["id"] = same[1]["id"]
    assert repeated(same) == 1


@pytest.mark.parametrize(
    ("types", "again"), [((RECEIVED, DELETED, UPDATED, DELETED), 0), ((RECEIVED, UPDATED, DELETED, DELETED), 1)]
)
def test_the_simulation_allows_a_second_deletion_only_behind_an_update(types: tuple[str, ...], again: int) -> None:
    segment = SimpleNamespace(before=None, after={"stream": "u:p:G", "events": told_of(*types)})
    commit: Any = SimpleNamespace(of=lambda part: [segment] if part == "log" else [])
    world: Any = SimpleNamespace(record=Record(faultless=True))
    assert len(list(checker.a_message_is_deleted_once_and_at_the_provider(world, commit))) == again

"""``fold`` is pure, so its promises are properties: of any life of a mailbox, however cut into pages, however often folded."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared import refs
from shared.adapters.embedded.clock import VirtualClock
from shared.events.envelope import bus_message, fact_id, numbered_id, segment_of
from shared.mail import fold as fold_module
from shared.mail.fold import Work, fold
from shared.mail.state import Backfill, MailboxState, difference
from shared.ports import Create, Delete, Doc, Put, Update
from shared.providers.base import Deleted, LabelsChanged, Message, Missing, Refused, Upsert
from tests.invariants import fold_events
from tests.meter import free
from tests.provider import MemoryProvider

AT = 1_800_000_000.0
MAILBOX = MailboxState(
    "u:primary:GOOGLE",
    "u",
    "GOOGLE",
    "primary",
    "google:primary",
    AT,
    AT,
    followed_since=AT,
    cursor="1",
    status="live",
    verified=True,
)
FOLLOWED = replace(MAILBOX, backfill=Backfill(listing=False, done=True))


class Stored:
    """A store of one mailbox, as far as commits of the fold need one."""

    def __init__(self, state: MailboxState) -> None:
        self.state = state
        self.docs: dict[str, Doc] = {}
        self.events: list[Any] = []
        self.version = 0

    def known(self, work: Work) -> dict[str, Doc]:
        ids = {change.id for change in work.changes}
        found = {id_: self.docs.get(refs.message(self.state.id, id_)) for id_ in ids}
        return {id_: doc for id_, doc in found.items() if doc is not None}

    def take(self, work: Work, provider: MemoryProvider | None = None) -> list[Any]:
        """Fold and apply, fetching what the fold asks for; answers the commits."""
        folded = fold(self.state, self.known(work), work)
        if folded.wanted:
            assert provider is not None
            work = replace(work, changes=(*provider.fetch(free(), folded.wanted), *work.changes))
            folded = fold(self.state, self.known(work), work)
        assert folded.stop is None
        assert not folded.wanted
        for commit in folded.commits:
            for write in commit.writes:
                self._write(write)
            self.events += [event for segment in commit.segments for event in segment.events]
            self.state = replace(commit.state, rev=self.state.rev + 1)
        return list(folded.commits)

    def _write(self, write: Any) -> None:
        self.version += 1
        doc = self.docs.get(write.ref)
        if isinstance(write, Create):
            assert doc is None
            self.docs[write.ref] = Doc(write.ref, write.data, str(self.version))
        elif isinstance(write, Update):
            assert doc is not None
            assert doc.version == write.expect
            self.docs[write.ref] = Doc(write.ref, {**doc.data, **write.data}, str(self.version))
        elif isinstance(write, Put):
            self.docs[write.ref] = Doc(write.ref, write.data, str(self.version))
        else:
            assert isinstance(write, Delete)

    def messages(self) -> dict[str, Any]:
        return {doc.data["id"]: doc.data for ref, doc in self.docs.items() if "/messages/" in ref}


def message_of(id_: str, version: str) -> Message:
    """A plain mail in the inbox."""
    return Message(id_, "t", version, ("INBOX",), AT, "s", "", (), (), (), "", {})


labels = st.sampled_from(["INBOX", "UNREAD", "SENT", "DRAFT", "SPAM", "TRASH", "STARRED"])
lives = st.lists(
    st.tuples(st.sampled_from(["deliver", "add", "remove", "delete"]), st.integers(0, 7), st.sets(labels, max_size=3)),
    max_size=40,
)


def live(operations: Any) -> MemoryProvider:
    """A provider at which these things have happened."""
    provider = MemoryProvider(VirtualClock(AT))
    for kind, number, names in operations:
        id_ = f"m{number}"
        if kind == "deliver" and id_ not in provider.messages and not any(h[2] == id_ for h in provider._history):
            provider.deliver(id_, *sorted(names))
        elif id_ in provider.messages and kind == "add" and names:
            provider.relabel(id_, add=sorted(names))
        elif id_ in provider.messages and kind == "remove" and names:
            provider.relabel(id_, remove=sorted(names))
        elif id_ in provider.messages and kind == "delete":
            provider.delete(id_)
    return provider


def pages(provider: MemoryProvider, size: int) -> list[Work]:
    """The provider's history as live sync gets it, in pages of a size."""
    provider.history_page = size
    cursor, more, found = "1", True, []
    while more:
        page = provider.changes(free(), cursor)
        cursor, more = page.cursor, page.more
        found.append(Work("live", AT, page.changes, lambda state, to=cursor: replace(state, cursor=to)))
    return found


@given(lives, st.integers(1, 9))
def test_folding_a_streams_events_from_1_equals_the_store(operations, size):
    stored, provider = Stored(FOLLOWED), live(operations)
    for work in pages(provider, size):
        stored.take(work, provider)
    messages = stored.messages()
    present = {id_: data for id_, data in messages.items() if data["state"] == "present"}
    assert {id_: tuple(data["labels"]) for id_, data in present.items()} == {
        id_: message.labels for id_, message in provider.messages.items()
    }
    known = fold_events(stored.events)
    assert {id_: data["labels"] for id_, data in known.items()} == {
        id_: data["labels"] for id_, data in present.items() if data["announced"]
    }
    assert [event.sequence for event in stored.events] == list(range(1, stored.state.head + 1))
    assert stored.state.messages == len(present)


@given(lives, st.integers(1, 9))
def test_a_page_folded_again_changes_nothing(operations, size):
    stored, provider = Stored(FOLLOWED), live(operations)
    for work in pages(provider, size):
        stored.take(work, provider)
        again = fold(stored.state, stored.known(work), work)
        written = [write for commit in again.commits for write in commit.writes if "/gaps/" not in write.ref]
        assert (written, again.wanted) == ([], ())


@given(lives, st.integers(1, 9), st.integers(1, 9))
def test_the_ids_of_facts_do_not_depend_on_how_history_is_cut(operations, one, other):
    ids = []
    for size in (one, other):
        stored, provider = Stored(FOLLOWED), live(operations)
        for work in pages(provider, size):
            stored.take(work, provider)
        told = [(event.type, event.data["provider_message_id"], event.id) for event in stored.events]
        assert len(set(told)) == len(told)
        ids.append({id_ for type_, _, id_ in told if type_ == "email.deleted"})
        announced = {message: id_ for type_, message, id_ in told if type_ in ("email.received", "email.sent")}
        assert len(announced) == sum(1 for type_, _, _ in told if type_ in ("email.received", "email.sent"))


@pytest.mark.parametrize("unordered", [False, True])
def test_a_message_that_comes_back_and_goes_again_is_deleted_again_under_another_id(unordered):
    """Else who drops ids that it has seen would keep the message; what is only told once more is still no event."""
    stored = Stored(FOLLOWED)
    labels_ = ("folder:1",) if unordered else ("INBOX",)

    def tell(change: Any, version: int) -> None:
        ahead = {"read": {"m": stored.state.rev}} if unordered else {}
        stored.take(Work("live", AT, (change,), unordered=unordered, since=stored.state.rev, **ahead))

    for version in (1, 11, 21):
        message = Message("m", "t", str(version), labels_, AT, "", "", (), (), (), "", {})
        for change in (Upsert(message), Deleted("m", str(version + 5)), Deleted("m", str(version + 5))):
            tell(change, version)
    first, again = fact_id(MAILBOX.id, "m", "email.deleted"), "email.deleted"
    told = [(event.type, event.sequence) for event in stored.events]
    types_ = ["email.received", again, "email.updated", again, "email.updated", again]
    assert told == list(zip(types_, range(1, 7), strict=True))
    ids = [event.id for event in stored.events]
    assert len(set(ids)) == 6
    assert ids[1] == first


@given(lives, st.integers(1, 9))
def test_no_event_without_a_difference(operations, size):
    stored, provider = Stored(FOLLOWED), live(operations)
    last: dict[str, Any] = {}
    for work in pages(provider, size):
        stored.take(work, provider)
    for event in stored.events:
        id_ = event.data["provider_message_id"]
        if event.type == "email.updated":
            changed = [name for name in last[id_] if name in event.data and last[id_][name] != event.data[name]]
            assert set(event.data["changed"]) <= set(changed)
            assert event.data["changed"]
        last[id_] = event.data


@settings(max_examples=30)
@given(st.integers(2, 25), st.integers(3_000, 30_000))
def test_only_the_last_commit_of_a_page_moves_the_cursor_and_it_has_all_the_data_behind_it(count, limit):
    message = Message("", "t", "5", ("INBOX",), AT, "s", "a@b", (), (), (), "x" * 1_000, {})
    changes = tuple(Upsert(replace(message, id=f"m{number}")) for number in range(count))
    work = Work("live", AT, changes, lambda state: replace(state, cursor="9"))
    stored = Stored(FOLLOWED)
    whole, fold_module.COMMIT_BYTES = fold_module.COMMIT_BYTES, limit
    try:
        commits = stored.take(work)
    finally:
        fold_module.COMMIT_BYTES = whole
    assert [commit.state.cursor for commit in commits] == ["1"] * (len(commits) - 1) + ["9"]
    assert len(stored.messages()) == count
    for before, after in zip([FOLLOWED, *[commit.state for commit in commits]], commits, strict=False):
        assert len(after.segments) <= 1 or sum(len(s.events) for s in after.segments) == after.state.head - before.head


texts = st.text(max_size=30) | st.sampled_from(["\x1f" * 200, '"' * 300, "日" * 300])
several = st.lists(texts, max_size=3).map(tuple)
mails = st.builds(
    Message, texts, texts, st.integers(0, 10**64).map(str), several, st.floats(-1e9, 1e12), texts, texts, several, several,
    several, texts, st.dictionaries(texts, texts, max_size=3), st.just(()) | st.just(("subject", "snippet")),
)  # fmt: skip


@settings(max_examples=60)
@given(st.lists(mails, min_size=2, max_size=8, unique_by=lambda mail: mail.id), st.integers(1, 9_000))
def test_the_messages_and_events_of_one_commit_never_weigh_more_than_its_limit(messages, limit):
    whole, fold_module.COMMIT_BYTES = fold_module.COMMIT_BYTES, limit
    try:
        stored = Stored(FOLLOWED)
        commits = stored.take(Work("live", AT, tuple(Upsert(message) for message in messages)))
        commits += stored.take(Work("live", AT, tuple(Deleted(message.id, str(10**65)) for message in messages)))
    finally:
        fold_module.COMMIT_BYTES = whole
    for commit in commits:
        told = [write for write in commit.writes if "/messages/" in write.ref]
        assert len(told) == 1 or sum(len(orjson.dumps(write.data)) for write in commit.writes) <= limit


@given(mails)
def test_an_event_is_on_the_bus_as_it_is_in_the_log(message):
    stored = Stored(FOLLOWED)
    for commit in stored.take(Work("live", AT, (Upsert(message),))):
        for segment in commit.segments:
            read = segment_of(orjson.loads(orjson.dumps(segment.create().data)))
            assert [bus_message(event) for event in segment.events] == [bus_message(event) for event in read.events]


def test_the_id_of_a_fact_is_a_name_based_uuid():
    namespace = uuid.uuid5(uuid.NAMESPACE_URL, "https://cloudevents.io/brainstem")
    for message in ("m1", "é", ""):
        assert fact_id("u:p:G", message, "t") == str(uuid.uuid5(namespace, f"u:p:G|{message}|t"))
    assert numbered_id("u:app", 7) == str(uuid.uuid5(namespace, "u:app#7"))


@given(lives, st.integers(1, 9), st.integers(0, 40), st.booleans())
def test_backfill_and_live_sync_in_any_order_end_in_the_same_store(operations, size, cut, live_first):
    """Each message is listed at some moment of its life; live sync has walked all of history before or after that."""
    before, provider = live(operations[:cut]), live(operations)
    works = pages(provider, size)
    listed = [Work("backfill", AT, tuple(Upsert(message) for message in before.messages.values()))]
    stored = Stored(MAILBOX)
    for work in [*works, *listed] if live_first else [*listed, *works]:
        stored.take(work, provider)
    messages = {id_: data for id_, data in stored.messages().items() if data["state"] == "present"}
    assert {id_: tuple(data["labels"]) for id_, data in messages.items()} == {
        id_: message.labels for id_, message in provider.messages.items()
    }


def test_what_cannot_be_read_becomes_a_gap_in_the_same_commit():
    work = Work("live", AT, (Refused("a", "it is broken"), Missing("b")), lambda state: replace(state, cursor="9"))
    (commit,) = fold(FOLLOWED, {}, work).commits
    gaps = {write.data["id"]: write.data["reason"] for write in commit.writes}
    assert gaps["a"] == "it is broken"
    assert set(gaps) == {"a", "b"}
    assert commit.state.cursor == "9"
    assert commit.state.due_gaps == AT + fold_module.FIRST_GAP_RETRY


def test_a_missing_message_whose_deletion_is_in_the_same_page_is_no_gap():
    stored = Stored(FOLLOWED)
    stored.take(Work("live", AT, (Missing("a"), Deleted("a", "7"))))
    assert stored.messages()["a"]["state"] == "tombstone"
    assert not [ref for ref in stored.docs if "/gaps/" in ref]


def test_ten_refusals_in_a_row_stop_and_write_nothing():
    changes = tuple(Refused(f"m{number}", "500") for number in range(10))
    folded = fold(FOLLOWED, {}, Work("live", AT, changes))
    assert folded.commits == ()
    assert "10 messages in a row" in str(folded.stop)


def test_a_mail_that_no_document_could_hold_becomes_a_gap():
    huge = Message("a", "t", "5", ("INBOX",), AT, "s" * 800_000, "a@b", (), (), (), "", {})
    stored = Stored(FOLLOWED)
    stored.take(Work("live", AT, (Upsert(huge),)))
    assert stored.messages() == {}
    assert [ref for ref in stored.docs if "/gaps/" in ref]


def test_an_unknown_message_that_changes_after_the_backfill_is_asked_for():
    change = LabelsChanged("a", "7", added=("STARRED",))
    assert fold(FOLLOWED, {}, Work("live", AT, (change,))).wanted == ("a",)
    assert fold(MAILBOX, {}, Work("live", AT, (change,))).wanted == ()


def test_the_mailbox_document_changes_with_every_write():
    assert difference(FOLLOWED, FOLLOWED) == {"rev": 1}

"""The contract of ``MailProvider``, the same for both adapters and for the fakes that the engine is tested with.

It is long because it is one list of promises. ``world`` is each of the four mailboxes, ``wired`` the two behind HTTP,
``foldered`` the two that tell of changes by folder.
"""

from __future__ import annotations

import io
import json
import random
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import urllib3

from infra.local.microsoft.methods import deltas
from infra.local.simulated.errors import UnreadableMail
from shared.errors import (
    BrainstemError,
    CursorExpired,
    FolderAbsent,
    Paced,
    PageExpired,
    ProviderRefused,
    ProviderUnavailable,
    RateLimited,
    ReauthRequired,
)
from shared.providers.base import (
    FOLDER,
    PROVIDERS,
    Access,
    Channel,
    Deleted,
    LabelsChanged,
    Left,
    Listing,
    Missing,
    Refused,
    Span,
    Upsert,
)
from shared.providers.bounds import MAX_MESSAGE_BYTES
from shared.providers.http.wire import Reply
from tests.contract.mail_follow import Follower
from tests.contract.mail_memory import MemoryGmail, MemoryOutlook
from tests.contract.mail_simulated import Gmail, Outlook
from tests.contract.mail_worlds import CHANNEL_SECRET, ME, MailWorld, calls_of, refreshed

WORLDS: dict[str, Callable[[Path], MailWorld]] = {
    "gmail": Gmail,
    "graph": Outlook,
    "memory": MemoryGmail,
    "folders": MemoryOutlook,
}
BODY_MARK, HEADER_MARK = "body-of-the-answer", "header-of-the-answer"


def opened(build: Callable[[Path], Any], folder: Path) -> Iterator[Any]:
    world = build(folder)
    yield world
    world.close()


@pytest.fixture(params=WORLDS)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MailWorld]:
    yield from opened(WORLDS[request.param], tmp_path)


@pytest.fixture(params=["gmail", "graph"])
def wired(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Gmail | Outlook]:
    yield from opened(WORLDS[request.param], tmp_path)


@pytest.fixture(params=["graph", "folders"])
def foldered(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Outlook | MemoryOutlook]:
    yield from opened(WORLDS[request.param], tmp_path)


@pytest.fixture(params=["gmail", "memory"])
def whole(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Gmail | MemoryGmail]:
    yield from opened(WORLDS[request.param], tmp_path)


def following(world: MailWorld) -> Follower:
    """A reader who has read all that is there."""
    follower = Follower(world.provider, world.access())
    follower.begin()
    return follower


def listed(world: MailWorld, limit: int, label: str | None = None, within: Span | None = None) -> list[Listing]:
    access, page, listings = world.access(), None, []
    for _ in range(100):
        listings.append(world.provider.list_ids(access, page, limit, label, within))
        page = listings[-1].next
        if page is None:
            return listings
    raise AssertionError("The listing does not end.")


def ids_of(listings: list[Listing]) -> list[str]:
    return [id for listing in listings for id in listing.ids]


# The mailbox as it stands.


def test_a_profile_names_the_address_the_total_and_the_well_known_folders(world: MailWorld) -> None:
    for number in range(4):
        world.deliver(f"{number}")
    profile = world.provider.profile(world.access())
    assert (profile.address, profile.total) == (ME, 4)
    if world.provider.per_folder:
        assert profile.cursor == "", "the folders have yet to be read"
        names = [name for name in profile.folders.values() if name != "RECOVERABLE"]
        assert sorted(names) == ["DRAFT", "INBOX", "SENT", "SPAM", "TRASH"]
    else:
        assert profile.cursor
        assert profile.folders == {}, "labels have their well-known names already"


def test_a_name_is_one_of_those_in_mailbox_ids(world: MailWorld) -> None:
    assert world.provider.name in PROVIDERS.values()


def test_all_that_is_there_is_read_however_many_pages_that_takes(world: MailWorld) -> None:
    place = world.place("Work")
    for number in range(14):
        world.deliver(f"{number}", place=place if number % 2 else "")
    world.deliver("spam", "SPAM", "UNREAD")
    world.deliver("trash", "TRASH")
    assert following(world).labels() == world.truth()


def test_a_message_is_told_of_in_the_same_words_by_all_calls(world: MailWorld) -> None:
    ids = [world.deliver(f"Subject {number}") for number in range(4)]
    follower = following(world)
    fetched = world.provider.fetch(world.access(), ids)
    assert [answer.message for answer in fetched if isinstance(answer, Upsert)] == [follower.mails[id] for id in ids]
    for number, id in enumerate(ids):
        message = follower.mails[id]
        assert message.subject == f"Subject {number}"
        assert (message.sender, message.to) == ("bob@example.org", (ME,))
        assert message.headers["Subject"] == f"Subject {number}"
        assert message.labels == tuple(sorted(set(message.labels)))
        assert message.version
        assert message.thread_id
    assert [follower.mails[id].received_at for id in ids] == sorted(follower.mails[id].received_at for id in ids)


def test_every_message_of_a_folder_carries_the_label_of_that_folder_and_of_no_other(foldered: Outlook) -> None:
    place = foldered.place("Work")
    kept, other = foldered.deliver("kept", place=place), foldered.deliver("other")
    mails = following(foldered).mails
    assert [label for label in mails[kept].labels if label.startswith(FOLDER)] == [place]
    assert {label for label in mails[kept].labels} & set(foldered.access().folders.values()) == set()
    assert len([label for label in mails[other].labels if label.startswith(FOLDER)]) == 1
    assert "INBOX" in mails[other].labels


# Listings.


def test_a_listing_is_newest_first_and_comes_to_its_end(world: MailWorld) -> None:
    place = world.place("Work")
    ids = [world.deliver(f"{number}", place=place if number % 3 else "") for number in range(7)]
    listings = listed(world, 2)
    assert ids_of(listings) == ids[::-1]
    assert all(len(listing.ids) <= 2 for listing in listings)


def test_spam_and_trash_are_listed_too(world: MailWorld) -> None:
    ids = {world.deliver("spam", "SPAM"), world.deliver("trash", "TRASH"), world.deliver("inbox")}
    assert set(ids_of(listed(world, 5))) == ids


def test_a_listing_can_be_taken_up_at_any_page_and_begun_anew(world: MailWorld) -> None:
    ids = [world.deliver(f"{number}") for number in range(7)]
    first = world.provider.list_ids(world.access(), None, 3)
    again = [world.provider.list_ids(world.access(), first.next, 3).ids for _ in range(3)]
    assert again == [tuple(ids[::-1][3:6])] * 3
    world.delete(ids[5])  # one that is on the page before
    new = world.deliver("new")
    page = world.provider.list_ids(world.access(), first.next, 3)
    assert set(ids[::-1][4:6]) <= set(page.ids), (
        "what is gone or new before a page takes at most what moved over its edge"
    )
    assert ids_of(listed(world, 3)) == [new, *[id for id in ids[::-1] if id != ids[5]]]


def test_a_listing_of_one_label_has_what_carries_it(world: MailWorld) -> None:
    place = world.place("Work")
    ids = [world.deliver(f"{number}", place=place if number % 2 else "") for number in range(6)]
    assert ids_of(listed(world, 2, place)) == ids[::-1][::2]


def test_a_listing_of_a_label_that_is_gone_is_empty(world: MailWorld) -> None:
    place = world.place("Work")
    world.deliver("once there", place=place)
    world.drop(place)
    assert ids_of(listed(world, 5, place)) == []


def test_labels_name_all_that_can_be_listed_where_listings_tell_no_versions(world: MailWorld) -> None:
    place = world.place("Work")
    id = world.deliver("there", place=place)
    listing = world.provider.list_ids(world.access(), None, 5)
    labels = world.provider.labels(world.access())
    if listing.versions:
        assert labels == (), "versions tell what has changed"
    else:
        assert {place, *world.truth()[id]} <= set(labels)


def test_a_listing_within_a_span_leaves_out_what_is_far_beside_it(world: MailWorld) -> None:
    ids, times = [], []
    for number in range(6):
        ids.append(world.deliver(f"{number}"))
        times.append(world.clock.now())
    within = ids_of(listed(world, 2, None, Span(times[2], times[4])))
    assert within == ids[2:5][::-1], "both ends are included"
    assert ids_of(listed(world, 2, None, Span(times[3]))) == ids[3:][::-1]


def test_a_page_token_that_is_refused_is_told_as_expired(world: MailWorld) -> None:
    world.deliver("there")
    for page in world.bad_pages():
        with pytest.raises(PageExpired):
            world.provider.list_ids(world.access(), page, 5)


def test_threads_and_versions_of_a_listing_stand_beside_the_ids(world: MailWorld) -> None:
    for number in range(5):
        world.deliver(f"{number}")
    mails = following(world).mails
    for listing in listed(world, 2):
        assert listing.threads == tuple(mails[id].thread_id for id in listing.ids)
        if world.provider.per_folder:
            assert listing.versions == tuple(mails[id].version for id in listing.ids)
        else:
            assert listing.versions == (), "Gmail's listings do not say"


# Reading.


def test_fetch_answers_in_the_order_asked_and_says_what_is_not_served(world: MailWorld) -> None:
    first, gone, refused, last = (world.deliver(subject) for subject in ("first", "gone", "refused", "last"))
    world.delete(gone)
    world.refuse(refused)
    answers = world.provider.fetch(world.access(), [last, gone, refused, first, last])
    assert [answer.id for answer in answers] == [last, gone, refused, first, last]
    assert [type(answer) for answer in answers] == [Upsert, Missing, Refused, Upsert, Upsert]
    assert world.provider.fetch(world.access(), []) == ()


def test_fetch_answers_for_the_ids_first_whatever_comes_along_with_their_threads(world: MailWorld) -> None:
    ids = [world.deliver(f"{number}") for number in range(4)]
    mails = following(world).mails
    asked = [ids[2], ids[0]]
    answers = world.provider.fetch(world.access(), asked, [mails[id].thread_id for id in asked])
    assert [answer.id for answer in answers[:2]] == asked
    assert {answer.id for answer in answers[2:]} <= set(ids) - set(asked)


# Changes.


def test_an_anchor_taken_before_a_change_leads_to_that_change(world: MailWorld) -> None:
    world.deliver("before")
    follower = Follower(world.provider, world.access())
    follower.anchor()
    id = world.deliver("behind")
    changes = follower.look()
    assert [change.id for change in changes] == [id]
    assert isinstance(changes[0], Upsert)
    assert changes[0].message.subject == "behind"


def test_where_nothing_has_changed_nothing_is_told(world: MailWorld) -> None:
    world.deliver("before")
    follower = following(world)
    follower.look()
    for _ in range(6):  # more often than any provider keeps cursors
        assert follower.look() == []


@pytest.mark.parametrize(
    ("add", "remove"),
    [((), ("UNREAD",)), (("STARRED",), ()), (("tag",), ()), (("STARRED", "tag"), ("UNREAD",))],
    ids=["read", "starred", "tagged", "all at once"],
)
def test_a_mark_comes_as_a_change_of_that_message_with_another_version(
    world: MailWorld, add: tuple[str, ...], remove: tuple[str, ...]
) -> None:
    marks = {world.tag if label == "tag" else label for label in add}
    id, other = world.deliver("marked"), world.deliver("other")
    follower = following(world)
    before = follower.mails[id]
    world.mark(id, sorted(marks), remove)
    changes = follower.look()
    assert {change.id for change in changes} == {id}
    assert all(isinstance(change, (Upsert, LabelsChanged)) for change in changes)
    after = follower.mails[id]
    assert after.version != before.version
    assert set(after.labels) == (set(before.labels) | marks) - set(remove)
    world.mark(id, remove, sorted(marks))
    follower.look()
    assert follower.mails[id].labels == before.labels
    assert follower.mails[id].version not in (before.version, after.version)
    assert follower.labels()[other] == world.truth()[other]


def test_a_message_that_is_moved_is_the_same_message_elsewhere(world: MailWorld) -> None:
    place = world.place("Work")
    id = world.deliver("moved")
    follower = following(world)
    before = follower.mails[id]
    world.move(id, place)
    changes = follower.look()
    assert {change.id for change in changes} == {id}, "an id is for life"
    assert not [change for change in changes if isinstance(change, Deleted)], "a move deletes nothing"
    after = follower.mails[id]
    assert place in after.labels
    assert "INBOX" not in after.labels
    assert (after.subject, after.received_at, after.thread_id) == (before.subject, before.received_at, before.thread_id)
    assert follower.labels() == world.truth()
    if world.provider.per_folder:
        inbox = next(label for label in before.labels if label.startswith(FOLDER))
        assert Left(id, inbox) in changes


def test_an_id_is_for_life(world: MailWorld) -> None:
    place = world.place("Work")
    moved = world.deliver("moved")
    follower = following(world)
    [(id, before)] = follower.mails.items()
    world.move(moved, place)
    follower.look()
    assert list(follower.mails) == [id], "whatever folder it is in"
    assert follower.mails[id].subject == before.subject == "moved"
    assert [answer.id for answer in world.provider.fetch(world.access(), [id]) if isinstance(answer, Upsert)] == [id]


def test_a_message_goes_to_the_trash_and_returns(world: MailWorld) -> None:
    id = world.deliver("thrown away")
    follower = following(world)
    world.trash(id)
    follower.look()
    assert "TRASH" in follower.mails[id].labels
    assert "INBOX" not in follower.mails[id].labels
    world.untrash(id)
    follower.look()
    assert follower.labels() == world.truth()
    assert "INBOX" in follower.mails[id].labels


def test_a_deletion_is_told(world: MailWorld) -> None:
    id, kept = world.deliver("gone"), world.deliver("kept")
    follower = following(world)
    world.delete(id)
    changes = follower.look()
    assert {change.id for change in changes} == {id}
    # By folder nothing more is known than that it left: reading it tells the rest.
    assert {type(change) for change in changes} == {Left if world.provider.per_folder else Deleted}
    assert world.provider.fetch(world.access(), [id]) == (Missing(id),)
    assert set(follower.mails) == {kept}


def test_a_mail_that_comes_and_goes_between_two_looks_leaves_nothing(world: MailWorld) -> None:
    follower = following(world)
    world.delete(world.deliver("short-lived"))
    follower.look()
    assert follower.mails == {}


def test_a_draft_is_a_draft_at_every_save_and_sent_in_the_end(world: MailWorld) -> None:
    follower = following(world)
    draft, first = world.draft("first text")
    follower.look()
    assert "DRAFT" in follower.mails[first].labels
    draft, second = world.draft("second text", draft)
    follower.look()
    assert list(follower.mails) == [second], "whether its message is another one at each save is the provider's affair"
    assert "DRAFT" in follower.mails[second].labels
    sent = world.send_draft(draft)
    follower.look()
    assert list(follower.mails) == [sent]
    assert "SENT" in follower.mails[sent].labels
    assert "DRAFT" not in follower.mails[sent].labels
    assert follower.labels() == world.truth()


def test_sent_mail_comes_as_sent(world: MailWorld) -> None:
    follower = following(world)
    world.send("to Bob", "bob@example.org")
    follower.look()
    [message] = follower.mails.values()
    assert "SENT" in message.labels
    assert "INBOX" not in message.labels


def test_mail_to_oneself_is_in_the_inbox_and_among_the_sent(world: MailWorld) -> None:
    follower = following(world)
    world.send("to myself", ME)
    follower.look()
    assert follower.labels() == world.truth()
    labels = [set(message.labels) & {"SENT", "INBOX", "UNREAD"} for message in follower.mails.values()]
    # A message is in one folder, so there it comes as two.
    expected = [{"SENT"}, {"INBOX", "UNREAD"}] if world.provider.per_folder else [{"SENT", "INBOX", "UNREAD"}]
    assert sorted(map(sorted, labels)) == sorted(map(sorted, expected))


def test_a_message_that_is_refused_does_not_stop_the_others(world: MailWorld) -> None:
    follower = following(world)
    bad, good = world.deliver("bad"), world.deliver("good")
    world.refuse(bad)
    changes = follower.look()
    assert (set(follower.mails), follower.gaps) == ({good}, {bad})
    assert [change.reason for change in changes if isinstance(change, Refused)] != [""]


def test_reading_again_from_the_same_cursor_ends_in_the_same_state(world: MailWorld) -> None:
    place = world.place("Work")
    ids = [world.deliver(f"{number}") for number in range(5)]
    follower = following(world)
    follower.look()
    before = dict(follower.cursors)
    world.move(ids[0], place)
    world.mark(ids[1], ["STARRED"])
    world.delete(ids[2])
    new = world.deliver("new", place=place)
    follower.look()
    once = dict(follower.mails)
    assert follower.labels() == world.truth()
    for _ in range(2):  # of a folder's cursors about the last four can be used
        follower.cursors = dict(before)
        changes = follower.look()
        assert follower.mails == once
        assert new in {change.id for change in changes}, "what is not taken in is told again"


def test_a_walk_is_taken_up_at_the_page_where_it_was_left(world: MailWorld) -> None:
    follower = following(world)
    follower.look()
    ids = [world.deliver(f"{number}") for number in range(8)]
    folder = (
        "" if "" in follower.cursors else next(id for id, name in world.access().folders.items() if name == "INBOX")
    )
    page = world.provider.changes(world.access(), follower.cursors[folder], folder)
    assert page.more
    assert page.cursor != follower.cursors[folder]
    follower.cursors[folder] = page.cursor
    behind = [change.id for change in follower.look_at(folder)]
    assert sorted([change.id for change in page.changes] + behind) == sorted(ids)


def test_a_cursor_that_the_provider_forgot_is_expired_and_reading_anew_is_whole(world: MailWorld) -> None:
    ids = [world.deliver(f"{number}") for number in range(4)]
    follower = following(world)
    world.delete(ids[0])
    world.forget()  # Gmail never forgets a cursor behind which nothing has happened
    for folder in follower.cursors:
        with pytest.raises(CursorExpired):
            world.provider.changes(world.access(), follower.cursors[folder], folder)
    assert following(world).labels() == world.truth()


def test_only_the_folder_whose_cursor_is_forgotten_is_begun_anew(foldered: Outlook) -> None:
    place = foldered.place("Work")
    there = foldered.deliver("there", place=place)
    follower = following(foldered)
    foldered.forget(place)
    new = foldered.deliver("new")
    with pytest.raises(CursorExpired):
        follower.look_at(place.removeprefix(FOLDER))
    follower.cursors[place.removeprefix(FOLDER)] = ""
    assert {change.id for change in follower.look()} == {there, new}


def test_a_cursor_that_no_provider_has_given_is_expired(world: MailWorld) -> None:
    folder = next(iter(world.access().folders), "")
    for cursor in ("nonsense", "-1", "https://elsewhere.test/x"):
        with pytest.raises(CursorExpired):
            world.provider.changes(world.access(), cursor, folder)


def happens(world: MailWorld, chance: random.Random, places: list[str], number: int) -> None:
    """One thing, to one message or to none."""
    there = sorted(world.truth())
    if not there or chance.random() < 0.2:
        world.deliver(f"new {number}", place=chance.choice(["", *places]))
        return
    id = chance.choice(there)
    act: list[Callable[[], object]] = [
        lambda: world.mark(id, [chance.choice(["STARRED", world.tag])]),
        lambda: world.mark(id, (), ["UNREAD"]),
        lambda: world.mark(id, ["UNREAD"], ["STARRED"]),
        lambda: world.move(id, chance.choice(places)),
        lambda: world.trash(id),
        lambda: world.untrash(id),
        lambda: world.delete(id),
    ]
    chance.choice(act)()


@pytest.mark.parametrize("seed", range(3))
def test_whatever_happens_the_follower_ends_with_what_is_true(world: MailWorld, seed: int) -> None:
    chance = random.Random(seed)
    places = [world.place(name) for name in ("Work", "Home")]
    for number in range(5):
        world.deliver(f"old {number}", place=chance.choice(["", *places]))
    world.hinder()
    follower = following(world)
    for number in range(30):
        happens(world, chance, places, number)
        if chance.random() < 0.25:
            follower.look()
    follower.look()
    assert follower.labels() == world.truth()
    fetched = world.provider.fetch(world.access(), list(follower.mails))
    assert [answer.message for answer in fetched if isinstance(answer, Upsert)] == list(follower.mails.values())


def test_tokens_and_links_go_back_letter_for_letter(wired: Gmail | Outlook) -> None:
    for number in range(8):
        wired.deliver(f"{number}")
    follower = following(wired)
    wired.deliver("later")
    follower.look()
    listed(wired, 2)
    given, asked = wired.tokens_given_and_asked()
    assert asked
    assert set(asked) <= set(given)


def test_changes_are_whole_however_many_there_are(wired: Gmail | Outlook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deltas, "FILTERED_AT_MOST", 5)  # where a filter silently ends a round
    for number in range(12):
        wired.deliver(f"{number}")
    assert len(following(wired).mails) == 12


# Folders.


def test_folders_are_told_of_when_they_are_new_renamed_or_gone(foldered: Outlook) -> None:
    place = foldered.place("Work")
    inside = foldered.place("Inside", place)
    foldered.deliver("there", place=place)
    access = foldered.access()
    first = foldered.provider.folders(access, "")
    found = {FOLDER + folder.id: folder for folder in first.changed}
    assert first.gone == ()
    told = {folder.id for folder in first.changed}
    assert {id: name for id, name in access.folders.items() if id not in told and name != "RECOVERABLE"} == {}
    assert "RECOVERABLE" not in {access.folders.get(id) for id in told}, "what is in it is gone"
    assert (found[place].name, found[place].total) == ("Work", 1)
    if isinstance(foldered, Outlook):  # the fake's folders are all at the top: the engine does not look at parents
        assert FOLDER + found[inside].parent == place
    new = foldered.place("New")
    second = foldered.provider.folders(access, first.cursor)
    assert FOLDER + next(one.id for one in second.changed if one.name == "New") == new
    foldered.rename(new, "Renamed")
    third = foldered.provider.folders(access, second.cursor)
    assert [(FOLDER + folder.id, folder.name) for folder in third.changed] == [(new, "Renamed")]
    foldered.drop(new)
    fourth = foldered.provider.folders(access, third.cursor)
    assert (fourth.changed, fourth.gone) == ((), (new.removeprefix(FOLDER),))
    fifth = foldered.provider.folders(access, fourth.cursor)
    assert (fifth.changed, fifth.gone) == ((), ())


def test_a_folders_cursor_that_the_provider_forgot_is_expired(foldered: Outlook) -> None:
    foldered.place("Work")
    cursor = foldered.provider.folders(foldered.access(), "").cursor
    foldered.forget()
    with pytest.raises(CursorExpired):
        foldered.provider.folders(foldered.access(), cursor)
    assert "Work" in {folder.name for folder in foldered.provider.folders(foldered.access(), "").changed}


def test_a_folder_that_is_gone_is_absent_and_takes_its_messages_along(foldered: Outlook) -> None:
    place = foldered.place("Work")
    id = foldered.deliver("there", place=place)
    follower = following(foldered)
    foldered.drop(place)
    with pytest.raises(FolderAbsent):
        foldered.provider.changes(foldered.access(), "", place.removeprefix(FOLDER))
    follower.look()
    assert follower.labels() == foldered.truth() == {}
    assert foldered.provider.fetch(foldered.access(), [id]) == (Missing(id),)


def test_a_provider_of_whole_mailboxes_has_no_folders(whole: Gmail) -> None:
    assert whole.provider.folders(whole.access(), "").changed == ()
    assert whole.provider.folders(whole.access(), "").gone == ()


# What strangers send.

HOSTILE = {
    "huge": b"From: bob@example.org\r\nSubject: " + b"x" * 60_000 + b"\r\nTo: " + b"a@b.example, " * 4_000 + b"\r\n\r\n.",
    "invalid encodings": b"From: =?utf-8?q?=ED=A0=80?= <b\xff\xfe@x>\r\nSubject: =?x-none?b?!!?= \xff\x00\x1b\r\n\r\n\xff",
    "no headers that mean anything": b"X: y\r\n\r\nbody",
    "torn": b"From: a@x.org\r\nSubject: a\r\n b\r\n\tc\r\nno colon\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b",
    "injecting": b"From: a@x.org\r\nSubject: =?utf-8?q?a=0D=0ABcc:_e=40x.org?=\r\nTo: <\"\r\n>@x\r\n\r\n.",
}  # fmt: skip


def test_hostile_messages_neither_end_a_page_nor_hide_the_others(wired: Gmail | Outlook) -> None:
    follower = following(wired)
    good = [wired.deliver("before")]
    hostile: dict[str, str] = {}
    for name, raw in HOSTILE.items():
        try:
            hostile[wired.deliver_raw(raw)] = name
        except UnreadableMail:  # no server takes it for a mail
            continue
    assert len(hostile) >= 4
    good.append(wired.deliver("behind"))
    follower.look()
    assert set(follower.mails) | follower.gaps == {*good, *hostile}
    assert set(good) <= set(follower.mails)
    for message in follower.mails.values():
        lines = (message.subject, message.sender, *message.to, *message.cc, *message.headers.values())
        assert not any("\n" in line or "\r" in line or "\0" in line for line in lines)
        assert len(json.dumps(asdict(message), ensure_ascii=False).encode()) <= MAX_MESSAGE_BYTES
    assert following(wired).mails == follower.mails


# What a call costs, and what it waits for.


def test_every_call_asks_the_meter_before_each_request(wired: Gmail | Outlook) -> None:
    wired.deliver("there")
    for name, call in each(wired):
        wired.purse.log.clear()
        call()
        log = wired.purse.log
        assert any(entry != "spend" for entry in log), name
        assert all(at and log[at - 1] == "spend" for at, entry in enumerate(log) if entry != "spend"), name


def test_where_the_meter_lets_nothing_through_nothing_goes_out(wired: Gmail | Outlook) -> None:
    wired.deliver("there")
    calls = each(wired)
    wired.purse.empty = True
    wired.purse.log.clear()
    for _, call in calls:
        with pytest.raises(Paced):
            call()
    assert wired.purse.log == []


def test_every_request_has_a_timeout(wired: Gmail | Outlook, monkeypatch: pytest.MonkeyPatch) -> None:
    wired.deliver("there")
    access = wired.access()
    waits: list[tuple[float, float]] = []

    def urlopen(pool: Any, method: str, url: str, **options: Any) -> urllib3.HTTPResponse:
        timeout = options.get("timeout", pool.timeout)
        waits.append((timeout.connect_timeout, timeout.read_timeout))
        whole = f"{pool.scheme}://{pool.host}{url}"
        answer, content = wired.wire.http.request(whole, method, options.get("body"), options.get("headers"))
        fields = {"content-type": answer.get("content-type")}
        return urllib3.HTTPResponse(io.BytesIO(content), fields, answer.status, preload_content=False)

    monkeypatch.setattr(urllib3.connectionpool.HTTPConnectionPool, "urlopen", urlopen)
    wired.provider = wired.made(over_the_wire=False, provider_timeout=7.0)
    for name, call in [*calls_of(wired, access).items(), ("refresh", lambda: wired.provider.refresh(wired.grant()))]:
        waits.clear()
        call()
        assert set(waits) == {(7.0, 7.0)}, name


# What goes wrong.


def each(world: MailWorld, *but: str) -> list[tuple[str, Callable[[], object]]]:
    """Every call but these, with what it needs read before the trouble begins."""
    return [(name, call) for name, call in calls_of(world, world.access()).items() if name not in but]


def test_a_dead_grant_asks_for_the_person(world: MailWorld) -> None:
    calls = each(world)
    world.revoke()
    for _, call in calls:
        with pytest.raises(ReauthRequired):
            call()
    with pytest.raises(ReauthRequired):
        world.provider.refresh(world.grant())


def test_a_refresh_token_that_was_never_given_is_a_dead_grant(wired: Gmail | Outlook) -> None:
    for token in ("", "nonsense", "\ud800\n"):
        with pytest.raises(ReauthRequired):
            wired.provider.refresh(token)


def test_a_limit_says_how_long_it_lasts(world: MailWorld) -> None:
    for _, call in each(world):
        world.trouble("limited")
        with pytest.raises(RateLimited) as caught:
            call()
        assert caught.value.retry_after == pytest.approx(120, abs=1)
        world.clock.advance(121)


def test_a_short_limit_costs_time_and_nothing_else(wired: Gmail | Outlook) -> None:
    for name, call in each(wired):
        wired.sim.set_faults(
            {"calls": [{"fault": "status", "methods": ["*"], "at": [1], "status": 429, "retry_after": 2}]}
        )
        began = wired.clock.now()
        said = 0.0
        try:
            call()
        except RateLimited as error:
            said = error.retry_after or 0.0
            wired.clock.advance(said)
            call()
        assert said in (0.0, 2.0), name
        assert wired.clock.now() - began >= 2, name


@pytest.mark.parametrize("kind", ["down", "cut"])
def test_an_outage_is_told_as_one(world: MailWorld, kind: str) -> None:
    for name, call in each(world):
        world.trouble(kind)
        with pytest.raises(ProviderUnavailable):
            call()
        world.clock.advance(121)
        assert name
    with pytest.raises(ProviderUnavailable):
        world.provider.refresh(world.grant())


def test_garbage_is_an_outage_and_not_an_empty_answer(wired: Gmail | Outlook) -> None:
    # What closing a channel answers is not read.
    for _, call in each(wired, "close_channel"):
        wired.trouble("garbage")
        with pytest.raises(ProviderUnavailable):
            call()
        wired.clock.advance(121)


def test_a_refusal_of_the_whole_call_is_told_as_one(wired: Gmail | Outlook) -> None:
    # Messages are refused one by one: what becomes of them is told in their answers.
    for _, call in each(wired, "fetch"):
        wired.trouble("refused")
        with pytest.raises(ProviderRefused):
            call()


@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 404, 409, 410, 429, 500, 503])
def test_no_error_shows_a_token_a_header_or_a_body(wired: Gmail | Outlook, status: int) -> None:
    calls = [*each(wired), ("refresh", lambda: wired.provider.refresh(wired.grant()))]
    secrets = (*wired.secrets(), BODY_MARK, HEADER_MARK)

    def parrot(headers: Any, body: Any) -> tuple[Reply, bytes]:
        sent = f"{headers} {body} {BODY_MARK}".replace('"', "'").replace("\\", "/")
        shape = f'{{"error": {{"code": "{BODY_MARK}", "message": "{sent}", "errors": [{{"reason": "{BODY_MARK}"}}]}}}}'
        return Reply(status, {"retry-after": f"{HEADER_MARK}", "location": HEADER_MARK}), shape.encode()

    wired.wire.instead = parrot
    for name, call in calls:
        try:
            answer = call()
        except BrainstemError as error:
            said = "".join(traceback.format_exception(error)) + repr(error.details)
        else:
            # An answer without what was asked for is an empty one to Gmail; messages are refused one by one.
            assert status == 200 or name in ("fetch", "close_channel"), name
            said = repr(answer)
        assert not [secret for secret in secrets if secret in said], name
        wired.clock.advance(121)


# Grants.


def test_tokens_are_good_as_long_as_the_newest_refresh_token_is_kept(world: MailWorld) -> None:
    for tokens in refreshed(world, 6):
        assert tokens.expires_at > world.clock.now()
        assert world.provider.profile(Access(tokens.access, world.access().meter)).address == ME


def test_a_token_does_not_show_itself(world: MailWorld) -> None:
    assert world.access().token not in repr(world.access())


# Channels.


def test_a_channel_is_opened_prolonged_and_closed(world: MailWorld) -> None:
    access = world.access()
    first = world.provider.open_channel(access, "", CHANNEL_SECRET)
    assert first is not None
    assert first.expires_at > world.clock.now() + 3600
    assert world.channels() == 1
    world.clock.advance(86_400)
    second = world.provider.open_channel(access, first.id, CHANNEL_SECRET)
    assert second is not None
    assert (second.id, second.expires_at > first.expires_at) == (first.id, True)
    assert world.channels() == 1
    world.provider.close_channel(access, second)
    world.provider.close_channel(access, second)
    assert world.channels() == 0


def test_a_channel_that_the_provider_lost_is_opened_anew(world: MailWorld) -> None:
    access = world.access()
    lost = world.provider.open_channel(access, "", CHANNEL_SECRET)
    assert lost is not None
    world.lose_channels()
    assert world.channels() == 0
    opened = world.provider.open_channel(access, lost.id, CHANNEL_SECRET)
    assert opened is not None
    assert opened.expires_at > world.clock.now()
    assert world.channels() == 1
    world.provider.close_channel(access, Channel(lost.id, lost.expires_at))
    if opened.id:  # one without an id is the mailbox's only one
        assert world.channels() == 1


def test_a_channel_that_we_lost_sight_of_does_not_ring_beside_the_next(world: MailWorld) -> None:
    access = world.access()
    for _ in range(3):
        assert world.provider.open_channel(access, "", CHANNEL_SECRET) is not None
    assert world.channels() == 1


def test_without_configuration_there_is_no_channel(world: MailWorld) -> None:
    assert world.unconfigured().open_channel(world.access(), "", CHANNEL_SECRET) is None
    assert world.channels() == 0

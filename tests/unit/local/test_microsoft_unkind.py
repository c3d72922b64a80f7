"""What real Graph does to those who follow it, and the simulator too: removals of what was given, returns that are lost,
halves, deleted mail that can still be read, tokens that are refused for ever.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from infra.local.microsoft.folders import RECOVERABLE
from infra.local.simulated.errors import ControlError
from tests.unit.local.inprocess import ADDRESS, START, plan
from tests.unit.local.outlook_box import OutlookBox, delta, error


@pytest.fixture
def box(tmp_path: Path) -> Any:
    box = OutlookBox(tmp_path / "microsoft.sqlite")
    yield box
    box.sim.close()


def _old(box: OutlookBox, count: int) -> list[str]:
    mails = [plan(str(age), received_at=START - age) for age in range(count)]
    return box.sim.add_mails(ADDRESS, mails, silent=True)


def _told(items: list[dict[str, Any]]) -> dict[str, bool]:
    """By id whether an item says that it is there."""
    return {item["id"]: "@removed" not in item for item in items}


# Removals are worked out from what the client was given.


def test_what_came_and_left_between_two_calls_is_not_named(box: OutlookBox) -> None:
    [old] = _old(box, 1)
    _, inbox, _ = box.round(delta("inbox"))
    _, archive, _ = box.round(delta("archive"))
    [new] = box.sim.add_mails(ADDRESS, [plan()])
    for one in (new, old):
        box.sim.move(ADDRESS, one, "archive")
        box.sim.move(ADDRESS, one, "junkemail")
    assert _told(box.round(inbox)[0]) == {old: False}
    assert box.round(archive)[0] == []


def test_what_came_is_told_of_as_removed_once_it_was_given(box: OutlookBox) -> None:
    _, link, _ = box.round(delta("inbox"))
    [new] = box.sim.add_mails(ADDRESS, [plan()])
    items, link, _ = box.round(link)
    assert _told(items) == {new: True}
    box.sim.delete(ADDRESS, new)
    items, link, _ = box.round(link)
    assert _told(items) == {new: False}
    assert box.round(link)[0] == []


def test_an_old_link_shown_again_counts_from_what_was_given_then(box: OutlookBox) -> None:
    _, before, _ = box.round(delta("inbox"))
    [new] = box.sim.add_mails(ADDRESS, [plan()])
    _, after, _ = box.round(before)
    box.sim.delete(ADDRESS, new)
    assert _told(box.round(before)[0]) == {}
    assert _told(box.round(after)[0]) == {new: False}


def test_what_came_during_a_first_round_and_was_listed_by_it_is_removed_when_it_leaves(box: OutlookBox) -> None:
    _old(box, 15)
    page = box.get(delta("inbox"))
    [moved] = box.sim.add_mails(ADDRESS, [plan(received_at=START - 100, folder="A")])
    box.sim.move(ADDRESS, moved, "inbox")
    rest, link, _ = box.round(page["@odata.nextLink"])
    assert moved in _told(rest)
    box.sim.move(ADDRESS, moved, "archive")
    assert _told(box.round(link)[0]) == {moved: False}


def test_what_left_during_a_first_round_before_it_was_listed_is_not_named(box: OutlookBox) -> None:
    ids = _old(box, 15)
    page = box.get(delta("inbox"))
    box.sim.move(ADDRESS, ids[12], "archive")
    box.sim.move(ADDRESS, ids[3], "archive")
    _, link, _ = box.round(page["@odata.nextLink"])
    assert _told(box.round(link)[0]) == {ids[3]: False}


def test_what_left_during_a_round_before_its_page_came_is_not_named_in_the_next(box: OutlookBox) -> None:
    ids = _old(box, 1)
    _, link, _ = box.round(delta("inbox"))
    new = box.sim.add_mails(ADDRESS, [plan(str(number)) for number in range(15)])
    page = box.get(link)
    for one in (new[2], new[12], *ids):
        box.sim.move(ADDRESS, one, "archive")
    rest, link, _ = box.round(page["@odata.nextLink"])
    assert new[12] not in _told(rest)
    assert _told(box.round(link)[0]) == {new[2]: False, ids[0]: False}


def test_what_came_back_while_its_round_was_read_is_removed_when_it_leaves_again(box: OutlookBox) -> None:
    ids = _old(box, 15)
    _, link, _ = box.round(delta("inbox"))
    for one in ids:
        box.sim.move(ADDRESS, one, "archive")
    page = box.get(link)
    box.sim.move(ADDRESS, ids[14], "inbox")
    rest, link, _ = box.round(page["@odata.nextLink"])
    assert _told(rest)[ids[14]]
    box.sim.move(ADDRESS, ids[14], "archive")
    assert _told(box.round(link)[0]) == {ids[14]: False}


# A return that is lost.


def test_a_return_may_be_told_of_as_a_removal_and_nothing_else_until_something_becomes_of_it(box: OutlookBox) -> None:
    one, other = _old(box, 2)
    _, link, _ = box.round(delta("inbox"))
    box.sim.set_faults({"lost_returns": 1.0})
    box.sim.trash(ADDRESS, one)
    box.sim.untrash(ADDRESS, one)
    box.sim.change_labels(ADDRESS, other, add=["STARRED"])
    items, link, _ = box.round(link)
    assert _told(items) == {one: False, other: True}
    assert box.message(one)["parentFolderId"] == box.folder("inbox")
    assert box.round(link)[0] == []
    box.sim.change_labels(ADDRESS, one, add=["STARRED"])
    assert _told(box.round(link)[0]) == {one: True}
    assert box.sim.report()["faults"]["return told as removal"]


def test_a_return_is_lost_only_to_one_who_was_given_the_message_by_a_lasting_id(box: OutlookBox) -> None:
    page = box.get(delta("inbox"), prefer="")
    _, link, _ = box.round(delta("inbox"))
    box.sim.set_faults({"lost_returns": 1.0})
    [new] = box.sim.add_mails(ADDRESS, [plan()])
    box.sim.trash(ADDRESS, new)
    box.sim.untrash(ADDRESS, new)
    assert _told(box.round(link)[0]) == {new: True}
    assert all("@removed" not in item for item in box.get(page["@odata.deltaLink"], prefer="")["value"])


# Halves.


def test_halves_tell_what_can_change_with_and_without_place_and_version(box: OutlookBox) -> None:
    ids = _old(box, 8)
    _, link, _ = box.round(delta("inbox", "subject,changeKey,parentFolderId,isRead,toRecipients"))
    box.sim.set_faults({"halves": 1.0})
    [new] = box.sim.add_mails(ADDRESS, [plan()])
    for one in ids:
        box.sim.change_labels(ADDRESS, one, remove=["UNREAD"])
    items, _, _ = box.round(link)
    forms = {tuple(sorted(item)) for item in items if item["id"] != new}
    assert forms == {
        ("@odata.etag", "changeKey", "id", "isRead", "parentFolderId"),
        ("@odata.etag", "id", "isRead", "parentFolderId"),
        ("id", "isRead"),
    }
    assert next("subject" in item for item in items if item["id"] == new)


# Deleted mail.


def test_a_deleted_mail_may_be_read_by_its_immutable_id_for_long_in_a_folder_that_nobody_lists(box: OutlookBox) -> None:
    box.sim.set_faults({"recoverable": 1.0, "recoverable_seconds": 1_000})
    ids = _old(box, 12)
    mutable = box.get(f"/me/messages/{ids[0]}", prefer="")["id"]
    _, link, _ = box.round(delta("inbox"))
    for one in ids:
        box.sim.delete(ADDRESS, one)
    kept = {box.message(one)["parentFolderId"] for one in ids}
    assert kept == {box.folder("recoverableitemsdeletions"), box.folder("recoverableitemspurges")}
    assert not kept & {item["id"] for item in box.round("/me/mailFolders/delta")[0]}
    assert not kept & {row["id"] for row in box.sim.folders(ADDRESS)}
    assert not kept & {row["id"] for row in box.get("/me/mailFolders?$top=100")["value"]}
    assert _told(box.round(link)[0]) == dict.fromkeys(ids, False)
    assert box.get("/me/messages")["value"] == []
    assert error(box.ask(f"/me/messages/{mutable}", prefer="")) == (404, "ErrorItemNotFound")
    box.clock.sleep(1_000)
    assert error(box.ask(f"/me/messages/{ids[0]}")) == (404, "ErrorItemNotFound")


def test_which_deleted_mail_can_be_read_is_decided_by_the_seed(box: OutlookBox) -> None:
    box.sim.set_faults({"recoverable": 0.5, "seed": 3})
    ids = _old(box, 20)
    for one in ids:
        box.sim.delete(ADDRESS, one)
    first = [box.ask(f"/me/messages/{one}").status_code for one in ids]
    assert set(first) == {200, 404}
    assert [box.ask(f"/me/messages/{one}").status_code for one in ids] == first
    assert box.sim.report()["faults"]["deleted mail still read"]
    box.sim.set_faults({})
    assert {box.ask(f"/me/messages/{one}").status_code for one in ids} == {404}


@pytest.mark.parametrize("name", sorted(RECOVERABLE))
def test_the_folders_of_deleted_mail_have_names_and_nobody_puts_mail_there(box: OutlookBox, name: str) -> None:
    [one] = _old(box, 1)
    assert box.get(f"/me/mailFolders/{name}?$select=id")["id"] not in box.sim.report()["folders"].get(ADDRESS, {})
    with pytest.raises(ControlError):
        box.sim.move(ADDRESS, one, name)


# Tokens that are refused for ever.


@pytest.mark.parametrize("start", ["/me/mailFolders/delta", delta("inbox")])
def test_a_token_may_be_refused_for_ever_without_saying_why_and_a_fresh_one_is_not(box: OutlookBox, start: str) -> None:
    _old(box, 1)
    _, link, _ = box.round(start)
    box.sim.set_faults({"dead_cursor": 1.0})
    answers = {error(box.ask(link)) for _ in range(5)}
    assert len(answers) == 1
    assert answers < {(400, "BadRequest"), (500, "InternalServerError")}
    assert box.get(start)["value"]
    assert box.sim.report()["faults"]["delta token refused for ever"] == 5
    box.sim.set_faults({})
    assert box.ask(link).status_code == 200


def test_which_token_is_refused_and_in_which_way_the_seed_decides(box: OutlookBox) -> None:
    links = [
        box.round(delta(name))[1] for name in ("inbox", "archive", "drafts", "sentitems", "junkemail", "outbox") * 3
    ]
    box.sim.set_faults({"dead_cursor": 0.6, "seed": 1})
    assert {box.ask(link).status_code for link in links} == {200, 400, 500}

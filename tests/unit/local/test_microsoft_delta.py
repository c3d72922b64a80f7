"""Deltas of the simulated Graph: rounds, what left a folder, tokens that die, and everything that makes them hard to follow."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from infra.local.microsoft.methods import deltas
from tests.unit.local.inprocess import ADDRESS, START, plan
from tests.unit.local.outlook_box import IMMUTABLE, OutlookBox, delta, error

DEAD = {(410, "resyncRequired"), (410, "syncStateNotFound"), (404, "syncStateNotFound"), (400, "syncStateInvalid"),
        (409, "resyncRequired")}  # fmt: skip


@pytest.fixture
def box(tmp_path: Path) -> Any:
    box = OutlookBox(tmp_path / "microsoft.sqlite")
    yield box
    box.sim.close()


def _old(box: OutlookBox, count: int, **fields: Any) -> list[str]:
    mails = [plan(str(age), received_at=START - age, **fields) for age in range(count)]
    return box.sim.add_mails(ADDRESS, mails, silent=True)


def _ids(items: list[dict[str, Any]]) -> list[str]:
    return [item["id"] for item in items]


def test_a_first_round_lists_everything_newest_first_in_pages_of_the_wanted_size(box: OutlookBox) -> None:
    ids = _old(box, 25)
    items, _, pages = box.round(delta("inbox"), size=10)
    assert _ids(items) == ids
    assert pages == 3


def test_a_page_has_ten_items_unless_asked_otherwise_and_never_more_than_a_thousand(box: OutlookBox) -> None:
    _old(box, 1012)
    assert len(box.get(delta("inbox"))["value"]) == 10
    assert len(box.get(delta("inbox"), f"{IMMUTABLE}, odata.maxpagesize=5000")["value"]) == 1000


def test_links_are_absolute_and_name_the_folder_in_brackets(box: OutlookBox) -> None:
    _old(box, 11)
    page = box.get(delta("inbox"))
    folder = box.folder("inbox")
    begin = f"http://microsoft.test/v1.0/me/mailFolders('{folder}')/messages/delta?"
    assert page["@odata.nextLink"].startswith(f"{begin}$skiptoken=")
    assert box.get(page["@odata.nextLink"])["@odata.deltaLink"].startswith(f"{begin}$deltatoken=")


def test_what_was_selected_first_holds_for_all_rounds_that_follow(box: OutlookBox) -> None:
    [one] = _old(box, 1)
    _, link, _ = box.round(delta("inbox", "subject"))
    box.sim.change_labels(ADDRESS, one, add=["STARRED"])
    [item], _, _ = box.round(f"{link}&$select=body")
    assert set(item) == {"@odata.etag", "id", "subject"}


def test_what_changes_during_a_round_comes_in_the_next_one(box: OutlookBox) -> None:
    ids = _old(box, 15)
    page = box.get(delta("inbox"))
    box.sim.change_labels(ADDRESS, ids[0], remove=["UNREAD"])
    box.sim.move(ADDRESS, ids[12], "archive")
    [new] = box.sim.add_mails(ADDRESS, [plan()])
    rest, link, _ = box.round(page["@odata.nextLink"])
    assert _ids(rest) == [*ids[10:12], *ids[13:]]
    items, _, _ = box.round(link)
    assert {item["id"]: "@removed" in item for item in items} == {ids[0]: False, new: False}


def test_a_move_is_a_removal_here_and_an_addition_there(box: OutlookBox) -> None:
    [one] = _old(box, 1)
    _, left, _ = box.round(delta("inbox"))
    _, joined, _ = box.round(delta("archive"))
    box.sim.move(ADDRESS, one, "archive")
    [gone], _, _ = box.round(left)
    [come], _, _ = box.round(joined)
    assert gone == {"id": one, "@removed": {"reason": "changed"}}
    assert (come["id"], come["parentFolderId"]) == (one, box.folder("archive"))


def test_a_deletion_is_a_removal_of_another_reason(box: OutlookBox) -> None:
    [one] = _old(box, 1)
    _, link, _ = box.round(delta("inbox"))
    box.sim.delete(ADDRESS, one)
    assert box.round(link)[0] == [{"id": one, "@removed": {"reason": "deleted"}}]


def test_what_left_and_came_back_is_there(box: OutlookBox) -> None:
    [one] = _old(box, 1)
    _, link, _ = box.round(delta("inbox"))
    box.sim.trash(ADDRESS, one)
    box.sim.untrash(ADDRESS, one)
    assert [(item["id"], "@removed" in item) for item in box.round(link)[0]] == [(one, False)]


def test_a_removal_without_immutable_ids_names_the_id_that_the_message_had_there(box: OutlookBox) -> None:
    [one] = _old(box, 1)
    page = box.get(delta("inbox"), prefer="")
    box.sim.move(ADDRESS, one, "archive")
    [gone] = box.get(page["@odata.deltaLink"], prefer="")["value"]
    assert gone["id"] == page["value"][0]["id"] != one
    assert box.get(delta("archive"), prefer="")["value"][0]["id"] not in (one, gone["id"])


def test_an_old_token_dies_once_four_newer_generations_were_made(box: OutlookBox) -> None:
    _, first, _ = box.round(delta("inbox"))
    link = first
    for _ in range(3):
        _, link, _ = box.round(link)
    assert box.ask(first).status_code == 200
    for _ in range(5):
        _, link, _ = box.round(link)
    assert error(box.ask(first)) in DEAD
    assert box.ask(link).status_code == 200


def test_two_that_walk_one_folder_burn_each_others_tokens_and_two_folders_do_not(box: OutlookBox) -> None:
    _, mine, _ = box.round(delta("inbox"))
    _, elsewhere, _ = box.round(delta("archive"))
    for _ in range(6):
        box.round(delta("inbox"))
    assert error(box.ask(mine)) in DEAD
    assert box.ask(elsewhere).status_code == 200


def test_a_dead_token_is_refused_in_varied_ways_and_410_says_where_to_begin(box: OutlookBox) -> None:
    seen = set()
    for number in range(60):
        answer = box.ask(f"/me/mailFolders/inbox/messages/delta?$deltatoken=gone{number}")
        seen.add(error(answer))
        if answer.status_code == 410:
            assert box.get(answer.headers["Location"])["value"] == []
    assert seen == DEAD


def test_tokens_expire_on_demand_for_some_folders_or_for_all(box: OutlookBox) -> None:
    _, inbox, _ = box.round(delta("inbox"))
    _, archive, _ = box.round(delta("archive"))
    _, hierarchy, _ = box.round("/me/mailFolders/delta")
    box.sim.expire_delta(ADDRESS, ["inbox"])
    assert error(box.ask(inbox)) in DEAD
    assert box.ask(archive).status_code == 200
    box.client.post(f"/control/mailboxes/{ADDRESS}/expire-delta", json={})
    assert {error(box.ask(link)) in DEAD for link in (archive, hierarchy)} == {True}


def test_a_folder_that_is_gone_answers_404_to_its_links(box: OutlookBox) -> None:
    folder = box.sim.create_folder(ADDRESS, "Short-lived")
    _, link, _ = box.round(delta(folder))
    box.sim.delete_folder(ADDRESS, folder)
    assert error(box.ask(link)) == (404, "ErrorItemNotFound")


def test_a_filtered_round_ends_early_without_a_word(box: OutlookBox, monkeypatch: pytest.MonkeyPatch) -> None:
    assert deltas.FILTERED_AT_MOST == 5_000
    monkeypatch.setattr(deltas, "FILTERED_AT_MOST", 12)
    ids = _old(box, 20)
    start = f"{delta('inbox')}&$filter=receivedDateTime ge 2020-01-01T00:00:00Z"
    assert _ids(box.round(start)[0]) == ids[:12]
    assert _ids(box.round(delta("inbox"))[0]) == ids


def test_a_filter_holds_for_later_rounds_too(box: OutlookBox) -> None:
    _, link, _ = box.round(f"{delta('inbox')}&$filter=receivedDateTime ge 2026-01-01T00:00:00Z")
    [new, _] = box.sim.add_mails(ADDRESS, [plan(), plan(received_at=START - 10**8)])
    assert _ids(box.round(link)[0]) == [new]
    assert box.ask(f"{delta('inbox')}&$filter=isRead eq true").status_code == 400


def test_the_hierarchy_is_flat_and_tells_of_every_level(box: OutlookBox) -> None:
    deep = box.sim.create_folder(ADDRESS, "B", box.sim.create_folder(ADDRESS, "A"))
    items, link, pages = box.round("/me/mailFolders/delta", size=4)
    assert pages == 3
    assert {item["id"] for item in items} == {row["id"] for row in box.sim.folders(ADDRESS)}
    box.sim.rename_folder(ADDRESS, deep, "C")
    box.sim.move_folder(ADDRESS, deep, "archive")
    made = box.sim.create_folder(ADDRESS, "D")
    changed, link, _ = box.round(link)
    shown = {item["id"]: (item["displayName"], item["parentFolderId"]) for item in changed}
    assert shown[deep] == ("C", box.folder("archive"))
    assert set(shown) == {deep, made}
    box.sim.delete_folder(ADDRESS, made)
    assert box.round(link)[0] == [{"id": made, "@removed": {"reason": "deleted"}}]


def test_a_refused_message_is_listed_without_anything_in_it(box: OutlookBox) -> None:
    [one] = _old(box, 1)
    box.sim.refuse(ADDRESS, one, 500)
    assert box.round(delta("inbox"))[0] == [{"id": one}]


def test_empty_pages_repeats_and_replays_come_by_chance_and_the_seed_decides(box: OutlookBox, tmp_path: Path) -> None:
    def walked(box: OutlookBox) -> list[Any]:
        box.sim.set_faults({"replays": 0.6, "duplicates": 0.5, "empty_pages": 0.4, "seed": 3})
        ids = _old(box, 30)
        link, seen = delta("inbox"), []
        for _ in range(12):
            page = box.get(link)
            seen.append([item["id"] for item in page["value"]])
            link = page.get("@odata.nextLink") or page["@odata.deltaLink"]
        assert {one for page in seen for one in page} == set(ids)
        return seen

    other = OutlookBox(tmp_path / "other.sqlite")
    seen = walked(box)
    assert walked(other) == seen
    other.sim.close()
    assert [] in seen
    assert any(len(set(page)) < len(page) for page in seen)
    assert sum(map(len, seen)) > 31
    faults = box.sim.report()["faults"]
    assert all(faults[name] for name in ("unchanged item again", "item twice", "empty page"))


def test_a_late_change_shows_to_nobody_until_its_time(box: OutlookBox) -> None:
    _, link, _ = box.round(delta("inbox"))
    box.sim.set_faults({"late": 1.0, "late_seconds": 5.0})
    [one] = box.sim.add_mails(ADDRESS, [plan()])
    assert error(box.ask(f"/me/messages/{one}")) == (404, "ErrorItemNotFound")
    items, link, _ = box.round(link)
    assert items == []
    box.clock.sleep(5)
    assert _ids(box.round(link)[0]) == [one]
    assert box.message(one)["id"] == one


def test_requests_are_counted_by_folder(box: OutlookBox) -> None:
    _, link, _ = box.round(delta("inbox"))
    box.round(link)
    box.round(delta("archive"))
    counts = box.sim.report()["folders"][ADDRESS]
    assert counts[box.folder("inbox")]["messages.delta"] == 2
    assert counts[box.folder("archive")]["messages.delta"] == 1
    assert box.sim.report()["requests"]["messages.delta"] == 3


class Follower:
    """A client that does what the documentation says, and nothing clever."""

    def __init__(self, box: OutlookBox) -> None:
        self._box = box
        self._links: dict[str, str] = {}
        self._hierarchy = "/me/mailFolders/delta"
        self.messages: dict[str, dict[str, Any]] = {}

    def walk(self) -> None:
        items, anew, self._hierarchy = self._round(self._hierarchy, "/me/mailFolders/delta")
        there = {item["id"] for item in items if "@removed" not in item}
        gone = {item["id"] for item in items if "@removed" in item} | (set(self._links) - there if anew else set())
        for folder in gone - there:
            self._links.pop(folder, None)
            self._look(self._in(folder))
        for folder in there:
            self._links.setdefault(folder, delta(folder))
        for folder, link in list(self._links.items()):
            items, anew, self._links[folder] = self._round(link, delta(folder))
            here = {item["id"]: item for item in items if "@removed" not in item}
            left = {item["id"] for item in items if "@removed" in item} & self._in(folder)
            self.messages |= here
            self._look((left | (self._in(folder) if anew else set())) - set(here))

    def _in(self, folder: str) -> set[str]:
        return {id_ for id_, one in self.messages.items() if one["parentFolderId"] == folder}

    def _look(self, ids: set[str]) -> None:
        """Only reading a message tells whether it was moved or is gone."""
        for id_ in ids:
            answer = self._box.ask(f"/me/messages/{id_}?$select=subject,isRead,parentFolderId,categories")
            if answer.status_code == 404:
                del self.messages[id_]
            else:
                self.messages[id_] = answer.get_json()

    def _round(self, link: str, start: str) -> tuple[list[dict[str, Any]], bool, str]:
        """A round's items, whether it had to begin anew, and the link to the next one."""
        items: list[dict[str, Any]] = []
        anew = False
        while True:
            answer = self._box.ask(link, prefer=f"{IMMUTABLE}, odata.maxpagesize=7")
            page = answer.get_json()
            if answer.status_code != 200:
                assert error(answer) in DEAD, answer.text
                items, anew, link = [], True, start
                continue
            items += page["value"]
            link = page.get("@odata.nextLink") or page["@odata.deltaLink"]
            if "@odata.deltaLink" in page:
                return items, anew, link


@pytest.mark.parametrize("seed", range(6))
def test_a_faithful_follower_ends_with_the_truth_whatever_happens(tmp_path: Path, seed: int) -> None:
    box = OutlookBox(tmp_path / "microsoft.sqlite", seed)
    box.sim.set_faults(
        {"replays": 0.3, "duplicates": 0.3, "empty_pages": 0.3, "lost_returns": 0.5, "token_eviction": 0.02, "late": 0.3,
         "seed": seed}
    )  # fmt: skip
    chance = random.Random(seed)
    _old(box, 30)
    follower = Follower(box)
    for _ in range(120):
        _happen(box, chance)
        if chance.random() < 0.2:
            follower.walk()
        box.clock.sleep(chance.random())
    box.clock.sleep(5)
    follower.walk()
    truth = {mail["id"]: (mail["folder"], "UNREAD" not in mail["labels"]) for mail in box.sim.truth(ADDRESS)["mails"]}
    assert {id_: (one["parentFolderId"], one["isRead"]) for id_, one in follower.messages.items()} == truth
    box.sim.close()


def _happen(box: OutlookBox, chance: random.Random) -> None:
    mails = [mail["id"] for mail in box.sim.truth(ADDRESS)["mails"]]
    own = [row["id"] for row in box.sim.folders(ADDRESS) if not row["well_known"]]
    places = [*own, "inbox", "archive", "deleteditems"]
    match chance.choice(("mail", "mail", "read", "move", "move", "delete", "folder", "rename", "drop")):
        case "read" if mails:
            box.sim.change_labels(ADDRESS, chance.choice(mails), remove=["UNREAD"])
        case "move" if mails:
            box.sim.move(ADDRESS, chance.choice(mails), chance.choice(places))
        case "delete" if mails:
            box.sim.delete(ADDRESS, chance.choice(mails))
        case "folder":
            box.sim.create_folder(ADDRESS, f"F{chance.random()}", chance.choice(["", *own]))
        case "rename" if own:
            box.sim.rename_folder(ADDRESS, chance.choice(own), f"R{chance.random()}")
        case "drop" if own and chance.random() < 0.3:
            box.sim.delete_folder(ADDRESS, chance.choice(own))
        case _:
            box.sim.add_mails(ADDRESS, [plan()])

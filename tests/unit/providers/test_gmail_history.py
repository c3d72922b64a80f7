"""A walk through the history names every change once and in order, and its cursor never skips one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import CursorExpired, ProviderRefused, ProviderUnavailable, RateLimited
from shared.providers.base import Access, Deleted, LabelsChanged, Missing, Page, Refused, Upsert
from tests.unit.providers.gmail_playback import Answer, Playback, Request, access, error, mail, provider


def entry(id: str, *labels: str) -> dict[str, Any]:
    return {"message": {"id": id, "threadId": "t"}, **({"labelIds": list(labels)} if labels else {})}


def page(records: list[dict[str, Any]] | None, mailbox: object = "100", token: str | None = None) -> Answer:
    body: dict[str, Any] = {"historyId": mailbox}
    if records is not None:
        body["history"] = records
    if token is not None:
        body["nextPageToken"] = token
    return Answer(200, body)


def look(cursor: str, *answers: Answer | Exception) -> tuple[Page, Playback]:
    http = Playback(answers)
    return provider(http).changes(access(), cursor), http


def test_records_become_changes_in_their_order() -> None:
    looked, http = look(
        "10",
        page(
            [
                {"id": "11", "labelsAdded": [entry("a", "TRASH", "B")], "labelsRemoved": [entry("a", "INBOX")]},
                {"id": "12", "messagesAdded": [entry("b")], "messages": [{"id": "never looked at"}]},
                {"id": "13", "messagesDeleted": [entry("c")]},
                {"id": "99999999999999999999999", "labelsRemoved": [entry("b", "UNREAD")]},
            ]
        ),
        Answer(200, mail("b", 12)),
    )
    upsert = looked.changes[1]
    assert isinstance(upsert, Upsert)
    assert upsert.message.subject == "Mail b"
    assert looked.changes == (
        LabelsChanged("a", "11", ("B", "TRASH"), ("INBOX",)),
        upsert,
        Deleted("c", "13"),
        LabelsChanged("b", "99999999999999999999999", (), ("UNREAD",)),
    )
    assert (looked.cursor, looked.more) == ("99999999999999999999999", False)
    asked = http.requests[0].query
    assert asked["startHistoryId"] == ["10"]
    assert asked["historyTypes"] == ["messageAdded", "messageDeleted", "labelAdded", "labelRemoved"]
    assert asked["maxResults"] == ["100"]
    assert "labelId" not in asked
    assert [request.last for request in http.requests] == ["history", "b"]


def test_a_message_is_fetched_once_a_page_and_stands_where_it_was_first_added() -> None:
    looked, http = look(
        "10",
        page([{"id": "11", "messagesAdded": [entry("a")]}, {"id": "12", "labelsAdded": [entry("x", "L")]},
              {"id": "13", "messagesAdded": [entry("a"), entry("a")]}]),
        Answer(200, mail("a")),
    )  # fmt: skip
    assert [change.id for change in looked.changes] == ["a", "x"]
    assert len(http.requests) == 2


def test_a_message_added_and_deleted_in_one_page_is_not_fetched() -> None:
    looked, http = look(
        "10",
        page([{"id": "11", "messagesAdded": [entry("a")]}, {"id": "12", "labelsAdded": [entry("a", "L"), entry("k", "L")]},
              {"id": "13", "messagesDeleted": [entry("a"), entry("k")]}]),
    )  # fmt: skip
    assert looked.changes == (LabelsChanged("k", "12", ("L",)), Deleted("a", "13"), Deleted("k", "13"))
    assert len(http.requests) == 1


def test_what_cannot_be_fetched_stands_in_its_place() -> None:
    added = [{"id": str(11 + number), "messagesAdded": [entry(id)]} for number, id in enumerate("abc")]

    def server(asked: Request) -> Answer:
        return {"history": page(added), "a": error(404), "b": error(500), "c": Answer(200, mail("c"))}[asked.last]

    changes = provider(Playback(server)).changes(access(), "10").changes
    assert [type(change) for change in changes] == [Missing, Refused, Upsert]


@pytest.mark.parametrize("labels", [(), ("L",)])
def test_a_label_change_that_does_not_say_what_changed_is_looked_up(labels: tuple[str, ...]) -> None:
    record = {"id": "11", "labelsAdded": [entry("a", *labels)], "labelsRemoved": [entry("a", *labels)]}
    looked, _ = look("10", page([record]), Answer(200, mail("a")))
    assert [type(change) for change in looked.changes] == [Upsert]


CURSORS = [
    # cursor, answer, the cursor after it, whether more is waiting
    ("10", page([{"id": "20"}], "100"), "20", False),  # the mailbox's id may be ahead of what can be queried
    ("10", page(None, "100"), "100", False),
    ("10", page([], 100), "100", False),
    ("10", page([{"id": "120"}], "100"), "120", False),  # never below the last record
    ("10", page(None, "9"), "10", False),  # a lagging server does not lead back, and 9 is less than 10
    ("10", page(None, None), "10", False),
    ("10", page([{"id": "20"}, {"id": "30"}], "100", "T"), "30", True),  # the last record outlives a token
    ("10", page([], "100", "T"), "10|100|T", True),  # nothing here, but more behind
    ("10|100|T", page([], "200", "U"), "10|100|U", True),  # the mailbox's id of the first page is kept
    ("10|100|T", page([], "200"), "100", False),
    ("10|100|T", page([{"id": "150"}], "200"), "150", False),
    ("10|100|T", page([{"id": "20"}], "200", "U"), "20", True),
    ("10|100|T|T", page([], "200", "U|V"), "10|100|U|V", True),  # a token may hold anything
    ("10|100|T", page([], "200", "T"), "10", False),  # no way on: again from the start, later
    ("10", page([{"id": "10"}], "100", "T"), "10|100|T", True),  # a record that is no progress
    ("99999999999999999999", page(None, "100000000000000000000"), "100000000000000000000", False),
]


@pytest.mark.parametrize(("cursor", "answer", "following", "more"), CURSORS)
def test_where_to_go_on_from(cursor: str, answer: Answer, following: str, more: bool) -> None:
    looked, http = look(cursor, answer)
    assert (looked.cursor, looked.more) == (following, more)
    start, _, rest = cursor.partition("|")
    assert http.requests[0].query["startHistoryId"] == [start]
    assert http.requests[0].query.get("pageToken") == ([rest.partition("|")[2]] if rest else None)


def test_a_refused_page_token_restarts_the_walk() -> None:
    looked, http = look("10|100|T", error(400, "invalidArgument"), page([{"id": "20"}], "300"))
    assert looked.cursor == "20"
    assert [request.query.get("pageToken") for request in http.requests] == [["T"], None]


@pytest.mark.parametrize("cursor", ["10", "10|100|T"])
def test_an_unknown_cursor_has_expired(cursor: str) -> None:
    with pytest.raises(CursorExpired):
        look(cursor, error(404, "notFound"))


@pytest.mark.parametrize("cursor", ["", "x", "-1", "10|", "10|x|T", "10|100", "10|100|", "1" * 65])
def test_a_spoilt_cursor_leads_to_a_resync_and_never_to_now(cursor: str) -> None:
    if cursor == "10|":
        return  # reads as plain 10
    with pytest.raises(CursorExpired):
        look(cursor)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([error(400, "failedPrecondition")] * 2, ProviderRefused),
        ([error(400, "invalidArgument")], ProviderRefused),
        ([error(429)], RateLimited),
        ([Answer(200, [])], ProviderUnavailable),
        ([Answer(200, {"historyId": "5", "history": {}})], ProviderUnavailable),
        ([Answer(200, {"historyId": "5", "history": [None]})], ProviderUnavailable),
        ([page([{"messagesAdded": [entry("a")]}])], ProviderUnavailable),
        ([page([{"id": "x"}])], ProviderUnavailable),
        ([page([{"id": "11", "messagesAdded": [{"message": {}}]}])], ProviderUnavailable),
        ([page([{"id": "11", "labelsAdded": [{"labelIds": ["L"]}]}])], ProviderUnavailable),
        ([page([{"id": "11", "messagesAdded": [entry("a")]}]), error(429, **{"retry-after": "60"})], RateLimited),
    ],
)
def test_what_is_no_page_moves_no_cursor(answers: list[Answer], expected: type[Exception]) -> None:
    with pytest.raises(expected):
        look("10", *answers)


class History:
    """A server of numbered records, in pages of any size, some empty; it goes on growing while it is read."""

    def __init__(self, ids: list[int], pages: list[int], growth: int) -> None:
        self.ids = ids
        self._pages = pages
        self._growth = growth
        self._asked = 0

    def __call__(self, asked: Request) -> Answer:
        start = int(asked.query["startHistoryId"][0])
        after = int(asked.query.get("pageToken", ["0"])[0]) or start
        size = self._pages[self._asked % len(self._pages)] if self._asked < 50 else 3
        self._asked += 1
        if self._growth:
            self._growth -= 1
            self.ids.append(self.ids[-1] + 2)
        rest = [id for id in self.ids if id > after]
        shown, hidden = rest[:size], rest[size:]
        # An empty page's token still has to lead on; here it leads to the same place, under a name that differs.
        token = f"{shown[-1] if shown else after:0{self._asked}d}" if hidden else None
        return page([{"id": str(id), "labelsAdded": [entry("m", f"L{id}")]} for id in shown], str(self.ids[-1]), token)


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=12).map(
        lambda steps: [sum(steps[: n + 1]) for n in range(len(steps))]
    ),
    st.lists(st.integers(0, 4), min_size=1, max_size=6),
    st.integers(0, 5),
)
def test_a_walk_over_any_paging_sees_every_record_once(ids: list[int], pages: list[int], growth: int) -> None:
    server = History(ids, pages, growth)
    gmail = provider(Playback(server))
    cursor, seen, more = "0", [], True
    for _ in range(200):
        looked = gmail.changes(access(), cursor)
        assert int(looked.cursor.partition("|")[0]) >= int(cursor.partition("|")[0])
        seen += [int(change.version) for change in looked.changes if isinstance(change, LabelsChanged)]
        cursor, more = looked.cursor, looked.more
        if not more and not server._growth:
            break
    # Whatever came in during the last walk is found by one more look.
    looked = gmail.changes(access(), cursor)
    while looked.more:
        seen += [int(change.version) for change in looked.changes if isinstance(change, LabelsChanged)]
        looked = gmail.changes(access(), looked.cursor)
    seen += [int(change.version) for change in looked.changes if isinstance(change, LabelsChanged)]
    assert seen == sorted(seen)
    assert sorted(set(seen)) == server.ids


class Tight:
    """A meter with room for so many units."""

    def __init__(self, room: float) -> None:
        self._room = room

    def room(self) -> float:
        return self._room

    def spend(self, units: float) -> None:
        pass


def cut(
    records: list[dict[str, Any]], messages: float, token: str | None = None, cursor: str = "10"
) -> tuple[Page, int]:
    """Look with room for so many messages; answers the page, and how many messages were asked for."""
    http = Playback(
        lambda asked: page(records, token=token) if asked.last == "history" else Answer(200, mail(asked.last))
    )
    return provider(http).changes(Access("token", Tight(20 * messages)), cursor), len(http.requests) - 1


GROWTH = [{"id": str(number), "messagesAdded": [entry(f"m{number}")]} for number in range(11, 19)]


@pytest.mark.parametrize(("room", "kept"), [(0, 1), (0.9, 1), (1, 1), (2.5, 2), (7, 7)])
def test_a_page_ends_where_the_room_does_and_says_that_more_is_waiting(room: float, kept: int) -> None:
    looked, asked = cut(GROWTH, room)
    assert [change.id for change in looked.changes] == [f"m{number}" for number in range(11, 11 + kept)]
    assert (looked.cursor, looked.more) == (str(10 + kept), True)
    assert asked == kept


def test_a_page_that_there_is_room_for_is_whole() -> None:
    looked, asked = cut(GROWTH, 8)
    assert (len(looked.changes), looked.cursor, looked.more, asked) == (8, "18", False, 8)


def test_what_costs_nothing_is_kept_behind_the_last_message_that_fits() -> None:
    records = [GROWTH[0], {"id": "12", "labelsAdded": [entry("x", "L")]}, {"id": "13", "messagesDeleted": [entry("y")]},
               {"id": "14", "messagesAdded": [entry("b")]}]  # fmt: skip
    looked, _ = cut(records, 1)
    assert [change.id for change in looked.changes] == ["m11", "x", "y"]
    assert looked.cursor == "13"


def test_the_records_of_one_id_are_never_parted() -> None:
    many = {"id": "11", "messagesAdded": [entry("a"), entry("b"), entry("c")]}
    looked, asked = cut([many, {"id": "11", "messagesAdded": [entry("d")]}, GROWTH[1]], 1)
    assert [change.id for change in looked.changes] == ["a", "b", "c", "d"]
    assert (looked.cursor, looked.more, asked) == ("11", True, 4)


def test_a_page_of_one_record_is_never_cut() -> None:
    looked, _ = cut([{"id": "11", "messagesAdded": [entry("a"), entry("b")]}], 1, token="T")
    assert (len(looked.changes), looked.cursor, looked.more) == (2, "11", True)


def test_a_page_is_not_cut_where_that_would_lead_nowhere_or_skip_something() -> None:
    stuck = [
        {"id": "10", "messagesAdded": [entry("a")]},
        {"id": "9", "messagesAdded": [entry("b")]},
        GROWTH[0],
        GROWTH[1],
    ]
    assert cut(stuck, 1)[0].cursor == "11"
    odd = [{"id": "15", "messagesAdded": [entry("a")]}, {"id": "12", "messagesAdded": [entry("b")]}, GROWTH[7]]
    assert cut(odd, 1)[0].cursor == "12"


def test_what_the_page_deletes_behind_the_cut_is_not_fetched() -> None:
    looked, asked = cut([GROWTH[0], GROWTH[1], GROWTH[2], {"id": "14", "messagesDeleted": [entry("m11")]}], 1)
    assert ([change.id for change in looked.changes], looked.cursor, asked) == (["m12"], "12", 1)


@given(
    st.lists(st.tuples(st.integers(1, 3), st.integers(0, 3)), min_size=1, max_size=10),
    st.lists(st.integers(0, 4), min_size=1, max_size=5),
)
def test_however_a_walk_is_cut_every_message_is_fetched_once(steps: list[tuple[int, int]], rooms: list[int]) -> None:
    number, records, expected = 10, [], []
    for step, count in steps:
        number += step
        ids = [f"m{number}x{one}" for one in range(count)]
        expected += ids
        records.append({"id": str(number), "messagesAdded": [entry(id) for id in ids]})
    cursor, seen, more = "10", [], True
    for turn in range(50):
        rest = [record for record in records if int(record["id"]) > int(cursor)]
        looked, _ = cut(rest, rooms[turn % len(rooms)], cursor=cursor)
        assert len(looked.changes) <= max(rooms[turn % len(rooms)], 3)
        seen += [change.id for change in looked.changes]
        if not rest:
            break
        cursor, more = looked.cursor, looked.more
        assert more == bool(int(cursor) < number)
    assert seen == expected

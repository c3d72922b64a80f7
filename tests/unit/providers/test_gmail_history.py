"""A walk through the history names every change once and in order, and its cursor never skips one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import CursorExpired, ProviderRefused, ProviderUnavailable, RateLimited
from shared.providers.base import Deleted, LabelsChanged, Missing, Page, Refused, Upsert
from tests.unit.providers.gmail_playback import TOKEN, Answer, Playback, Request, error, mail, provider


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
    return provider(http).changes(TOKEN, cursor), http


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

    changes = provider(Playback(server)).changes(TOKEN, "10").changes
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
        ([page([{"id": "11", "messagesAdded": [entry("a")]}]), error(429)], RateLimited),
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
        looked = gmail.changes(TOKEN, cursor)
        assert int(looked.cursor.partition("|")[0]) >= int(cursor.partition("|")[0])
        seen += [int(change.version) for change in looked.changes if isinstance(change, LabelsChanged)]
        cursor, more = looked.cursor, looked.more
        if not more and not server._growth:
            break
    # Whatever came in during the last walk is found by one more look.
    looked = gmail.changes(TOKEN, cursor)
    while looked.more:
        seen += [int(change.version) for change in looked.changes if isinstance(change, LabelsChanged)]
        looked = gmail.changes(TOKEN, looked.cursor)
    seen += [int(change.version) for change in looked.changes if isinstance(change, LabelsChanged)]
    assert seen == sorted(seen)
    assert sorted(set(seen)) == server.ids

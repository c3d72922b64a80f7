"""Whole threads are read where that is not dearer, and whatever is wrong with them costs no message."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import ProviderUnavailable, RateLimited, ReauthRequired
from shared.providers.base import Fetched, Missing, Upsert
from tests.unit.fakes import FakeClock
from tests.unit.providers.gmail_playback import NOW, Answer, Playback, Request, access, error, mail, provider


class Mailbox:
    """Messages in threads; single answers can be replaced by id, ``t…`` for threads."""

    def __init__(self, threads: dict[str, str], **odd: Any) -> None:
        self.threads = threads
        self._odd = odd

    def __call__(self, asked: Request) -> Answer | Exception:
        if asked.last in self._odd:
            found = self._odd[asked.last]
            odd: Answer | Exception = found.pop(0) if isinstance(found, list) else found
            return odd
        if "/threads/" not in asked.path:
            return Answer(200, self.mail(asked.last))
        members = [id for id, thread in self.threads.items() if thread == asked.last]
        return Answer(200, {"messages": [self.mail(id) for id in members]})

    def mail(self, id: str) -> dict[str, Any]:
        return mail(id, threadId=self.threads[id])


THREADS = {"a": "t1", "b": "t1", "c": "t1", "d": "t2", "e": "t2", "f": "t3", "g": "t3"}
WANTED = ["f", "d", "a", "e", "b"]


def fetch(mailbox: Mailbox, ids: list[str], **settings: Any) -> tuple[tuple[Fetched, ...], Playback, float]:
    http, going = Playback(mailbox), access()
    threads = [mailbox.threads[id] for id in ids]
    answers = provider(http, **settings).fetch(going, ids, threads)
    return answers, http, going.meter.spent  # type: ignore[attr-defined]


def names(answers: tuple[Fetched, ...]) -> list[str]:
    assert all(isinstance(answer, Upsert) for answer in answers)
    return [answer.id for answer in answers]


def test_a_thread_of_which_two_messages_are_wanted_is_read_whole() -> None:
    answers, http, spent = fetch(Mailbox(THREADS), WANTED)
    assert names(answers) == [*WANTED, "c"]  # the rest of the threads comes behind
    assert sorted(asked.last for asked in http.requests) == ["f", "t1", "t2"]
    assert http.batches == [3]
    assert spent == 20 + 2 * 40
    (thread,) = [asked for asked in http.requests if asked.last == "t1"]
    assert thread.path == "/google/gmail/v1/users/me/threads/t1"
    assert thread.query["format"] == ["metadata"]
    assert thread.query["fields"] == ["messages(id,threadId,labelIds,snippet,historyId,internalDate,payload/headers)"]


@pytest.mark.parametrize(
    ("prices", "asked"),
    [
        ((), ["t1"]),
        (("threads.get=60",), ["t1"]),
        (("threads.get=61",), ["a", "b", "c"]),
        (("messages.get=5",), ["a", "b", "c"]),
        (("messages.get=5", "threads.get=15"), ["t1"]),
        (("messages.get=0", "threads.get=0"), ["t1"]),
    ],
)
def test_a_thread_is_read_where_its_price_is_no_higher(prices: tuple[str, ...], asked: list[str]) -> None:
    answers, http, _ = fetch(Mailbox(THREADS), ["a", "b", "c"], gmail_prices=prices)
    assert names(answers) == ["a", "b", "c"]
    assert [request.last for request in http.requests] == asked


def test_without_the_names_of_threads_messages_are_read() -> None:
    http = Playback(Mailbox(THREADS))
    gmail = provider(http)
    gmail.fetch(access(), ["a", "b"])
    gmail.fetch(access(), ["a", "b"], ["", ""])
    gmail.fetch(access(), ["a", "b"], ["t1"])
    assert [asked.last for asked in http.requests] == ["a", "b"] * 3


def test_a_wanted_message_that_is_asked_for_twice_makes_no_thread_worthwhile() -> None:
    http = Playback(Mailbox(THREADS))
    assert names(provider(http).fetch(access(), ["a", "a"], ["t1", "t1"])) == ["a", "a"]
    assert [asked.last for asked in http.requests] == ["a"]


@pytest.mark.parametrize(
    "odd", [error(404), error(500), error(400, "failedPrecondition"), Answer(200, {}), Answer(200, b"")]
)
def test_a_thread_that_cannot_be_read_is_read_message_by_message(odd: Answer) -> None:
    answers, http, _ = fetch(Mailbox(THREADS, t1=odd), WANTED)
    assert names(answers) == WANTED
    assert sorted(asked.last for asked in http.requests) == ["a", "b", "f", "t1", "t2"]


def test_a_wanted_message_that_its_thread_lacks_is_asked_for_on_its_own() -> None:
    partial = Answer(200, {"messages": [mail("c", threadId="t1"), mail("b", threadId="t1"), None, {"id": []}]})
    answers, http, _ = fetch(Mailbox(THREADS, t1=partial, a=error(404)), ["a", "b"])
    assert [type(answer) for answer in answers] == [Missing, Upsert, Upsert]
    assert [answer.id for answer in answers] == ["a", "b", "c"]
    assert [asked.last for asked in http.requests] == ["t1", "a"]


def test_what_cannot_be_normalised_is_asked_for_again_if_wanted_and_left_out_if_not() -> None:
    spoilt = [{**mail(id, threadId="t1"), "historyId": None} for id in "abc"]
    answers, http, _ = fetch(Mailbox(THREADS, t1=Answer(200, {"messages": spoilt})), ["a", "b"])
    assert names(answers) == ["a", "b"]
    assert [asked.last for asked in http.requests] == ["t1", "a", "b"]


def test_history_ids_over_64_bits_come_through_exactly() -> None:
    large = 123456789012345678901
    messages = [{**mail(id, threadId="t1"), "historyId": large} for id in "ab"]
    odd = {"t1": Answer(200, {"messages": messages}), "f": Answer(200, {**mail("f"), "historyId": large})}
    answers, _, _ = fetch(Mailbox(THREADS, **odd), ["a", "b", "f"])
    assert {answer.message.version for answer in answers if isinstance(answer, Upsert)} == {str(large)}


def test_a_thread_over_a_limit_is_waited_for() -> None:
    clock = FakeClock(NOW)
    http = Playback(Mailbox(THREADS, t1=[error(429), error(429), Mailbox(THREADS)(_asked("t1"))]))
    answers = provider(http, clock).fetch(access(), ["a", "b", "f"], ["t1", "t1", "t3"])
    assert names(answers) == ["a", "b", "f", "c"]
    assert clock.slept == [1.0, 2.0]
    with pytest.raises(RateLimited):
        fetch(Mailbox(THREADS, t1=error(429)), WANTED)
    with pytest.raises(ReauthRequired):
        fetch(Mailbox(THREADS, t1=error(401)), WANTED)


def _asked(thread: str) -> Request:
    return Request("GET", f"http://x.test/threads/{thread}", {}, None)


def test_where_no_thread_can_be_read_every_message_still_is() -> None:
    threads = {f"m{number}": f"t{number // 2}" for number in range(60)}
    answers, _, _ = fetch(Mailbox(threads, **{f"t{number}": error(500) for number in range(30)}), list(threads))
    assert names(answers) == list(threads)


def test_where_nothing_is_served_threads_make_no_difference() -> None:
    threads = {f"m{number}": f"t{number // 2}" for number in range(40)}
    http = Playback(lambda _: error(503))
    with pytest.raises(ProviderUnavailable):
        provider(http).fetch(access(), list(threads), list(threads.values()))
    assert len(http.requests) < 80  # messages are believed when they say so, threads are not


def test_a_batch_of_threads_is_half_as_long_for_the_same_price() -> None:
    threads = {f"m{number}": f"t{number // 2}" for number in range(80)}
    answers, http, spent = fetch(Mailbox(threads), list(threads))
    assert names(answers) == list(threads)
    assert http.batches == [12, 12, 12, 4]
    assert spent == 40 * 40


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=30),
    st.integers(0, 10**6),
    st.dictionaries(st.integers(0, 5), st.sampled_from([404, 500, 200]), max_size=3),
)
def test_each_wanted_message_is_answered_with_its_own_data_whatever_its_thread_does(
    membership: list[int], seed: int, odd: dict[int, int]
) -> None:
    chance = random.Random(seed)
    threads = {f"m{number}": f"t{thread}" for number, thread in enumerate(membership)}
    wanted = chance.sample(list(threads), chance.randint(1, len(threads)))
    other = {"messages": [mail(id, threadId=threads[id]) for id in chance.choices(list(threads), k=3)]}
    answers, _, _ = fetch(
        Mailbox(
            threads, **{f"t{n}": Answer(200, other) if status == 200 else error(status) for n, status in odd.items()}
        ),
        wanted,
    )
    assert [answer.id for answer in answers[: len(wanted)]] == wanted
    others = [answer.id for answer in answers[len(wanted) :]]
    assert len(set(others)) == len(others)
    assert set(others).isdisjoint(wanted)
    for answer in answers:
        assert isinstance(answer, Upsert)
        assert (answer.message.subject, answer.message.thread_id) == (f"Mail {answer.id}", threads[answer.id])

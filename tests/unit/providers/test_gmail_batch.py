"""Many messages are read in one request, and each part's fate is its own."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import (
    BrainstemError,
    ConfigurationError,
    Paced,
    ProviderRefused,
    ProviderUnavailable,
    RateLimited,
    ReauthRequired,
)
from shared.providers.base import Access, Fetched, Missing, Refused, Upsert
from shared.providers.http.wire import HeavyAnswer, Reply
from tests.unit.fakes import FakeClock
from tests.unit.providers.gmail_playback import (
    BATCH,
    NOW,
    TOKEN,
    Answer,
    Playback,
    Request,
    access,
    calls_of,
    error,
    mail,
    multipart,
    provider,
)

Part = tuple[str | None, Answer]
IDS = [f"m{number}" for number in range(60)]


def serve(**answers: Any) -> Callable[[Request], Answer]:
    """Each message its answer, or the next one of its list; every other one exists."""

    def answer(asked: Request) -> Answer:
        found = answers.get(asked.last, Answer(200, mail(asked.last)))
        if isinstance(found, list):
            found = found.pop(0) if len(found) > 1 else found[0]
        assert isinstance(found, Answer)
        return found

    return answer


def kinds(answers: tuple[Fetched, ...]) -> list[type]:
    return [type(answer) for answer in answers]


def test_messages_are_read_in_one_request_each_as_if_alone() -> None:
    http = Playback(serve(b=error(404)))
    answers = provider(http).fetch(access(), ["a", "b", "c"])
    assert [answer.id for answer in answers] == ["a", "b", "c"]
    assert kinds(answers) == [Upsert, Missing, Upsert]
    assert http.batches == [3]
    for asked in http.requests:
        assert asked.path == f"/google/gmail/v1/users/me/messages/{asked.last}"
        assert asked.headers["authorization"] == f"Bearer {TOKEN}"
        assert asked.query["format"] == ["metadata"]
        assert asked.query["fields"] == ["id,threadId,labelIds,snippet,historyId,internalDate,payload/headers"]


def test_one_message_needs_no_batch_and_is_asked_for_in_the_same_way() -> None:
    http, alone = Playback(serve()), Playback(serve())
    provider(http).fetch(access(), ["a", "b"])
    provider(alone).fetch(access(), ["a"])
    assert alone.batches == []
    assert alone.requests[0].url == http.requests[0].url


def test_an_id_cannot_leave_its_place_in_a_batch() -> None:
    http = Playback(serve())
    provider(http).fetch(access(), ["a\r\n\r\nPOST /x", "../labels?x=1#é"])
    assert [asked.path.partition("/messages/")[2] for asked in http.requests] == [
        "a%0D%0A%0D%0APOST%20%2Fx",
        "..%2Flabels%3Fx%3D1%23%C3%A9",
    ] * 2  # neither is answered as itself, so both are asked for again


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"gmail_quota": "none"}, [25, 25, 10]),
        ({"gmail_quota": "none", "gmail_batch_size": 60}, [60]),
        ({"gmail_quota": "none", "gmail_batch_size": 7}, [7] * 8 + [4]),
        ({"gmail_quota": "2025", "gmail_batch_size": 100}, [60]),
        # Half of what ten seconds allow: 490 units.
        ({"gmail_batch_size": 100}, [24, 24, 12]),
        ({"gmail_units_per_minute": 600}, [2] * 30),
        ({"gmail_batch_size": 1}, []),
    ],
)
def test_a_batch_has_as_many_parts_as_settings_and_limits_allow(settings: dict[str, Any], expected: list[int]) -> None:
    http = Playback(serve())
    assert set(kinds(provider(http, **settings).fetch(access(), IDS))) == {Upsert}
    assert http.batches == expected
    assert len(http.requests) == 60


@pytest.mark.parametrize("size", [0, 101])
def test_a_batch_size_that_gmail_does_not_take_is_named(size: int) -> None:
    with pytest.raises(ConfigurationError, match="GMAIL_BATCH_SIZE"):
        provider(Playback([]), gmail_batch_size=size)


def test_every_part_and_every_second_try_is_counted() -> None:
    going = access()
    provider(Playback(serve(b=[error(500), Answer(200, mail("b"))]))).fetch(going, ["a", "b", "c"])
    assert going.meter.spent == 4 * 20  # type: ignore[attr-defined]


class Bucket:
    """A meter that fills slowly, sleeps for ten seconds at most, and never lets itself be overdrawn."""

    def __init__(self, clock: FakeClock, per_second: float, burst: float) -> None:
        self.spent = 0.0
        self._clock, self._per_second, self._burst = clock, per_second, burst
        self._units, self._at = burst, clock.now()

    def room(self) -> float:
        self._units = min(self._burst, self._units + (self._clock.now() - self._at) * self._per_second)
        self._at = self._clock.now()
        return self._units

    def spend(self, units: float) -> None:
        wait = (min(units, self._burst) - self.room()) / self._per_second
        if wait > 10:
            raise Paced("Not now.", retry_after=wait)
        self._clock.sleep(max(wait, 0.0))
        self._units = self.room() - units
        self.spent += units
        assert self._units > -0.001


def test_where_there_is_room_for_less_than_a_batch_less_goes_out_and_everything_comes_in() -> None:
    clock = FakeClock(NOW)
    http, narrow = Playback(serve()), Bucket(clock, per_second=9.8, burst=196)
    answers = provider(http, clock).fetch(Access(TOKEN, narrow), IDS[:40])
    assert kinds(answers) == [Upsert] * 40
    assert narrow.spent == 40 * 20  # not one was asked for twice
    assert http.batches[0] == 9
    assert max(http.batches) == 9


def test_where_a_whole_batch_is_worth_the_wait_it_goes_out_whole() -> None:
    clock = FakeClock(NOW)
    http, wide = Playback(serve()), Bucket(clock, per_second=88, burst=588)
    provider(http, clock).fetch(Access(TOKEN, wide), [*IDS, *[f"n{number}" for number in range(40)]])
    assert http.batches == [24, 5, 24, 24, 23]


@pytest.mark.parametrize("first", [error(400, "failedPrecondition"), error(403, "forbidden"), error(500), error(503)])
def test_only_what_was_refused_is_asked_for_again(first: Answer) -> None:
    http = Playback(serve(b=[first, Answer(200, mail("b"))]))
    assert kinds(provider(http).fetch(access(), ["a", "b", "c"])) == [Upsert] * 3
    assert [asked.last for asked in http.requests] == ["a", "b", "c", "b"]


def test_what_is_refused_twice_is_refused_alone() -> None:
    http = Playback(serve(b=error(500, "backendError"), d=error(400, "failedPrecondition")))
    answers = provider(http).fetch(access(), ["a", "b", "c", "d"])
    assert kinds(answers) == [Upsert, Refused, Upsert, Refused]
    assert answers[1] == Refused("b", "Gmail refused the message (500 backendError).")
    assert http.batches == [4, 2]


def test_a_token_that_some_parts_do_not_take_is_shown_once_more() -> None:
    http = Playback(serve(b=[error(401), Answer(200, mail("b"))]))
    assert kinds(provider(http).fetch(access(), ["a", "b", "c"])) == [Upsert] * 3
    with pytest.raises(ReauthRequired):
        provider(Playback(serve(b=error(401)))).fetch(access(), ["a", "b", "c"])
    dead = Playback(lambda _: error(401))
    with pytest.raises(ReauthRequired):
        provider(dead).fetch(access(), ["a", "b", "c"])
    assert dead.batches == [3]


LIMITS = [error(429), error(403, "rateLimitExceeded"), error(403, "userRateLimitExceeded"), error(403, "quotaExceeded")]


@pytest.mark.parametrize("limit", LIMITS)
def test_parts_over_a_limit_are_asked_for_again_after_a_while_in_smaller_batches(limit: Answer) -> None:
    clock = FakeClock(NOW)
    limited = IDS[10:24]
    http = Playback(serve(**{id: [limit, limit, Answer(200, mail(id))] for id in limited}))
    answers = provider(http, clock, gmail_quota="none").fetch(access(), IDS[:40])
    assert set(kinds(answers)) == {Upsert}
    assert clock.slept == [1.0, 2.0, 4.0]
    # The batches are halved each time; two of the fourteen come later than the others, and are limited once more.
    assert http.batches == [25, 12, 6, 6, 6, 3, 3, 3, 3]


def test_the_wait_that_a_part_names_is_kept() -> None:
    clock = FakeClock(NOW)
    waits = [error(429, **{"retry-after": seconds}) for seconds in ("3", "0.5")]
    http = Playback(serve(b=[waits[0], Answer(200, mail("b"))], c=[waits[1], Answer(200, mail("c"))]))
    assert kinds(provider(http, clock).fetch(access(), ["a", "b", "c"])) == [Upsert] * 3
    assert clock.slept == [3.0]


@pytest.mark.parametrize(
    ("limit", "slept", "wait"),
    [
        (error(429), [1.0, 2.0, 4.0], None),
        (error(429, **{"retry-after": "6"}), [6.0], 6.0),
        (error(429, **{"retry-after": "11"}), [], 11.0),
        (error(429, **{"retry-after": "0"}), [1.0, 2.0, 4.0], 0.0),
        (error(429, **{"retry-after": "0.25"}), [0.25] * 8, 0.25),
    ],
)
def test_a_limit_that_lasts_is_left_to_the_task_queue(limit: Answer, slept: list[float], wait: float | None) -> None:
    clock = FakeClock(NOW)
    with pytest.raises(RateLimited) as caught:
        provider(Playback(serve(b=limit)), clock).fetch(access(), ["a", "b", "c"])
    assert clock.slept == slept
    assert caught.value.retry_after == wait


class Server:
    """A batch endpoint that answers as it is told; single gets are always served."""

    def __init__(self, batch: Callable[[list[Part]], Answer | Exception]) -> None:
        self.batches = self.singles = 0
        self._batch = batch

    def request(self, uri: str, method: str = "GET", body: Any = None, headers: Any = None) -> tuple[Any, bytes]:
        if not uri.endswith(BATCH):
            self.singles += 1
            return Reply(200), json.dumps(mail(urlsplit(uri).path.rsplit("/", 1)[-1])).encode()
        self.batches += 1
        found = [(name, Answer(200, mail(_last(target)))) for name, target in calls_of(body)]
        answer = self._batch(list(found))
        if isinstance(answer, Exception):
            raise answer
        return answer.play()


def _last(target: str) -> str:
    return urlsplit(target).path.rsplit("/", 1)[-1]


@pytest.mark.parametrize("status", [404, 405, 501])
def test_a_server_without_a_batch_endpoint_is_asked_one_by_one_for_an_hour(status: int) -> None:
    clock = FakeClock(NOW)
    server = Server(lambda _: error(status))
    gmail = provider(server, clock)
    assert kinds(gmail.fetch(access(), ["a", "b", "c"])) == [Upsert] * 3
    gmail.fetch(access(), ["a", "b", "c"])
    assert (server.batches, server.singles) == (1, 6)
    clock.time += 3_600
    gmail.fetch(access(), ["a", "b"])
    assert (server.batches, server.singles) == (2, 8)


@pytest.mark.parametrize(
    "odd",
    [
        error(400, "invalidArgument"),
        error(413),
        Answer(200, b"<html>", {"content-type": "text/html"}),
        Answer(200, {}, {"content-type": "application/json"}),
        multipart([]),
        multipart([("other", Answer(200, {}))]),
        HeavyAnswer("heavy"),
    ],
    ids=["400", "413", "html", "json", "empty", "not ours", "heavy"],
)
def test_where_a_batch_is_not_taken_for_one_its_messages_are_asked_for_one_by_one(odd: Answer | Exception) -> None:
    server = Server(lambda _: odd)
    gmail = provider(server)
    assert kinds(gmail.fetch(access(), IDS[:30])) == [Upsert] * 30
    assert (server.batches, server.singles) == (1, 30)
    gmail.fetch(access(), ["a", "b"])
    assert server.batches == 2  # it may have been that batch


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (error(401), ReauthRequired),
        (error(403, "insufficientPermissions"), ReauthRequired),
        (error(403, "accessNotConfigured"), ProviderRefused),
        (error(403, "rateLimitExceeded"), RateLimited),
        (error(429), RateLimited),
    ],
)
def test_a_refusal_of_the_whole_batch_ends_the_call(answer: Answer, expected: type[Exception]) -> None:
    server = Server(lambda _: answer)
    with pytest.raises(expected):
        provider(server).fetch(access(), ["a", "b", "c"])
    assert (server.batches, server.singles) == (1, 0)


BREAKS = [
    error(500),
    error(503),
    Answer(302, b"", {"location": "http://elsewhere.test/"}),
    ConnectionResetError(),
    TimeoutError(),
]


@pytest.mark.parametrize("answer", BREAKS)
def test_a_batch_without_an_answer_is_asked_for_one_by_one(answer: Answer | Exception) -> None:
    server = Server(lambda _: answer)
    assert kinds(provider(server).fetch(access(), ["a", "b", "c"])) == [Upsert] * 3
    assert (server.batches, server.singles) == (1, 3)


@pytest.mark.parametrize("broken", BREAKS)
@pytest.mark.parametrize("poison", ["m0", "m7", "m59"])
def test_one_message_that_breaks_every_call_costs_no_other(broken: Answer | Exception, poison: str) -> None:
    class Breaking(Playback):
        def request(self, uri: str, method: str = "GET", body: Any = None, headers: Any = None) -> tuple[Any, bytes]:
            if f"/{poison}?" not in uri and f"/{poison}?".encode() not in (body or b""):
                return super().request(uri, method, body, headers)
            if isinstance(broken, Exception):
                raise broken
            return broken.play()

    answers = provider(Breaking(serve())).fetch(access(), IDS)
    assert [answer.id for answer in answers] == IDS
    assert [answer.id for answer in answers if not isinstance(answer, Upsert)] == [poison]
    assert Refused in kinds(answers)


def test_where_no_call_brings_an_answer_few_are_made() -> None:
    http = Playback(lambda _: ConnectionResetError())
    with pytest.raises(ProviderUnavailable):
        provider(http).fetch(access(), IDS)
    assert len(http.batches) == 3
    with pytest.raises(ProviderUnavailable):
        provider(http).fetch(access(), ["a"])
    assert len(http.requests) == 3 + 1


def test_calls_without_an_answer_do_not_go_on_until_the_step_is_cut_off() -> None:
    clock = FakeClock(NOW)

    class Slow(Playback):
        def request(self, uri: str, method: str = "GET", body: Any = None, headers: Any = None) -> tuple[Any, bytes]:
            if uri.endswith(BATCH) or uri.partition("?")[0][-1] in "02468":
                clock.sleep(20)
                raise TimeoutError
            return super().request(uri, method, body, headers)

    with pytest.raises(ProviderUnavailable):
        provider(Slow(serve()), clock).fetch(access(), IDS)
    assert clock.now() - NOW <= 140


def test_a_part_about_another_message_counts_as_unanswered() -> None:
    def swap(parts: list[Part]) -> Answer:
        (first, one), (second, other), *rest = parts
        return multipart([(first, other), (second, one), *rest])

    http = Server(swap)
    answers = provider(http).fetch(access(), ["a", "b", "c"])
    assert kinds(answers) == [Refused, Refused, Upsert]
    assert http.batches == 2


def _messages_by_position(parts: list[Part]) -> list[Part]:
    return [(None, answer) for _, answer in parts]


MUTATIONS: list[Callable[[list[Part], random.Random], list[Part]]] = [
    lambda parts, chance: chance.sample(parts, len(parts)),
    lambda parts, chance: [part for part in parts if chance.random() < 0.7],
    lambda parts, chance: [*parts, *chance.choices(parts, k=2)],
    lambda parts, chance: [(name if chance.random() < 0.5 else None, answer) for name, answer in parts],
    lambda parts, _: _messages_by_position(parts),
    lambda parts, chance: _messages_by_position(chance.sample(parts, len(parts))),
    lambda parts, chance: [(chance.choice(parts)[0], answer) for _, answer in parts],
    lambda parts, chance: [
        (name, chance.choice([answer, Answer(200, b"\xff{"), error(500)])) for name, answer in parts
    ],
    lambda parts, chance: [(name, chance.choice(parts)[1]) for name, _ in parts],
    lambda parts, chance: [("brainstem-7", parts[0][1]), *parts, ("stranger", chance.choice(parts)[1])],
]


@given(
    st.lists(st.sampled_from(MUTATIONS), max_size=4),
    st.integers(0, 10**6),
    st.integers(2, 12),
    st.none() | st.tuples(st.floats(0, 1), st.binary(max_size=12)),
)
def test_whatever_becomes_of_the_parts_no_id_gets_the_data_of_another(
    mutations: list[Callable[[list[Part], random.Random], list[Part]]],
    seed: int,
    count: int,
    garbage: tuple[float, bytes] | None,
) -> None:
    chance = random.Random(seed)

    def mutate(parts: list[Part]) -> Answer:
        for mutation in mutations:
            parts = mutation(parts, chance) if parts else parts
        answer = multipart(parts)
        if garbage is None:
            return answer
        assert isinstance(answer.body, bytes)
        place = int(garbage[0] * len(answer.body))
        return Answer(200, answer.body[:place] + garbage[1] + answer.body[place + len(garbage[1]) :], answer.headers)

    ids = IDS[:count]
    try:
        answers = provider(Server(mutate)).fetch(access(), ids)
    except BrainstemError as error:
        assert isinstance(error, ProviderUnavailable)  # noqa: PT017 - both ends are allowed, and only these
        return
    assert [answer.id for answer in answers] == ids
    for answer in answers:
        if isinstance(answer, Upsert) and garbage is None:
            assert answer.message.subject == f"Mail {answer.id}"
            assert answer.message.thread_id == f"t{answer.id}"

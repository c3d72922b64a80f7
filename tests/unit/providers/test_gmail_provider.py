"""What the Gmail adapter asks and what it makes of the answers, call by call."""

from __future__ import annotations

from typing import Any

import pytest

from shared.errors import (
    ConfigurationError,
    PageExpired,
    ProviderRefused,
    ProviderUnavailable,
    RateLimited,
    ReauthRequired,
)
from shared.providers.base import Channel, Listing, MailProvider, Missing, Profile, Refused, Span, Upsert
from tests.unit.providers.gmail_playback import TOKEN, Answer, Playback, Request, access, error, mail, provider

PROFILE = Answer(200, {"emailAddress": "Ann@example.org", "messagesTotal": 12, "threadsTotal": 9, "historyId": "77"})
PRECONDITION = error(400, "failedPrecondition", "Precondition check failed.")


def test_it_is_a_mail_provider() -> None:
    gmail: MailProvider = provider(Playback([]))
    assert gmail.name == "GOOGLE"


def test_profile() -> None:
    http = Playback([PROFILE])
    assert provider(http).profile(access()) == Profile("Ann@example.org", "77", 12)
    (asked,) = http.requests
    assert asked.url.startswith("http://gmail.test/google/gmail/v1/users/me/profile")
    assert asked.headers["authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize("root", ["http://gmail.test/google/", "http://gmail.test/google"])
def test_the_root_is_a_setting(root: str) -> None:
    http = Playback([PROFILE])
    provider(http, gmail_api_url=root).profile(access())
    assert http.paths == ["GET /google/gmail/v1/users/me/profile"]


def test_a_precondition_that_fails_once_is_nothing() -> None:
    http = Playback([PRECONDITION, PROFILE])
    assert provider(http).profile(access()).address == "Ann@example.org"


def test_a_precondition_that_stays_is_a_refusal() -> None:
    with pytest.raises(ProviderRefused):
        provider(Playback([PRECONDITION, PRECONDITION])).profile(access())
    with pytest.raises(ProviderRefused):
        provider(Playback([PRECONDITION, PRECONDITION])).list_ids(access(), "page", 10)


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {},
        {"emailAddress": "a@b"},
        {"emailAddress": 1, "historyId": "1"},
        {"emailAddress": "", "historyId": "1"},
        b"<html>",
        b"",
    ],
)
def test_what_is_no_profile_is_no_answer(body: Any) -> None:
    with pytest.raises(ProviderUnavailable):
        provider(Playback([Answer(200, body)])).profile(access())


def test_a_listing_includes_spam_and_trash() -> None:
    http = Playback(
        [Answer(200, {"messages": [{"id": "b"}, {"id": "a"}], "nextPageToken": "T2", "resultSizeEstimate": 9})]
    )
    assert provider(http).list_ids(access(), "T1", 50, "INBOX") == Listing(("b", "a"), "T2", 9)
    assert http.requests[0].query == {
        "includeSpamTrash": ["true"],
        "maxResults": ["50"],
        "pageToken": ["T1"],
        "labelIds": ["INBOX"],
    }


@pytest.mark.parametrize(
    ("within", "search"),
    [
        (Span(1000.9), "after:999"),
        (Span(1000.0, 2000.0), "after:999 before:2002"),
        (Span(-5.0, 0.5), "after:0 before:2"),
    ],
)
def test_a_span_of_time_is_searched_for_a_second_wider(within: Span, search: str) -> None:
    http = Playback([Answer(200, {})] * 2)
    gmail = provider(http)
    gmail.list_ids(access(), None, 500, within=within)
    gmail.list_ids(access(), None, 500, "INBOX", within)
    assert [request.query["q"] for request in http.requests] == [[search], [search]]
    assert [request.query["maxResults"] for request in http.requests] == [["500"], ["500"]], "few of it will be read"


@pytest.mark.parametrize(("limit", "asked"), [(0, "1"), (1, "1"), (500, "500"), (9_999, "500")])
def test_the_page_size_is_one_that_gmail_takes(limit: int, asked: str) -> None:
    http = Playback([Answer(200, {"resultSizeEstimate": 0})])
    assert provider(http, gmail_quota="none").list_ids(access(), None, limit) == Listing((), None, 0)
    assert http.requests[0].query["maxResults"] == [asked]
    assert "pageToken" not in http.requests[0].query


@pytest.mark.parametrize(("quota", "asked"), [("2026", "294"), ("2025", "500"), ("none", "500")])
def test_no_more_is_listed_than_can_be_read_in_a_minute(quota: str, asked: str) -> None:
    http = Playback([Answer(200, {})] * 2)
    gmail = provider(http, gmail_quota=quota)
    gmail.list_ids(access(), None, 500)
    gmail.list_ids(access(), None, 500, "INBOX")  # of a label only what is not known will be read
    assert [request.query["maxResults"] for request in http.requests] == [[asked], ["500"]]


def test_a_listing_names_the_threads_where_gmail_does() -> None:
    entries: list[dict[str, Any]] = [{"id": "b", "threadId": "t"}, {"id": "a"}, {"id": "c", "threadId": 5}]
    http = Playback([Answer(200, {"messages": entries}), Answer(200, {"messages": entries[1:]})])
    gmail = provider(http)
    assert gmail.list_ids(access(), None, 9).threads == ("t", "", "")
    assert gmail.list_ids(access(), None, 9).threads == ()


def test_a_refused_page_token() -> None:
    with pytest.raises(PageExpired):
        provider(Playback([error(400, "invalidArgument", "Invalid pageToken")])).list_ids(access(), "old", 10)
    with pytest.raises(ProviderRefused):
        provider(Playback([error(400, "invalidArgument")])).list_ids(access(), None, 10)


def test_a_label_that_was_deleted_meanwhile_labels_nothing() -> None:
    http = Playback([error(400, "invalidArgument", "Invalid label: Label_7")])
    assert provider(http).list_ids(access(), None, 10, "Label_7") == Listing((), None)


@pytest.mark.parametrize("messages", [{}, "x", [None], [{}], [{"id": ""}], [{"id": 5}]])
def test_an_entry_without_an_id_is_not_skipped(messages: Any) -> None:
    with pytest.raises(ProviderUnavailable):
        provider(Playback([Answer(200, {"messages": messages})])).list_ids(access(), None, 10)


def test_labels() -> None:
    http = Playback([Answer(200, {"labels": [{"id": "SPAM", "name": "Spam"}, {"id": "Label_1"}, {"id": "INBOX"}]})])
    assert provider(http).labels(access()) == ("INBOX", "Label_1", "SPAM")
    assert http.paths == ["GET /google/gmail/v1/users/me/labels"]


def test_fetch_asks_for_metadata_with_the_headers_of_the_settings() -> None:
    http = Playback([Answer(200, mail("a"))])
    (upsert,) = provider(http, headers=("message-id", "subject")).fetch(access(), ["a"])
    assert isinstance(upsert, Upsert)
    assert upsert.message.sender == "ann@example.org"
    assert upsert.message.headers == {"subject": "Mail a"}
    assert http.requests[0].query["format"] == ["metadata"]
    assert http.requests[0].query["metadataHeaders"] == ["From", "To", "Cc", "Bcc", "subject", "Date", "message-id"]


def serve(**answers: Any) -> Playback:
    """A server that gives each message its answer, or its next one."""

    def answer(asked: Request) -> Answer | Exception:
        found = answers[asked.last]
        played: Answer | Exception = found.pop(0) if isinstance(found, list) else found
        return played

    return Playback(answer)


GOOD = {id: Answer(200, mail(id)) for id in "abcdefg"}


def test_one_answer_per_id_in_order_and_repeats_cost_nothing() -> None:
    http = serve(a=GOOD["a"], b=error(404), c=GOOD["c"])
    answers = provider(http).fetch(access(), ["c", "a", "b", "c"])
    assert [answer.id for answer in answers] == ["c", "a", "b", "c"]
    assert [type(answer) for answer in answers] == [Upsert, Upsert, Missing, Upsert]
    assert len(http.requests) == 3


@pytest.mark.parametrize("status", [400, 403, 410, 500, 503])
def test_a_message_that_stays_refused_is_refused_alone(status: int) -> None:
    http = serve(a=GOOD["a"], b=error(status, "backendError"))
    assert provider(http).fetch(access(), ["b", "a"])[0] == Refused(
        "b", f"Gmail refused the message ({status} backendError)."
    )
    assert [asked.last for asked in http.requests] == ["b", "a", "b"]


@pytest.mark.parametrize(
    "first", [PRECONDITION, error(500), error(403, "forbidden"), Answer(200, b"<html>"), Answer(200, b"")]
)
def test_a_message_that_is_refused_once_gets_a_second_try(first: Answer) -> None:
    (answer,) = provider(serve(a=[first, GOOD["a"]])).fetch(access(), ["a"])
    assert isinstance(answer, Upsert)


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (error(401, "authError"), ReauthRequired),
        (error(429), RateLimited),
        (error(403, "userRateLimitExceeded"), RateLimited),
    ],
)
def test_what_is_about_the_whole_call_ends_it(failure: Answer, expected: type[Exception]) -> None:
    with pytest.raises(expected):
        provider(serve(a=GOOD["a"], b=failure, c=GOOD["c"])).fetch(access(), ["a", "b", "c"])


def test_the_wait_comes_along() -> None:
    with pytest.raises(RateLimited) as caught:
        provider(serve(a=error(429, **{"retry-after": "17"}))).fetch(access(), ["a"])
    assert caught.value.retry_after == 17.0


def test_nothing_served_is_not_the_messages_fault() -> None:
    ids = [f"m{number}" for number in range(10)]
    with pytest.raises(ProviderUnavailable):
        provider(serve(**{id_: error(400) for id_ in ids})).fetch(access(), ids)
    few = provider(serve(a=error(500), b=error(500))).fetch(access(), ["a", "b"])
    assert [type(answer) for answer in few] == [Refused, Refused]
    # A 404 is an answer.
    some = provider(serve(a=error(500), b=error(500), c=error(500), d=error(404))).fetch(access(), ["a", "b", "c", "d"])
    assert [type(answer) for answer in some] == [Refused, Refused, Refused, Missing]


def test_an_outage_is_not_asked_a_thousand_times() -> None:
    http = Playback(lambda _: error(503))
    with pytest.raises(ProviderUnavailable):
        provider(http).fetch(access(), [f"m{number}" for number in range(500)])
    assert http.batches == [24, 24]


@pytest.mark.parametrize("id", ["", ".", "..", "x" * 513])
def test_an_id_that_would_ask_for_something_else_is_not_asked_for(id: str) -> None:
    http = Playback([])
    assert [type(answer) for answer in provider(http).fetch(access(), [id])] == [Refused]
    assert http.requests == []


def test_an_id_cannot_leave_its_place_in_the_url() -> None:
    http = Playback([error(404)])
    provider(http).fetch(access(), ["../labels?x=1#é"])
    assert http.requests[0].path == "/google/gmail/v1/users/me/messages/..%2Flabels%3Fx%3D1%23%C3%A9"


def test_an_answer_about_another_message_is_not_taken_for_it() -> None:
    (answer,) = provider(serve(a=GOOD["b"])).fetch(access(), ["a"])
    assert isinstance(answer, Refused)
    assert answer.id == "a"


WATCHED = Answer(200, {"historyId": "5", "expiration": "1790604800000"})
IN_THE_WAY = error(
    400, "invalidArgument", "Only one user push notification client allowed per developer (call /stop then try again)"
)
BASE = "/google/gmail/v1/users/me/"


def test_a_watch_is_unfiltered() -> None:
    http = Playback([WATCHED])
    assert provider(http).open_channel(access(), "", "") == Channel("", 1_790_604_800.0)
    assert http.paths == [f"POST {BASE}watch"]
    assert http.requests[0].body == '{"topicName":"projects/p/topics/gmail"}'
    assert http.requests[0].headers["content-type"] == "application/json"


def test_without_a_topic_there_is_no_channel() -> None:
    assert provider(Playback([]), gmail_topic="").open_channel(access(), "", "") is None


def test_a_watch_in_the_way_is_stopped_once() -> None:
    http = Playback([IN_THE_WAY, Answer(204, b""), WATCHED])
    assert provider(http).open_channel(access(), "", "") == Channel("", 1_790_604_800.0)
    assert http.paths == [f"POST {BASE}watch", f"POST {BASE}stop", f"POST {BASE}watch"]
    with pytest.raises(ProviderRefused):
        provider(Playback([IN_THE_WAY, Answer(204, b""), IN_THE_WAY])).open_channel(access(), "", "")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (error(403, "forbidden"), ProviderRefused),
        (error(401), ReauthRequired),
        (error(500), ProviderUnavailable),
        (Answer(200, {}), ProviderUnavailable),
    ],
)
def test_a_watch_that_is_refused(answer: Answer, expected: type[Exception]) -> None:
    with pytest.raises(expected):
        provider(Playback([answer])).open_channel(access(), "", "")


@pytest.mark.parametrize("answer", [Answer(204, b""), Answer(200, b""), Answer(200, {}), error(404, "notFound")])
def test_a_watch_that_is_gone_can_be_stopped(answer: Answer) -> None:
    provider(Playback([answer])).close_channel(access(), Channel("", 0.0))


def test_a_watch_that_cannot_be_stopped() -> None:
    with pytest.raises(ProviderUnavailable):
        provider(Playback([error(503)])).close_channel(access(), Channel("", 0.0))


@pytest.mark.parametrize(
    "setting",
    [
        {"gmail_api_url": "gmail.test"},
        {"gmail_api_url": "ftp://x/"},
        {"google_oidc_discovery_url": "x"},
        {"provider_timeout": 0.0},
    ],
)
def test_settings_that_cannot_work_are_named(setting: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"GMAIL_API_URL|GOOGLE_OIDC_DISCOVERY_URL|PROVIDER_TIMEOUT_SECONDS"):
        provider(Playback([]), **setting)

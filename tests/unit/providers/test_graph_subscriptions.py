"""The subscription by which Graph rings: prolonged, made anew, never two."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from shared.errors import ProviderRefused, ProviderUnavailable, ReauthRequired
from shared.providers.base import Channel
from tests.unit.fakes import FakeClock
from tests.unit.providers.gmail_playback import NOW, Answer, Playback, Request
from tests.unit.providers.graph_playback import ROOT, SUBSCRIPTION, access, error, provider

BELL = "https://bell.test/graph_push"
OPENED = Channel("sub-1", 1_790_553_600.0)


def subscription(id: str, url: str = BELL, resource: str = "me/messages") -> dict[str, Any]:
    return {"id": id, "notificationUrl": url, "resource": resource}


def shown(*subscriptions: dict[str, Any], next: str = "") -> Answer:
    return Answer(200, {"value": list(subscriptions), **({"@odata.nextLink": next} if next else {})})


def body(request: Request) -> dict[str, Any]:
    read: dict[str, Any] = orjson.loads(request.body)
    return read


def test_without_a_url_nothing_is_asked() -> None:
    http = Playback([])
    assert provider(http, graph_notification_url="").open_channel(access(), "", "secret") is None
    provider(http, graph_notification_url="").close_channel(access(), Channel("", 0.0))
    assert http.requests == []


def test_the_first_one_is_made_with_immutable_ids_for_the_longest_time() -> None:
    http = Playback([shown(), Answer(201, SUBSCRIPTION)])
    assert provider(http, FakeClock(NOW)).open_channel(access(), "", "secret") == OPENED
    assert http.paths == ["GET /v1.0/subscriptions", "POST /v1.0/subscriptions"]
    assert http.requests[1].headers["prefer"] == 'IdType="ImmutableId"'
    assert http.requests[1].headers["content-type"] == "application/json"
    assert body(http.requests[1]) == {
        "changeType": "created,updated,deleted",
        "notificationUrl": BELL,
        "lifecycleNotificationUrl": f"{BELL}/lifecycle",
        "resource": "me/messages",
        "clientState": "secret",
        "expirationDateTime": "2026-09-28T14:03:20Z",  # 10,070 minutes from now
    }


def test_the_one_in_place_is_prolonged_and_nothing_else_is_touched() -> None:
    http = Playback([Answer(200, SUBSCRIPTION)])
    assert provider(http, FakeClock(NOW)).open_channel(access(), "sub-1", "secret") == OPENED
    assert http.paths == ["PATCH /v1.0/subscriptions/sub-1"]
    assert body(http.requests[0]) == {"expirationDateTime": "2026-09-28T14:03:20Z"}


def test_where_the_one_in_place_is_gone_another_is_made_and_what_was_lost_sight_of_is_deleted() -> None:
    others = [
        subscription("foreign", url="https://other.test/"),
        subscription("calendar", resource="me/events"),
        subscription("lost", resource="/me/Messages"),
    ]
    http = Playback(
        [
            error(404, "ResourceNotFound"),
            shown(*others, next=f"{ROOT}subscriptions?$skiptoken=2"),
            shown(subscription("lost-too")),
            Answer(204, b""),
            error(404, "ResourceNotFound"),
            Answer(201, SUBSCRIPTION),
        ]
    )
    assert provider(http).open_channel(access(), "sub-0", "secret") == OPENED
    assert http.paths[3:] == [
        "DELETE /v1.0/subscriptions/lost",
        "DELETE /v1.0/subscriptions/lost-too",
        "POST /v1.0/subscriptions",
    ]


def test_one_that_leads_to_an_old_url_of_ours_is_replaced() -> None:
    http = Playback(
        [
            Answer(200, {**SUBSCRIPTION, "notificationUrl": "https://old.test/"}),
            Answer(204, b""),
            shown(),
            Answer(201, {**SUBSCRIPTION, "id": "sub-2", "notificationUrl": BELL}),
        ]
    )
    opened = provider(http).open_channel(access(), "sub-1", "secret")
    assert opened == Channel("sub-2", OPENED.expires_at)
    assert http.paths[1] == "DELETE /v1.0/subscriptions/sub-1"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (error(401), ReauthRequired),
        (error(403, "ErrorAccessDenied"), ProviderRefused),
        (error(500), ProviderUnavailable),
        (error(410), ProviderRefused),
    ],
)
def test_another_trouble_with_the_one_in_place_makes_no_second_one(answer: Answer, expected: type) -> None:
    http = Playback([answer])
    with pytest.raises(expected):
        provider(http).open_channel(access(), "sub-1", "secret")
    assert len(http.requests) == 1


def test_one_that_is_in_the_way_is_deleted_once() -> None:
    script = [shown(), error(409, "Conflict"), shown(subscription("lost")), Answer(204, b"")]
    http = Playback([*script, Answer(201, SUBSCRIPTION)])
    assert provider(http).open_channel(access(), "", "secret") == OPENED
    assert http.paths[2:] == [
        "GET /v1.0/subscriptions",
        "DELETE /v1.0/subscriptions/lost",
        "POST /v1.0/subscriptions",
    ]
    with pytest.raises(ProviderUnavailable):
        provider(Playback([*script, error(409, "Conflict")])).open_channel(access(), "", "secret")


@pytest.mark.parametrize("current", ["", "sub-1"])
def test_a_lifetime_that_is_too_long_is_followed_by_a_shorter_one(current: str) -> None:
    refused = error(400, "ExtensionError", "Subscription expiration can only be 4230 minutes in the future.")
    http = Playback([*([] if current else [shown()]), refused, Answer(201, SUBSCRIPTION)])
    provider(http, FakeClock(NOW)).open_channel(access(), current, "secret")
    asked = [body(request)["expirationDateTime"] for request in http.requests[-2:]]
    assert asked == ["2026-09-28T14:03:20Z", "2026-09-24T12:33:20Z"]


def test_a_refusal_for_another_reason_is_one() -> None:
    invalid = error(400, "InvalidRequest", "The validation of the endpoint canary failed.")
    with pytest.raises(ProviderRefused) as caught:
        provider(Playback([shown(), invalid])).open_channel(access(), "", "secret")
    assert caught.value.message == "Outlook refused a subscription (400 InvalidRequest)."


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"id": "sub-1"},
        {"id": "sub-1", "expirationDateTime": "soon"},
        {"id": "sub-1", "expirationDateTime": 7},
        {"id": "", "expirationDateTime": "2026-09-28T00:00:00Z"},
        {"id": "x" * 129, "expirationDateTime": "2026-09-28T00:00:00Z"},
        {"id": "a\nb", "expirationDateTime": "2026-09-28T00:00:00Z"},
        {"id": 7, "expirationDateTime": "2026-09-28T00:00:00Z"},
    ],
)
def test_an_answer_that_is_no_subscription_is_an_outage(answer: Any) -> None:
    with pytest.raises(ProviderUnavailable, match="no subscription"):
        provider(Playback([shown(), Answer(201, answer)])).open_channel(access(), "", "secret")


def test_one_is_closed_by_its_id_and_one_that_is_gone_is_closed() -> None:
    http = Playback([Answer(204, b""), error(404), Answer(200, b""), error(403)])
    outlook = provider(http)
    for _ in range(3):
        outlook.close_channel(access(), Channel("sub-1", 0.0))
    assert set(http.paths) == {"DELETE /v1.0/subscriptions/sub-1"}
    with pytest.raises(ProviderRefused):
        outlook.close_channel(access(), Channel("sub-1", 0.0))


def test_without_an_id_all_that_lead_to_us_are_closed() -> None:
    http = Playback([shown(subscription("a"), subscription("b", url=f"{BELL}/else")), Answer(204, b"")])
    provider(http).close_channel(access(), Channel("", 0.0))
    assert http.paths == ["GET /v1.0/subscriptions", "DELETE /v1.0/subscriptions/a"]


def test_a_list_of_subscriptions_without_end_ends_and_leads_nowhere_else() -> None:
    count = iter(range(1_000))
    http = Playback(lambda _: shown(next=f"{ROOT}subscriptions?$skiptoken={next(count)}"))
    provider(http).close_channel(access(), Channel("", 0.0))
    assert len(http.requests) == 20
    http = Playback([shown(next="https://evil.test/")])
    provider(http).close_channel(access(), Channel("", 0.0))
    assert len(http.requests) == 1

"""A token is given back where the discovery document says, and one that has ended before is as good as given back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs

import pytest

from shared.errors import ProviderRefused, ProviderUnavailable, RateLimited
from shared.providers.gmail.tokens import TokenEndpoint
from shared.providers.graph import tokens as microsoft
from shared.providers.http.transport import Transport
from shared.settings import Settings
from tests.unit.fakes import FakeClock
from tests.unit.providers.gmail_playback import REFRESH, Answer, Playback, error

DISCOVERY = Answer(200, {"issuer": "http://id.test", "revocation_endpoint": "http://id.test/revoke"})


def revoked(answers: Sequence[Any]) -> Playback:
    http, clock = Playback(answers), FakeClock()
    transport = Transport(clock, 5.0, lambda: http, "Google")
    TokenEndpoint(
        "http://id.test/discovery", "client", lambda: pytest.fail("no secret is shown"), transport, clock
    ).revoke(REFRESH)
    return http


@pytest.mark.parametrize("body", [b"{}", b"", b"<html></html>"])
def test_a_token_is_given_back(body: bytes) -> None:
    http = revoked([DISCOVERY, Answer(200, body)])
    assert http.paths == ["GET /discovery", "POST /revoke"]
    assert parse_qs(http.requests[1].body) == {"token": [REFRESH]}


def test_a_token_that_has_ended_before_is_fine() -> None:
    revoked([DISCOVERY, Answer(400, {"error": "invalid_token", "error_description": "Token expired or revoked"})])


@pytest.mark.parametrize(
    ("answer", "raised"),
    [
        (error(503), ProviderUnavailable),
        (error(429), RateLimited),
        (Answer(400, {"error": "unsupported_token_type"}), ProviderRefused),
    ],
)
def test_any_other_answer_is_an_error_without_the_token(answer: Any, raised: type[Exception]) -> None:
    with pytest.raises(raised) as refusal:
        revoked([DISCOVERY, answer])
    assert REFRESH not in str(refusal.value)


def test_where_google_names_no_place_for_it_that_is_said() -> None:
    with pytest.raises(ProviderRefused, match="revocation endpoint"):
        revoked([Answer(200, {"issuer": "http://id.test"})])


def test_microsoft_is_not_asked() -> None:
    http, clock = Playback([]), FakeClock()
    transport = Transport(clock, 5.0, lambda: http, "Microsoft")
    microsoft.TokenEndpoint(Settings(), lambda: pytest.fail("no secret is shown"), transport, clock).revoke(REFRESH)
    assert http.paths == []

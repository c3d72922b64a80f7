"""A refresh token is traded where the discovery document says, and only a dead grant asks for consent again."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

import pytest

from shared.errors import ConfigurationError, ProviderRefused, ProviderUnavailable, RateLimited, ReauthRequired
from shared.providers.base import Tokens
from tests.unit.providers.gmail_playback import NOW, REFRESH, SECRET, Answer, Playback, error, provider

DISCOVERY = Answer(200, {"issuer": "http://id.test", "token_endpoint": "http://id.test/token"})
GRANTED = Answer(200, {"access_token": "new", "expires_in": 3_599, "token_type": "Bearer", "scope": "x"})


def oauth(status: int, code: str) -> Answer:
    return Answer(status, {"error": code, "error_description": "canary"})


def test_a_refresh() -> None:
    http = Playback([DISCOVERY, GRANTED])
    assert provider(http).refresh(REFRESH) == Tokens("new", NOW + 3_599, None)
    assert http.paths == ["GET /.well-known/openid-configuration", "POST /token"]
    asked = http.requests[1]
    assert asked.headers["content-type"] == "application/x-www-form-urlencoded"
    assert parse_qs(asked.body) == {
        "grant_type": ["refresh_token"],
        "refresh_token": [REFRESH],
        "client_id": ["client"],
        "client_secret": [SECRET],
    }


def test_the_endpoint_is_discovered_once() -> None:
    http = Playback([DISCOVERY, GRANTED, GRANTED])
    gmail = provider(http)
    gmail.refresh(REFRESH)
    gmail.refresh(REFRESH)
    assert http.paths.count("GET /.well-known/openid-configuration") == 1


def test_a_failed_discovery_is_not_remembered() -> None:
    gmail = provider(Playback([error(503), DISCOVERY, GRANTED]))
    with pytest.raises(ProviderUnavailable):
        gmail.refresh(REFRESH)
    assert gmail.refresh(REFRESH).access == "new"


def test_a_rotated_refresh_token_is_handed_on() -> None:
    rotated = Answer(200, {"access_token": "new", "expires_in": 10, "refresh_token": "next"})
    assert provider(Playback([DISCOVERY, rotated])).refresh(REFRESH) == Tokens("new", NOW + 10, "next")


@pytest.mark.parametrize(
    ("lifetime", "seconds"),
    [
        ("3599", 3_599.0),
        (None, 300.0),
        ("soon", 300.0),
        (-1, 300.0),
        (0, 300.0),
        (10**400, 300.0),
        (1e12, 86_400.0),
        ("nan", 300.0),
        ([], 300.0),
    ],
)
def test_lifetimes(lifetime: Any, seconds: float) -> None:
    granted = Answer(200, {"access_token": "new", "expires_in": lifetime})
    assert provider(Playback([DISCOVERY, granted])).refresh(REFRESH).expires_at == NOW + seconds


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (oauth(400, "invalid_grant"), ReauthRequired),
        (oauth(401, "invalid_client"), ConfigurationError),
        (oauth(401, "unauthorized_client"), ConfigurationError),
        (oauth(400, "invalid_request"), ProviderRefused),
        (oauth(429, "invalid_grant"), RateLimited),
        (oauth(500, "invalid_grant"), ProviderUnavailable),
        (Answer(502, b"<html>Bad Gateway"), ProviderUnavailable),
        (Answer(200, b"<html>"), ProviderUnavailable),
        (Answer(200, {}), ProviderUnavailable),
        (Answer(200, {"access_token": ""}), ProviderUnavailable),
        (Answer(302, b"", {"location": "http://elsewhere.test/"}), ProviderUnavailable),
        (TimeoutError("slow"), ProviderUnavailable),
    ],
)
def test_only_a_dead_grant_asks_for_consent(answer: Answer | Exception, expected: type[Exception]) -> None:
    with pytest.raises(expected) as caught:
        provider(Playback([DISCOVERY, answer])).refresh(REFRESH)
    assert "canary" not in repr(caught.value)
    assert caught.value.__cause__ is None


def test_without_a_refresh_token_nothing_is_asked() -> None:
    with pytest.raises(ReauthRequired):
        provider(Playback([])).refresh("")


@pytest.mark.parametrize(
    ("discovery_url", "document", "expected"),
    [
        ("http://id.test/", {}, ProviderRefused),
        ("http://id.test/", {"token_endpoint": "token"}, ProviderRefused),
        ("http://id.test/", {"token_endpoint": "file:///token"}, ProviderRefused),
        ("http://id.test/", {"token_endpoint": "http://[::1"}, ProviderRefused),
        ("http://id.test/", {"token_endpoint": 5}, ProviderRefused),
        ("https://id.test/", {"token_endpoint": "http://id.test/token"}, ProviderRefused),
        ("http://id.test/", [], ProviderUnavailable),
        ("http://id.test/", {"token_endpoint": "x" * 40_000_000}, ProviderUnavailable),
    ],
)
def test_secrets_are_only_sent_to_a_sound_endpoint(
    discovery_url: str, document: Any, expected: type[Exception]
) -> None:
    http = Playback([Answer(200, document)])
    with pytest.raises(expected):
        provider(http, google_oidc_discovery_url=discovery_url).refresh(REFRESH)
    assert len(http.requests) == 1

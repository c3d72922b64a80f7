"""Requests go out through one client and leave no trace of what they carried."""

from __future__ import annotations

import http.client
import logging
import ssl
import traceback
import zlib
from collections.abc import Callable

import pytest
from urllib3 import exceptions as below

from shared.errors import BrainstemError, ProviderUnavailable, ReauthRequired
from shared.providers.gmail import GmailProvider
from shared.providers.http.wire import HeavyAnswer
from shared.settings import Settings
from tests.meter import free
from tests.unit.fakes import FakeClock
from tests.unit.providers.gmail_playback import NOW, REFRESH, SECRET, TOKEN, Answer, Playback, access, provider

PROFILE = Answer(200, {"emailAddress": "a@x.org", "historyId": "1"})

BROKEN = [
    OSError(f"{TOKEN}"),
    ConnectionRefusedError(TOKEN),
    ConnectionResetError(TOKEN),
    BrokenPipeError(TOKEN),
    TimeoutError(TOKEN),
    ssl.SSLError(1, TOKEN),
    http.client.IncompleteRead(TOKEN.encode()),
    http.client.BadStatusLine(TOKEN),
    http.client.RemoteDisconnected(TOKEN),
    http.client.InvalidURL(TOKEN),
    below.LocationParseError(TOKEN),
    below.ProtocolError(TOKEN, ConnectionResetError(TOKEN)),
    below.InvalidHeader(TOKEN),
    below.SSLError(TOKEN),
    zlib.error(TOKEN),
    EOFError(TOKEN),
    UnicodeError(TOKEN),
    ValueError(TOKEN),
    OverflowError(TOKEN),
]


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: type(broken).__name__)
def test_no_answer_is_unavailable_and_quotes_nothing(broken: Exception) -> None:
    with pytest.raises(ProviderUnavailable) as caught:
        provider(Playback([broken])).profile(access())
    assert type(broken).__name__ in caught.value.message
    assert TOKEN not in "".join(traceback.format_exception(caught.value))


def test_one_client_serves_all_calls_and_outlives_a_broken_connection() -> None:
    made: list[Playback] = []

    def make() -> Playback:
        made.append(Playback([ConnectionResetError(), PROFILE, PROFILE]))
        return made[-1]

    gmail = GmailProvider(Settings(), FakeClock(NOW), lambda: SECRET, make)
    with pytest.raises(ProviderUnavailable):
        gmail.profile(access())
    gmail.profile(access())
    gmail.profile(access())
    assert len(made) == 1


def test_an_answer_that_is_too_heavy_is_no_answer() -> None:
    with pytest.raises(ProviderUnavailable, match="malformedAnswer"):
        provider(Playback([HeavyAnswer("heavy")])).profile(access())


@pytest.mark.parametrize("token", ["", "two words", "line\r\nX-Evil: 1", "naïve", "x" * 8_193, "\ud800"])
def test_what_cannot_be_a_token_is_not_sent(token: str) -> None:
    with pytest.raises(ReauthRequired) as caught:
        provider(Playback([])).profile(free(token))
    assert not token or token not in caught.value.message


@pytest.mark.parametrize("body", [b"", b"\xff", b"null", b"[]", b"{", b'"text"', b"[" * 100_000, b"9" * 5_000])
def test_a_success_that_is_no_json_object_is_unavailable(body: bytes) -> None:
    with pytest.raises(ProviderUnavailable):
        provider(Playback([Answer(200, body)])).profile(access())


@pytest.mark.parametrize("body", [b"", b"\xff", b"5", b'{"error": 5}', b'{"error": "text"}', b"[]", b'[{"error": []}]'])
def test_an_error_in_any_shape_is_an_error_of_ours(body: bytes) -> None:
    with pytest.raises(BrainstemError):
        provider(Playback([Answer(403, body)])).profile(access())


CALLS: list[Callable[[GmailProvider], object]] = [
    lambda gmail: gmail.profile(access()),
    lambda gmail: gmail.list_ids(access(), None, 1),
    lambda gmail: gmail.fetch(access(), ["a", "b", "c"]),
    lambda gmail: gmail.changes(access(), "1"),
    lambda gmail: gmail.open_channel(access(), "", ""),
    lambda gmail: gmail.refresh(REFRESH),
]


def test_nothing_secret_is_logged_or_raised(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    canaries = (TOKEN, SECRET, REFRESH, "body-canary")
    raised: list[str] = []
    for status in (200, 302, 400, 401, 403, 404, 429, 500):
        answer = Answer(status, f"<p>body-canary {TOKEN}".encode())
        for call in CALLS:
            try:
                raised.append(repr(call(provider(Playback([answer] * 30)))))
            except BrainstemError as error:
                raised.append("".join(traceback.format_exception(error)))
    logged = " ".join(record.getMessage() for record in caplog.records)
    for canary in canaries:
        assert canary not in logged
        assert not any(canary in text for text in raised)

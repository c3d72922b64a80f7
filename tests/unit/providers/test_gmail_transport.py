"""Requests go out with a timeout, one client a thread, and leave no trace of what they carried."""

from __future__ import annotations

import http.client
import logging
import ssl
import threading
import traceback
from collections.abc import Callable

import httplib2
import pytest
from httplib2.decode import DecodeLimitError

from shared.errors import BrainstemError, ProviderUnavailable, ReauthRequired
from shared.providers.gmail import GmailProvider
from shared.settings import Settings
from tests.unit.fakes import FakeClock
from tests.unit.providers.gmail_playback import NOW, REFRESH, SECRET, TOKEN, Answer, Playback, provider

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
    httplib2.ServerNotFoundError(TOKEN),
    httplib2.FailedToDecompressContent(TOKEN, httplib2.Response({}), b""),
    httplib2.MalformedHeader(TOKEN),
    DecodeLimitError(TOKEN),
    UnicodeError(TOKEN),
    ValueError(TOKEN),
    OverflowError(TOKEN),
]


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: type(broken).__name__)
def test_no_answer_is_unavailable_and_quotes_nothing(broken: Exception) -> None:
    with pytest.raises(ProviderUnavailable) as caught:
        provider(Playback([broken])).profile(TOKEN)
    assert type(broken).__name__ in caught.value.message
    assert TOKEN not in "".join(traceback.format_exception(caught.value))


def test_after_a_broken_connection_a_fresh_client_is_made() -> None:
    made: list[Playback] = []

    def make() -> Playback:
        made.append(Playback([ConnectionResetError()] if not made else [PROFILE, PROFILE]))
        return made[-1]

    gmail = GmailProvider(Settings(), FakeClock(NOW), lambda: SECRET, make)
    with pytest.raises(ProviderUnavailable):
        gmail.profile(TOKEN)
    gmail.profile(TOKEN)
    gmail.profile(TOKEN)
    assert len(made) == 2


def test_each_thread_has_a_client_of_its_own() -> None:
    makers: list[int] = []
    barrier = threading.Barrier(2, timeout=10)

    def make() -> Playback:
        makers.append(threading.get_ident())
        return Playback([PROFILE, PROFILE])

    gmail = GmailProvider(Settings(), FakeClock(NOW), lambda: SECRET, make)

    def work() -> None:
        barrier.wait()
        gmail.profile(TOKEN)
        gmail.profile(TOKEN)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(makers) == len(set(makers)) == 2


def test_the_client_of_its_own_has_a_timeout_and_follows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[httplib2.Http] = []

    class Recorded(httplib2.Http):  # type: ignore[misc]
        def request(self, *_: object, **__: object) -> tuple[httplib2.Response, bytes]:
            made.append(self)
            return httplib2.Response({"status": "503"}), b""

    monkeypatch.setattr(httplib2, "Http", Recorded)
    with pytest.raises(ProviderUnavailable):
        GmailProvider(Settings(provider_timeout=3.0), FakeClock(NOW), lambda: SECRET).profile(TOKEN)
    assert made[0].timeout == 3.0
    assert not made[0].follow_redirects


@pytest.mark.parametrize("token", ["", "two words", "line\r\nX-Evil: 1", "naïve", "x" * 8_193, "\ud800"])
def test_what_cannot_be_a_token_is_not_sent(token: str) -> None:
    with pytest.raises(ReauthRequired) as caught:
        provider(Playback([])).profile(token)
    assert not token or token not in caught.value.message


@pytest.mark.parametrize("body", [b"", b"\xff", b"null", b"[]", b"{", b'"text"', b"[" * 100_000, b"9" * 5_000])
def test_a_success_that_is_no_json_object_is_unavailable(body: bytes) -> None:
    with pytest.raises(ProviderUnavailable):
        provider(Playback([Answer(200, body)])).profile(TOKEN)


@pytest.mark.parametrize("body", [b"", b"\xff", b"5", b'{"error": 5}', b'{"error": "text"}', b"[]", b'[{"error": []}]'])
def test_an_error_in_any_shape_is_an_error_of_ours(body: bytes) -> None:
    with pytest.raises(BrainstemError):
        provider(Playback([Answer(403, body)])).profile(TOKEN)


CALLS: list[Callable[[GmailProvider], object]] = [
    lambda gmail: gmail.profile(TOKEN),
    lambda gmail: gmail.list_ids(TOKEN, None, 1),
    lambda gmail: gmail.fetch(TOKEN, ["a", "b", "c"]),
    lambda gmail: gmail.changes(TOKEN, "1"),
    lambda gmail: gmail.open_channel(TOKEN),
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
                raised.append(repr(call(provider(Playback([answer] * 9)))))
            except BrainstemError as error:
                raised.append("".join(traceback.format_exception(error)))
    logged = " ".join(record.getMessage() for record in caplog.records)
    for canary in canaries:
        assert canary not in logged
        assert not any(canary in text for text in raised)

"""Answers are bounded in bytes and in time, compressed ones too, and a token goes nowhere but where it was sent."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import urllib3
from urllib3.connectionpool import HTTPConnectionPool

from shared.errors import ProviderUnavailable
from shared.providers.gmail import GmailProvider
from shared.providers.http.answers import MAX_ANSWER_BYTES
from shared.providers.http.pool import PooledHttp
from shared.providers.http.wire import HeavyAnswer
from shared.settings import Settings
from tests.unit.fakes import FakeClock
from tests.unit.providers.gmail_playback import NOW, SECRET, access


class Body(io.RawIOBase):
    """What comes over a connection, piece by piece; ``each`` is called before every piece."""

    def __init__(self, pieces: Iterator[bytes], each: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self.taken = 0
        self._pieces = pieces
        self._each = each

    def read1(self, size: int = -1) -> bytes:
        self._each()
        piece = next(self._pieces, b"")
        assert size < 0 or len(piece) <= size
        self.taken += len(piece)
        return piece

    read = read1  # type: ignore[assignment]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[dict[str, Any]]]:
    """Let every connection answer the same; answers what was asked of it."""

    def set_up(body: Body, status: int = 200, **headers: str) -> list[dict[str, Any]]:
        asked: list[dict[str, Any]] = []

        def urlopen(pool: HTTPConnectionPool, method: str, url: str, **rest: Any) -> urllib3.HTTPResponse:
            asked.append({"method": method, "url": url, "timeout": pool.timeout, **rest})
            fields = {name.replace("_", "-"): value for name, value in headers.items()}
            return urllib3.HTTPResponse(body, fields, status, preload_content=False)

        monkeypatch.setattr(HTTPConnectionPool, "urlopen", urlopen)
        return asked

    return set_up


def plain(content: bytes, size: int = 10_000) -> Body:
    return Body(content[place : place + size] for place in range(0, len(content), size))


def test_a_request_has_a_timeout_and_follows_and_repeats_nothing(serve: Any) -> None:
    asked = serve(plain(b"moved"), 302, Location="http://elsewhere.test/")
    answer, content = PooledHttp(FakeClock(NOW), 3.0).request("http://x.test/a?b=c", "POST", b"body", {"x": "y"})
    assert (answer.status, content, answer.get("location")) == (302, b"moved", "http://elsewhere.test/")
    assert answer.get("nothing") == ""
    (call,) = asked
    assert (call["method"], call["url"], call["body"]) == ("POST", "/a?b=c", b"body")
    assert (call["timeout"].connect_timeout, call["timeout"].read_timeout) == (3.0, 3.0)
    assert not call["redirect"]
    assert call["retries"] is False
    assert call["headers"] == {"x": "y", "accept-encoding": "gzip", "user-agent": "brainstem (gzip)"}


def test_the_pool_is_what_a_provider_uses_by_itself(serve: Any) -> None:
    asked = serve(plain(b'{"emailAddress": "a@x.org", "historyId": "1"}'))
    gmail = GmailProvider(Settings(provider_timeout=3.0), FakeClock(NOW), lambda: SECRET)
    assert gmail.profile(access()).address == "a@x.org"
    assert asked[0]["timeout"].read_timeout == 3.0


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "x-gzip"])
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_a_compressed_answer_is_read_whole(serve: Any, encoding: str, size: int) -> None:
    content = bytes(range(256)) * 10
    serve(plain(gzip.compress(content), size), Content_Encoding=encoding)
    assert PooledHttp(FakeClock(NOW), 3.0).request("http://x.test/")[1] == content


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (gzip.compress(b"x" * 9_999, mtime=0)[:-9], "gzip"),
        (b"no gzip at all", "gzip"),
        (b"x", "br"),
        (b"x", "gzip, gzip"),
    ],
    ids=["cut short", "no gzip", "brotli", "twice"],
)
def test_a_compressed_answer_that_cannot_be_read_is_no_answer(serve: Any, body: bytes, encoding: str) -> None:
    serve(plain(body), Content_Encoding=encoding)
    gmail = GmailProvider(Settings(), FakeClock(NOW), lambda: SECRET)
    with pytest.raises(ProviderUnavailable):
        gmail.profile(access())


def test_a_heavy_answer_is_abandoned(serve: Any) -> None:
    body = Body(iter(lambda: b"x" * 65_536, b""))  # without end
    serve(body)
    with pytest.raises(HeavyAnswer):
        PooledHttp(FakeClock(NOW), 3.0).request("http://x.test/")
    assert MAX_ANSWER_BYTES < body.taken <= MAX_ANSWER_BYTES + 65_536


def test_an_answer_of_just_the_greatest_weight_is_read(serve: Any) -> None:
    serve(plain(b"x" * MAX_ANSWER_BYTES, 65_536))
    assert len(PooledHttp(FakeClock(NOW), 3.0).request("http://x.test/")[1]) == MAX_ANSWER_BYTES


def test_a_bomb_does_not_go_off(serve: Any) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join(packer.compress(b"\0" * 1_000_000) for _ in range(200)) + packer.flush()
    assert len(bomb) < MAX_ANSWER_BYTES / 100
    serve(plain(bomb, 65_536), Content_Encoding="gzip")
    with pytest.raises(HeavyAnswer):
        PooledHttp(FakeClock(NOW), 3.0).request("http://x.test/")


def test_an_answer_that_drips_is_abandoned(serve: Any) -> None:
    clock = FakeClock(NOW)
    body = Body(iter(lambda: b"x", b""), lambda: clock.sleep(1.0))
    serve(body)
    with pytest.raises(TimeoutError):
        PooledHttp(clock, 3.0).request("http://x.test/")
    assert body.taken == 4
    assert body.closed

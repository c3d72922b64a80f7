"""Microsoft Graph's webhook over HTTP: the handshake, acknowledgements, and what nobody is told."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, quote_plus

import orjson
import pytest
from werkzeug.test import Client, TestResponse

from shared.errors import Busy, InvalidRequest, Retry
from shared.http.graph_push import TOKEN_CHARS, create_graph_push
from shared.settings import Settings
from tests.unit.fakes import FakeClock

URLS = ("/graph_push", "/graph_push/lifecycle")
TOKEN = "Validation: Testing client application reachability for subscription Request-Id: 5f1e&a=b+c/%20"

each_url = pytest.mark.parametrize("url", URLS)


class Site:
    """The webhook with a doorbell that notes what it is given."""

    def __init__(self, **settings: Any) -> None:
        self.given: list[Any] = []
        self.fails: Exception | None = None
        self._client = Client(create_graph_push(Settings(**settings), FakeClock(), self._ring))

    def post(self, url: str, data: bytes | None = None) -> TestResponse:
        return self._client.post(url, data=data, content_type="application/json")

    def get(self, url: str) -> TestResponse:
        return self._client.get(url)

    def _ring(self, body: object) -> None:
        self.given.append(body)
        if self.fails is not None:
            raise self.fails


@each_url
@pytest.mark.parametrize("encode", [quote, quote_plus])
def test_the_handshake_says_the_decoded_token_as_plain_text_and_asks_nobody(url, encode):
    site = Site()
    answer = site.post(f"{url}?validationToken={encode(TOKEN, safe='')}")
    assert (answer.status_code, answer.get_data(as_text=True)) == (200, TOKEN)
    assert answer.mimetype == "text/plain"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert site.given == []


@each_url
def test_markup_in_a_token_stays_text(url):
    answer = Site().post(f"{url}?validationToken={quote('<script>alert(1)</script>')}")
    assert (answer.mimetype, answer.get_data(as_text=True)) == ("text/plain", "<script>alert(1)</script>")
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


@each_url
@pytest.mark.parametrize(
    "query", ["validationToken=", f"validationToken={'a' * (TOKEN_CHARS + 1)}", "validationToken=a&validationToken=b"]
)
def test_a_token_that_graph_cannot_have_sent_is_refused(url, query):
    site = Site()
    answer = site.post(f"{url}?{query}")
    assert answer.status_code == 400
    assert "aaa" not in answer.get_data(as_text=True)
    assert site.given == []


def test_the_longest_token_is_said_back_whole():
    answer = Site().post(f"/graph_push?validationToken={'a' * TOKEN_CHARS}")
    assert answer.get_data() == b"a" * TOKEN_CHARS


@each_url
def test_notifications_are_acknowledged_with_202_and_nothing_else_once_they_have_rung(url):
    site = Site()
    answer = site.post(url, orjson.dumps({"value": []}))
    assert (answer.status_code, answer.mimetype, answer.get_data()) == (202, "text/plain", b"")
    assert site.given == [{"value": []}]


@each_url
@pytest.mark.parametrize(
    ("error", "status"), [(Retry(), 503), (Busy(), 409), (InvalidRequest(), 400), (OSError(), 500)]
)
def test_what_could_not_be_enqueued_is_never_acknowledged(url, error, status):
    site = Site()
    site.fails = error
    assert site.post(url, b"{}").status_code == status


@each_url
@pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 5_000, b"NaN"])
def test_a_body_that_is_no_json_is_refused(url, body):
    site = Site()
    assert site.post(url, body).status_code == 400
    assert site.given == []


@each_url
def test_a_body_over_the_limit_is_not_read(url):
    site = Site(max_body_bytes=100)
    assert site.post(url, b" " * 101).status_code == 413
    assert site.given == []


@pytest.mark.parametrize("url", ["/", "/graph_push/other", "/graph_push/lifecycle/x", "/lifecycle", "//graph_push"])
def test_there_is_nothing_at_other_paths(url):
    site = Site()
    assert site.post(f"{url}?validationToken=a").status_code == 404
    assert site.post(url, b"{}").status_code == 404
    assert site.given == []


@each_url
def test_only_posts_are_answered(url):
    assert Site().get(f"{url}?validationToken=a").status_code == 405

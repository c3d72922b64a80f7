"""No open redirect: a page is returned to if it is on the list, and a URL that anybody could read differently never is."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import ConfigurationError, InvalidRequest
from shared.oauth.addresses import Address, ReturnPages, answered, redirect_uri
from tests.unit.oauth.consent_world import ConsentWorld

PAGES = ReturnPages.of(["https://app.example/done", "https://other.example", "http://localhost:3000/"])


@pytest.mark.parametrize(
    "url",
    [
        "https://app.example/done",
        "https://app.example/done/",
        "https://app.example/done/deeper/x.html",
        "https://app.example/done?tab=1&x=a%20b",
        "https://app.example:443/done",
        "https://APP.example/done",
        "https://other.example",
        "https://other.example/any/page",
        "http://localhost:3000",
        "http://localhost:3000/x",
    ],
)
def test_a_page_on_the_list_or_below_one_is_returned_to(url: str) -> None:
    assert PAGES.check(url) == url


OPEN_REDIRECTS = [
    "",
    " ",
    "/done",
    "done",
    "//evil.example/done",
    "///evil.example",
    "\\\\evil.example",
    "https:evil.example",
    "https:/app.example/done",
    "https:///app.example/done",
    "https://evil.example/done",
    "https://evil.example/https://app.example/done",
    "https://evil.example?https://app.example/done",
    "https://evil.example#https://app.example/done",
    "https://app.example.evil.example/done",
    "https://evilapp.example/done",
    "https://app.example.:443/done",
    "https://app.example@evil.example/done",
    "https://app.example:x@evil.example/done",
    "https://user@app.example/done",
    "https://@app.example/done",
    "https://app.example\\@evil.example/done",
    "https://evil.example\\.app.example/done",
    "https://app.example/done#x",
    "https://app.example/done#",
    "https://app.example/donex",
    "https://app.example/don",
    "https://app.example/",
    "https://app.example",
    "https://app.example/done/../steal",
    "https://app.example/done/..",
    "https://app.example/done/./x",
    "https://app.example/done/%2e%2e/steal",
    "https://app.example/done/%2E./steal",
    "https://app.example/done/..;/steal",
    "https://app.example/done/..%2fsteal",
    "https://app.example/done/%252e%252e/steal",
    "https://app.example/done/x%5c..%5csteal",
    "https://app.example/done\\..\\steal",
    "https://app.example/done%00",
    "https://app.example/done%0d%0aSet-Cookie:x",
    "https://app.example/done\r\nSet-Cookie: x",
    "https://app.example/done\n",
    "\thttps://app.example/done",
    "https://app.example/done x",
    "https://app.example/dön",
    "https://app.exаmple/done",
    "https://app.example:8443/done",
    "https://app.example:/done",
    "https://app.example:0443x/done",
    "https://app.example:99999999/done",
    "https://[::1]/done",
    "https://app.example/done?status=connected",
    "https://app.example/done?x=1&code=stolen",
    "https://app.example/done?error=",
    "https://app.example/done?%63ode=stolen",
    "https://app.example/done?" + "x" * 2_000,
    "http://app.example/done",
    "http://other.example",
    "http://localhost:3001/",
    "http://localhost/",
    "http://localhost.evil.example:3000/",
    "http://127.0.0.1:3000/",
    "https://localhost:3000/",
    "HTTPS://app.example/done",
    "javascript:alert(1)//https://app.example/done",
    "data:text/html,x",
    "file:///app.example/done",
    "ftp://app.example/done",
    "https://app.example/done%",
    "https://app.example/done%zz",
]


@pytest.mark.parametrize("url", OPEN_REDIRECTS)
def test_nothing_else_is(url: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        PAGES.check(url)
    assert caught.value.details == {"field": "return_to"}
    assert len(url) < 5 or url not in caught.value.message


@given(st.text(st.sampled_from("https:/\\@.?#%2ef0done-app.examplvi&=;\t\n é"), max_size=40))
def test_whatever_is_returned_to_is_on_the_list_for_every_reader(tail: str) -> None:
    for url in (
        tail,
        f"https://app.example{tail}",
        f"https://app.example/done{tail}",
        f"https://{tail}app.example/done",
    ):
        try:
            PAGES.check(url)
        except InvalidRequest:
            continue
        parts = urlsplit(answered(url, status="connected"))
        assert (parts.scheme, parts.hostname) in {
            ("https", "app.example"),
            ("https", "other.example"),
            ("http", "localhost"),
        }
        assert parts.username is None
        assert "/.." not in parts.path
        assert parts.query.endswith("status=connected")


def test_without_a_list_there_is_nowhere_to_return_to() -> None:
    with pytest.raises(InvalidRequest):
        ReturnPages.of([]).check("https://app.example/done")


@pytest.mark.parametrize("url", ["https://a.example/x?y=1", "http://a.example", "a.example", "https://*.example", ""])
def test_an_entry_that_means_nothing_is_a_wrong_setting(url: str) -> None:
    with pytest.raises(ConfigurationError, match="OAUTH_RETURN_URLS"):
        ReturnPages.of([url])


def test_ports_of_the_scheme_are_the_origins_own() -> None:
    origins = [address.origin for url in ("https://a.example:443/x", "http://localhost:80", "http://127.0.0.1:8080")
               if (address := Address.parse(url))]  # fmt: skip
    assert origins == ["https://a.example", "http://localhost", "http://127.0.0.1:8080"]
    assert redirect_uri("http://127.0.0.1:8080/oauth/google/callback", "google", "X").origin == "http://127.0.0.1:8080"


@pytest.mark.parametrize("url", [url for url in OPEN_REDIRECTS if url.strip()][::4])
def test_the_routes_refuse_before_they_do_anything(tmp_path: Path, url: str) -> None:
    world = ConsentWorld(tmp_path)
    answer = world.call(world.oauth_app, "POST", "/oauth/google/start", {"return_to": url}, "ann")
    assert (answer.status_code, answer.json["error"]["details"]) == (400, {"field": "return_to"})
    assert world.connect(return_to=url).status_code == 400
    client = world.browser()._client
    page = client.get(
        "/oauth/google/signin", query_string={"return_to": url, "code_challenge": "A" * 43}, base_url=world.origin
    )
    assert page.status_code == 400
    assert "Location" not in page.headers
    assert world.documents("oauth") == world.documents("users") == {}


def test_no_link_is_made_that_would_lead_elsewhere(tmp_path: Path) -> None:
    world = ConsentWorld(tmp_path)
    with pytest.raises(InvalidRequest):
        world.product._links("google").connect("ann", "https://evil.example/")
    assert world.documents("oauth") == {}

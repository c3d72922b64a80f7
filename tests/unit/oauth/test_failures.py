"""What goes wrong at Google or on our side ends on a page that says what to do, and never half done."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.errors import Retry, Unknown
from shared.identity.keys import COOL_DOWN, LIFESPAN
from shared.observability import logs
from shared.ports import Delete, Write
from tests.unit.oauth.consent_world import APP, Browser, ConsentWorld, query_of
from tests.unit.oauth.google_double import READ


@pytest.fixture
def world(tmp_path: Path) -> ConsentWorld:
    return ConsentWorld(tmp_path)


@pytest.fixture
def output() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    root, own = logging.getLogger(), logging.getLogger(logs.ROOT)
    before = (list(root.handlers), root.level, own.level)
    from shared.adapters.embedded.clock import VirtualClock

    logs.configure(VirtualClock(), "DEBUG", stream)
    yield stream
    root.handlers[:], root.level = before[0], before[1]
    own.setLevel(before[2])


def links_of(page: Any) -> list[str]:
    return [part.split('"')[0] for part in page.text.split('href="')[1:]]


def answered(world: ConsentWorld, browser: Browser, **wanted: str) -> Any:
    return browser.get(world.google.authorize(browser.agree(world.start(**wanted))))


@pytest.mark.parametrize(
    ("answer", "status", "title"),
    [
        ((400, {"error": "invalid_grant", "error_description": "canary"}), 400, "Google's answer is no longer good"),
        ((500, {"error": "canary"}), 503, "This cannot be finished right now"),
        ((503, {}), 503, "This cannot be finished right now"),
        ((429, {}), 503, "This cannot be finished right now"),
        (TimeoutError("canary"), 503, "This cannot be finished right now"),
        (ConnectionResetError("canary"), 503, "This cannot be finished right now"),
        ((200, {}), 503, "This cannot be finished right now"),
        ((200, {"access_token": "a"}), 503, "This cannot be finished right now"),
        ((200, {"id_token": "a.b.c"}), 503, "This cannot be finished right now"),
        ((400, {"error": "invalid_request"}), 502, "Google did not accept our request"),
        ((401, {"error": "invalid_client"}), 500, "Something went wrong on our side"),
        ((400, {"error": "redirect_uri_mismatch"}), 500, "Something went wrong on our side"),
    ],
)
def test_a_code_that_cannot_be_traded(world: ConsentWorld, answer: Any, status: int, title: str) -> None:
    world.google.answers["token"] = answer
    browser = world.browser()
    page = answered(world, browser, return_to=APP)
    assert (page.status_code, title in page.text) == (status, True), page.text
    assert "canary" not in page.text
    assert world.documents("grants") == world.documents("mailboxes") == {}
    world.google.answers.clear()
    if status == 500:
        return
    again, back = links_of(page)
    assert back.startswith(f"{APP}?error=")
    assert browser.get(world.google.authorize(browser.agree(again))).headers["Location"] == f"{APP}?status=connected"


def test_keys_that_cannot_be_read_are_no_proof_of_anything(world: ConsentWorld) -> None:
    world.google.answers["certs"] = (503, {})
    page = answered(world, world.browser())
    assert (page.status_code, "This cannot be finished right now" in page.text) == (503, True)
    assert world.documents("grants") == {}


@pytest.mark.parametrize("garbage", [{}, {"keys": None}, {"keys": "canary"}, []])
def test_an_answer_that_is_no_key_set_is_no_reason_to_doubt_google(world: ConsentWorld, garbage: Any) -> None:
    world.google.answers["certs"] = (200, garbage)
    assert answered(world, world.browser()).status_code == 503
    world.google.answers.clear()
    world.clock.advance(COOL_DOWN)
    assert answered(world, world.browser()).status_code == 200
    world.google.answers["certs"] = (200, garbage)
    world.clock.advance(LIFESPAN)
    assert answered(world, world.browser()).status_code == 200


def test_google_away_before_the_code_is_used_costs_a_reload(world: ConsentWorld) -> None:
    world.google.answers["openid-configuration"] = (503, {})
    browser, link = world.browser(), world.start()
    page = browser.get(link)
    assert (page.status_code, page.content_type) == (503, "text/html; charset=utf-8")
    assert len(world.documents("oauth")) == 1
    world.google.answers.clear()
    assert browser.get(world.google.authorize(browser.agree(link))).status_code == 200


@pytest.mark.parametrize(
    ("error", "status", "title"),
    [
        ("access_denied", 403, "You have not given access"),
        ("admin_policy_enforced", 403, "Your organisation does not allow this"),
        ("org_internal", 403, "Your organisation does not allow this"),
        ("temporarily_unavailable", 503, "This cannot be finished right now"),
        ("invalid_scope", 502, "Google did not accept our request"),
        ("<b>canary</b>", 502, "Google did not accept our request"),
        ("canary " * 500, 502, "Google did not accept our request"),
    ],
)
def test_a_no_uses_the_consent_up_and_is_said_kindly(world: ConsentWorld, error: str, status: int, title: str) -> None:
    browser = world.browser()
    url = world.google.deny(browser.agree(world.start()), error)
    page = browser.get(url)
    assert (page.status_code, title in page.text) == (status, True)
    assert "canary" not in page.text
    assert "This link no longer works" in browser.get(url).text
    assert world.google.exchanges == 0
    [again] = links_of(page)
    assert browser.get(world.google.authorize(browser.agree(again))).status_code == 200


def test_a_denial_goes_back_to_the_application(world: ConsentWorld) -> None:
    browser = world.browser()
    answer = browser.get(world.google.deny(browser.agree(world.start(return_to=APP))))
    assert (answer.status_code, answer.headers["Location"]) == (303, f"{APP}?error=access_denied")


def test_a_denial_in_another_browser_changes_nothing(world: ConsentWorld) -> None:
    browser = world.browser()
    url = browser.agree(world.start())
    assert world.browser().get(world.google.deny(url)).status_code == 400
    assert browser.get(world.google.authorize(url)).status_code == 200


def test_a_token_endpoint_that_names_no_scopes_has_granted_what_was_asked(world: ConsentWorld) -> None:
    token = world.google._token
    world.google._token = lambda body: (200, {k: v for k, v in token(body)[1].items() if k != "scope"})  # type: ignore[method-assign]
    assert answered(world, world.browser()).status_code == 200
    assert world.grants().popitem()[1]["scopes"] == [READ]


class Faulty:
    """The store, with an error instead of, or after, the commits that ``hits``."""

    def __init__(self, store: Any, error: Exception, after: bool, hits: Any) -> None:
        self._store, self._error, self._after, self._hits = store, error, after, hits
        self.armed = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def commit(self, writes: list[Write]) -> Any:
        if not (self.armed and any(map(self._hits, writes))):
            return self._store.commit(writes)
        self.armed = False
        if self._after:
            self._store.commit(writes)
        raise self._error


def deletes_a_consent(write: Write) -> bool:
    return isinstance(write, Delete) and write.ref.startswith("oauth/")


@pytest.mark.parametrize(
    ("error", "after", "status", "usable"),
    [(Retry(), False, 503, True), (Unknown(), False, 400, True), (Unknown(), True, 400, False)],
)
def test_a_consent_whose_use_is_in_doubt_counts_as_used(
    world: ConsentWorld, error: Exception, after: bool, status: int, usable: bool
) -> None:
    store = Faulty(world.ports.store, error, after, deletes_a_consent)
    world.product.store = store
    browser = world.browser()
    url = world.google.authorize(browser.agree(world.start()))
    store.armed = True
    assert browser.get(url).status_code == status
    assert world.google.exchanges == 0
    assert browser.get(url).status_code == (200 if usable else 400)


@pytest.mark.parametrize("part", ["/grants/", "/mailboxes/"])
def test_a_store_that_fails_after_the_exchange_costs_one_more_consent(world: ConsentWorld, part: str) -> None:
    store = Faulty(world.ports.store, Retry(), False, lambda write: part in write.ref)
    world.product.store = store
    browser = world.browser()
    url = world.google.authorize(browser.agree(world.start()))
    store.armed = True
    page = browser.get(url)
    assert (page.status_code, "This cannot be finished right now" in page.text) == (503, True)
    [again] = links_of(page)
    assert browser.get(world.google.authorize(browser.agree(again))).status_code == 200
    assert len(world.mailboxes()) == len(world.grants()) == 1


def test_an_unforeseen_error_is_a_page_that_says_nothing_of_the_inside(
    world: ConsentWorld, output: io.StringIO
) -> None:
    world.google.answers["token"] = RuntimeError("canary")
    page = answered(world, world.browser())
    assert (page.status_code, page.content_type) == (500, "text/html; charset=utf-8")
    assert "canary" not in page.text
    assert '"request_failed"' in output.getvalue()


def test_no_state_code_cookie_or_token_reaches_the_log(world: ConsentWorld, output: io.StringIO) -> None:
    browser, secrets = world.browser(), set()
    for answer in (
        None,
        (500, {}),
        (400, {"error": "invalid_grant"}),
        (400, {"error": "canary: 1"}),
        RuntimeError("canary"),
    ):
        if answer is not None:
            world.google.answers["token"] = answer
        link = world.start(return_to=APP, login_hint="hint-canary@example.org")
        asked = query_of(browser.agree(link))
        url = world.google.authorize(browser.agree(link))
        browser.get(url)
        browser.get(url)
        world.browser().get(url)
        secrets |= {query_of(url)["state"], query_of(url)["code"], asked["nonce"], browser.cookie()}
    world.google.answers.clear()
    world.google.token = "eyJ.canary.canary"
    answered(world, browser)
    browser.get(world.google.deny(browser.agree(world.start()), "canary"))
    world.connect("bob")
    lines = output.getvalue()
    assert len(lines.splitlines()) > 15
    assert not [secret for secret in (*secrets, "canary", "ann@gmail.example") if secret in lines]

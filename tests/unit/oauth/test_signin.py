"""Signing in with Google: an application learns, once and with its own proof, who somebody is; Brainstem keeps nothing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from shared.oauth.browser import challenge
from tests.unit.oauth.consent_world import APP, Browser, ConsentWorld, query_of
from tests.unit.oauth.microsoft_double import WORK, object_id
from tests.unit.oauth.microsoft_world import MicrosoftWorld

VERIFIER = "v" * 64
EMAIL = "ann@gmail.example"


@pytest.fixture
def world(tmp_path: Path) -> ConsentWorld:
    return ConsentWorld(tmp_path)


def begin(world: ConsentWorld, browser: Browser, **changes: str) -> Any:
    asked = {"return_to": APP, "code_challenge": challenge(VERIFIER), **changes}
    query = urlencode({name: value for name, value in asked.items() if value})
    return browser.get(f"{world.origin}/oauth/google/signin?{query}")


def code_for(world: ConsentWorld, browser: Browser) -> str:
    back = browser.get(world.google.authorize(begin(world, browser).headers["Location"], EMAIL))
    assert back.headers["Location"].startswith(f"{APP}?code=")
    return query_of(back.headers["Location"])["code"]


def fetch(world: ConsentWorld, code: str, verifier: str = VERIFIER) -> Any:
    body = {"code": code, "code_verifier": verifier}
    return world.call(world.oauth_app, "POST", "/oauth/google/identity", body, None)


def test_the_application_learns_who_it_is_and_nothing_is_kept(world: ConsentWorld) -> None:
    code = code_for(world, world.browser())
    told = fetch(world, code)
    assert told.status_code == 200
    about = told.json
    assert about.pop("subject").isdigit()
    assert about == {"provider": "google", "email": EMAIL, "email_verified": True, "name": "Ann"}
    assert world.documents("grants") == world.documents("users") == world.documents("oauth") == {}


def test_google_is_asked_for_who_it_is_and_no_more(world: ConsentWorld) -> None:
    asked = query_of(begin(world, world.browser(), login_hint=EMAIL).headers["Location"])
    assert asked["scope"] == "openid email profile"
    assert (asked["login_hint"], asked["prompt"], asked["code_challenge_method"]) == (EMAIL, "select_account", "S256")
    assert not {"access_type", "include_granted_scopes"} & asked.keys()
    assert asked["code_challenge"] != challenge(VERIFIER)


def test_a_code_tells_once(world: ConsentWorld) -> None:
    code = code_for(world, world.browser())
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: fetch(world, code).status_code, range(8)))
    assert sorted(answers) == [200] + [400] * 7
    again = fetch(world, code)
    assert (again.json["error"]["code"], again.json["error"]["details"]) == (
        "invalid_request",
        {"reason": "unknown_code"},
    )


@pytest.mark.parametrize("verifier", ["w" * 64, "v" * 63, "", "v" * 200, challenge(VERIFIER), "é" * 64])
def test_a_code_tells_nothing_without_the_applications_own_verifier(world: ConsentWorld, verifier: str) -> None:
    code = code_for(world, world.browser())
    assert fetch(world, code, verifier).status_code == 400
    assert fetch(world, code).status_code == 200


def test_a_code_dies_after_a_minute(world: ConsentWorld) -> None:
    code = code_for(world, world.browser())
    world.clock.advance(60)
    assert fetch(world, code).status_code == 400


def test_a_code_and_a_state_are_not_each_other(world: ConsentWorld) -> None:
    browser = world.browser()
    code, state = code_for(world, browser), query_of(begin(world, browser).headers["Location"])["state"]
    assert fetch(world, state).status_code == 400
    assert browser.get(f"{world.origin}/oauth/google/callback?state={code}&code=4/x").status_code == 400
    assert browser.get(f"{world.origin}/oauth/google/consent?state={state}").status_code == 400
    assert world.google.exchanges == 1


def test_a_sign_in_that_was_begun_in_another_browser_is_not_finished_in_this(world: ConsentWorld) -> None:
    eve, victim = world.browser(), world.browser()
    url = world.google.authorize(begin(world, eve).headers["Location"], "eve@gmail.example")
    begin(world, victim)
    assert victim.get(url).status_code == 400
    assert world.google.exchanges == 0


def test_a_denial_goes_back_to_the_application(world: ConsentWorld) -> None:
    browser = world.browser()
    answer = browser.get(world.google.deny(begin(world, browser).headers["Location"]))
    assert answer.headers["Location"] == f"{APP}?error=access_denied"


def test_a_failure_has_a_way_back_and_no_link_that_would_connect_a_mailbox(world: ConsentWorld) -> None:
    browser = world.browser()
    url = world.google.authorize(begin(world, browser).headers["Location"], EMAIL)
    world.google.answers["token"] = (503, {})
    page = browser.get(url)
    assert page.status_code == 503
    assert f'href="{APP}?error=unavailable"' in page.text
    assert "Start again" not in page.text


def test_an_address_that_is_not_verified_is_told_as_such(world: ConsentWorld) -> None:
    world.google.claims = {"email_verified": False}
    assert fetch(world, code_for(world, world.browser())).json["email_verified"] is False


@pytest.mark.parametrize(
    "changes",
    [
        {"return_to": ""},
        {"return_to": "https://evil.example/"},
        {"code_challenge": ""},
        {"code_challenge": "short"},
        {"code_challenge": "A" * 44},
        {"code_challenge": "A" * 42 + "é"},
        {"code_challenge_method": "plain"},
        {"login_hint": "x" * 400},
    ],
)
def test_a_link_that_is_not_right_leads_nowhere(world: ConsentWorld, changes: dict[str, str]) -> None:
    answer = begin(world, world.browser(), **changes)
    assert (answer.status_code, answer.content_type) == (400, "text/html; charset=utf-8")
    assert world.documents("oauth") == {}


@pytest.mark.parametrize("body", [{}, {"code": "x"}, {"code": 7, "code_verifier": "x"}, []])
def test_a_body_that_is_not_right_is_refused(world: ConsentWorld, body: Any) -> None:
    answer = world.call(world.oauth_app, "POST", "/oauth/google/identity", body, None)
    assert (answer.status_code, answer.json["error"]["code"]) == (400, "invalid_request")


def test_signing_in_with_microsoft_is_the_same_flow(tmp_path: Path) -> None:
    world = MicrosoftWorld(tmp_path)
    browser = world.browser()
    asked = urlencode({"return_to": APP, "code_challenge": challenge(VERIFIER)})
    url = browser.get(f"{world.origin}/oauth/microsoft/signin?{asked}").headers["Location"]
    assert query_of(url)["scope"] == "openid email profile"
    code = query_of(browser.get(world.authorize(url, EMAIL, tid=WORK)).headers["Location"])["code"]
    body = {"code": code, "code_verifier": VERIFIER}
    assert world.call(world.oauth_app, "POST", "/oauth/google/identity", body, None).status_code == 400
    told = world.call(world.oauth_app, "POST", "/oauth/microsoft/identity", body, None)
    assert (told.status_code, told.json) == (
        200,
        {
            "provider": "microsoft",
            "subject": f"{WORK}.{object_id(EMAIL)}",
            "email": EMAIL,
            "email_verified": False,
            "name": "Ann",
        },
    )
    assert world.documents("grants") == world.documents("users") == world.documents("oauth") == {}

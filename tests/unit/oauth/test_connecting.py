"""From a link to a mailbox: what a person who connects sees, what Google is asked, and what is kept."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest

from shared.errors import ConfigurationError
from shared.ports import Query, Update
from tests.unit.oauth.consent_world import APP, ConsentWorld, query_of
from tests.unit.oauth.google_double import CLIENT, ISSUER, MODIFY, READ


@pytest.fixture
def world(tmp_path: Path) -> ConsentWorld:
    return ConsentWorld(tmp_path)


def test_connecting_without_a_grant_answers_a_link(world: ConsentWorld) -> None:
    answer = world.connect()
    assert answer.status_code == 409
    assert answer.json["error"]["details"]["consent_url"].startswith(
        "https://brain.example/oauth/google/consent?state="
    )


def test_the_whole_way_ends_in_a_sealed_grant_and_a_mailbox_that_is_being_connected(world: ConsentWorld) -> None:
    end = world.walk(world.browser(), return_to=APP)
    assert (end.status_code, end.headers["Location"]) == (303, f"{APP}?status=connected")
    [(grant_id, grant)] = world.grants().items()
    assert grant_id == f"google:{grant['subject']}"
    assert READ in grant["scopes"]
    assert "canary" not in repr(world.documents("grants"))
    [mailbox] = world.mailboxes()
    assert (mailbox["id"], mailbox["grant_id"], mailbox["status"]) == ("ann:primary:GOOGLE", grant_id, "connecting")
    task = world.ports.tasks.claim(10)  # type: ignore[attr-defined]
    assert [b'"connect"' in one.body for one in task] == [True]
    assert world.documents("oauth") == {}


def test_the_query_of_the_page_to_return_to_is_kept(world: ConsentWorld) -> None:
    assert world.walk(world.browser(), return_to=f"{APP}?tab=1").headers["Location"] == f"{APP}?tab=1&status=connected"


def test_without_a_page_to_return_to_our_own_says_what_happens(world: ConsentWorld) -> None:
    end = world.walk(world.browser())
    assert end.status_code == 200
    assert "Your mailbox is connected" in end.text
    assert "ann@gmail.example" in end.text


def test_the_first_page_says_whose_account_it_is_and_what_will_be_read(world: ConsentWorld) -> None:
    page = world.browser().get(world.start())
    for text in ("Ann", "ann@example.org", "Is this your account?", "Read your mail and its labels"):
        assert text in page.text
    assert world.google.asked == [("GET", f"{ISSUER}/.well-known/openid-configuration", None)]


def test_google_is_asked_for_a_lasting_grant_with_pkce_and_a_nonce(world: ConsentWorld) -> None:
    browser, link = world.browser(), world.start(login_hint="ann@gmail.example")
    url = browser.agree(link)
    asked = query_of(url)
    state = query_of(link)["state"]
    assert url.startswith(f"{ISSUER}/o/oauth2/v2/auth?")
    nonce, challenge = asked.pop("nonce"), asked.pop("code_challenge")
    assert asked == {
        "response_type": "code",
        "client_id": CLIENT,
        "redirect_uri": world.settings.google_redirect_uri,
        "scope": f"openid email profile {READ}",
        "state": state,
        "code_challenge_method": "S256",
        "prompt": "consent",
        "access_type": "offline",
        "include_granted_scopes": "true",
        "login_hint": "ann@gmail.example",
    }
    assert len(base64.urlsafe_b64decode(nonce + "=")) == len(base64.urlsafe_b64decode(challenge + "=")) == 32


def test_nothing_secret_of_a_consent_is_stored(world: ConsentWorld) -> None:
    browser, link = world.browser(), world.start()
    asked = query_of(browser.agree(link))
    [stored] = world.documents("oauth").items()
    for secret in (asked["state"], browser.cookie(), asked["nonce"]):
        assert secret not in repr(stored)
    assert stored[1]["browser"] == hashlib.sha256(browser.cookie().encode()).hexdigest()


def test_the_cookie_is_only_for_us_not_for_scripts_and_no_other_host_can_set_it(world: ConsentWorld) -> None:
    cookie = world.browser().get(world.start()).headers["Set-Cookie"]
    name, *rest = cookie.split("; ")
    assert name.startswith("__Host-brainstem_oauth=")
    assert set(rest) == {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"}


def test_on_localhost_the_cookie_needs_no_tls(tmp_path: Path) -> None:
    world = ConsentWorld(tmp_path, google_redirect_uri="http://127.0.0.1:8080/oauth/google/callback")
    browser = world.browser()
    cookie = browser.get(world.start()).headers["Set-Cookie"]
    assert cookie.startswith("brainstem_oauth=")
    assert "Secure" not in cookie
    assert world.walk(browser).status_code == 200


def test_behind_a_prefix_the_form_stays_below_it(tmp_path: Path) -> None:
    world = ConsentWorld(tmp_path, google_redirect_uri="https://brain.example/mail/oauth/google/callback")
    link = world.start()
    assert link.startswith("https://brain.example/mail/oauth/google/consent?")
    page = world.browser().get(link.replace("/mail/oauth", "/oauth"))
    assert 'action="/mail/oauth/google/consent"' in page.text


def test_a_browser_keeps_its_cookie_over_several_consents_at_once(world: ConsentWorld) -> None:
    browser, first, second = world.browser(), world.start(), world.start()
    browser.get(first)
    cookie = browser.cookie()
    urls = [browser.agree(link) for link in (first, second)]
    assert browser.cookie() == cookie
    for url, email in zip(urls, ("ann@gmail.example", "work@gmail.example"), strict=True):
        assert browser.get(world.google.authorize(url, email)).status_code == 200
    assert len(world.mailboxes()) == 2


def test_pressing_the_button_twice_in_one_browser_is_fine(world: ConsentWorld) -> None:
    browser, link = world.browser(), world.start()
    assert browser.agree(link) == browser.agree(link)


def test_another_account_is_another_mailbox_and_the_same_resumes(world: ConsentWorld) -> None:
    browser = world.browser()
    for email in ("ann@gmail.example", "work@gmail.example", "ann@gmail.example"):
        world.walk(browser, email=email)
    first, second = world.mailboxes()
    assert {first["id"], second["id"]} == {"ann:primary:GOOGLE", "ann:m2:GOOGLE"}
    epochs = {mailbox["id"]: mailbox["epoch"] for mailbox in (first, second)}
    assert epochs["ann:primary:GOOGLE"] == epochs["ann:m2:GOOGLE"] + 1
    assert len(world.grants()) == 2


def test_two_people_may_connect_the_same_account(world: ConsentWorld) -> None:
    world.walk(world.browser(), "ann")
    world.walk(world.browser(), "bob")
    assert len(world.grants("ann")) == len(world.grants("bob")) == 1
    assert world.grants("bob").popitem()[1]["sealed"]["refresh"] is not None


def test_connecting_again_uses_the_grant_and_asks_nobody(world: ConsentWorld) -> None:
    world.walk(world.browser())
    assert world.connect().status_code == 200


def test_a_dead_grant_is_revived_in_its_place_and_google_asked_for_a_full_consent(world: ConsentWorld) -> None:
    browser = world.browser()
    world.walk(browser)
    [grant_id] = world.grants()
    world.product._grants.revoked("ann", grant_id)
    link = world.connect().json["error"]["details"]["consent_url"]
    url = browser.agree(link)
    assert query_of(url)["prompt"] == "consent"
    browser.get(world.google.authorize(url))
    assert world.grants()[grant_id]["status"] == "active"
    assert [mailbox["grant_id"] for mailbox in world.mailboxes()] == [grant_id]


def test_a_person_whose_refresh_token_is_held_only_picks_the_account_and_keeps_it(world: ConsentWorld) -> None:
    browser = world.browser()
    world.walk(browser)
    [before] = world.grants().values()
    url = browser.agree(world.start())
    assert query_of(url)["prompt"] == "select_account"
    assert browser.get(world.google.authorize(url)).status_code == 200
    [after] = world.grants().values()
    assert after["sealed"]["refresh"] == before["sealed"]["refresh"]
    assert after["sealed"]["access"] != before["sealed"]["access"]


def test_a_login_hint_of_an_account_that_is_not_held_leads_to_a_full_consent(world: ConsentWorld) -> None:
    browser = world.browser()
    world.walk(browser)
    assert query_of(browser.agree(world.start(login_hint="work@gmail.example")))["prompt"] == "consent"


def test_without_any_refresh_token_google_is_asked_once_more_for_a_full_consent(world: ConsentWorld) -> None:
    browser = world.browser()
    world.walk(browser, "ann")  # Google has given its refresh token for this account, to Ann
    world.walk(browser, "bob", "bob@gmail.example")
    url = browser.agree(world.start("bob"))
    assert query_of(url)["prompt"] == "select_account"
    second = browser.get(world.google.authorize(url, "ann@gmail.example"))
    asked = query_of(second.headers["Location"])
    assert (asked["prompt"], asked["login_hint"]) == ("consent", "ann@gmail.example")
    assert len(world.grants("bob")) == 1
    assert browser.get(world.google.authorize(second.headers["Location"])).status_code == 200
    assert len(world.grants("bob")) == 2


def test_it_is_asked_once_more_and_not_for_ever(world: ConsentWorld) -> None:
    world.google.refresh = "never"
    end = world.walk(world.browser())
    assert end.status_code == 502
    assert "Google gave no lasting access" in end.text
    assert world.google.exchanges == 2
    assert world.grants() == {}
    assert world.mailboxes() == []


def test_more_scopes_than_were_asked_for_are_fine_and_kept(tmp_path: Path) -> None:
    world = ConsentWorld(tmp_path, google_scopes=("openid", f"email {READ} {MODIFY}"))
    browser = world.browser()
    url = browser.agree(world.start())
    assert query_of(url)["scope"] == f"openid email profile {READ} {MODIFY}"
    assert browser.get(world.google.authorize(url)).status_code == 200
    assert {READ, MODIFY} <= set(world.grants().popitem()[1]["scopes"])


def test_an_address_that_google_does_not_vouch_for_names_no_mailbox(world: ConsentWorld) -> None:
    world.google.claims = {"email_verified": False}
    assert world.walk(world.browser()).status_code == 200
    assert [mailbox["address"] for mailbox in world.mailboxes()] == [None]


@pytest.mark.parametrize(
    "settings",
    [
        {"google_redirect_uri": "http://brain.example/oauth/google/callback"},
        {"google_redirect_uri": "https://brain.example/oauth/google/callback/"},
        {"google_redirect_uri": "https://brain.example/oauth/google/callback?x=1"},
        {"google_redirect_uri": "https://user@brain.example/oauth/google/callback"},
        {"google_redirect_uri": "brain.example/oauth/google/callback"},
        {"oauth_return_urls": ("http://app.example/",)},
        {"oauth_return_urls": ("https://app.example/#x",)},
        {"oauth_return_urls": ("*",)},
        {"google_scopes": (" ",)},
        {"google_scopes": ("openid email profile",)},
    ],
)
def test_a_wrong_setting_is_named_in_one_sentence_at_first_use(tmp_path: Path, settings: dict[str, object]) -> None:
    world = ConsentWorld(tmp_path, **settings)
    answer = world.call(world.oauth_app, "POST", "/oauth/google/start", {}, "ann")
    assert (answer.status_code, answer.json["error"]["code"]) == (500, "misconfigured")
    [name] = settings
    assert name.upper() in answer.json["error"]["message"]
    assert world.connect().json["error"]["code"] == "misconfigured"
    with pytest.raises(ConfigurationError):
        world.product._links("google")


def test_where_nothing_is_set_up_the_routes_say_so(tmp_path: Path) -> None:
    world = ConsentWorld(tmp_path, google_client_id="", google_redirect_uri="")
    answer = world.call(world.oauth_app, "POST", "/oauth/google/start", {}, "ann")
    assert (answer.status_code, answer.json["error"]["code"]) == (500, "misconfigured")
    assert world.browser().get("https://x/oauth/google/consent?state=x").status_code == 500
    assert "consent_url" not in world.connect().json["error"]["details"]


def test_the_refresh_token_of_another_grant_is_not_counted_as_the_accounts_own(world: ConsentWorld) -> None:
    """A mailbox with the same address may be another account's; then the new grant would end within the hour."""
    browser = world.browser()
    world.walk(browser)
    [mailbox] = world.ports.store.query(Query("mailboxes", "users/ann", limit=500))
    world.ports.store.commit([Update(mailbox.ref, {"address": "ann@gmail.example"}, mailbox.version)])
    world.google.refresh = "never"
    end = browser.get(world.google.authorize(browser.agree(world.start()), sub="2"))
    assert query_of(end.headers["Location"])["prompt"] == "consent"
    assert len(world.grants()) == 1

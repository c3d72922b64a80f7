"""Consent that grows: an application asks for more when it needs it, what was there stays, and a no costs nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.local.browser import Page
from infra.local.world import HOME
from shared.ports import Put
from tests.unit.oauth.consent_world import APP, ConsentWorld, query_of
from tests.unit.oauth.google_double import MODIFY, READ
from tests.world import ADDRESS, UID, World

HEALTH = f"{HOME}/health"
SEND = "https://www.googleapis.com/auth/gmail.send"
LABELS = "https://www.googleapis.com/auth/gmail.labels"
PLAN = {"subject": "s", "sender": ["Bob", "bob@example.org"], "to": [["Ann", ADDRESS]], "labels": ["INBOX"]}


class Consenting:
    """A world at one provider, and a person who walks through its pages."""

    def __init__(self, folder: Path, provider: str) -> None:
        self.provider = provider
        self.world = world = World(
            folder,
            oauth_return_urls=(HEALTH,),
            google_extra_scopes=(SEND, LABELS),
            microsoft_extra_scopes=("Mail.Send", "Mail.ReadWrite"),
        )
        self.simulator: Any = world.google if provider == "google" else world.outlook
        self.simulated: Any = world.google.oauth if provider == "google" else world.outlook.identity
        self.simulated.clients.register(
            [{"client_id": "client", "client_secret": "secret", "redirect_uris": [f"{HOME}/oauth/{provider}/callback"]}]
        )
        self.simulator.add_mailbox(ADDRESS)
        self.title = provider.title()

    def start(self, *scopes: str) -> str:
        body = {"return_to": HEALTH, **({"scopes": list(scopes)} if scopes else {})}
        status, answer = self.ask("oauth", f"/oauth/{self.provider}/start", body)
        assert status == 200, answer
        return str(answer["consent_url"])

    def ask(self, function: str, path: str, body: Any) -> tuple[int, Any]:
        return self.world.call(function, "POST", path, body, Authorization=f"Bearer {self.world.token}")

    def walk(self, url: str, button: str = "Allow", **chosen: Any) -> Page:
        browser = self.world.browser()
        end = browser.press(browser.open(url), f"Continue to {self.title}")
        while "Simulated" in end.text:
            end = browser.press(end, button, account=ADDRESS, **chosen)
        return end

    @property
    def grant(self) -> dict[str, Any]:
        (grant,) = self.world.grants().values()
        return grant

    def usable(self) -> set[str]:
        """What the access token is good for at the provider, now and once it is another; the mailbox is live all the time."""
        before = self._usable()
        self.simulator.add_mails(ADDRESS, [PLAN])
        self.world.run(3_700)
        assert self._usable() == before
        (mailbox,) = self.world.api("GET", "/mail/status")["mailboxes"]
        assert (mailbox["status"], mailbox["last_error"]) == ("live", None)
        return before

    def _usable(self) -> set[str]:
        grants = self.world.product._grants
        (grant_id,) = self.world.grants()
        product = self.world.product
        endpoints = product._google_endpoints() if self.provider == "google" else product._microsoft_endpoints()
        lease = grants.lease(UID, grant_id, endpoints.refresh)
        token = self.simulated.tokens.bearer(f"Bearer {lease.access}")
        assert token is not None
        assert {scope for scope in lease.scopes if "mail" in scope.lower()} >= {
            scope for scope in token.scopes.split() if "gmail" in scope or "Mail." in scope
        }
        return {scope for scope in token.scopes.split() if "gmail" in scope or "Mail." in scope}


@pytest.fixture
def google(tmp_path: Path) -> Iterator[Consenting]:
    made = Consenting(tmp_path, "google")
    yield made
    made.world.close()


@pytest.fixture
def microsoft(tmp_path: Path) -> Iterator[Consenting]:
    made = Consenting(tmp_path, "microsoft")
    yield made
    made.world.close()


def test_at_google_more_is_added_to_what_was_granted_and_lasts(google: Consenting) -> None:
    google.walk(google.start())
    assert google.usable() == {READ}
    assert google.walk(google.start(SEND)).url == f"{HEALTH}?status=connected"
    assert google.usable() == {READ, SEND}
    google.walk(google.start(LABELS))
    assert google.usable() == {READ, SEND, LABELS}
    assert set(google.grant["extra"]) == {SEND, LABELS}
    assert google.grant["scopes"].count(READ) == 1


def test_at_microsoft_more_is_added_to_what_was_granted_and_lasts(microsoft: Consenting) -> None:
    microsoft.walk(microsoft.start())
    assert microsoft.usable() == {"Mail.Read"}
    assert microsoft.walk(microsoft.start("Mail.Send")).url == f"{HEALTH}?status=connected"
    assert microsoft.usable() == {"Mail.Read", "Mail.Send"}
    microsoft.walk(microsoft.start("Mail.ReadWrite"))
    assert microsoft.usable() == {"Mail.Read", "Mail.Send", "Mail.ReadWrite"}


@pytest.mark.parametrize(("provider", "more"), [("google", SEND), ("microsoft", "Mail.Send")])
def test_a_reconnect_that_asks_for_nothing_more_takes_nothing_away(tmp_path: Path, provider: str, more: str) -> None:
    person = Consenting(tmp_path, provider)
    person.walk(person.start(more))
    before = person.usable()
    assert more in before
    person.walk(person.start())
    assert person.usable() == before
    person.world.close()


def test_who_unticks_what_is_new_keeps_what_was_there_and_the_application_is_told(google: Consenting) -> None:
    google.walk(google.start())
    end = google.walk(google.start(SEND), scope=[READ])
    assert end.url == f"{HEALTH}?status=connected&declined=https%3A%2F%2Fwww.googleapis.com%2Fauth%2Fgmail.send"
    assert google.usable() == {READ}
    assert google.grant["extra"] == []


def test_who_unticks_everything_keeps_the_grant_of_before(google: Consenting) -> None:
    google.walk(google.start())
    before = google.grant
    assert google.walk(google.start(SEND), scope=[]).status in (200, 403)
    assert google.usable() >= {READ}
    assert google.grant["status"] == before["status"] == "active"


@pytest.mark.parametrize(("provider", "more"), [("google", SEND), ("microsoft", "Mail.Send")])
def test_who_says_no_keeps_the_grant_of_before(tmp_path: Path, provider: str, more: str) -> None:
    person = Consenting(tmp_path, provider)
    person.walk(person.start())
    before = person.grant
    assert person.walk(person.start(more), "Deny").url == f"{HEALTH}?error=access_denied"
    assert person.grant == before
    assert more not in person.usable()
    person.world.close()


def test_connecting_asks_for_consent_only_while_something_is_lacking(google: Consenting) -> None:
    wanted = {"provider": "google", "return_to": HEALTH, "scopes": [SEND]}
    google.walk(google.start())
    assert google.ask("api", "/mail/connect", {"provider": "google"})[0] == 200
    status, answer = google.ask("api", "/mail/connect", wanted)
    assert (status, answer["error"]["code"]) == (409, "consent_required")
    google.walk(answer["error"]["details"]["consent_url"])
    assert google.ask("api", "/mail/connect", wanted)[0] == 200
    assert google.usable() == {READ, SEND}


# What may be asked for


@pytest.fixture
def world(tmp_path: Path) -> ConsentWorld:
    return ConsentWorld(tmp_path, google_extra_scopes=(MODIFY, f"{LABELS} {SEND}"))


def ask(world: ConsentWorld, scopes: Any, function: str = "oauth") -> Any:
    if function == "oauth":
        return world.call(world.oauth_app, "POST", "/oauth/google/start", {"scopes": scopes}, "ann")
    return world.call(world.api_app, "POST", "/mail/connect", {"provider": "google", "scopes": scopes}, "ann")


@pytest.mark.parametrize("function", ["oauth", "api"])
@pytest.mark.parametrize(
    "scopes",
    [
        ["https://mail.google.com/"],
        [MODIFY, "https://www.googleapis.com/auth/drive"],
        [MODIFY.upper()],
        [f"{MODIFY} https://mail.google.com/"],
        [MODIFY + "\n"],
        [""],
        ["openid"],
        ["x" * 201],
        [f"{MODIFY}{n}" for n in range(21)],
        [MODIFY] * 21,
        MODIFY,
        {"a": 1},
        [1],
    ],
)
def test_what_the_setting_does_not_name_is_refused_and_nothing_is_written(
    world: ConsentWorld, scopes: Any, function: str
) -> None:
    answer = ask(world, scopes, function)
    assert (answer.status_code, answer.json["error"]["code"]) == (400, "invalid_request")
    assert "drive" not in answer.text
    assert world.documents("oauth") == world.documents("users") == {}


def test_nothing_may_be_asked_for_unless_a_setting_says_so(tmp_path: Path) -> None:
    assert ask(ConsentWorld(tmp_path), [MODIFY]).status_code == 400


def test_our_page_and_the_link_to_google_name_what_is_asked_for(world: ConsentWorld) -> None:
    browser, link = world.browser(), ask(world, [MODIFY, SEND, READ]).json["consent_url"]
    page = browser.get(link).text
    assert "change its labels, write and send mail" in page
    asked = query_of(browser.agree(link))
    assert asked["scope"].split() == ["openid", "email", "profile", READ, MODIFY, SEND]
    assert (asked["include_granted_scopes"], asked["prompt"]) == ("true", "consent")


def test_a_consent_of_before_the_release_is_still_good(world: ConsentWorld) -> None:
    link = world.start(return_to=APP)
    (key,) = world.documents("oauth")
    ref = f"oauth/{key}"
    old = {name: value for name, value in world.ports.store.get([ref])[ref].data.items() if name != "scopes"}
    world.ports.store.commit([Put(ref, old)])
    browser = world.browser()
    assert browser.get(world.google.authorize(browser.agree(link))).headers["Location"] == f"{APP}?status=connected"


def test_a_refresh_token_that_is_good_for_less_is_not_kept_for_more(world: ConsentWorld) -> None:
    """Google hands one out at a full consent only, so more scopes ask for one."""
    browser = world.browser()
    world.walk(browser)
    assert query_of(browser.agree(world.start()))["prompt"] == "select_account"
    assert query_of(browser.agree(ask(world, [SEND]).json["consent_url"]))["prompt"] == "consent"
    browser.get(world.google.authorize(browser.agree(ask(world, [SEND]).json["consent_url"])))
    assert query_of(browser.agree(ask(world, [SEND]).json["consent_url"]))["prompt"] == "select_account"
    assert SEND in query_of(browser.agree(world.start()))["scope"].split()

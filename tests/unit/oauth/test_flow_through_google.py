"""The whole way through Google's pages as the simulator serves them, into a mailbox that is followed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from infra.local.browser import Page
from infra.local.world import HOME
from shared.oauth.browser import challenge
from tests.world import ADDRESS, MAILBOX, UID, World

APP = f"{HOME}/health"
READ = "https://www.googleapis.com/auth/gmail.readonly"
OTHER = "bob@example.org"
PLAN = {"subject": "s", "sender": ["Bob", OTHER], "to": [["Ann", ADDRESS]], "labels": ["INBOX"]}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path, oauth_return_urls=(APP,))
    world.google.oauth.clients.register(
        [{"client_id": "client", "client_secret": "secret", "redirect_uris": [f"{HOME}/oauth/google/callback"]}]
    )
    world.google.add_mailbox(ADDRESS)
    world.google.add_mails(ADDRESS, [PLAN] * 3, silent=True)
    yield world
    world.close()


def link(world: World, **wanted: str) -> str:
    status, answer = world.call("oauth", "POST", "/oauth/google/start", wanted, Authorization=f"Bearer {world.token}")
    assert status == 200, answer
    return str(answer["consent_url"])


def walk(world: World, url: str, account: str = ADDRESS, **chosen: Any) -> Page:
    """A person who agrees with everything that is not chosen otherwise."""
    browser = world.browser()
    google = browser.press(browser.open(url), "Continue to Google")
    end = browser.press(google, "Allow", account=account, **chosen)
    while "Simulated Google" in end.text:
        end = browser.press(end, "Allow", account=account, **chosen)
    return end


def mailboxes(world: World) -> dict[str, dict[str, Any]]:
    return {mailbox["id"]: mailbox for mailbox in world.api("GET", "/mail/status")["mailboxes"]}


def test_connecting_through_consent_ends_in_a_followed_mailbox(world: World) -> None:
    status, answer = world.call(
        "api", "POST", "/mail/connect", {"provider": "google"}, Authorization=f"Bearer {world.token}"
    )
    assert status == 409
    end = walk(world, answer["error"]["details"]["consent_url"])
    assert (end.status, "Your mailbox is connected" in end.text) == (200, True)
    world.run(30)
    mailbox = mailboxes(world)[MAILBOX]
    assert (mailbox["status"], mailbox["address"], mailbox["messages"]) == ("live", ADDRESS, 3)
    assert mailbox["channel_expires_at"] is not None
    [(grant_id, grant)] = world.grants().items()
    assert grant_id.removeprefix("google:").isdigit()
    assert READ in grant["scopes"]


def test_a_consent_that_connects_is_on_the_trail_and_a_denied_one_is_not(world: World) -> None:
    browser = world.browser()
    browser.press(browser.press(browser.open(link(world)), "Continue to Google"), "Deny", account=ADDRESS)
    assert world.api("GET", "/me/audit")["entries"] == []
    walk(world, link(world))
    [entry] = world.api("GET", "/me/audit")["entries"]
    assert (entry["action"], entry["by"], entry["about"]) == ("connect", UID, {"provider": "google"})


def test_the_person_returns_to_the_application(world: World) -> None:
    end = walk(world, link(world, return_to=f"{APP}?tab=mail", login_hint=ADDRESS))
    assert end.url == f"{APP}?tab=mail&status=connected"


def test_an_unticked_box_connects_nothing(world: World) -> None:
    end = walk(world, link(world), scope=[])
    assert (end.status, "One box was left empty" in end.text) == (403, True)
    assert world.grants() == mailboxes(world) == {}


def test_a_denial_connects_nothing(world: World) -> None:
    browser = world.browser()
    end = browser.press(browser.press(browser.open(link(world)), "Continue to Google"), "Deny", account=ADDRESS)
    assert (end.status, "You have not given access" in end.text) == (403, True)
    assert world.grants() == mailboxes(world) == {}


def test_a_revoked_account_asks_for_consent_again_and_resumes(world: World) -> None:
    walk(world, link(world))
    world.run(30)
    world.google.revoke(ADDRESS)
    world.run(2 * 3600)
    assert mailboxes(world)[MAILBOX]["status"] == "reauth_required"
    world.google.add_mails(ADDRESS, [PLAN] * 2)
    world.run(60)
    status, answer = world.call(
        "api", "POST", "/mail/connect", {"provider": "google"}, Authorization=f"Bearer {world.token}"
    )
    assert status == 409
    assert walk(world, answer["error"]["details"]["consent_url"]).status == 200
    world.run(60)
    [mailbox] = mailboxes(world).values()
    assert (mailbox["status"], mailbox["messages"], mailbox["last_error"]) == ("live", 5, None)
    received = [event for event in world.events() if event["type"] == "email.received"]
    assert len(received) == len({event["data"]["provider_message_id"] for event in received}) == 5


def test_another_account_is_another_mailbox(world: World) -> None:
    world.google.add_mailbox(OTHER)
    for account in (ADDRESS, OTHER, ADDRESS):
        assert walk(world, link(world), account).status == 200
        world.run(30)
    assert {id_: box["address"] for id_, box in mailboxes(world).items()} == {
        MAILBOX: ADDRESS,
        f"{UID}:m2:GOOGLE": OTHER,
    }
    assert {box["status"] for box in mailboxes(world).values()} == {"live"}


def test_an_account_that_came_with_brought_tokens_goes_on_with_its_own_grant(world: World) -> None:
    world.connect()
    world.run(30)
    [brought] = world.grants()
    assert walk(world, link(world)).status == 200
    world.run(30)
    [grant_id] = world.grants()
    assert grant_id != brought
    [mailbox] = mailboxes(world).values()
    assert (mailbox["status"], mailbox["last_error"]) == ("live", None)
    world.run(3 * 3600)
    assert mailboxes(world)[MAILBOX]["status"] == "live"


def test_signing_in_tells_the_application_who_it_is(world: World) -> None:
    verifier = "v" * 50
    wanted = urlencode({"return_to": APP, "code_challenge": challenge(verifier)})
    browser = world.browser()
    google = browser.open(f"{HOME}/oauth/google/signin?{wanted}")
    end = browser.press(google, "Allow", account=ADDRESS)
    code = parse_qs(urlsplit(end.url).query)["code"][0]
    status, told = world.call("oauth", "POST", "/oauth/google/identity", {"code": code, "code_verifier": verifier})
    assert (status, told["email"], told["email_verified"]) == (200, ADDRESS, True)
    assert world.grants() == mailboxes(world) == {}

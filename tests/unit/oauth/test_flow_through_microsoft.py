"""The whole way through Microsoft's pages as the simulator serves them, into a mailbox that is followed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from infra.local.browser import Page
from infra.local.world import HOME
from shared.oauth.browser import challenge
from shared.oauth.microsoft import PERSONAL
from tests.world import OUTLOOK, UID, World

APP = f"{HOME}/health"
WORK, PRIVATE, OTHER = "ann@contoso.example", "ann@outlook.com", "bob@contoso.example"


def made(folder: Path, **settings: Any) -> World:
    """A world whose Microsoft has two accounts of an organisation and a personal one."""
    world = World(folder, oauth_return_urls=(APP,), **settings)
    world.outlook.identity.clients.register(
        [{"client_id": "client", "client_secret": "secret", "redirect_uris": [f"{HOME}/oauth/microsoft/callback"]}]
    )
    for address in (WORK, PRIVATE, OTHER):
        world.outlook.add_mailbox(address)
    return world


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = made(tmp_path)
    yield world
    world.close()


def link(world: World, **wanted: str) -> str:
    status, answer = world.call(
        "oauth", "POST", "/oauth/microsoft/start", wanted, Authorization=f"Bearer {world.token}"
    )
    assert status == 200, answer
    return str(answer["consent_url"])


def walk(world: World, url: str, account: str = WORK) -> Page:
    """A person who agrees with everything."""
    browser = world.browser()
    return browser.press(browser.press(browser.open(url), "Continue to Microsoft"), "Allow", account=account)


def mails(world: World, account: str, count: int) -> None:
    plan = {"subject": "s", "sender": ["Bob", OTHER], "to": [["Ann", account]], "labels": ["INBOX"]}
    world.outlook.add_mails(account, [plan] * count)


def mailboxes(world: World) -> dict[str, dict[str, Any]]:
    return {mailbox["id"]: mailbox for mailbox in world.api("GET", "/mail/status")["mailboxes"]}


def asked_to_connect(world: World) -> str:
    """The link that connecting without a usable grant answers."""
    status, answer = world.call(
        "api", "POST", "/mail/connect", {"provider": "microsoft"}, Authorization=f"Bearer {world.token}"
    )
    assert status == 409
    return str(answer["error"]["details"]["consent_url"])


@pytest.mark.parametrize("account", [WORK, PRIVATE])
def test_connecting_through_consent_ends_in_a_followed_mailbox(world: World, account: str) -> None:
    mails(world, account, 3)
    end = walk(world, asked_to_connect(world), account)
    assert (end.status, "Your mailbox is connected" in end.text) == (200, True), end.text
    world.run(30)
    mailbox = mailboxes(world)[OUTLOOK]
    assert (mailbox["status"], mailbox["address"], mailbox["messages"]) == ("live", account, 3)
    assert mailbox["channel_expires_at"] is not None
    owner = world.outlook.identity.accounts.find(account)
    [(grant_id, grant)] = world.grants().items()
    assert grant_id == f"microsoft:{owner.tenant}.{owner.object_id}"
    assert (owner.tenant == PERSONAL) == (account == PRIVATE)
    assert {"Mail.Read", "User.Read"} <= set(grant["scopes"])


def test_a_grant_that_may_read_the_basics_alone_is_followed_too(tmp_path: Path) -> None:
    world = made(tmp_path, microsoft_scopes=("Mail.ReadBasic",))
    mails(world, WORK, 3)
    assert walk(world, link(world)).status == 200
    world.run(30)
    mailbox = mailboxes(world)[OUTLOOK]
    assert (mailbox["status"], mailbox["messages"], mailbox["last_error"]) == ("live", 3, None)
    world.close()


def test_the_person_returns_to_the_application(world: World) -> None:
    end = walk(world, link(world, return_to=f"{APP}?tab=mail", login_hint=WORK))
    assert end.url == f"{APP}?tab=mail&status=connected"


def test_a_denial_connects_nothing(world: World) -> None:
    browser = world.browser()
    end = browser.press(browser.press(browser.open(link(world)), "Continue to Microsoft"), "Deny", account=WORK)
    assert (end.status, "You have not given access" in end.text) == (403, True)
    assert world.grants() == mailboxes(world) == {}


def test_a_revoked_account_asks_for_consent_again_and_resumes(world: World) -> None:
    mails(world, WORK, 3)
    walk(world, link(world))
    world.run(30)
    world.outlook.revoke(WORK)
    world.run(2 * 3_600)
    assert mailboxes(world)[OUTLOOK]["status"] == "reauth_required"
    mails(world, WORK, 2)
    assert walk(world, asked_to_connect(world)).status == 200
    world.run(60)
    [mailbox] = mailboxes(world).values()
    assert (mailbox["status"], mailbox["messages"], mailbox["last_error"]) == ("live", 5, None)
    received = [event for event in world.events(OUTLOOK) if event["type"] == "email.received"]
    assert len(received) == len({event["data"]["provider_message_id"] for event in received}) == 5


def test_other_accounts_are_other_mailboxes_and_the_same_resumes(world: World) -> None:
    for account in (WORK, PRIVATE, OTHER, WORK):
        assert walk(world, link(world), account).status == 200
        world.run(30)
    assert {id_: box["address"] for id_, box in mailboxes(world).items()} == {
        OUTLOOK: WORK,
        f"{UID}:m2:MICROSOFT": PRIVATE,
        f"{UID}:m3:MICROSOFT": OTHER,
    }
    assert {box["status"] for box in mailboxes(world).values()} == {"live"}


def test_an_account_that_came_with_brought_tokens_goes_on_with_its_own_grant(world: World) -> None:
    brought = world.outlook.add_mailbox(WORK)
    tokens = {name: brought[name] for name in ("access_token", "refresh_token", "expires_in")}
    world.api("POST", "/mail/connect", {"provider": "microsoft", **tokens})
    world.run(30)
    [before] = world.grants()
    assert walk(world, link(world)).status == 200
    world.run(30)
    [grant_id] = world.grants()
    assert grant_id != before
    world.run(3 * 3_600)
    [mailbox] = mailboxes(world).values()
    assert (mailbox["status"], mailbox["last_error"]) == ("live", None)


def test_hours_of_rotations_of_which_the_last_alone_is_good_keep_the_mailbox(world: World) -> None:
    world.outlook.identity.tokens.rotation(living=1)
    walk(world, link(world))
    world.run(6 * 3_600)
    mailbox = mailboxes(world)[OUTLOOK]
    assert (mailbox["status"], mailbox["last_error"]) == ("live", None)
    assert world.outlook.report()["requests"]["token"] > 5


def test_a_tenant_that_the_setting_names_is_the_only_one_to_connect(tmp_path: Path) -> None:
    world = made(tmp_path, microsoft_tenant="contoso.example")
    assert walk(world, link(world)).status == 200
    browser = world.browser()
    assert PRIVATE not in browser.press(browser.open(link(world)), "Continue to Microsoft").text
    world.close()


@pytest.mark.parametrize(
    ("code", "status", "title"),
    [
        (70000, 400, "Microsoft's answer is no longer good"),
        (65001, 400, "Microsoft's answer is no longer good"),
        (90033, 503, "This cannot be finished right now"),
        (7000215, 500, "Something went wrong on our side"),
    ],
)
def test_what_the_token_endpoint_refuses_ends_on_a_page(world: World, code: int, status: int, title: str) -> None:
    world.outlook.identity.ordered.order({"code": code, "times": 10})
    end = walk(world, link(world))
    assert (end.status, title in end.text) == (status, True), end.text
    assert "AADSTS" not in end.text
    assert world.grants() == mailboxes(world) == {}


def test_signing_in_tells_the_application_who_it_is(world: World) -> None:
    verifier = "v" * 50
    wanted = urlencode({"return_to": APP, "code_challenge": challenge(verifier)})
    browser = world.browser()
    end = browser.press(browser.open(f"{HOME}/oauth/microsoft/signin?{wanted}"), "Allow", account=PRIVATE)
    code = parse_qs(urlsplit(end.url).query)["code"][0]
    body = {"code": code, "code_verifier": verifier}
    status, told = world.call("oauth", "POST", "/oauth/microsoft/identity", body)
    assert (status, told["provider"], told["email"], told["email_verified"]) == (200, "microsoft", PRIVATE, True)
    assert world.grants() == mailboxes(world) == {}

"""``docs/api.md`` has every route that people and applications call, and its examples have the form of real answers."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from shared.http import fields
from shared.http.errors import HTTP_CODES
from shared.http.oauth import OAuthDeps, create_oauth
from shared.identity import logins, passwords
from shared.identity.tokens import REASONS
from shared.oauth import addresses
from shared.oauth.browser import challenge
from shared.oauth.identities import Identities
from shared.oauth.provider import Identity
from shared.oauth.tickets import Tickets
from shared.providers.base import PROVIDERS
from shared.settings import Settings
from tests.unit.docs.pages import blocks, headings, name_in, page, section, sources, table
from tests.unit.docs.tables import error_tree
from tests.unit.fakes import FakeClock, FakeStore
from tests.unit.http.admin_world import Admins
from tests.unit.http.api_world import ApiWorld
from tests.unit.identity.auth_world import EMAIL, PASSWORD, AuthWorld
from tests.unit.oauth.consent_world import APP, ConsentWorld, query_of
from tests.world import MAILBOX, World

PAGE = page("docs/api.md")
ROUTES = [heading.strip("`") for heading in headings(PAGE) if re.match(r"`[A-Z]+ /", heading)]


PAGES = {route for route in ROUTES if route.startswith(("GET /oauth", "POST /oauth/{provider}/consent"))}
PAGES.add("GET /me/exports/{export_id}/archive")
"""What browsers open, which answers HTML, a redirect or a file."""

PROVIDER = re.compile(r"<any\([^)]*\):provider>")
"""How a route says that it is there for every provider."""

NAMED, _BRACED = re.compile(r"<(\w+)>"), r"{\1}"


def test_the_routes_are_those_of_the_functions_for_people(tmp_path: Path) -> None:
    oauth = create_oauth(
        OAuthDeps(Settings(), FakeClock(), FakeStore(), ApiWorld().verifier, ApiWorld().tombstones, pytest.fail, None)  # type: ignore[arg-type]
    )
    served = {
        f"{method} {NAMED.sub(_BRACED, PROVIDER.sub('{provider}', rule.rule))}"
        for app in (ApiWorld().app, oauth, AuthWorld(tmp_path).first.app)
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert set(ROUTES) == served
    assert len(ROUTES) == len(served)


@pytest.mark.parametrize("route", ROUTES)
def test_a_route_has_an_example_an_answer_and_its_errors(route: str) -> None:
    text = section(PAGE, f"`{route}`")
    path = re.escape(route.split()[1]).replace(re.escape("{provider}"), f"({'|'.join(PROVIDERS)})")
    assert any("curl" in block and re.search(path, block) for block in blocks(text, "bash"))
    assert len(blocks(text, "json")) == (route not in PAGES)
    assert "Errors" in text


def test_every_code_on_the_page_exists() -> None:
    codes = {kind.code for _, kind in error_tree()} | set(HTTP_CODES.values())
    named = {
        code for line in re.findall(r"^Errors.*$", PAGE, re.MULTILINE) for code in re.findall(r"\d{3} `(\w+)`", line)
    }
    assert named
    assert named <= codes


def test_every_reason_that_an_error_gives_is_listed() -> None:
    given = set(REASONS)
    for path in sources("shared"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "reason" and isinstance(node.value, ast.Constant):
                given.add(str(node.value.value))
    assert {name_in(row[0]) for row in table(PAGE, "`details.reason`")} == given


def test_the_limits_are_those_of_the_code() -> None:
    limits = {name_in(row[0]): row[1] for row in table(PAGE, "Limit")}
    assert limits == {
        "limit": f"1 to {fields.MAX_LIMIT}, {fields.DEFAULT_LIMIT} if left out",
        "data": f"{fields.MAX_DATA_BYTES} bytes, {fields.MAX_DEPTH} levels",
        "type": f"{fields.MAX_TYPE_CHARS} characters",
        "access_token": f"{fields.MAX_TOKEN_BYTES} bytes, `refresh_token` too",
        "after": f"{fields.MAX_PARAMETER_CHARS} characters",
        "login_hint": f"{fields.MAX_HINT_CHARS} characters",
        "return_to": f"{addresses.MAX_CHARS} characters",
        "email": f"{logins.MAX_EMAIL} characters",
        "password": f"{passwords.MIN_BYTES} to {passwords.MAX_BYTES} bytes",
        "name": f"{logins.MAX_NAME} characters",
    }


def _form(value: Any) -> Any:
    """The keys of an answer, down to the first entry of each list; what strangers name is left out."""
    if isinstance(value, dict):
        return {key: None if key == "headers" else _form(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_form(value[0])] if value and isinstance(value[0], dict) else "list"
    return None


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = World(Path(tmp_path_factory.mktemp("world")), audit_seconds=60.0, poll_seconds=60.0)
    tokens = world.google.add_mailbox("ann@example.org")
    plan = {
        "subject": "s",
        "sender": ["Bob", "bob@example.org"],
        "to": [["Ann", "ann@example.org"]],
        "labels": ["INBOX"],
    }
    [_, refused] = world.google.add_mails("ann@example.org", [plan, plan], silent=True)
    world.google.refuse("ann@example.org", refused, 500)
    world.grant = {name: tokens[name] for name in ("access_token", "refresh_token", "expires_in")}  # type: ignore[attr-defined]
    world.api("POST", "/mail/connect", {"provider": "google", **world.grant})  # type: ignore[attr-defined]
    world.run(240)
    return world


REQUESTS: dict[str, tuple[str, Any]] = {
    "GET /health": ("/health", None),
    "GET /me": ("/me", None),
    "POST /mail/connect": ("/mail/connect", {"provider": "google"}),
    "GET /mail/status": ("/mail/status", None),
    "GET /mail/messages": (f"/mail/messages?mailbox={MAILBOX}&limit=1", None),
    "GET /mail/gaps": (f"/mail/gaps?mailbox={MAILBOX}", None),
    "GET /mail/senders": ("/mail/senders", None),
    "POST /events": ("/events", {"type": "note.written", "data": {"text": "hello"}}),
    "GET /events": (f"/events?stream={MAILBOX}&type=email.received", None),
    "POST /mail/disconnect": ("/mail/disconnect", {"provider": "google"}),
    "GET /me/audit": ("/me/audit?limit=1", None),
    "DELETE /me": ("/me", None),
}


OAUTH = {
    "POST /oauth/{provider}/start", "POST /oauth/{provider}/identity", "GET /api/auth/accounts",
    "GET /api/auth/accounts/{provider}/token",
}  # fmt: skip
"""Asked of a world of their own."""


AUTH = {
    "POST /api/auth/sign-up/email": {"email": EMAIL, "password": PASSWORD, "name": "Ann"},
    "POST /api/auth/sign-in/email": {"email": EMAIL, "password": PASSWORD},
    "POST /api/v1/auth/login": {"email": EMAIL, "password": PASSWORD},
    "POST /api/auth/sign-in/{provider}": {"code": "", "code_verifier": "v" * 43},
    "POST /api/v1/auth/refresh": {"refresh_token": ""},
    "GET /api/auth/session": None,
    "GET /api/auth/sessions": None,
    "GET /api/auth/jwks": None,
    "DELETE /api/auth/sessions/{session_id}": None,
    "DELETE /api/v1/auth/logout": None,
}
"""Asked of another, in this order."""


ADMIN = {
    "GET /admin/users/{uid}/status", "GET /admin/users/{uid}/audit", "GET /admin/users/{uid}/sessions",
    "DELETE /admin/users/{uid}/sessions/{session_id}",
}  # fmt: skip
"""Asked by an admin."""


EXPORTS = ("POST /me/export", "GET /me/exports", "GET /me/exports/{export_id}")
"""Asked in this order."""


def test_there_is_a_request_for_every_route() -> None:
    assert set(REQUESTS) == set(ROUTES) - PAGES - OAUTH - AUTH.keys() - ADMIN - set(EXPORTS)
    assert set(ROUTES) >= PAGES | OAUTH | AUTH.keys() | ADMIN | set(EXPORTS)


def test_the_example_answers_of_an_export_have_the_form_of_real_ones(tmp_path: Path) -> None:
    world = World(tmp_path)
    export_id = ""
    for route in EXPORTS:
        method, path = route.split()
        real = world.api(method, path.format(export_id=export_id))
        [example] = blocks(section(PAGE, f"`{route}`"), "json")
        assert _form(json.loads(example)) == _form(real), route
        export_id = real.get("export_id", export_id)
        world.run(30)


@pytest.mark.parametrize("route", sorted(ADMIN))
def test_the_example_answers_for_admins_have_the_form_of_real_ones(route: str) -> None:
    admins = Admins()
    method, path = route.split()
    session_id = admins.signed_in()
    real = admins.client.open(path.format(uid="ann", session_id=session_id), method=method).get_json()
    [example] = blocks(section(PAGE, f"`{route}`"), "json")
    # What a mailbox shows is the example of GET /mail/status.
    assert _form(json.loads(example) | {"mailboxes": []}) == _form(real | {"mailboxes": []})


def test_the_example_answers_of_signing_in_have_the_form_of_real_ones(tmp_path: Path) -> None:
    world = AuthWorld(tmp_path)
    identity = Identity("s-1", EMAIL, True, "Ann")
    code = Identities(Tickets(world.store, world.clock), "google").keep(identity, challenge("v" * 43))
    known: dict[str, Any] = {"code": code}
    for route, body in AUTH.items():
        method, path = route.split()
        path = path.format(provider="google", session_id=known.get("session_id"))
        given = body and {name: value or known[name] for name, value in body.items()}
        real = world.call(method, path, given, known.get("access_token", ""))
        assert real.status_code in (200, 201), (route, real.text)
        assert real.json is not None
        [example] = blocks(section(PAGE, f"`{route}`"), "json")
        assert _form(json.loads(example)) == _form(real.json), route
        known |= real.json.get("data", real.json)


def test_the_example_answers_of_the_consent_flow_have_the_form_of_real_ones(tmp_path: Path) -> None:
    world = ConsentWorld(tmp_path)
    browser, verifier = world.browser(), "v" * 43
    wanted = urlencode({"return_to": APP, "code_challenge": challenge(verifier)})
    google = browser.get(f"{world.origin}/oauth/google/signin?{wanted}").headers["Location"]
    code = query_of(browser.get(world.google.authorize(google)).headers["Location"])["code"]
    bodies = {"start": {}, "identity": {"code": code, "code_verifier": verifier}}
    for name, body in bodies.items():
        real = world.call(world.oauth_app, "POST", f"/oauth/google/{name}", body, "ann")
        [example] = blocks(section(PAGE, f"`POST /oauth/{{provider}}/{name}`"), "json")
        assert real.status_code == 200
        assert _form(json.loads(example)) == _form(real.json)
    world.walk(browser)
    for path in ("/api/auth/accounts", "/api/auth/accounts/{provider}/token"):
        real = world.call(world.oauth_app, "GET", path.replace("{provider}", "google"), None, "ann")
        [example] = blocks(section(PAGE, f"`GET {path}`"), "json")
        assert real.status_code == 200
        assert _form(json.loads(example)) == _form(real.json)


@pytest.mark.parametrize("route", REQUESTS)
def test_an_example_answer_has_the_form_of_a_real_one(world: World, route: str) -> None:
    path, body = REQUESTS[route]
    real = world.api(route.split()[0], path, body)
    [example] = blocks(section(PAGE, f"`{route}`"), "json")
    assert _form(json.loads(example)) == _form(real)

"""Whoever has left is refused by every route that reads or writes what is kept of people, before the deletion and after it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shared import refs
from shared.ports import Create, Delete
from tests.unit.http.api_world import MAILBOX, ApiWorld, code_of
from tests.unit.identity.auth_world import AuthWorld

ROUTES: dict[tuple[str, str], dict[str, Any]] = {
    ("GET", "/me"): {},
    ("GET", "/me/audit"): {},
    ("POST", "/me/export"): {},
    ("GET", "/me/exports"): {},
    ("GET", "/me/exports/<export_id>"): {},
    ("GET", "/me/exports/<export_id>/archive"): {"query_string": "user=ann&expires=7&signature=right"},
    ("POST", "/mail/connect"): {"json": {"provider": "google", "access_token": "a", "refresh_token": "r"}},
    ("POST", "/mail/disconnect"): {"json": {"provider": "google"}},
    ("GET", "/mail/status"): {},
    ("GET", "/mail/messages"): {"query_string": {"mailbox": MAILBOX}},
    ("GET", "/mail/gaps"): {"query_string": {"mailbox": MAILBOX}},
    ("GET", "/mail/senders"): {},
    ("POST", "/events"): {"json": {"type": "note.written", "data": {}}},
    ("GET", "/events"): {},
}
OTHERS = {
    ("GET", "/health"),  # nobody's
    ("DELETE", "/me"),  # asking again is fine
}


def fenced(api: ApiWorld) -> None:
    assert api.client.delete("/me", headers=api.headers()).status_code == 202


def buried(api: ApiWorld) -> None:
    fenced(api)
    api.store.commit(
        [Delete(refs.user("ann")), Create(refs.tombstone(api.tombstones.place("ann").rpartition("/")[2]), {})]
    )


def test_every_route_of_the_api_is_judged_here_or_where_admins_are() -> None:
    rules = {
        (method, rule.rule)
        for rule in ApiWorld().app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if not rule.rule.startswith(("/admin/", "/static"))
    }
    assert rules == {*ROUTES, *OTHERS}


@pytest.mark.parametrize("leave", [fenced, buried])
@pytest.mark.parametrize(("method", "rule"), ROUTES)
def test_a_token_that_outlives_its_person_is_refused_by_every_route_of_the_api(
    leave: Any, method: str, rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = ApiWorld()
    monkeypatch.setattr(api.store, "query", lambda _: [])
    call: Any = {"method": method, "headers": api.headers(), **ROUTES[method, rule]}
    path = rule.replace("<export_id>", "e1")
    api.get("/me")
    api.grants.put("ann", "google:primary", "google", "access", "refresh", 3_600)
    assert api.client.open(path, **call).status_code < 300, "of somebody who is here it is answered"
    leave(api)
    commits, asked, posted = len(api.store.commits), list(api.accounts.calls), len(api.events.posted)
    answer = api.client.open(path, **call)
    assert (answer.status_code, code_of(answer)) == (410, "account_deleted")
    assert len(api.store.commits) == commits
    assert api.accounts.calls == asked
    assert len(api.events.posted) == posted


def test_asking_whether_the_caller_is_here_costs_one_read(api: ApiWorld) -> None:
    before = len(api.store.reads)
    assert api.get("/mail/status").status_code == 200
    assert api.store.reads[before:] == [[refs.user("ann")]]


def test_somebody_who_was_never_seen_reads_nothing_and_nothing_is_made_of_them() -> None:
    api = ApiWorld()
    assert api.get("/mail/status").status_code == 200
    assert api.nothing_written()


@pytest.fixture
def api() -> ApiWorld:
    api = ApiWorld()
    assert api.get("/me").status_code == 200
    return api


def test_our_own_sign_in_tells_nothing_of_somebody_who_is_being_deleted(tmp_path: Path) -> None:
    world = AuthWorld(tmp_path)
    account = world.sign_up()
    uid, token = account["user"]["user_id"], account["access_token"]
    world.fence(uid)
    for path in ("/api/auth/session", "/api/auth/sessions"):
        assert world.call("GET", path, token=token).status_code == 410
    assert world.refresh(account["refresh_token"]).status_code == 401
    world.store.commit([Delete(refs.user(uid)), Delete(refs.session(uid, account["session_id"]))])
    assert world.call("GET", "/api/auth/session", token=token).status_code == 401
    sessions = world.call("GET", "/api/auth/sessions", token=token)
    assert sessions.json == {"sessions": []}

"""What an admin may read of others, that it is written down first, and that nobody else may."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared import refs
from shared.errors import BrainstemError, Retry, Unknown
from shared.identity.tokens import Principal
from shared.identity.trail import Trail
from shared.ports import Create
from tests.unit.http.admin_world import STATUS, Admins
from tests.unit.http.api_world import code_of

ROUTES = ("/admin/users/ann/status", "/admin/users/ann/audit", "/admin/users/ann/sessions")


@pytest.fixture
def admins() -> Admins:
    return Admins()


def test_an_admin_reads_how_the_mailboxes_of_somebody_are(admins: Admins) -> None:
    response = admins.get(ROUTES[0])
    assert (response.status_code, response.get_json()) == (200, {**STATUS, "user_id": "ann"})
    assert admins.asked == ["ann"]


def test_an_admin_reads_what_was_done_with_an_account(admins: Admins) -> None:
    Trail(admins.store, admins.clock).add("ann", "sign_in", method="password")
    admins.clock.time += 1
    first, second = admins.get(ROUTES[1]).get_json()["entries"]
    assert first == {
        "at": "2026-09-21T14:13:20.000Z", "action": "sign_in", "by": "ann", "about": {"method": "password"},
    }  # fmt: skip
    assert second == {
        "at": "2026-09-21T14:13:21.000Z", "action": "admin_read", "by": "eve", "about": {"what": "audit"},
    }  # fmt: skip


@pytest.mark.parametrize(("path", "what"), [(ROUTES[0], "status"), (ROUTES[1], "audit"), (ROUTES[2], "sessions")])
def test_each_reading_is_on_the_trail_of_the_person(admins: Admins, path: str, what: str) -> None:
    admins.get(path)
    admins.get(path)
    assert [(entry["action"], entry["by"], entry["about"]) for entry in admins.trail()] == [
        ("admin_read", "eve", {"what": what})
    ] * 2


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("fault", [Retry(), Unknown()])
def test_what_cannot_be_written_down_is_not_answered(admins: Admins, path: str, fault: BrainstemError) -> None:
    admins.store.faults = [fault]
    admins.store.unknown_applies = False
    response = admins.get(path)
    assert response.status_code == 503
    assert admins.asked == []
    assert "mailboxes" not in response.text


@pytest.mark.parametrize("path", [*ROUTES, "/admin/users/nobody/status", "/admin/users/nobody/audit"])
@pytest.mark.parametrize("role", ["owner", "service", "", "Admin"])
def test_nobody_else_may_and_nobody_else_learns_who_exists(admins: Admins, path: str, role: str) -> None:
    admins.principal = replace(admins.principal, role=role)
    before = len(admins.store.reads)
    response = admins.get(path)
    assert (response.status_code, code_of(response)) == (403, "forbidden")
    assert len(admins.store.reads) == before
    assert admins.trail() == admins.asked == []


@pytest.mark.parametrize("uid", ["nobody", "a.b", "x" * 65, "%2e%2e", "ann:primary", "änn", "__x__", "ann%00"])
@pytest.mark.parametrize("what", ["status", "audit", "sessions"])
def test_somebody_who_does_not_exist_is_not_found_and_leaves_no_trail(admins: Admins, uid: str, what: str) -> None:
    commits = len(admins.store.commits)
    response = admins.get(f"/admin/users/{uid}/{what}")
    assert (response.status_code, code_of(response)) == (404, "not_found")
    assert len(admins.store.commits) == commits
    # The store is not even asked for what is no id of ours.
    assert admins.store.reads == ([[refs.user(uid)]] if uid == "nobody" else [])


def test_somebody_who_is_being_deleted_is_not_found_and_leaves_no_trail(admins: Admins) -> None:
    admins.store.commit([Create(refs.user("bob"), {"uid": "bob", "erasing": True})])
    commits = len(admins.store.commits)
    assert admins.get("/admin/users/bob/status").status_code == 404
    assert len(admins.store.commits) == commits


@pytest.mark.parametrize("path", ROUTES)
def test_an_admin_who_has_left_reads_and_ends_nothing(admins: Admins, path: str) -> None:
    kept = admins.signed_in()
    admins.left.add("eve")
    assert (admins.get(path).status_code, code_of(admins.get(path))) == (410, "account_deleted")
    assert admins.client.delete(f"{ROUTES[2]}/{kept}").status_code == 410
    assert admins.trail() == admins.asked == []


def test_admins_and_owners_reading_their_own_leave_no_trail_of_an_admin(admins: Admins) -> None:
    assert admins.get("/admin/users/eve/status").status_code == 200
    admins.principal = Principal("ann")
    assert admins.get(ROUTES[0]).status_code == 200
    assert admins.trail("eve") == admins.trail("ann") == []


def test_a_long_trail_comes_in_pages_and_a_cursor_belongs_to_one_person(admins: Admins) -> None:
    for _ in range(5):
        Trail(admins.store, admins.clock).add("ann", "sign_in")
        admins.clock.time += 1
    seen, after = [], None
    for _ in range(20):
        page = admins.get(ROUTES[1], limit="3", **({} if after is None else {"after": after})).get_json()
        seen += [entry["action"] for entry in page["entries"]]
        admins.clock.time += 1
        if page["next"] is None or len(seen) > 8:
            break
        after = page["next"]
    assert seen[:5] == ["sign_in"] * 5
    assert admins.get("/admin/users/eve/audit", after=after).status_code == 400
    assert admins.get(ROUTES[1], after="nonsense").status_code == 400


def test_a_wrong_page_is_refused_before_it_is_written_down(admins: Admins) -> None:
    assert admins.get(ROUTES[1], limit="x").status_code == 400
    assert admins.trail() == []


def test_an_admin_lists_the_sessions_of_somebody_and_ends_one(admins: Admins) -> None:
    first, second = admins.signed_in(), admins.signed_in()
    listed = admins.get(ROUTES[2]).get_json()["sessions"]
    assert sorted(row["id"] for row in listed) == sorted([first, second])
    assert all(row["current"] is False for row in listed)
    assert admins.client.delete(f"{ROUTES[2]}/{first}").status_code == 200
    assert [row["id"] for row in admins.get(ROUTES[2]).get_json()["sessions"]] == [second]
    [entry] = [entry for entry in admins.trail() if entry["action"] == "session_revoked"]
    assert (entry["by"], entry["about"]) == ("eve", {"session": first})
    assert admins.client.delete(f"{ROUTES[2]}/{first}").status_code == 404


@pytest.mark.parametrize("role", ["owner", "service", ""])
def test_nobody_else_ends_sessions_of_somebody(admins: Admins, role: str) -> None:
    kept = admins.signed_in()
    admins.principal = replace(admins.principal, role=role)
    assert admins.client.delete(f"{ROUTES[2]}/{kept}").status_code == 403
    admins.principal = Principal("ann")
    assert [row["id"] for row in admins.get(ROUTES[2]).get_json()["sessions"]] == [kept]


def test_a_session_is_ended_only_below_its_own_person(admins: Admins) -> None:
    kept = admins.signed_in("ann")
    assert admins.client.delete(f"/admin/users/eve/sessions/{kept}").status_code == 404
    assert admins.client.delete(f"/admin/users/nobody/sessions/{kept}").status_code == 404
    assert len(admins.get(ROUTES[2]).get_json()["sessions"]) == 1

"""The routes of exports and of the audit trail: whose they are, what they answer, and the one that asks for no token."""

from __future__ import annotations

import pytest

from shared.identity.trail import Trail
from shared.ports import Doc, Query
from tests.unit.http.api_world import ApiWorld, code_of


@pytest.fixture
def world() -> ApiWorld:
    return ApiWorld()


def test_an_export_is_begun_for_the_caller(world: ApiWorld) -> None:
    answer = world.client.post("/me/export", headers=world.headers())
    assert answer.status_code == 202
    assert answer.get_json() == {"export_id": "e1", "status": "running"}
    assert world.exports.calls == [("start", "ann")]
    assert world.store.documents["users/ann"].data["uid"] == "ann"


def test_exports_are_listed_and_shown_to_their_person(world: ApiWorld) -> None:
    listed = world.get("/me/exports", limit="1").get_json()
    assert listed["exports"] == [{"export_id": "e1"}]
    assert world.get("/me/exports", limit="1", after=listed["next"]).status_code == 200
    assert world.exports.calls == [("page", "ann", None, 1), ("page", "ann", "e1", 1)]
    assert world.get("/me/exports/e1").get_json()["link"] == "/me/exports/e1/archive?signature=s"


@pytest.mark.parametrize(
    ("method", "path"),
    [("post", "/me/export"), ("get", "/me/exports"), ("get", "/me/exports/e1"), ("get", "/me/audit")],
)
def test_all_but_the_archive_itself_need_a_token(world: ApiWorld, method: str, path: str) -> None:
    answer = getattr(world.client, method)(path)
    assert code_of(answer) == "unauthorized"
    assert world.exports.calls == []


def test_an_archive_is_for_whoever_has_its_link_and_comes_as_a_file_part_by_part(world: ApiWorld) -> None:
    answer = world.client.get("/me/exports/e1/archive?user=ann&expires=7&signature=right")
    assert answer.status_code == 200
    assert answer.data == b"onetwo"
    assert answer.headers["Content-Type"] == "application/gzip"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="brainstem.ndjson.gz"'
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Content-Length" not in answer.headers
    assert world.exports.calls == [("open", "ann", "e1", "7")]


@pytest.mark.parametrize("query", ["", "user=ann&expires=7", "user=ann&expires=7&signature=wrong"])
def test_without_the_right_signature_there_is_no_archive_not_even_with_a_token(world: ApiWorld, query: str) -> None:
    for headers in ({}, world.headers()):
        answer = world.client.get(f"/me/exports/e1/archive?{query}", headers=headers)
        assert answer.status_code == 403
        assert code_of(answer) == "forbidden"
    assert world.exports.calls == []


def test_the_trail_is_read_page_by_page_by_its_person_alone(world: ApiWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    trail = Trail(world.store, world.clock)
    for uid, action in (("ann", "sign_in"), ("bob", "sign_in"), ("ann", "connect")):
        trail.add(uid, action, provider="google")
        world.clock.time += 1

    def query(query: Query) -> list[Doc]:
        below = sorted(ref for ref in world.store.documents if ref.startswith(f"{query.parent}/{query.group}/"))
        start = query.start_after.ref if query.start_after else ""
        return [world.store.documents[ref] for ref in below if ref > start][: query.limit]

    monkeypatch.setattr(world.store, "query", query)
    first = world.get("/me/audit", limit="1").get_json()
    assert first["entries"] == [
        {"at": "2026-09-21T14:13:20.000Z", "action": "sign_in", "by": "ann", "about": {"provider": "google"}}
    ]
    second = world.get("/me/audit", limit="10", after=first["next"]).get_json()
    assert [entry["action"] for entry in second["entries"]] == ["connect"]
    assert second["next"] is None
    foreign = world.client.get(
        "/me/audit", query_string={"after": first["next"]}, headers=world.headers(world.token(sub="bob"))
    )
    assert code_of(foreign) == "invalid_request"


def test_connecting_and_disconnecting_are_on_the_trail(world: ApiWorld) -> None:
    world.post("/mail/connect", {"provider": "google", "access_token": "token-of-ann"})
    world.post("/mail/disconnect", {"provider": "google"})
    entries = [doc.data for ref, doc in world.store.documents.items() if ref.startswith("users/ann/audit/")]
    assert [(entry["action"], entry["about"]) for entry in entries] == [
        ("connect", {"provider": "google"}), ("disconnect", {"provider": "google"}),
    ]  # fmt: skip
    assert "token-of-ann" not in str(entries)


def test_what_was_refused_is_not_on_the_trail(world: ApiWorld) -> None:
    assert world.post("/mail/connect", {"provider": "google"}).status_code == 409
    assert not [ref for ref in world.store.documents if ref.startswith("users/ann/audit/")]

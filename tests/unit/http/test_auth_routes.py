"""Signing up, in and out over HTTP, and what the attacks that the routes have to expect come to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import TestResponse

from shared import refs
from shared.errors import Retry
from shared.identity.passwords import MAX_BYTES
from shared.identity.sessions import GRACE
from shared.identity.signing import KEPT, WITHOUT
from shared.oauth.browser import challenge
from shared.oauth.identities import Identities
from shared.oauth.provider import Identity
from shared.oauth.tickets import Tickets
from shared.ports import Update
from tests.unit.identity.auth_world import EMAIL, ISSUER, PASSWORD, AuthWorld, claims_of

VERIFIER = "v" * 43
SIGN_UP, SIGN_IN = "/api/auth/sign-up/email", "/api/auth/sign-in/email"


@pytest.fixture
def world(tmp_path: Path) -> AuthWorld:
    return AuthWorld(tmp_path)


def test_signing_up_answers_a_user_a_token_and_a_refresh_token(world: AuthWorld) -> None:
    answer = world.sign_up(" Ann@Example.ORG ")
    uid = answer["user"]["user_id"]
    assert answer["user"]["email"] == EMAIL
    assert answer["user"]["name"] == "Ann"
    assert (answer["token_type"], answer["expires_in"]) == ("Bearer", 900)
    assert answer["refresh_token"].startswith(f"{uid}.{answer['session_id']}.1.")
    claims = claims_of(answer["access_token"])
    assert claims.pop("jti")
    now = int(world.clock.now())
    assert claims == {
        "iss": ISSUER, "aud": "brainstem", "sub": uid, "sid": answer["session_id"], "role": "owner", "iat": now,
        "exp": now + 900, "email": EMAIL, "name": "Ann",
    }  # fmt: skip


def test_the_token_is_one_that_the_verifier_accepts(world: AuthWorld) -> None:
    answer = world.sign_up()
    principal = world.first.verifier.verify(f"Bearer {answer['access_token']}")
    assert (principal.uid, principal.session) == (answer["user"]["user_id"], answer["session_id"])
    assert (principal.role, principal.email, principal.name) == ("owner", EMAIL, "Ann")


def test_the_password_is_kept_as_argon2id_and_nowhere_else(world: AuthWorld) -> None:
    uid = world.sign_up()["user"]["user_id"]
    login = world.store.get([refs.login("email", EMAIL)])[refs.login("email", EMAIL)].data
    assert login["uid"] == uid
    assert login["password"].startswith("$argon2id$")
    for path in Path(world.settings.data_dir).rglob("*"):
        assert not path.is_file() or PASSWORD.encode() not in path.read_bytes()


@pytest.mark.parametrize("path", [SIGN_IN, "/api/v1/auth/login"])
def test_signing_in_opens_another_session_of_the_same_user(world: AuthWorld, path: str) -> None:
    before = world.sign_up()
    answer = world.call("POST", path, {"email": "ANN@example.org", "password": PASSWORD})
    assert answer.status_code == 200
    assert answer.json is not None
    told = answer.json.get("data", answer.json)
    assert told["user"] == before["user"]
    assert told["session_id"] != before["session_id"]
    assert told.keys() == before.keys()


def test_answers_below_v1_come_in_an_envelope(world: AuthWorld) -> None:
    signed_up = world.sign_up()
    answers = [
        world.call("POST", "/api/v1/auth/login", {"email": EMAIL, "password": PASSWORD}),
        world.refresh(signed_up["refresh_token"]),
        world.call("DELETE", "/api/v1/auth/logout", token=signed_up["access_token"]),
    ]
    for answer in answers:
        assert answer.json is not None
        assert answer.json.keys() == {"success", "data", "meta"}
        assert answer.json["success"] is True
        assert answer.json["meta"].keys() == {"timestamp", "version"}
    failed = world.refresh("nonsense").json
    assert failed is not None
    assert failed.keys() == {"success", "error", "meta"}


def test_refreshing_answers_new_tokens_of_the_same_session(world: AuthWorld) -> None:
    first = world.sign_up()
    world.clock.advance(1_000)
    answer = world.refresh(first["refresh_token"])
    assert answer.json is not None
    told = answer.json["data"]
    assert told["session_id"] == first["session_id"]
    assert told["refresh_token"] != first["refresh_token"]
    assert world.first.verifier.verify(f"Bearer {told['access_token']}").uid == first["user"]["user_id"]


def test_a_replayed_refresh_token_ends_the_session_and_is_on_the_trail(world: AuthWorld) -> None:
    first = world.sign_up()
    second = world.refresh(first["refresh_token"])
    assert second.json is not None
    world.clock.advance(GRACE)
    assert world.refresh(first["refresh_token"]).status_code == 401
    assert world.refresh(second.json["data"]["refresh_token"]).status_code == 401
    assert world.call("GET", "/api/auth/session", token=first["access_token"]).status_code == 401
    assert [entry["action"] for entry in world.trail(first["user"]["user_id"])] == [
        "sign_up", "session_replayed",
    ]  # fmt: skip


def test_a_refresh_whose_answer_was_lost_on_the_line_can_be_asked_again(world: AuthWorld) -> None:
    first = world.sign_up()
    assert world.refresh(first["refresh_token"]).status_code == 200
    world.clock.advance(GRACE / 2)
    again = world.refresh(first["refresh_token"]).json
    assert again is not None
    world.clock.advance(900)
    assert world.refresh(again["data"]["refresh_token"]).status_code == 200
    assert [entry["action"] for entry in world.trail(first["user"]["user_id"])] == ["sign_up"]


class _Away:
    def get(self, name: str, version: str | None = None) -> bytes:
        raise Retry


def test_while_the_signing_keys_cannot_be_read_those_known_go_on_for_two_minutes(
    world: AuthWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = world.sign_up()["refresh_token"]
    monkeypatch.setattr(world.first.signing, "_secrets", _Away())
    world.clock.advance(WITHOUT - 1)
    answer = world.refresh(token)
    assert (answer.status_code, answer.json is not None) == (200, True)


@pytest.mark.parametrize("times", [1, 3])
def test_where_nothing_can_be_signed_no_refresh_token_is_spent(
    world: AuthWorld, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    first = world.sign_up()
    world.clock.advance(WITHOUT)
    with monkeypatch.context() as patch:
        patch.setattr(world.first.signing, "_secrets", _Away())
        for _ in range(times):
            assert world.refresh(first["refresh_token"]).status_code == 503
            world.clock.advance(GRACE + KEPT)
    assert world.refresh(first["refresh_token"]).status_code == 200
    assert [entry["action"] for entry in world.trail(first["user"]["user_id"])] == ["sign_up"]


def test_where_nothing_can_be_signed_nobody_is_signed_up_or_in_and_no_code_is_used(
    world: AuthWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = world.sign_up()
    world.clock.advance(WITHOUT)
    identities = Identities(Tickets(world.store, world.clock), "google")
    code = identities.keep(Identity("s-1", EMAIL, True, "Ann"), challenge(VERIFIER))
    proof = {"code": code, "code_verifier": VERIFIER}
    with monkeypatch.context() as patch:
        patch.setattr(world.first.signing, "_secrets", _Away())
        bob = {"email": "bob@example.org", "password": PASSWORD}
        assert world.call("POST", SIGN_UP, bob).status_code == 503
        assert world.sign_in().status_code == 503
        assert world.call("POST", "/api/auth/sign-in/google", proof).status_code == 503
    assert world.sign_in("bob@example.org").status_code == 401
    assert [entry["action"] for entry in world.trail(first["user"]["user_id"])] == ["sign_up"]
    assert world.call("POST", "/api/auth/sign-in/google", proof).status_code == 200


def test_signing_out_ends_this_session_and_no_other(world: AuthWorld) -> None:
    first = world.sign_up()
    other = world.sign_in().json
    assert other is not None
    for _ in range(2):
        assert world.call("DELETE", "/api/v1/auth/logout", token=first["access_token"]).status_code == 200
    assert world.refresh(first["refresh_token"]).status_code == 401
    assert world.refresh(other["refresh_token"]).status_code == 200
    assert [entry["action"] for entry in world.trail(first["user"]["user_id"])] == [
        "sign_up", "sign_in", "sign_out",
    ]  # fmt: skip


def test_the_session_says_who_one_is_until_it_is_over(world: AuthWorld) -> None:
    first = world.sign_up()
    answer = world.call("GET", "/api/auth/session", token=first["access_token"])
    assert answer.json is not None
    assert answer.json["user"] == first["user"]
    assert answer.json["session"]["id"] == first["session_id"]
    assert answer.json["session"]["current"] is True
    world.call("DELETE", f"/api/auth/sessions/{first['session_id']}", token=first["access_token"])
    assert world.call("GET", "/api/auth/session", token=first["access_token"]).status_code == 401


def test_sessions_are_listed_with_what_opened_them_and_can_be_revoked(world: AuthWorld) -> None:
    first = world.sign_up()
    world.clock.advance(60)
    body = {"email": EMAIL, "password": PASSWORD}
    world.call("POST", SIGN_IN, body, User_Agent="Phone\x01 of Ann" + "x" * 500)
    listed = world.call("GET", "/api/auth/sessions", token=first["access_token"]).json
    assert listed is not None
    phone, own = listed["sessions"]
    assert phone["client"].startswith("Phone of Annxx")
    assert len(phone["client"]) == 120
    assert (phone["current"], own["current"]) == (False, True)
    assert phone.keys() == {"id", "method", "client", "created_at", "used_at", "expires_at", "current"}
    assert world.call("DELETE", f"/api/auth/sessions/{phone['id']}", token=first["access_token"]).status_code == 200
    assert world.call("DELETE", f"/api/auth/sessions/{phone['id']}", token=first["access_token"]).status_code == 404
    listed = world.call("GET", "/api/auth/sessions", token=first["access_token"]).json
    assert listed is not None
    assert [session["id"] for session in listed["sessions"]] == [own["id"]]
    assert world.trail(first["user"]["user_id"])[-1]["about"] == {"session": phone["id"]}


def test_nobody_revokes_the_session_of_somebody_else(world: AuthWorld) -> None:
    ann, bob = world.sign_up(), world.sign_up("bob@example.org")
    path = f"/api/auth/sessions/{ann['session_id']}"
    assert world.call("DELETE", path, token=bob["access_token"]).status_code == 404
    assert world.refresh(ann["refresh_token"]).status_code == 200


@pytest.mark.parametrize(
    "name", ["..%2f..%2fx", "a" * 27, "A" * 26, "1" * 26, "%00", "../x", "a" * 4_096, "é" * 26, "%2e%2e"]
)
def test_a_session_id_that_is_none_of_ours_is_never_looked_up(world: AuthWorld, name: str) -> None:
    token = world.sign_up()["access_token"]
    asked: list[list[str]] = []
    get = world.store.get
    world.store.get = lambda wanted: asked.append(list(wanted)) or get(wanted)  # type: ignore[method-assign,func-returns-value]
    assert world.call("DELETE", f"/api/auth/sessions/{name}", token=token).status_code in (404, 405)
    assert asked == []


def test_the_key_set_holds_the_public_half_only_and_may_be_kept_for_a_minute(world: AuthWorld) -> None:
    answer = world.call("GET", "/api/auth/jwks")
    assert answer.json is not None
    [key] = answer.json["keys"]
    assert key.keys() == {"kty", "n", "e", "kid", "alg", "use"}
    assert (key["alg"], key["use"], key["e"]) == ("RS256", "sig", "AQAB")
    assert answer.headers["Cache-Control"] == "public, max-age=60"


def _signed_in(world: AuthWorld, subject: str = "s-1", email: str = EMAIL, provider: str = "google") -> Any:
    identities = Identities(Tickets(world.store, world.clock), provider)
    code = identities.keep(Identity(subject, email, True, "Ann\x00 G"), challenge(VERIFIER))
    return world.call("POST", f"/api/auth/sign-in/{provider}", {"code": code, "code_verifier": VERIFIER})


def test_signing_in_with_a_provider_yields_the_same_kind_of_session_and_the_same_user_each_time(
    world: AuthWorld,
) -> None:
    first, again = _signed_in(world), _signed_in(world, email="new@example.org")
    assert first.status_code == again.status_code == 200
    assert first.json.keys() == world.sign_up("bob@example.org").keys()
    assert first.json["user"]["user_id"] == again.json["user"]["user_id"]
    assert first.json["user"]["name"] == "Ann G"
    assert world.refresh(again.json["refresh_token"]).status_code == 200
    entries = world.trail(first.json["user"]["user_id"])
    assert [(entry["action"], entry["about"]["method"]) for entry in entries] == [
        ("sign_up", "google"), ("sign_in", "google"),
    ]  # fmt: skip


def test_an_address_that_a_provider_names_never_opens_the_account_of_a_password(world: AuthWorld) -> None:
    by_password, by_provider = world.sign_up()["user"], _signed_in(world).json["user"]
    assert by_password["email"] == by_provider["email"]
    assert by_password["user_id"] != by_provider["user_id"]
    assert _signed_in(world, provider="microsoft").json["user"]["user_id"] != by_provider["user_id"]


def test_a_code_signs_in_once_and_only_with_its_verifier(world: AuthWorld) -> None:
    identities = Identities(Tickets(world.store, world.clock), "google")
    code = identities.keep(Identity("s", None, False, None), challenge(VERIFIER))
    for proof in ("w" * 43, VERIFIER, VERIFIER):
        answer = world.call("POST", "/api/auth/sign-in/google", {"code": code, "code_verifier": proof})
        assert (answer.status_code == 200) == (proof == VERIFIER and code != "")
        if answer.status_code == 200:
            code = ""


def test_a_provider_that_is_none_is_a_route_that_is_none(world: AuthWorld) -> None:
    assert world.call("POST", "/api/auth/sign-in/github", {"code": "c", "code_verifier": VERIFIER}).status_code == 404


@pytest.mark.parametrize("path", ["/api/auth/session", "/api/auth/sessions"])
def test_without_a_token_there_is_no_session(world: AuthWorld, path: str) -> None:
    assert world.call("GET", path).status_code == 401
    assert world.call("DELETE", "/api/v1/auth/logout").status_code == 401


def test_a_role_comes_from_the_profile_alone_and_with_the_next_refresh(world: AuthWorld) -> None:
    body = {"email": EMAIL, "password": PASSWORD, "role": "admin", "uid": "ann", "user_id": "ann"}
    answer = world.call("POST", SIGN_UP, body).json
    assert answer is not None
    uid = answer["user"]["user_id"]
    assert uid.startswith("u_")
    assert claims_of(answer["access_token"])["role"] == "owner"
    doc = world.store.get([refs.user(uid)])[refs.user(uid)]
    world.store.commit([Update(doc.ref, {"role": "admin"}, doc.version)])
    refreshed = world.refresh(answer["refresh_token"]).json
    assert refreshed is not None
    principal = world.first.verifier.verify(f"Bearer {refreshed['data']['access_token']}")
    assert (principal.uid, principal.role) == (uid, "admin")


# Attacks


def _error(answer: TestResponse) -> Any:
    assert answer.json is not None
    assert answer.json.keys() == {"success", "error", "meta"}
    return answer.json["error"]


def test_known_and_unknown_accounts_are_answered_alike_and_cost_the_same(world: AuthWorld) -> None:
    world.sign_up()
    told = []
    for email in (EMAIL, "nobody@example.org"):
        before = world.hasher.computed
        answers = [world.sign_in(email, "wrong password") for _ in range(12)]
        bodies = [_error(answer) for answer in answers]
        told.append(([answer.status_code for answer in answers], bodies, world.hasher.computed - before))
    assert told[0] == told[1]
    assert set(told[0][0]) == {401}
    assert told[0][2] == 5
    assert all(body == told[0][1][0] for body in told[0][1]), "neither does the lock show"


def test_the_headers_do_not_tell_accounts_apart_either(world: AuthWorld) -> None:
    world.sign_up()
    known, unknown = (world.sign_in(email, "wrong password") for email in (EMAIL, "nobody@example.org"))
    assert dict(known.headers) == dict(unknown.headers)


def test_signing_up_with_a_taken_address_is_signing_in_or_refused_like_it(world: AuthWorld) -> None:
    first = world.sign_up(name="Ann")
    again = world.sign_up(name="Mallory")
    assert again["user"] == first["user"]
    before = world.hasher.computed
    refused = world.call("POST", SIGN_UP, {"email": EMAIL, "password": "another password", "name": "M"})
    assert refused.status_code == 401
    assert _error(refused) == _error(world.sign_in(EMAIL, "wrong password"))
    assert world.hasher.computed - before == 2


@pytest.mark.parametrize(
    "password", ["x" * 1_000_000, "x" * (MAX_BYTES + 1), "é" * 513, "e\u0301" * 1_000, "", "x" * 11]
)
@pytest.mark.parametrize("email", [EMAIL, "nobody@example.org"])
def test_a_password_of_a_megabyte_is_refused_and_never_hashed(world: AuthWorld, password: str, email: str) -> None:
    world.sign_up()
    before = world.hasher.computed
    answers = [world.call("POST", SIGN_UP, {"email": email, "password": password})]
    if len(password) not in range(1, 12):
        answers.append(world.sign_in(email, password))
    for answer in answers:
        assert answer.json is not None
        assert (answer.status_code, answer.json["error"]["code"]) in ((400, "invalid_request"), (413, "too_large"))
        assert not password or password not in answer.text
    assert world.hasher.computed == before


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("email", "a" * 250 + "@b.cc"), ("email", "a" * 4_096), ("email", ""), ("email", "ann"), ("email", "@b.cc"),
        ("email", "a@b@c"), ("email", "a b@c.de"), ("email", "a\x00@c.de"), ("email", "a\u202e@c.de"), ("email", 7),
        ("email", "a@"), ("name", "x" * 201), ("name", "a\nb"), ("name", ["x"]), ("password", 12345678901234),
    ],
)  # fmt: skip
def test_an_oversized_or_impossible_field_is_named_and_changes_nothing(
    world: AuthWorld, field: str, value: Any
) -> None:
    answer = world.call("POST", SIGN_UP, {"email": EMAIL, "password": PASSWORD, "name": "Ann", field: value})
    assert answer.status_code == 400
    assert answer.json is not None
    assert answer.json["error"]["details"]["field"] == field
    assert world.hasher.computed == 0
    assert world.store.get([refs.login("email", EMAIL)]) == {}


@pytest.mark.parametrize(
    "token",
    [
        "", "x" * 100_000, "../x.{sid}.1.{secret}", "u_{sid}/../x.{sid}.1.{secret}", "{uid}.{sid}.1.{secret}\n",
        "{uid}.{sid}.-1.{secret}", "{uid}.{sid}.9999999999.{secret}", "{uid}.{sid}.1.{secret}x", "{uid}/{sid}.1.{secret}",
        "{uid}.{sid}.１.{secret}", "{uid}..1.{secret}",
    ],
)  # fmt: skip
def test_a_refresh_token_of_another_form_is_never_looked_up(world: AuthWorld, token: str) -> None:
    good = world.sign_up()["refresh_token"]
    uid, sid, _, secret = good.split(".")
    asked: list[list[str]] = []
    get = world.store.get
    world.store.get = lambda wanted: asked.append(list(wanted)) or get(wanted)  # type: ignore[method-assign,func-returns-value]
    assert world.refresh(token.format(uid=uid, sid=sid, secret=secret)).status_code == 401
    assert asked == []
    assert world.refresh(good).status_code == 200


def test_whoever_is_being_deleted_neither_signs_in_nor_refreshes(world: AuthWorld) -> None:
    answer = world.sign_up()
    world.fence(answer["user"]["user_id"])
    refused = world.sign_in()
    assert refused.status_code == 401
    assert _error(refused) == _error(world.sign_in("nobody@example.org"))
    assert world.call("POST", SIGN_UP, {"email": EMAIL, "password": PASSWORD}).status_code == 401
    assert world.refresh(answer["refresh_token"]).status_code == 401
    assert world.call("GET", "/api/auth/session", token=answer["access_token"]).status_code == 410
    assert [entry["action"] for entry in world.trail(answer["user"]["user_id"])] == ["sign_up"]


def test_passwords_and_tokens_are_in_no_log(world: AuthWorld, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    first = world.sign_up()
    second = world.refresh(first["refresh_token"]).json
    assert second is not None
    world.clock.advance(GRACE)
    world.refresh(first["refresh_token"])
    world.sign_in(EMAIL, "wrong canary password")
    said = "\n".join(str(vars(record)) for record in caplog.records)
    assert "session_replayed" in said
    for secret in (
        PASSWORD,
        "canary",
        EMAIL,
        *(
            value
            for answer in (first, second["data"])
            for value in (answer["access_token"], answer["refresh_token"], answer["refresh_token"].split(".")[3])
        ),
    ):
        assert secret not in said

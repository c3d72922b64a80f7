"""Codes and tokens: what the identity side of the simulator gives, to whom, and how often."""

from __future__ import annotations

import base64
import hashlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jwt
import pytest
from werkzeug.test import TestResponse

from infra.local.google.app import create_app
from tests.unit.local.conftest import World
from tests.unit.local.inprocess import ADDRESS, gmail_client
from tests.unit.local.person import READONLY, ROOT, VERIFIER, Visitor

OTHER = "https://other.example/"


@pytest.fixture
def visitor(world: World) -> Visitor:
    return Visitor(world.app)


def _claims(visitor: Visitor, token: str) -> dict[str, Any]:
    (entry,) = visitor.call("GET", "/oauth2/v3/certs").get_json()["keys"]
    assert jwt.get_unverified_header(token) == {"alg": "RS256", "kid": entry["kid"], "typ": "JWT"}
    claims: dict[str, Any] = jwt.decode(
        token, jwt.PyJWK(entry), ["RS256"], audience="client-1", issuer=ROOT,
        options={"verify_exp": False, "verify_iat": False},
    )  # fmt: skip
    return claims


def _refusal(answer: TestResponse) -> tuple[int, str]:
    return answer.status_code, answer.get_json()["error"]


def test_discovery_names_every_endpoint_below_the_mount(visitor: Visitor) -> None:
    found = visitor.call("GET", "/.well-known/openid-configuration").get_json()
    assert found["issuer"] == ROOT
    assert {name: url.removeprefix(ROOT) for name, url in found.items() if name.endswith(("_endpoint", "_uri"))} == {
        "authorization_endpoint": "/o/oauth2/v2/auth",
        "token_endpoint": "/token",
        "userinfo_endpoint": "/v1/userinfo",
        "revocation_endpoint": "/revoke",
        "jwks_uri": "/oauth2/v3/certs",
    }
    assert set(found["code_challenge_methods_supported"]) == {"S256", "plain"}
    assert found["id_token_signing_alg_values_supported"] == ["RS256"]


def test_a_consent_with_pkce_ends_in_tokens_that_read_mail(visitor: Visitor) -> None:
    back = visitor.consent()
    assert back["state"] == "s&t=a te/ü"
    assert back["provider"] == "google"
    answer = visitor.exchange(back["code"])
    tokens = answer.get_json()
    assert "no-store" in answer.headers["Cache-Control"]
    assert set(tokens) == {"access_token", "expires_in", "scope", "token_type", "refresh_token", "id_token"}
    assert (tokens["token_type"], tokens["expires_in"]) == ("Bearer", 3600)
    assert (
        set(tokens["scope"].split())
        == set(back["scope"].split())
        == {
            "openid",
            "https://www.googleapis.com/auth/userinfo.email",
            "https://www.googleapis.com/auth/userinfo.profile",
            READONLY,
        }
    )
    assert visitor.profile(tokens["access_token"]).get_json()["emailAddress"] == ADDRESS


def test_the_id_token_verifies_against_the_published_keys(world: World, visitor: Visitor) -> None:
    tokens = visitor.connect()
    claims = _claims(visitor, tokens["id_token"])
    half = hashlib.sha256(tokens["access_token"].encode()).digest()[:16]
    assert claims == {
        "iss": ROOT, "aud": "client-1", "azp": "client-1", "sub": claims["sub"], "email": ADDRESS,
        "email_verified": True, "name": "Ann", "given_name": "Ann", "nonce": "n-1", "iat": int(world.clock.time),
        "exp": int(world.clock.time) + 3600, "at_hash": base64.urlsafe_b64encode(half).rstrip(b"=").decode(),
    }  # fmt: skip
    assert len(claims["sub"]) == 21
    assert claims["sub"].isdecimal()


def test_another_account_has_another_subject_and_the_same_one_keeps_it(world: World, visitor: Visitor) -> None:
    world.sim.add_mailbox("zoe@example.org")
    subjects = [
        _claims(visitor, visitor.connect(login_hint=hint)["id_token"])["sub"]
        for hint in (ADDRESS, "zoe@example.org", ADDRESS)
    ]
    assert subjects[0] == subjects[2] != subjects[1]
    hinted_by_number = visitor.connect(login_hint=subjects[1])
    assert visitor.userinfo(hinted_by_number["access_token"]).get_json()["email"] == "zoe@example.org"


def test_no_id_token_without_openid_and_no_nonce_unless_one_was_sent(visitor: Visitor) -> None:
    assert "id_token" not in visitor.connect(scope=READONLY)
    assert "nonce" not in _claims(visitor, visitor.connect(nonce=None)["id_token"])


def test_userinfo_says_what_was_granted(visitor: Visitor) -> None:
    whole = visitor.userinfo(visitor.connect()["access_token"]).get_json()
    assert whole == {
        "sub": whole["sub"], "email": ADDRESS, "email_verified": True, "name": "Ann", "given_name": "Ann",
    }  # fmt: skip
    assert visitor.userinfo(visitor.connect(scope="openid")["access_token"]).get_json() == {"sub": whole["sub"]}
    assert _refusal(visitor.userinfo(visitor.connect(scope=READONLY)["access_token"])) == (403, "insufficient_scope")
    assert _refusal(visitor.userinfo("made-up")) == (401, "invalid_token")


def test_a_code_lives_ten_minutes(world: World, visitor: Visitor) -> None:
    young, old = visitor.consent()["code"], visitor.consent()["code"]
    world.clock.time += 599
    assert visitor.exchange(young).status_code == 200
    world.clock.time += 1
    assert _refusal(visitor.exchange(old)) == (400, "invalid_grant")


def test_a_code_that_is_shown_twice_takes_its_tokens_down(visitor: Visitor) -> None:
    bystander = visitor.connect()
    code = visitor.consent(prompt="consent")["code"]
    tokens = visitor.exchange(code).get_json()
    refreshed = visitor.refresh(tokens["refresh_token"]).get_json()
    assert _refusal(visitor.exchange(code)) == (400, "invalid_grant")
    assert _refusal(visitor.refresh(tokens["refresh_token"])) == (400, "invalid_grant")
    for dead in (tokens, refreshed):
        assert visitor.profile(dead["access_token"]).status_code == 401
    assert visitor.refresh(bystander["refresh_token"]).status_code == 200


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"code_verifier": "w" * 50}, "invalid_grant"),
        ({"code_verifier": None}, "invalid_grant"),
        ({"redirect_uri": OTHER}, "redirect_uri_mismatch"),
        ({"redirect_uri": None}, "redirect_uri_mismatch"),
        ({"client_id": "client-2"}, "invalid_grant"),
        ({"client_id": None}, "invalid_request"),
        ({"code": "4/0made-up"}, "invalid_grant"),
        ({"code": None}, "invalid_request"),
        ({"grant_type": None}, "unsupported_grant_type"),
    ],
)
def test_a_wrong_exchange_is_refused_and_leaves_the_code_to_its_owner(
    visitor: Visitor, wrong: dict[str, Any], error: str
) -> None:
    code = visitor.consent()["code"]
    assert _refusal(visitor.exchange(code, **wrong)) == (400, error)
    assert visitor.exchange(code).status_code == 200


def test_a_code_that_is_shown_many_times_at_once_brings_tokens_once(visitor: Visitor) -> None:
    code = visitor.consent()["code"]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: visitor.exchange(code), range(8)))
    assert sorted(answer.status_code for answer in answers) == [200, *[400] * 7]


def test_a_plain_challenge_is_its_own_verifier(visitor: Visitor) -> None:
    for method in ({"code_challenge_method": "plain"}, {"code_challenge_method": None}):
        code = visitor.consent(code_challenge=VERIFIER, **method)["code"]
        assert _refusal(visitor.exchange(code, code_verifier="w" * 50)) == (400, "invalid_grant")
        assert visitor.exchange(code).status_code == 200


def test_a_verifier_without_a_challenge_is_refused(visitor: Visitor) -> None:
    code = visitor.consent(code_challenge=None, code_challenge_method=None)["code"]
    assert _refusal(visitor.exchange(code)) == (400, "invalid_grant")
    assert visitor.exchange(code, code_verifier=None).status_code == 200


def test_a_second_consent_brings_no_refresh_token(visitor: Visitor) -> None:
    first, second = visitor.connect(), visitor.connect()
    assert "refresh_token" in first
    assert "refresh_token" not in second
    assert visitor.refresh(first["refresh_token"]).status_code == 200


def test_a_forced_consent_brings_another_refresh_token_and_the_first_stays(visitor: Visitor) -> None:
    first, second = visitor.connect(), visitor.connect(prompt="select_account consent")
    assert first["refresh_token"] != second["refresh_token"]
    assert [visitor.refresh(tokens["refresh_token"]).status_code for tokens in (first, second)] == [200, 200]


def test_an_online_consent_brings_no_refresh_token_and_does_not_use_up_the_first(visitor: Visitor) -> None:
    assert "refresh_token" not in visitor.connect(access_type=None, prompt="consent")
    assert "refresh_token" in visitor.connect()


def test_another_client_has_a_first_consent_of_its_own(world: World, visitor: Visitor) -> None:
    visitor.connect()
    other = Visitor(world.app, "client-2").connect()
    assert _refusal(visitor.refresh(other["refresh_token"])) == (401, "unauthorized_client")


def test_a_refreshed_token_keeps_its_scopes_and_signs_again(visitor: Visitor) -> None:
    tokens = visitor.connect()
    fresh = visitor.refresh(tokens["refresh_token"]).get_json()
    assert fresh["scope"] == tokens["scope"]
    assert "refresh_token" not in fresh
    assert _claims(visitor, fresh["id_token"])["email"] == ADDRESS
    assert "nonce" not in _claims(visitor, fresh["id_token"])
    assert _refusal(visitor.refresh("")) == (400, "invalid_request")


def test_the_101st_refresh_token_of_a_client_drops_the_oldest_and_no_other_clients(
    world: World, visitor: Visitor
) -> None:
    other = Visitor(world.app, "client-2").connect()
    tokens = [visitor.connect(prompt="consent")["refresh_token"] for _ in range(101)]
    assert _refusal(visitor.refresh(tokens[0])) == (400, "invalid_grant")
    assert visitor.refresh(tokens[1]).status_code == 200
    assert Visitor(world.app, "client-2").refresh(other["refresh_token"]).status_code == 200


@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
def test_revoking_either_token_ends_the_grant_of_that_client_alone(world: World, visitor: Visitor, kind: str) -> None:
    other = Visitor(world.app, "client-2").connect()
    older, tokens, code = visitor.connect(), visitor.connect(prompt="consent"), visitor.consent()["code"]
    assert visitor.call("POST", "/revoke", data={"token": tokens[kind]}).status_code == 200
    for dead in (older, tokens):
        assert visitor.profile(dead["access_token"]).status_code == 401
        assert _refusal(visitor.refresh(dead["refresh_token"])) == (400, "invalid_grant")
    assert _refusal(visitor.exchange(code)) == (400, "invalid_grant")
    assert _refusal(visitor.call("POST", "/revoke", query_string={"token": tokens[kind]})) == (400, "invalid_token")
    assert visitor.profile(other["access_token"]).status_code == 200
    assert "refresh_token" in visitor.connect()


def test_a_grant_that_its_owner_removed_starts_over(world: World, visitor: Visitor) -> None:
    tokens, code = visitor.connect(), visitor.consent()["code"]
    world.sim.revoke(ADDRESS)
    assert _refusal(visitor.refresh(tokens["refresh_token"])) == (400, "invalid_grant")
    assert _refusal(visitor.exchange(code)) == (400, "invalid_grant")
    assert "refresh_token" in visitor.connect()


def test_a_restart_keeps_keys_codes_grants_and_tokens(world: World, visitor: Visitor) -> None:
    tokens, code, keys = visitor.connect(), visitor.consent()["code"], visitor.call("GET", "/oauth2/v3/certs").text
    form = visitor.form()
    world.sim.close()
    world.open()
    again = Visitor(world.app)
    assert again.call("GET", "/oauth2/v3/certs").text == keys
    assert "refresh_token" not in again.exchange(code).get_json()
    assert again.refresh(tokens["refresh_token"]).status_code == 200
    assert again.submit(form).status_code == 303


def test_tokens_of_the_control_endpoint_do_everything_for_every_client(world: World, visitor: Visitor) -> None:
    assert visitor.profile(world.tokens["access_token"]).status_code == 200
    fresh = visitor.refresh(world.tokens["refresh_token"]).get_json()
    assert fresh["scope"] == "https://mail.google.com/"
    assert "id_token" not in fresh
    users = gmail_client(create_app(world.sim), fresh["access_token"]).users()
    assert users.getProfile(userId="me").execute()["emailAddress"] == ADDRESS

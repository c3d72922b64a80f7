"""Microsoft's identity platform as clients meet it: tenants, consent, rotating tokens, and errors by their AADSTS code."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jwt
import msal
import pytest
from werkzeug.test import TestResponse

from infra.local.microsoft.errors import GraphError
from infra.local.microsoft.identity_accounts import PERSONAL as PERSONAL_TENANT
from infra.local.microsoft.identity_refusals import AADSTS
from infra.local.simulated.errors import ControlError, UnknownThing
from tests.unit.local.outlook_person import LOGIN, PERSONAL, ROOT, SCOPES, WORK, Login, MsalHttp, decoded
from tests.unit.local.person import BACK, VERIFIER, returned


@pytest.fixture
def login(tmp_path: Path) -> Iterator[Login]:
    login = Login(tmp_path / "microsoft.sqlite")
    yield login
    login.state.close()


def _tenant(login: Login, address: str = WORK) -> str:
    return login.identity.accounts.find(address).tenant


def _claims(login: Login, token: str) -> dict[str, Any]:
    (entry,) = login.call("GET", "/common/discovery/v2.0/keys").get_json()["keys"]
    assert jwt.get_unverified_header(token) == {"alg": "RS256", "kid": entry["kid"], "typ": "JWT"}
    claims: dict[str, Any] = jwt.decode(
        token, jwt.PyJWK(entry), ["RS256"], audience="client-1",
        options={"verify_exp": False, "verify_iat": False, "verify_nbf": False},
    )  # fmt: skip
    return claims


def _refusal(answer: TestResponse) -> tuple[int, str, int]:
    body = answer.get_json()
    (code,) = body["error_codes"]
    assert body["error_description"].startswith(f"AADSTS{code}: ")
    assert set(body) >= {"timestamp", "trace_id", "correlation_id"}
    assert "no-store" in answer.headers["Cache-Control"]
    return answer.status_code, body["error"], code


def _order(login: Login, **order: Any) -> TestResponse:
    return login.call("POST", "/control/aadsts", json=order)


# Discovery and tenants


def test_discovery_answers_a_template_where_the_tenant_is_not_one(login: Login) -> None:
    def issuer(tenant: str) -> str:
        return str(login.call("GET", f"/{tenant}/v2.0/.well-known/openid-configuration").get_json()["issuer"])

    own = _tenant(login)
    assert issuer("common") == issuer("organizations") == f"{LOGIN}/{{tenantid}}/v2.0"
    assert issuer("consumers") == issuer(PERSONAL_TENANT) == f"{LOGIN}/{PERSONAL_TENANT}/v2.0"
    assert issuer(own) == issuer("contoso.example") == f"{LOGIN}/{own}/v2.0"


def test_discovery_names_its_endpoints_below_the_mount_and_the_token_endpoint_as_msal_wants_it(login: Login) -> None:
    found = login.call("GET", "/common/v2.0/.well-known/openid-configuration").get_json()
    assert {name: url for name, url in found.items() if name.endswith(("_endpoint", "_uri"))} == {
        "authorization_endpoint": f"{ROOT}/common/oauth2/v2.0/authorize",
        "token_endpoint": f"{LOGIN}/common/oauth2/v2.0/token",
        "jwks_uri": f"{ROOT}/common/discovery/v2.0/keys",
    }


def test_a_tenant_that_nobody_has_is_refused_everywhere(login: Login) -> None:
    nowhere = "11111111-2222-4333-8444-555555555555"
    assert _refusal(login.call("GET", f"/{nowhere}/v2.0/.well-known/openid-configuration"))[2] == 90002
    assert _refusal(login.refresh(login.handed[WORK]["refresh_token"], nowhere))[2] == 90002
    assert login.ask(nowhere).status_code == 400


def test_the_keys_name_the_issuer_that_they_sign_for(login: Login) -> None:
    (entry,) = login.call("GET", "/consumers/discovery/v2.0/keys").get_json()["keys"]
    assert entry["issuer"] == f"{LOGIN}/{{tenantid}}/v2.0"
    assert (entry["kty"], entry["use"], entry["alg"]) == ("RSA", "sig", "RS256")


@pytest.mark.parametrize(
    ("tenant", "address", "admitted"),
    [
        ("common", WORK, True), ("common", PERSONAL, True), ("organizations", WORK, True),
        ("organizations", PERSONAL, False), ("consumers", PERSONAL, True), ("consumers", WORK, False),
        (PERSONAL_TENANT, PERSONAL, True), ("contoso.example", WORK, True),
    ],
)  # fmt: skip
def test_only_accounts_of_the_tenant_may_sign_in_and_refresh_there(
    login: Login, tenant: str, address: str, admitted: bool
) -> None:
    assert (address in login.form(tenant).radios) is admitted
    answer = login.refresh(login.handed[address]["refresh_token"], tenant)
    if admitted:
        assert answer.status_code == 200
    else:
        assert _refusal(answer) == (400, "invalid_grant", 50020)


# Consent


def test_a_consent_with_pkce_ends_in_tokens_for_what_was_granted(login: Login) -> None:
    back = login.consent()
    assert back["state"] == "s&t=a te/ü"
    assert set(back) == {"code", "state", "session_state", "provider"}
    tokens = login.exchange(back["code"]).get_json()
    assert set(tokens) == {
        "token_type", "scope", "expires_in", "ext_expires_in", "access_token", "refresh_token", "id_token",
    }  # fmt: skip
    assert (tokens["token_type"], tokens["expires_in"]) == ("Bearer", 3600)
    assert set(tokens["scope"].split()) == {"openid", "profile", "email", "User.Read", "Mail.Read"}
    caller = login.identity.whose(tokens["access_token"])
    assert (caller.address, caller.client) == (WORK, "client-1")
    assert caller.scopes == set(SCOPES.split())
    assert login.counted == ["authorize", "consent", "token"]


@pytest.mark.parametrize("address", [WORK, PERSONAL])
def test_the_id_token_names_the_tenant_that_the_account_really_has(login: Login, address: str) -> None:
    account = login.identity.accounts.find(address)
    claims = _claims(login, login.connect(login_hint=address)["id_token"])
    issued = int(login.clock.time)
    edov = {"xms_edov": True} if address == WORK else {}
    assert claims == {
        "aud": "client-1", "iss": f"{LOGIN}/{account.tenant}/v2.0", "iat": issued, "nbf": issued, "exp": issued + 3600,
        "sub": claims["sub"], "tid": account.tenant, "oid": account.object_id, "preferred_username": address,
        "name": account.name, "email": address, "nonce": "n-1", "ver": "2.0",
    } | edov  # fmt: skip
    assert (account.tenant == PERSONAL_TENANT) is (address == PERSONAL)
    assert len(decoded(claims["sub"])) == 32


def test_the_subject_of_an_account_is_another_one_for_every_client(login: Login) -> None:
    account = login.identity.accounts.find(WORK)
    assert account.subject("client-1") == account.subject("client-1") != account.subject("client-2")


def test_people_of_one_domain_share_a_tenant(login: Login) -> None:
    with login.state.transaction() as db:
        db.execute("INSERT INTO mailboxes (address) VALUES ('eve@contoso.example'), ('eve@fabrikam.example')")
    for address in ("eve@contoso.example", "eve@fabrikam.example"):
        login.identity.accounts.add(address)
    assert _tenant(login, "eve@contoso.example") == _tenant(login) != _tenant(login, "eve@fabrikam.example")


def test_the_domain_says_what_kind_an_account_is_unless_it_is_said(login: Login) -> None:
    for address, kind in (("eve@Hotmail.com", "personal"), ("eve@fabrikam.example", "work")):
        with login.state.transaction() as db:
            db.execute("INSERT INTO mailboxes (address) VALUES (?)", (address,))
        login.identity.accounts.add(address)
        assert login.identity.accounts.find(address).kind == kind
    with pytest.raises(ControlError):
        login.identity.accounts.add(WORK, "school")  # type: ignore[arg-type]


def test_the_page_offers_all_scopes_or_none(login: Login) -> None:
    form = login.form()
    assert form.boxes == []
    assert [value for name, value in form.fields if name == "scope"] == ["Mail.Read", "User.Read"]
    assert "script" not in form.tags


def test_a_denial_goes_back_with_access_denied(login: Login) -> None:
    back = returned(login.submit(login.form(), "deny"))
    assert (back["error"], back["error_subcode"], back["state"]) == ("access_denied", "cancel", "s&t=a te/ü")
    assert back["error_description"].startswith("AADSTS65004: ")


def test_a_page_is_answered_once(login: Login) -> None:
    form = login.form()
    assert login.submit(form).status_code == 303
    assert login.submit(form).status_code == 400


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"auto": True}, {"openid", "profile", "email", "User.Read", "Mail.Read"}),
        ({"auto": True, "scopes": ["mail.read"]}, {"openid", "profile", "email", "Mail.Read"}),
    ],
)
def test_an_absent_person_answers_as_was_arranged(login: Login, settings: dict[str, Any], expected: set[str]) -> None:
    assert login.call("PUT", "/control/consent", json=settings).status_code == 200
    tokens = login.exchange(returned(login.ask())["code"]).get_json()
    assert set(tokens["scope"].split()) == expected


def test_an_absent_person_may_deny(login: Login) -> None:
    login.call("PUT", "/control/consent", json={"auto": True, "deny": True})
    assert returned(login.ask())["error"] == "access_denied"


def test_hints_choose_the_account(login: Login) -> None:
    login.call("PUT", "/control/consent", json={"auto": True})
    for hints, expected in (
        ({"login_hint": PERSONAL}, PERSONAL),
        ({"login_hint": None, "domain_hint": "consumers"}, PERSONAL),
        ({"login_hint": None, "domain_hint": "organizations"}, WORK),
        ({"login_hint": None, "domain_hint": "nobody.example"}, WORK),
    ):
        code = returned(login.ask(**hints))["code"]
        assert _claims(login, login.exchange(code).get_json()["id_token"])["preferred_username"] == expected


def test_nobody_is_asked_with_prompt_none(login: Login) -> None:
    assert returned(login.ask(prompt="none", login_hint=None))["error"] == "login_required"
    assert returned(login.ask(prompt="none"))["error"] == "consent_required"
    login.consent()
    assert "code" in returned(login.ask(prompt="none"))


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"scope": None}, "invalid_scope"),
        ({"scope": "openid Mail.Everything"}, "invalid_scope"),
        ({"scope": "https://vault.azure.net/.default"}, "invalid_resource"),
        ({"prompt": "perhaps"}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"code_challenge_method": "S512"}, "invalid_request"),
    ],
)
def test_what_is_wrong_with_a_request_goes_back_to_the_client(login: Login, wrong: dict[str, Any], error: str) -> None:
    back = returned(login.ask(**wrong))
    assert (back["error"], back["state"]) == (error, "s&t=a te/ü")
    assert back["error_description"].startswith("AADSTS")


@pytest.mark.parametrize("wrong", [{"client_id": "client-2"}, {"redirect_uri": "https://evil.example/"}])
def test_a_client_in_doubt_sends_nobody_anywhere(login: Login, wrong: dict[str, Any]) -> None:
    entry = {"client_id": "client-1", "client_secret": "secret", "redirect_uris": [BACK]}
    assert login.call("PUT", "/control/clients", json={"clients": [entry]}).status_code == 200
    assert login.ask().status_code == 200
    answer = login.ask(**wrong)
    assert answer.status_code == 400
    assert "Location" not in answer.headers
    assert "AADSTS" in answer.text


def test_scopes_may_be_asked_for_in_full_and_in_any_case(login: Login) -> None:
    tokens = login.connect(scope="openid OFFLINE_ACCESS https://graph.microsoft.com/mail.readbasic")
    assert tokens["scope"] == "Mail.ReadBasic openid"
    assert "refresh_token" in tokens


# The code


def test_no_refresh_token_without_offline_access_and_no_id_token_without_openid(login: Login) -> None:
    tokens = login.connect(scope="Mail.Read")
    assert not {"refresh_token", "id_token"} & set(tokens)


def test_a_code_is_good_once_and_its_tokens_survive_a_second_try(login: Login) -> None:
    code = login.consent()["code"]
    tokens = login.exchange(code).get_json()
    assert _refusal(login.exchange(code)) == (400, "invalid_grant", 54005)
    assert login.refresh(tokens["refresh_token"]).status_code == 200


def test_a_code_that_is_shown_many_times_at_once_brings_tokens_once(login: Login) -> None:
    code = login.consent()["code"]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: login.exchange(code), range(8)))
    assert sorted(answer.status_code for answer in answers) == [200, *[400] * 7]


def test_two_that_refresh_at_once_both_get_a_token_that_lives(login: Login) -> None:
    """A client whose steps race saves one of the two, and goes on with it."""
    token = login.connect()["refresh_token"]
    for turn in range(25):
        with ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(lambda _, used=token: login.refresh(used), range(2)))
        assert [answer.status_code for answer in answers] == [200, 200]
        token = answers[turn % 2].get_json()["refresh_token"]


def test_a_code_lives_ten_minutes(login: Login) -> None:
    code = login.consent()["code"]
    login.clock.time += 600
    assert _refusal(login.exchange(code)) == (400, "invalid_grant", 70008)


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"code_verifier": "w" * 50}, (400, "invalid_grant", 501481)),
        ({"code_verifier": None}, (400, "invalid_grant", 50148)),
        ({"redirect_uri": "https://other.example/"}, (400, "invalid_grant", 500112)),
        ({"client_id": "client-2"}, (400, "invalid_grant", 70000)),
        ({"client_id": None}, (400, "invalid_request", 900144)),
        ({"code": "M.C5_made-up"}, (400, "invalid_grant", 70000)),
        ({"code": None}, (400, "invalid_request", 900144)),
        ({"grant_type": "password"}, (400, "unsupported_grant_type", 70003)),
    ],
)
def test_a_wrong_exchange_is_refused_and_leaves_the_code_to_its_owner(
    login: Login, wrong: dict[str, Any], expected: tuple[int, str, int]
) -> None:
    code = login.consent()["code"]
    assert _refusal(login.exchange(**{"code": code} | wrong)) == expected
    assert login.exchange(code).status_code == 200


@pytest.mark.parametrize(
    ("client", "expected"),
    [
        ({"client_secret": "wrong"}, (401, "invalid_client", 7000215)),
        ({"client_secret": None}, (401, "invalid_client", 7000218)),
        ({"client_id": "client-2"}, (400, "unauthorized_client", 700016)),
    ],
)
def test_a_client_that_cannot_prove_itself_is_told_so_by_code(
    login: Login, client: dict[str, Any], expected: tuple[int, str, int]
) -> None:
    login.identity.clients.register([{"client_id": "client-1", "client_secret": "secret", "redirect_uris": [BACK]}])
    refresh_token = login.handed[WORK]["refresh_token"]
    assert _refusal(login.refresh(refresh_token, **client)) == expected
    assert login.refresh(refresh_token).status_code == 200


# Rotation


def test_every_refresh_brings_another_refresh_token_and_another_id_token(login: Login) -> None:
    tokens = login.connect()
    fresh = login.refresh(tokens["refresh_token"]).get_json()
    assert fresh["refresh_token"] != tokens["refresh_token"]
    assert fresh["access_token"] != tokens["access_token"]
    assert fresh["scope"] == tokens["scope"]
    assert "nonce" not in _claims(login, fresh["id_token"])
    assert login.identity.whose(tokens["access_token"]).address == WORK


def test_a_client_that_never_saves_the_new_refresh_token_is_locked_out(login: Login) -> None:
    first = login.connect()["refresh_token"]
    assert [login.refresh(first).status_code for _ in range(4)] == [200, 200, 200, 400]
    assert _refusal(login.refresh(first)) == (400, "invalid_grant", 70000)


def test_a_client_that_saves_every_time_goes_on_for_ever(login: Login) -> None:
    token, other = login.connect()["refresh_token"], login.connect()["refresh_token"]
    for _ in range(100):
        token = login.refresh(token).get_json()["refresh_token"]
    assert login.refresh(other).status_code == 200


def test_how_many_of_a_family_live_can_be_set_and_outlasts_a_restart(login: Login) -> None:
    assert login.call("PUT", "/control/rotation", json={"living": 1}).get_json() == {
        "living": 1, "successor_kills": False,
    }  # fmt: skip
    login.state.close()
    login.open()
    first = login.connect()["refresh_token"]
    assert [login.refresh(first).status_code for _ in range(2)] == [200, 400]


def test_an_old_refresh_token_may_die_by_the_use_of_its_successor(login: Login) -> None:
    login.identity.tokens.rotation(living=1000, successor_kills=True)
    first = login.connect()["refresh_token"]
    lost, second = (login.refresh(first).get_json()["refresh_token"] for _ in range(2))
    assert login.refresh(first).status_code == 200
    third = login.refresh(second).get_json()["refresh_token"]
    assert [login.refresh(token).status_code for token in (first, lost, second, third)] == [400, 400, 200, 200]


@pytest.mark.parametrize("plan", [{"living": 0}, {"living": True}, {"living": "3"}, {"successor_kills": 1}])
def test_a_rotation_that_makes_no_sense_is_refused(login: Login, plan: dict[str, Any]) -> None:
    with pytest.raises(ControlError):
        login.identity.tokens.rotation(**plan)


def test_a_refresh_token_dies_after_ninety_days_without_use(login: Login) -> None:
    token = login.connect()["refresh_token"]
    login.clock.time += 89 * 86_400
    token = login.refresh(token).get_json()["refresh_token"]
    login.clock.time += 90 * 86_400
    assert _refusal(login.refresh(token)) == (400, "invalid_grant", 700082)


def test_a_refresh_may_ask_for_less_but_not_for_more(login: Login) -> None:
    token = login.connect()["refresh_token"]
    less = login.refresh(token, scope="openid Mail.Read").get_json()
    assert less["scope"] == "Mail.Read openid"
    answer = login.refresh(less["refresh_token"], scope="Mail.Send")
    assert _refusal(answer) == (400, "invalid_grant", 65001)
    assert answer.get_json()["suberror"] == "consent_required"
    assert set(login.refresh(less["refresh_token"]).get_json()["scope"].split()) > {"Mail.Read", "User.Read"}


def test_another_client_cannot_use_a_refresh_token(login: Login) -> None:
    token = login.connect()["refresh_token"]
    assert _refusal(login.refresh(token, client_id="client-2")) == (400, "invalid_grant", 70000)


def test_a_grant_that_was_withdrawn_answers_401_and_50173(login: Login) -> None:
    tokens, code = login.connect(), login.consent()["code"]
    login.identity.accounts.revoke(WORK)
    assert _refusal(login.refresh(tokens["refresh_token"])) == (400, "invalid_grant", 50173)
    assert _refusal(login.exchange(code)) == (400, "invalid_grant", 70000)
    with pytest.raises(GraphError) as caught:
        login.identity.whose(tokens["access_token"])
    assert (caught.value.code, caught.value.reason) == (401, "InvalidAuthenticationToken")
    assert login.refresh(login.handed[PERSONAL]["refresh_token"]).status_code == 200
    assert login.refresh(login.connect()["refresh_token"]).status_code == 200
    with pytest.raises(UnknownThing):
        login.identity.accounts.revoke("nobody@contoso.example")


def test_an_access_token_lives_an_hour(login: Login) -> None:
    token = login.connect()["access_token"]
    login.clock.time += 3599
    assert login.identity.whose(f"Bearer {token}") == login.identity.whose(token)
    login.clock.time += 1
    with pytest.raises(GraphError):
        login.identity.whose(token)


def test_tokens_of_control_do_everything_and_outlast_a_restart(login: Login) -> None:
    keys = login.call("GET", "/common/discovery/v2.0/keys").text
    login.state.close()
    login.open()
    handed = login.handed[PERSONAL]
    assert login.identity.whose(handed["access_token"]).scopes >= {"Mail.Read", "Mail.ReadWrite", "Mail.Send"}
    assert login.refresh(handed["refresh_token"]).status_code == 200
    assert login.call("GET", "/common/discovery/v2.0/keys").text == keys


# Errors on demand


@pytest.mark.parametrize("code", sorted(AADSTS))
def test_any_code_is_answered_on_demand_as_often_as_ordered(login: Login, code: int) -> None:
    token = login.connect()["refresh_token"]
    assert _order(login, code=code, times=2).status_code == 200
    for _ in range(2):
        assert _refusal(login.refresh(token)) == (AADSTS[code].status, AADSTS[code].error, code)
    assert login.refresh(token).status_code == 200


def test_the_codes_of_the_brief_are_all_there() -> None:
    assert set(AADSTS) >= {
        70000, 70008, 700082, 65001, 50076, 50079, 50158, 54005, 50173, 7000215, 700016, 500011, 70011, 50011, 90033,
        50196,
    }  # fmt: skip


def test_an_order_may_be_for_one_account(login: Login) -> None:
    _order(login, code=50076, address=WORK)
    assert login.refresh(login.handed[PERSONAL]["refresh_token"]).status_code == 200
    answer = login.refresh(login.handed[WORK]["refresh_token"])
    assert _refusal(answer) == (400, "invalid_grant", 50076)
    assert answer.get_json()["suberror"] == "basic_action"


def test_an_exchange_suffers_an_order_too_and_keeps_its_code(login: Login) -> None:
    code = login.consent()["code"]
    _order(login, code="temporarily_unavailable")
    assert _refusal(login.exchange(code))[:2] == (503, "temporarily_unavailable")
    assert login.exchange(code).status_code == 200


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_machine_in_front_may_refuse_with_a_wait(login: Login, status: int) -> None:
    _order(login, status=status, retry_after=7)
    answer = login.refresh(login.handed[WORK]["refresh_token"])
    assert (answer.status_code, answer.headers["Retry-After"]) == (status, "7")
    assert "error_codes" not in answer.get_json()
    assert login.refresh(login.handed[WORK]["refresh_token"]).status_code == 200


def test_orders_outlast_a_restart_and_can_be_taken_back(login: Login) -> None:
    _order(login, code=90033, times=5)
    login.state.close()
    login.open()
    assert _refusal(login.refresh(login.handed[WORK]["refresh_token"]))[2] == 90033
    assert _order(login, times=0).get_json() == {"orders": []}
    assert login.refresh(login.handed[WORK]["refresh_token"]).status_code == 200


@pytest.mark.parametrize(
    "order", [{}, {"code": 1}, {"status": 404}, {"code": "70000"}, {"code": 70000, "times": -1}, {"what": 1}, [],
              {"code": 70000, "address": 7}],
)  # fmt: skip
def test_an_order_that_makes_no_sense_is_refused(login: Login, order: Any) -> None:
    with pytest.raises(ControlError):
        login.identity.ordered.order(order)


def test_the_correlation_id_of_the_caller_comes_back(login: Login) -> None:
    own = "9f0f4b52-3c1c-4f6e-9d53-64f1d2f8a111"
    answer = login.call(
        "POST", "/common/oauth2/v2.0/token", data={"grant_type": "x"}, headers={"client-request-id": own}
    )
    assert answer.get_json()["correlation_id"] == own


# MSAL


@pytest.mark.parametrize(("tenant", "address"), [("common", WORK), ("common", PERSONAL), ("organizations", WORK)])
def test_msal_connects_and_refreshes(login: Login, tenant: str, address: str) -> None:
    login.call("PUT", "/control/consent", json={"auto": True, "account": address})
    http = MsalHttp(login)
    client = msal.ConfidentialClientApplication(
        "client-1", client_credential="secret", authority=f"{LOGIN}/{tenant}", instance_discovery=False,
        http_client=http,
    )  # fmt: skip
    with pytest.warns(UserWarning, match="form_post"):
        flow = client.initiate_auth_code_flow(["User.Read", "Mail.Read"], redirect_uri=BACK, login_hint=address)
    asked = urlsplit(flow["auth_uri"])
    assert f"{asked.scheme}://{asked.netloc}" == "http://login.test"
    answer = login.http.get(asked.path.removeprefix("/microsoft"), base_url=ROOT, query_string=asked.query)
    tokens = client.acquire_token_by_auth_code_flow(flow, returned(answer))
    assert tokens["id_token_claims"]["tid"] == login.identity.accounts.find(address).tenant
    assert set(tokens["scope"].split()) >= {"User.Read", "Mail.Read"}
    fresh = client.acquire_token_by_refresh_token(tokens["refresh_token"], ["User.Read", "Mail.Read"])
    assert login.identity.whose(fresh["access_token"]).address == address
    assert fresh["refresh_token"] != tokens["refresh_token"]
    (known,) = client.get_accounts(address)
    account = login.identity.accounts.find(address)
    assert known["home_account_id"] == f"{account.object_id}.{account.tenant}"


def test_msal_hands_on_the_code_of_an_error(login: Login) -> None:
    client = msal.ConfidentialClientApplication(
        "client-1", client_credential="secret", authority=f"{LOGIN}/common", instance_discovery=False,
        http_client=MsalHttp(login),
    )  # fmt: skip
    _order(login, code=50079)
    answer = client.acquire_token_by_refresh_token(login.handed[WORK]["refresh_token"], ["Mail.Read"])
    assert (answer["error"], answer["error_codes"], answer["suberror"]) == ("invalid_grant", [50079], "basic_action")
    assert VERIFIER not in str(answer)

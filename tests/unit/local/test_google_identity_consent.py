"""The authorization endpoint and its page: who is asked what, and where everybody goes afterwards."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.local.conftest import World
from tests.unit.local.inprocess import ADDRESS
from tests.unit.local.person import BACK, MODIFY, READONLY, ROOT, Form, Visitor, returned

ZOE = "zoe@example.org"


@pytest.fixture
def visitor(world: World) -> Visitor:
    return Visitor(world.app)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"client_id": None}, "invalid_request"),
        ({"redirect_uri": None}, "invalid_request"),
        ({"redirect_uri": "javascript:alert(1)"}, "redirect_uri_mismatch"),
        ({"redirect_uri": "/relative"}, "redirect_uri_mismatch"),
        ({"redirect_uri": "https://app.example/#part"}, "redirect_uri_mismatch"),
        ({"redirect_uri": "https://app.example/\r\nSet-Cookie: a=b"}, "redirect_uri_mismatch"),
        ({"redirect_uri": "https://[broken/"}, "redirect_uri_mismatch"),
        ({"redirect_uri": ["https://app.example/", "https://evil.example/"]}, "invalid_request"),
        ({"scope": ["openid", "email"]}, "invalid_request"),
    ],
)
def test_a_request_of_doubtful_origin_sends_nobody_anywhere(
    visitor: Visitor, wrong: dict[str, Any], error: str
) -> None:
    answer = visitor.ask(**wrong)
    assert (answer.status_code, answer.mimetype) == (400, "text/html")
    assert "Location" not in answer.headers
    assert f"Error 400: {error}" in Form(answer.text).text


def test_a_registered_client_returns_only_to_its_own_addresses(visitor: Visitor) -> None:
    clients = [{"client_id": "client-1", "client_secret": "s", "redirect_uris": [BACK]}]
    visitor.call("PUT", "/control/clients", json={"clients": clients})
    assert visitor.ask().status_code == 200
    for wrong, error in (
        ({"redirect_uri": f"{BACK}&more=1"}, "redirect_uri_mismatch"),
        ({"redirect_uri": "https://app.example/oauth/callback"}, "redirect_uri_mismatch"),
        ({"client_id": "client-2"}, "invalid_client"),
    ):
        answer = visitor.ask(**wrong)
        assert answer.status_code == 400
        assert error in answer.text


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"response_type": None}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"scope": None}, "invalid_request"),
        ({"scope": " "}, "invalid_request"),
        ({"scope": f"openid {READONLY} mail.everything"}, "invalid_scope"),
        ({"code_challenge_method": "S512"}, "invalid_request"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"code_challenge": "ü" * 43}, "invalid_request"),
        ({"access_type": "always"}, "invalid_request"),
        ({"include_granted_scopes": "yes"}, "invalid_request"),
        ({"prompt": "maybe"}, "invalid_request"),
        ({"prompt": "none consent"}, "invalid_request"),
    ],
)
def test_other_mistakes_are_told_to_the_client_with_its_state(
    visitor: Visitor, wrong: dict[str, Any], error: str
) -> None:
    back = returned(visitor.ask(**wrong))
    assert (back["error"], back["state"], back["provider"]) == (error, "s&t=a te/ü", "google")
    assert "code" not in back


def test_without_a_state_none_is_returned(visitor: Visitor) -> None:
    assert "state" not in visitor.consent(state=None)
    assert "state" not in returned(visitor.ask(state=None, scope=None))


def test_the_page_is_a_form_with_accounts_boxes_and_two_buttons(world: World, visitor: Visitor) -> None:
    world.sim.add_mailbox(ZOE)
    answer = visitor.ask(scope=f"openid email {READONLY} {MODIFY}")
    form = Form(answer.text)
    assert (form.method, form.action) == ("post", f"{ROOT}/signin/oauth/consent")
    assert form.radios == [ADDRESS, ZOE]
    assert form.boxes == [MODIFY, READONLY]
    assert form.buttons == [("decision", "allow"), ("decision", "deny")]
    assert "client-1 wants to access" in form.text
    assert "View your email messages and settings" in form.text
    assert "script" not in form.tags
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(("hint", "chosen"), [(None, []), (ZOE.upper(), [ZOE]), ("nobody@example.org", [])])
def test_the_hinted_account_is_chosen_beforehand(
    world: World, visitor: Visitor, hint: str | None, chosen: list[str]
) -> None:
    world.sim.add_mailbox(ZOE)
    form = visitor.form(login_hint=hint)
    assert [value for name, value in form.fields if name == "account"] == chosen


def test_the_person_may_choose_another_account_than_the_hinted_one(world: World, visitor: Visitor) -> None:
    world.sim.add_mailbox(ZOE)
    code = visitor.consent(login_hint=ADDRESS, changed={"account": ZOE})["code"]
    tokens = visitor.exchange(code).get_json()
    assert visitor.profile(tokens["access_token"]).get_json()["emailAddress"] == ZOE


def test_an_account_has_to_be_chosen_and_the_page_stays_open_until_then(world: World, visitor: Visitor) -> None:
    world.sim.add_mailbox(ZOE)
    form = visitor.form()
    for wrong in ({}, {"account": "nobody@example.org"}):
        answer = visitor.submit(form, **wrong)
        assert answer.status_code == 400
        assert "Choose an account." in answer.text
    assert "code" in returned(visitor.submit(form, account=ZOE))


def test_a_page_is_answered_once(visitor: Visitor) -> None:
    form = visitor.form()
    assert visitor.submit(form, "perhaps").status_code == 400
    assert "code" in returned(visitor.submit(form))
    for decision in ("allow", "deny"):
        answer = visitor.submit(form, decision)
        assert answer.status_code == 400
        assert "answered already" in answer.text


def test_a_page_that_was_never_shown_or_is_an_hour_old_is_refused(world: World, visitor: Visitor) -> None:
    form = visitor.form()
    assert visitor.submit(form, page="made-up").status_code == 400
    world.clock.time += 3600
    assert visitor.submit(form).status_code == 400


def test_a_denial_returns_access_denied(visitor: Visitor) -> None:
    back = visitor.consent("deny")
    assert back == {"provider": "google", "state": "s&t=a te/ü", "error": "access_denied"}


def test_an_unticked_scope_is_not_granted_and_the_api_says_so(visitor: Visitor) -> None:
    back = visitor.consent(changed={"scope": []})
    assert READONLY not in back["scope"].split()
    tokens = visitor.exchange(back["code"]).get_json()
    assert READONLY not in tokens["scope"].split()
    assert "id_token" in tokens
    answer = visitor.profile(tokens["access_token"])
    error = answer.get_json()["error"]
    assert (answer.status_code, error["status"]) == (403, "PERMISSION_DENIED")
    assert error["errors"][0]["reason"] == "insufficientPermissions"
    assert error["details"][0]["reason"] == "ACCESS_TOKEN_SCOPE_INSUFFICIENT"


def test_some_scopes_can_be_ticked_but_none_that_was_not_asked_for(visitor: Visitor) -> None:
    back = visitor.consent(scope=f"openid {READONLY} {MODIFY}", changed={"scope": [MODIFY, "https://mail.google.com/"]})
    assert back["scope"].split() == [MODIFY, "openid"]


def test_nothing_ticked_and_nothing_else_asked_is_a_denial(visitor: Visitor) -> None:
    assert visitor.consent(scope=READONLY, changed={"scope": []})["error"] == "access_denied"


def test_earlier_scopes_are_included_only_when_asked_for(visitor: Visitor) -> None:
    visitor.connect(scope=f"openid {READONLY}")
    assert visitor.connect(scope=MODIFY)["scope"].split() == [MODIFY]
    widened = visitor.connect(scope=MODIFY, include_granted_scopes="true")
    assert set(widened["scope"].split()) == {"openid", READONLY, MODIFY}


def test_prompt_none_asks_nobody(world: World, visitor: Visitor) -> None:
    assert returned(visitor.ask(prompt="none"))["error"] == "consent_required"
    visitor.connect()
    assert "code" in returned(visitor.ask(prompt="none"))
    world.sim.add_mailbox(ZOE)
    assert returned(visitor.ask(prompt="none"))["error"] == "login_required"
    assert returned(visitor.ask(prompt="none", login_hint=ZOE))["error"] == "consent_required"
    assert "code" in returned(visitor.ask(prompt="none", login_hint=ADDRESS))


def test_hostile_names_and_scopes_stay_text(world: World, visitor: Visitor) -> None:
    hostile = "\"'><script>alert(1)</script>&amp;@x.example"
    scope = "https://www.googleapis.com/auth/x'><img/src=x/onerror=alert(1)>&lt;"
    client = "<svg/onload=alert(1)>\"'"
    world.sim.add_mailbox(hostile)
    answer = visitor.ask(scope=scope, client_id=client, login_hint='"><b>', state='"><i>')
    form = Form(answer.text)
    assert form.radios == [ADDRESS, hostile]
    assert form.boxes == [scope]
    assert not {"script", "img", "svg", "b", "i"} & set(form.tags)
    assert not {name for name in form.attributes if name.startswith("on")}
    for text in (hostile, scope, client):
        assert text in form.text
    assert returned(visitor.submit(form, account=hostile))["state"] == '"><i>'


def test_hostile_errors_stay_text(visitor: Visitor) -> None:
    answer = visitor.ask(redirect_uri="javascript:<script>alert('1')</script>")
    assert answer.status_code == 400
    assert "script" not in Form(answer.text).tags
    assert "<script>" in Form(answer.text).text


def test_without_any_account_there_is_nobody_to_ask(tmp_path: Any) -> None:
    world = World(tmp_path / "empty.sqlite")
    with world.sim._state.transaction() as db:
        db.execute("DELETE FROM mailboxes")
    assert Visitor(world.app).ask().status_code == 400
    world.sim.close()


def _automate(visitor: Visitor, **settings: Any) -> dict[str, Any]:
    answer = visitor.call("PUT", "/control/consent", json=settings)
    assert answer.status_code == 200, answer.text
    plan: dict[str, Any] = answer.get_json()
    return plan


def test_automatic_consent_returns_at_once_as_a_person_would(world: World, visitor: Visitor) -> None:
    world.sim.add_mailbox(ZOE)
    assert _automate(visitor, auto=True) == {"auto": True, "account": None, "scopes": None, "deny": False}
    whole = returned(visitor.ask())
    assert READONLY in whole["scope"].split()
    assert whole["state"] == "s&t=a te/ü"
    tokens = visitor.exchange(whole["code"]).get_json()
    assert visitor.profile(tokens["access_token"]).get_json()["emailAddress"] == ADDRESS
    hinted = visitor.exchange(returned(visitor.ask(login_hint=ZOE))["code"]).get_json()
    assert visitor.profile(hinted["access_token"]).get_json()["emailAddress"] == ZOE


def test_automatic_consent_can_name_the_account_and_the_scopes(world: World, visitor: Visitor) -> None:
    world.sim.add_mailbox(ZOE)
    _automate(visitor, auto=True, account=ZOE, scopes=[MODIFY])
    back = returned(visitor.ask(login_hint=ADDRESS, scope=f"openid email {MODIFY} {READONLY}"))
    assert READONLY not in back["scope"].split()
    tokens = visitor.exchange(back["code"]).get_json()
    assert visitor.userinfo(tokens["access_token"]).get_json()["email"] == ZOE
    _automate(visitor, auto=True, scopes=[])
    assert READONLY not in returned(visitor.ask())["scope"].split()


def test_automatic_denial(visitor: Visitor) -> None:
    _automate(visitor, auto=True, deny=True)
    assert returned(visitor.ask())["error"] == "access_denied"


def test_automation_outlives_a_restart_and_can_be_switched_off(world: World, visitor: Visitor) -> None:
    _automate(visitor, auto=True)
    world.sim.close()
    world.open()
    again = Visitor(world.app)
    assert "code" in returned(again.ask())
    _automate(again)
    assert again.ask().status_code == 200


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/control/consent", [], 400),
        ("/control/consent", {"auto": "yes"}, 400),
        ("/control/consent", {"auto": True, "scopes": READONLY}, 400),
        ("/control/consent", {"auto": True, "account": 7}, 400),
        ("/control/consent", {"automatic": True}, 400),
        ("/control/consent", {"auto": True, "account": "nobody@example.org"}, 404),
        ("/control/clients", {}, 400),
        ("/control/clients", {"clients": {}}, 400),
        ("/control/clients", {"clients": [{"client_id": "c"}]}, 400),
        ("/control/clients", {"clients": [{"client_id": "c", "client_secret": "s", "redirect_uris": ["x:y"]}]}, 400),
    ],
)
def test_nonsense_is_refused_in_a_sentence(visitor: Visitor, path: str, body: Any, status: int) -> None:
    answer = visitor.call("PUT", path, json=body)
    assert answer.status_code == status
    assert answer.get_json()["error"].endswith(".")

"""Connecting a mailbox at Microsoft: the same flow, with accounts of many tenants and addresses that prove nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shared.errors import ConfigurationError, ProviderRefused, ProviderUnavailable, RateLimited, ReauthRequired
from shared.ports import Query, Update
from tests.unit.oauth.consent_world import APP, ORIGIN, Browser, ConsentWorld, query_of
from tests.unit.oauth.google_double import OTHER_KEY
from tests.unit.oauth.microsoft_double import CLIENT, LOGIN, PERSONAL, TEMPLATE, WORK, object_id
from tests.unit.oauth.microsoft_world import REDIRECT, MicrosoftWorld

EMAIL = "ann@outlook.example"
OTHER_TENANT = "33333333-aaaa-4bbb-8ccc-444444444444"


@pytest.fixture
def world(tmp_path: Path) -> MicrosoftWorld:
    return MicrosoftWorld(tmp_path)


def ends(world: MicrosoftWorld, browser: Browser | None = None, **more: Any) -> Any:
    return world.walk(browser or world.browser(), email=EMAIL, **more)


def nothing_kept(world: MicrosoftWorld) -> bool:
    return world.documents("grants") == world.documents("mailboxes") == {}


# The way


def test_the_whole_way_ends_in_a_sealed_grant_and_a_mailbox_that_is_being_connected(world: MicrosoftWorld) -> None:
    end = ends(world, return_to=APP)
    assert (end.status_code, end.headers["Location"]) == (303, f"{APP}?status=connected")
    [(grant_id, grant)] = world.grants().items()
    assert grant_id == f"microsoft:{PERSONAL}.{object_id(EMAIL)}"
    assert (grant["provider"], "Mail.Read" in grant["scopes"]) == ("microsoft", True)
    assert grant["sealed"]["refresh"] is not None
    assert "canary" not in repr(world.documents("grants"))
    [mailbox] = world.mailboxes()
    assert (mailbox["id"], mailbox["grant_id"], mailbox["status"]) == ("ann:primary:MICROSOFT", grant_id, "connecting")
    assert world.documents("oauth") == {}


def test_connecting_without_a_grant_answers_a_link_to_our_page(world: MicrosoftWorld) -> None:
    answer = world.connect()
    assert answer.status_code == 409
    link = answer.json["error"]["details"]["consent_url"]
    assert link.startswith(f"{ORIGIN}/oauth/microsoft/consent?state=")
    page = world.browser().get(link)
    assert "connect a Microsoft mailbox" in page.text
    assert "Continue to Microsoft" in page.text
    assert "Read your mail and its folders" in page.text
    assert "Google" not in page.text


def test_microsoft_is_asked_for_a_lasting_grant_with_pkce_and_a_nonce(world: MicrosoftWorld) -> None:
    url = world.browser().agree(world.start(login_hint=EMAIL))
    asked = query_of(url)
    assert url.startswith(f"{LOGIN}/common/oauth2/v2.0/authorize?")
    assert len(asked.pop("nonce")) == len(asked.pop("code_challenge")) == len(asked.pop("state")) == 43
    assert asked == {
        "response_type": "code",
        "response_mode": "query",
        "client_id": CLIENT,
        "redirect_uri": REDIRECT,
        "scope": "openid email profile offline_access User.Read Mail.Read",
        "code_challenge_method": "S256",
        "prompt": "select_account",
        "login_hint": EMAIL,
    }


@pytest.mark.parametrize(
    ("scopes", "asked"),
    [
        (("Mail.ReadBasic",), "Mail.ReadBasic"),
        (("offline_access openid User.Read Mail.ReadBasic",), "Mail.ReadBasic"),
        (("https://graph.microsoft.com/Mail.Read",), "https://graph.microsoft.com/Mail.Read"),
    ],
)
def test_the_scope_of_the_mailbox_is_a_setting(tmp_path: Path, scopes: tuple[str, ...], asked: str) -> None:
    world = MicrosoftWorld(tmp_path, microsoft_scopes=scopes)
    browser = world.browser()
    url = browser.agree(world.start())
    assert query_of(url)["scope"] == f"openid email profile offline_access User.Read {asked}"
    assert browser.get(world.authorize(url, EMAIL)).status_code == 200


@pytest.mark.parametrize(
    "said",
    [
        ("Mail.Read", "User.Read", "openid", "profile", "email"),
        ("https://graph.microsoft.com/Mail.Read", "https://graph.microsoft.com/User.Read"),
        ("mail.read", "user.read"),
    ],
)
def test_forms_in_which_microsoft_names_what_was_granted(world: MicrosoftWorld, said: tuple[str, ...]) -> None:
    world.microsoft.scopes = said
    assert ends(world).status_code == 200


def test_a_grant_without_the_scope_of_the_mailbox_is_not_kept(world: MicrosoftWorld) -> None:
    world.microsoft.scopes = ("User.Read", "Mail.ReadBasic")
    assert ends(world).status_code == 403
    assert nothing_kept(world)


def test_without_a_refresh_token_it_is_asked_once_more_and_not_for_ever(world: MicrosoftWorld) -> None:
    world.microsoft.lasting = False
    end = ends(world)
    assert (end.status_code, "Microsoft gave no lasting access" in end.text) == (502, True)
    assert world.microsoft.exchanges == 2
    assert nothing_kept(world)


def test_the_form_may_lead_where_personal_accounts_sign_in(world: MicrosoftWorld) -> None:
    """Browsers hold the redirect from Microsoft's one host to its other against the page's policy."""
    policy = world.browser().get(world.start()).headers["Content-Security-Policy"]
    assert f"form-action 'self' {LOGIN} https://login.live.com;" in policy


# Whose account it is


@pytest.mark.parametrize(
    ("tenant", "admitted"),
    [
        ("common", {PERSONAL, WORK, OTHER_TENANT}),
        ("organizations", {WORK, OTHER_TENANT}),
        ("consumers", {PERSONAL}),
        (WORK, {WORK}),
        (WORK.upper(), {WORK}),
        ("contoso.onmicrosoft.com", {WORK}),
    ],
)
def test_whose_accounts_may_connect_is_a_setting(tmp_path: Path, tenant: str, admitted: set[str]) -> None:
    world = MicrosoftWorld(tmp_path, microsoft_tenant=tenant)
    one = {"consumers": PERSONAL, WORK: WORK, WORK.upper(): WORK, "contoso.onmicrosoft.com": WORK}.get(tenant)
    if one is not None:
        world.microsoft.said_issuer = TEMPLATE.replace("{tenantid}", one)
    for tid in (PERSONAL, WORK, OTHER_TENANT):
        end = world.walk(world.browser(), email=f"ann@{tid[:4]}.example", tid=tid)
        assert (end.status_code == 200) == (tid in admitted), (tenant, tid)
    assert {grant_id.split(":")[1].split(".")[0] for grant_id in world.grants()} == admitted


def test_the_same_account_is_known_whatever_it_is_called_by_now(world: MicrosoftWorld) -> None:
    browser = world.browser()
    oid = object_id(EMAIL)
    for number, email in enumerate((EMAIL, "ann.married@outlook.example", EMAIL)):
        world.microsoft.claims = {"sub": f"another-client-{number}", "oid": oid.upper()}
        assert world.walk(browser, email=email, oid=oid).status_code == 200
    assert list(world.grants()) == [f"microsoft:{PERSONAL}.{oid}"]
    [mailbox] = world.mailboxes()
    assert mailbox["epoch"] == 3


def test_one_person_in_two_tenants_is_two_accounts(world: MicrosoftWorld) -> None:
    browser = world.browser()
    for tid in (WORK, OTHER_TENANT):
        world.walk(browser, email=EMAIL, tid=tid)
    assert {mailbox["id"] for mailbox in world.mailboxes()} == {"ann:primary:MICROSOFT", "ann:m2:MICROSOFT"}


def test_mailboxes_of_both_providers_stand_side_by_side(world: MicrosoftWorld) -> None:
    browser = world.browser()
    ends(world, browser)
    world.provider = "google"  # type: ignore[misc]
    browser.get(world.google.authorize(browser.agree(world.start())))
    assert {mailbox["id"] for mailbox in world.mailboxes()} == {"ann:primary:MICROSOFT", "ann:primary:GOOGLE"}
    assert {grant_id.partition(":")[0] for grant_id in world.grants()} == {"microsoft", "google"}


def brought(world: MicrosoftWorld, address: str) -> None:
    """A mailbox that follows an address with tokens that a client brought."""
    assert world.connect(access_token="canary", refresh_token="canary").status_code == 200
    [mailbox] = world.ports.store.query(Query("mailboxes", "users/ann", limit=500))
    world.ports.store.commit([Update(mailbox.ref, {"address": address}, mailbox.version)])


@pytest.mark.parametrize(
    ("tid", "claims", "believed"),
    [
        (PERSONAL, {}, True),
        (WORK, {}, False),
        (WORK, {"email_verified": True}, False),  # no claim of Microsoft's; a tenant can be made to send anything
        (WORK, {"xms_edov": False}, False),
        (WORK, {"xms_edov": "0"}, False),
        (WORK, {"xms_edov": True}, True),
        (WORK, {"xms_edov": 1}, True),
        (WORK, {"xms_edov": "1"}, True),
    ],
)
def test_an_address_that_a_tenant_made_up_takes_over_nobodys_mailbox(
    world: MicrosoftWorld, tid: str, claims: dict[str, Any], believed: bool
) -> None:
    """An administrator can give any account any ``email``; only some tenants have proven the domain (``xms_edov``)."""
    brought(world, EMAIL)
    world.microsoft.claims = claims
    assert ends(world, tid=tid).status_code == 200
    assert {mailbox["id"] for mailbox in world.mailboxes()} == (
        {"ann:primary:MICROSOFT"} if believed else {"ann:primary:MICROSOFT", "ann:m2:MICROSOFT"}
    )


def test_an_account_without_an_address_can_be_connected(world: MicrosoftWorld) -> None:
    world.microsoft.claims = {"email": None}
    assert ends(world, tid=WORK).status_code == 200
    assert [mailbox["address"] for mailbox in world.mailboxes()] == [None]


# What is not believed

FORGED: dict[str, dict[str, Any]] = {
    "another tenant's issuer": {"claims": {"iss": TEMPLATE.replace("{tenantid}", OTHER_TENANT)}},
    "another tenant than the issuer": {"claims": {"tid": OTHER_TENANT}},
    "the template as issuer": {"claims": {"iss": TEMPLATE}},
    "an issuer of another host": {"claims": {"iss": f"https://evil.example/{WORK}/v2.0"}},
    "the issuer of the older endpoint": {"claims": {"iss": f"https://sts.windows.net/{WORK}/"}},
    "no issuer": {"claims": {"iss": None}},
    "no tenant": {"claims": {"tid": None}},
    "a tenant that is a path": {"claims": {"tid": "../../x", "iss": f"{LOGIN}/../../x/v2.0"}},
    "a tenant that is no text": {"claims": {"tid": [WORK]}},
    "no account": {"claims": {"oid": None}},
    "an account that is a path": {"claims": {"oid": "1/../../x"}},
    "an account that is no text": {"claims": {"oid": 7}},
    "another audience": {"claims": {"aud": "client-2"}},
    "another nonce": {"claims": {"nonce": "A" * 43}},
    "no nonce": {"claims": {"nonce": None}},
    "expired": {"claims": {"exp": 1}},
    "no time": {"claims": {"iat": None}},
    "wrong key": {"key": OTHER_KEY},
    "unknown key": {"kid": "k2"},
    "another algorithm": {"algorithm": "PS256"},
    "a key of another tenant": {"published": {"issuer": TEMPLATE.replace("{tenantid}", OTHER_TENANT)}},
    "a key of personal accounts": {"published": {"issuer": TEMPLATE.replace("{tenantid}", PERSONAL)}},
    "no jwt": {"token": "canary"},
    "no claims": {"token": "e30.W10.x"},
    "deep claims": {"token": "e30." + "W1tb" * 3_000 + ".x"},
}


@pytest.mark.parametrize("forgery", FORGED)
def test_an_id_token_that_is_not_right_leads_to_nothing(world: MicrosoftWorld, forgery: str) -> None:
    for name, value in FORGED[forgery].items():
        setattr(world.microsoft, name, value)
    end = ends(world, tid=WORK)
    assert (end.status_code, "Microsoft's answer could not be verified" in end.text) == (502, True)
    assert nothing_kept(world)
    assert "canary" not in end.text


@pytest.mark.parametrize(
    "published", [{}, {"issuer": TEMPLATE}, {"issuer": TEMPLATE.replace("{tenantid}", WORK)}, {"alg": "RS256"}]
)
def test_keys_that_may_sign_for_a_tenant(world: MicrosoftWorld, published: dict[str, str]) -> None:
    world.microsoft.published = published
    assert ends(world, tid=WORK).status_code == 200


@pytest.mark.parametrize(
    ("issuer", "accepted"),
    [
        (TEMPLATE.replace("{tenantid}", WORK), True),
        (TEMPLATE, True),
        (f"https://evil.example/{WORK}/v2.0", False),
        (TEMPLATE.replace("{tenantid}", "evil"), False),
        ("https://accounts.google.example", False),
    ],
)
def test_an_answer_of_another_issuer_is_not_used(world: MicrosoftWorld, issuer: str, accepted: bool) -> None:
    browser = world.browser()
    url = world.authorize(browser.agree(world.start()), EMAIL)
    end = browser.get(f"{url}&iss={issuer}")
    assert (end.status_code == 200) == accepted
    assert accepted or "This answer does not come from Microsoft" in end.text


def test_a_state_of_one_provider_is_unknown_at_the_other(world: MicrosoftWorld) -> None:
    """Otherwise a provider that is evil, or broken into, could have its own code traded where the other's is meant."""
    browser = world.browser()
    url = world.authorize(browser.agree(world.start()), EMAIL)
    mixed = browser.get(url.replace("/oauth/microsoft/", "/oauth/google/"))
    assert (mixed.status_code, "This link no longer works" in mixed.text) == (400, True)
    assert world.google.exchanges == world.microsoft.exchanges == 0
    assert browser.get(url).status_code == 200


# What Microsoft refuses


@pytest.mark.parametrize(
    ("error", "description", "status", "title"),
    [
        ("access_denied", "AADSTS65004: User declined to consent to access the app.", 403, "You have not given access"),
        ("access_denied", "The user has denied access to the scope requested.", 403, "You have not given access"),
        ("access_denied", "", 403, "You have not given access"),
        ("consent_required", "AADSTS65004: canary", 403, "You have not given access"),
        ("consent_required", "AADSTS65001: canary", 403, "An administrator has to approve this first"),
        ("access_denied", "AADSTS90094: Admin consent is required.", 403, "An administrator has to approve this first"),
        ("consent_required", "", 403, "An administrator has to approve this first"),
        ("access_denied", "AADSTS90095: canary", 403, "An administrator has to approve this first"),
        ("invalid_grant", "AADSTS50105: canary", 403, "Your organisation does not allow this"),
        ("access_denied", "AADSTS53003: canary", 403, "Your organisation does not allow this"),
        ("server_error", "AADSTS90033: canary", 503, "This cannot be finished right now"),
        ("temporarily_unavailable", "", 503, "This cannot be finished right now"),
        ("invalid_client", "AADSTS700016: canary", 502, "Microsoft did not accept our request"),
        ("unauthorized_client", "canary " * 2_000, 502, "Microsoft did not accept our request"),
        ("<b>canary</b>", "\x00\ufffd", 502, "Microsoft did not accept our request"),
    ],
)
def test_a_no_uses_the_consent_up_and_is_said_kindly(
    world: MicrosoftWorld, error: str, description: str, status: int, title: str
) -> None:
    browser = world.browser()
    url = world.microsoft.refuse(browser.agree(world.start()), error, description)
    page = browser.get(url)
    assert (page.status_code, title in page.text) == (status, True), page.text
    assert "canary" not in page.text
    assert "AADSTS" not in page.text
    assert "This link no longer works" in browser.get(url).text
    assert world.microsoft.exchanges == 0
    again = page.text.split('href="')[1].split('"')[0]
    assert browser.get(world.authorize(browser.agree(again), EMAIL)).status_code == 200


def test_a_denial_goes_back_to_the_application_and_a_lack_of_approval_is_explained(world: MicrosoftWorld) -> None:
    browser = world.browser()
    denied = world.microsoft.refuse(browser.agree(world.start(return_to=APP)), "access_denied", "AADSTS65004: x")
    assert browser.get(denied).headers["Location"] == f"{APP}?error=access_denied"
    lacking = world.microsoft.refuse(browser.agree(world.start(return_to=APP)), "access_denied", "AADSTS90094: x")
    page = browser.get(lacking)
    assert (page.status_code, f'href="{APP}?error=unapproved"' in page.text) == (403, True)


def test_what_microsoft_calls_it_is_logged_and_nothing_else_of_what_it_said(
    world: MicrosoftWorld, caplog: pytest.LogCaptureFixture
) -> None:
    browser = world.browser()
    browser.get(world.microsoft.refuse(browser.agree(world.start()), "invalid_client", "AADSTS700016: canary"))
    [record] = [record for record in caplog.records if record.getMessage() == "A consent was refused."]
    assert "'700016'" in repr(record.__dict__)
    assert "canary" not in repr(record.__dict__)


@pytest.mark.parametrize(
    ("failure", "status", "title"),
    [
        (ReauthRequired("canary"), 400, "Microsoft's answer is no longer good"),
        (ProviderUnavailable("canary"), 503, "This cannot be finished right now"),
        (RateLimited("canary", retry_after=5), 503, "This cannot be finished right now"),
        (ProviderRefused("canary"), 502, "Microsoft did not accept our request"),
        (ConfigurationError("canary"), 500, "Something went wrong on our side"),
    ],
)
def test_a_code_that_cannot_be_traded(world: MicrosoftWorld, failure: Exception, status: int, title: str) -> None:
    world.microsoft.failure = failure
    page = ends(world)
    assert (page.status_code, title in page.text) == (status, True)
    assert "canary" not in page.text
    assert nothing_kept(world)


# What is set up


@pytest.mark.parametrize("missing", ["microsoft_client_id", "microsoft_redirect_uri"])
def test_where_only_google_is_set_up_microsoft_says_what_is_missing(tmp_path: Path, missing: str) -> None:
    world = MicrosoftWorld(tmp_path, **{missing: ""})
    answer = world.call(world.oauth_app, "POST", "/oauth/microsoft/start", {}, "ann")
    assert (answer.status_code, answer.json["error"]["code"]) == (500, "misconfigured")
    assert "MICROSOFT_CLIENT_ID and MICROSOFT_REDIRECT_URI" in answer.json["error"]["message"]
    refusal = world.connect()
    assert (refusal.status_code, "consent_url" in refusal.json["error"]["details"]) == (409, False)
    assert "MICROSOFT_CLIENT_ID and MICROSOFT_REDIRECT_URI" in refusal.json["error"]["message"]
    assert world.browser().get(f"{ORIGIN}/oauth/microsoft/consent?state=x").status_code == 500
    assert world.call(world.oauth_app, "POST", "/oauth/google/start", {}, "ann").status_code == 200


def test_where_only_microsoft_is_set_up_google_says_what_is_missing(tmp_path: Path) -> None:
    world = MicrosoftWorld(tmp_path, google_client_id="")
    answer = world.call(world.oauth_app, "POST", "/oauth/google/start", {}, "ann")
    assert "GOOGLE_CLIENT_ID and GOOGLE_REDIRECT_URI" in answer.json["error"]["message"]
    assert ends(world).status_code == 200


@pytest.mark.parametrize(
    "settings",
    [
        {"microsoft_redirect_uri": "https://brain.example/oauth/google/callback"},
        {"microsoft_redirect_uri": "http://brain.example/oauth/microsoft/callback"},
        {"microsoft_scopes": ("User.Read offline_access",)},
    ],
)
def test_a_wrong_setting_is_named_in_one_sentence_at_first_use(tmp_path: Path, settings: dict[str, object]) -> None:
    world = MicrosoftWorld(tmp_path, **settings)
    answer = world.call(world.oauth_app, "POST", "/oauth/microsoft/start", {}, "ann")
    [name] = settings
    assert (answer.status_code, name.upper() in answer.json["error"]["message"]) == (500, True)


@pytest.mark.parametrize("name", ["yahoo", "Google", "microsoft.evil"])
def test_a_provider_that_nobody_knows_has_no_routes(world: ConsentWorld, name: str) -> None:
    answer = world.call(world.oauth_app, "POST", f"/oauth/{name}/start", {}, "ann")
    assert (answer.status_code, answer.json["error"]["code"]) == (404, "not_found")

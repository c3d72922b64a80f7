"""What somebody with a link, a code or a page of their own cannot do; each leaves everything as it was."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization

from shared.oauth.consents import LIFETIME
from shared.ports import Delete, Query, Update, Write
from tests.unit.oauth.consent_world import APP, Browser, ConsentWorld, form_of, query_of
from tests.unit.oauth.google_double import CLIENT, ISSUER, KEY, OTHER_KEY, READ


@pytest.fixture
def world(tmp_path: Path) -> ConsentWorld:
    return ConsentWorld(tmp_path)


def callback_of(world: ConsentWorld, browser: Browser, uid: str = "ann", **wanted: str) -> str:
    """The way up to Google's answer, which has not been delivered yet."""
    return world.google.authorize(browser.agree(world.start(uid, **wanted)), f"{uid}@gmail.example")


def nothing_happened(world: ConsentWorld) -> bool:
    return world.google.exchanges == 0 and world.documents("grants") == {} and world.documents("mailboxes") == {}


def refused(answer: Any, title: str, status: int = 400) -> bool:
    assert answer.content_type == "text/html; charset=utf-8"
    assert title in answer.text
    return bool(answer.status_code == status)


def test_a_state_works_once(world: ConsentWorld) -> None:
    browser = world.browser()
    url = callback_of(world, browser)
    assert browser.get(url).status_code == 200
    grants, mailboxes = world.grants(), world.mailboxes()
    assert refused(browser.get(url), "This link no longer works")
    assert world.google.exchanges == 1
    assert (world.grants(), world.mailboxes()) == (grants, mailboxes)


@pytest.mark.parametrize("state", ["x", "A" * 43, "A" * 42 + "=", "../../users/ann", "a" * 5_000, "%00", "é"])
def test_a_state_that_was_never_given_out_is_refused(world: ConsentWorld, state: str) -> None:
    browser = world.browser()
    callback_of(world, browser)
    assert browser.get(f"{world.origin}/oauth/google/callback?state={state}&code=4/x").status_code == 400
    assert browser.get(f"{world.origin}/oauth/google/consent?state={state}").status_code == 400
    assert nothing_happened(world)


@pytest.mark.parametrize("query", ["", "code=4/x", "state=" + "A" * 43, "state=&code=4/x&error=", "state=a&state=b"])
def test_an_answer_without_state_or_code_is_refused(world: ConsentWorld, query: str) -> None:
    answer = world.browser().get(f"{world.origin}/oauth/google/callback?{query}")
    assert refused(answer, "This link is not complete")


def test_a_stolen_callback_is_worth_nothing_without_the_cookie(world: ConsentWorld) -> None:
    victim, thief = world.browser(), world.browser()
    url = callback_of(world, victim)
    assert refused(thief.get(url), "Your browser did not send the cookie")
    thief.get(world.start("eve"))
    assert refused(thief.get(url), "This was begun in another browser")
    assert nothing_happened(world)
    assert victim.get(url).status_code == 200


def test_a_consent_that_one_browser_has_bound_is_refused_to_another(world: ConsentWorld) -> None:
    first, second, link = world.browser(), world.browser(), world.start()
    page = second.get(link)
    first.agree(link)
    assert refused(second.post(*form_of(page)), "This was begun in another browser")
    assert refused(second.get(link), "This was begun in another browser")


def test_a_consent_that_nobody_has_agreed_to_has_no_callback(world: ConsentWorld) -> None:
    browser, link = world.browser(), world.start()
    browser.get(link)
    answer = browser.get(f"{world.origin}/oauth/google/callback?state={query_of(link)['state']}&code=4/stolen")
    assert refused(answer, "This was begun in another browser")
    assert nothing_happened(world)


def test_a_link_dies_after_ten_minutes_wherever_the_person_is(world: ConsentWorld) -> None:
    browser, link = world.browser(), world.start()
    page = browser.get(link)
    url = callback_of(world, browser)
    world.clock.advance(LIFETIME)
    for answer in (browser.get(link), browser.post(*form_of(page)), browser.get(url)):
        assert refused(answer, "This link no longer works")
    assert nothing_happened(world)


def test_a_form_on_a_strangers_page_binds_no_browser(world: ConsentWorld) -> None:
    """Eve knows the state of her own link, so the state alone proves nothing about where the form was shown."""
    victim, eve, link = world.browser(), world.browser(), world.start("eve")
    action, form = form_of(eve.get(link))
    assert refused(victim.post(action, form), "Your browser did not send the cookie")
    victim.get(world.start("ann"))
    assert refused(victim.post(action, form), "This link is not complete")
    for changed in ({"form": ""}, {"form": "é"}, {"state": ""}, {"state": "A" * 43}):
        assert victim.post(action, {**form, **changed}).status_code == 400
    assert refused(victim.post(action, {}), "This link is not complete")
    assert {doc["browser"] for doc in world.documents("oauth").values()} == {None}


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_what_the_browser_says_comes_from_elsewhere_is_refused(world: ConsentWorld, site: str) -> None:
    browser = world.browser()
    action, form = form_of(browser.get(world.start()))
    assert browser.post(action, form, headers={"Sec-Fetch-Site": site}).status_code == 400
    assert browser.post(action, form, headers={"Sec-Fetch-Site": "same-origin"}).status_code == 303


def test_a_link_sent_to_a_victim_shows_the_senders_account_before_anything_happens(world: ConsentWorld) -> None:
    page = world.browser().get(world.start("eve"))
    assert "eve@example.org" in page.text
    assert "somebody sent you this link" in page.text
    assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]


def test_looking_at_a_link_ahead_of_the_person_uses_nothing_up(world: ConsentWorld) -> None:
    browser = world.browser()
    url = callback_of(world, browser)
    assert browser._open(url, "HEAD").status_code == 405
    assert browser._open(f"{world.origin}/oauth/google/signin?return_to={APP}", "HEAD").status_code == 405
    assert len(world.documents("oauth")) == 1
    assert browser.get(url).status_code == 200


def test_of_ten_callbacks_with_one_state_one_asks_google(world: ConsentWorld) -> None:
    browser = world.browser()
    url = callback_of(world, browser)
    windows = [browser.twin() for _ in range(10)]
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda window: window.get(url).status_code, windows))
    assert sorted(answers) == [200] + [400] * 9
    assert world.google.exchanges == 1
    assert len(world.grants()) == len(world.mailboxes()) == 1


def test_the_code_of_one_person_is_worth_nothing_in_the_flow_of_another(world: ConsentWorld) -> None:
    ann, eve = world.browser(), world.browser()
    anns, eves = query_of(callback_of(world, ann)), query_of(callback_of(world, eve, "eve"))
    swapped = f"{world.origin}/oauth/google/callback?state={eves['state']}&code={anns['code']}"
    assert refused(eve.get(swapped), "Google's answer is no longer good")
    assert world.documents("grants") == {}


def test_the_code_of_one_flow_is_worth_nothing_in_another_of_the_same_browser(world: ConsentWorld) -> None:
    browser = world.browser()
    first, second = query_of(callback_of(world, browser)), query_of(callback_of(world, browser))
    swapped = f"{world.origin}/oauth/google/callback?state={first['state']}&code={second['code']}"
    assert refused(browser.get(swapped), "Google's answer is no longer good")
    assert world.documents("grants") == {}


@pytest.mark.parametrize("issuer", ["https://evil.example", "evil", "accounts.google.example.evil"])
def test_an_answer_of_another_issuer_is_not_used(world: ConsentWorld, issuer: str) -> None:
    browser = world.browser()
    url = world.google.authorize(browser.agree(world.start()), iss=issuer)
    assert refused(browser.get(url), "This answer does not come from Google")
    assert nothing_happened(world)
    assert len(world.documents("oauth")) == 1


def hs256_with_the_public_key() -> str:
    public = KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    parts = ({"alg": "HS256", "kid": "k1"}, {"iss": ISSUER, "aud": CLIENT, "sub": "1", "exp": 4e9})
    text = ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)
    mac = hmac.new(public, text.encode(), hashlib.sha256).digest()
    return f"{text}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"


FORGED: dict[str, dict[str, Any]] = {
    "alg none": {"token": jwt.encode({"iss": ISSUER, "aud": CLIENT, "sub": "1", "exp": 4e9}, "", "none")},
    "the public key as a shared secret": {"token": hs256_with_the_public_key()},
    "wrong key": {"key": OTHER_KEY},
    "unknown key": {"kid": "k2"},
    "another algorithm": {"algorithm": "PS256"},
    "no jwt": {"token": "canary"},
    "empty": {"token": "..."},
    "huge": {"token": "a" * 20_000},
    "not ascii": {"token": "é.é.é"},
    "another audience": {"claims": {"aud": "client-2"}},
    "another party": {"claims": {"azp": "client-2"}},
    "several audiences and no party": {"claims": {"aud": [CLIENT, "client-2"], "azp": None}},
    "no audience": {"claims": {"aud": None}},
    "another issuer": {"claims": {"iss": "https://evil.example"}},
    "issuer over http": {"claims": {"iss": "http://accounts.google.example"}},
    "no issuer": {"claims": {"iss": None}},
    "expired": {"claims": {"exp": 1}},
    "no expiry": {"claims": {"exp": None}},
    "from the future": {"claims": {"iat": 4_000_000_000}},
    "no time": {"claims": {"iat": None}},
    "another nonce": {"claims": {"nonce": "A" * 43}},
    "no nonce": {"claims": {"nonce": None}},
    "a nonce that is no text": {"claims": {"nonce": ["x"]}},
    "no subject": {"claims": {"sub": None}},
    "a subject that is a path": {"claims": {"sub": "1/../../x"}},
    "an over-long subject": {"claims": {"sub": "1" * 256}},
}


@pytest.mark.parametrize("forgery", FORGED)
def test_an_id_token_that_is_not_right_leads_to_nothing(world: ConsentWorld, forgery: str) -> None:
    for name, value in FORGED[forgery].items():
        setattr(world.google, name, value)
    browser = world.browser()
    answer = browser.get(callback_of(world, browser))
    assert refused(answer, "Google's answer could not be verified", 502)
    assert world.documents("grants") == {}
    assert world.documents("mailboxes") == {}
    assert "canary" not in answer.text


@pytest.mark.parametrize("claims", [{"iss": "accounts.google.example"}, {"aud": [CLIENT]}, {"azp": None}])
def test_forms_of_a_right_id_token_that_google_uses(world: ConsentWorld, claims: dict[str, Any]) -> None:
    world.google.claims = claims
    browser = world.browser()
    assert browser.get(callback_of(world, browser)).status_code == 200


def test_an_unticked_box_stores_nothing_and_says_which(world: ConsentWorld) -> None:
    browser = world.browser()
    url = world.google.authorize(browser.agree(world.start(return_to=APP)), untick={READ})
    answer = browser.get(url)
    assert refused(answer, "One box was left empty", 403)
    assert "View your email messages and settings" in answer.text
    assert world.documents("grants") == {}
    assert f'href="{APP}?error=unticked"' in answer.text
    again = answer.text.split('href="')[1].split('"')[0]
    assert browser.get(world.google.authorize(browser.agree(again))).headers["Location"] == f"{APP}?status=connected"


NAMES = [
    '<script>alert("canary")</script>',
    '"><img src=x onerror=alert(1)>',
    "Ann\u202egpj.exe\u202c",
    "\x00\x1b[31mAnn\r\nSet-Cookie: x=y",
    "A" * 1_500,
    "{{7*7}} %s ${x}",
    "</bdi></dd></main><form action=https://evil.example><button>Continue</button></form>",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_hostile_name_stays_a_name(world: ConsentWorld, name: str) -> None:
    token = world.token("eve", name=name, email=f"{name}@x")
    answer = world.browser()._client.post(
        "/oauth/google/start", json={}, headers={"Authorization": f"Bearer {token}"}, base_url=world.origin
    )
    page = world.browser().get(answer.json["consent_url"])
    assert page.status_code == 200
    body = page.text.partition("</style>")[2]
    assert body.count("<form") == body.count("<button") == 1
    assert not {"<script", "<img", "\u202e", "\x1b", "\x00", "\r", "\n"} & {
        mark for mark in body if mark in "\u202e\x1b\x00\r\n"
    }
    assert "<script" not in body
    assert "<img" not in body
    assert len(page.text) < 6_000
    assert len(page.headers.getlist("Set-Cookie")) == 1


@pytest.mark.parametrize(
    "path", ["consent?state=x", "callback?state=x&code=y", "signin", "signin?return_to=https://evil.example"]
)
def test_every_page_has_a_policy_that_lets_nothing_in(world: ConsentWorld, path: str) -> None:
    answer = world.browser().get(f"{world.origin}/oauth/google/{path}")
    assert answer.status_code == 400
    headers = answer.headers
    assert headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'sha256-")
    assert "form-action 'none'" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert (headers["Cache-Control"], headers["Referrer-Policy"]) == ("no-store", "no-referrer")
    assert (headers["X-Frame-Options"], headers["X-Content-Type-Options"]) == ("DENY", "nosniff")
    assert "<script" not in answer.text
    assert "evil" not in answer.text


def test_the_form_may_lead_only_where_the_flow_does(world: ConsentWorld) -> None:
    policy = world.browser().get(world.start(return_to=APP)).headers["Content-Security-Policy"]
    assert f"form-action 'self' {ISSUER} https://app.example;" in policy


def test_the_style_that_the_policy_names_is_the_one_of_the_page(world: ConsentWorld) -> None:
    page = world.browser().get(world.start())
    style = page.text.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in page.headers["Content-Security-Policy"]


@pytest.mark.parametrize("path", ["/oauth/google/start"])
def test_a_link_is_made_for_a_token_alone(world: ConsentWorld, path: str) -> None:
    answer = world.call(world.oauth_app, "POST", path, {}, None)
    assert (answer.status_code, answer.json["error"]["code"]) == (401, "unauthorized")
    assert world.documents("oauth") == {}


def test_a_link_of_a_user_who_is_gone_leads_nowhere(world: ConsentWorld) -> None:
    browser, link = world.browser(), world.start()
    url = callback_of(world, browser)
    world.ports.store.commit([Delete("users/ann")])
    assert refused(browser.get(link), "This link no longer works")
    assert refused(browser.get(url), "This link no longer works")
    assert nothing_happened(world)


class Racing:
    """The store, where somebody else comes first just before a consent is deleted."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.first: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def commit(self, writes: list[Write]) -> Any:
        if self.first is not None and isinstance(writes[0], Delete):
            first, self.first = self.first, None
            first()
        return self._store.commit(writes)


def test_of_two_callbacks_that_both_found_the_consent_one_asks_google(tmp_path: Path) -> None:
    world = ConsentWorld(tmp_path)
    store = world.product.store = Racing(world.ports.store)  # type: ignore[assignment]
    browser = world.browser()
    url, window, answers = callback_of(world, browser), browser.twin(), []
    store.first = lambda: answers.append(window.get(url).status_code)
    answers.append(browser.get(url).status_code)
    assert answers == [200, 400]
    assert world.google.exchanges == 1


def test_an_address_that_google_does_not_vouch_for_opens_nobodys_mailbox(world: ConsentWorld) -> None:
    """Eve's account may carry Ann's address as long as nobody has checked it."""
    world.walk(world.browser())
    [mailbox] = world.ports.store.query(Query("mailboxes", "users/ann", limit=500))
    world.ports.store.commit([Update(mailbox.ref, {"address": "ann@gmail.example"}, mailbox.version)])
    world.google.claims = {"email_verified": False}
    world.walk(world.browser(), sub="666")
    assert {box["slot"]: (box["grant_id"], box["candidate"]) for box in world.mailboxes()} == {
        "primary": (mailbox.data["grant_id"], None),
        "m2": ("google:666", None),
    }


def test_a_key_that_names_no_algorithm_verifies_what_google_signs_with_and_nothing_else(world: ConsentWorld) -> None:
    [key] = world.google._certs(None)[1]["keys"]
    world.google.answers["certs"] = (200, {"keys": [{name: key[name] for name in ("kty", "n", "e", "kid")}]})
    browser = world.browser()
    assert browser.get(callback_of(world, browser)).status_code == 200
    world.google.algorithm = "PS256"
    assert browser.get(callback_of(world, browser)).status_code == 502

"""The API's routes: what each answers, and that bad input is refused by name with nothing written."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from shared.errors import Hole
from shared.events import types
from shared.http import fields
from tests.unit.http.api_world import CONSENT_URL, MAILBOX, PEM, ApiWorld, code_of

TOKENS = {"provider": "google", "access_token": "ya29.canary-a", "refresh_token": "1//canary-r", "expires_in": 3600}
POST_ROUTES = ["/mail/connect", "/mail/disconnect", "/events"]


@pytest.fixture
def api() -> ApiWorld:
    return ApiWorld()


def test_health_is_public_and_says_the_version(api: ApiWorld) -> None:
    response = api.client.get("/health")
    assert (response.status_code, response.get_json()) == (200, {"status": "ok", "version": "1.2.3"})


def test_every_route_asks_for_a_token_or_for_the_signature_of_a_link(api: ApiWorld) -> None:
    asked = 0
    for rule in api.app.url_map.iter_rules():
        for method in rule.methods or ():
            response = api.client.open(rule.rule, method=method)
            if rule.endpoint == "health":
                assert response.status_code == 200
                continue
            if rule.endpoint == "archive":
                assert response.status_code == (200 if method == "OPTIONS" else 403)
                continue
            asked += 1
            assert response.status_code == 401
            assert response.headers["WWW-Authenticate"] == "Bearer"
            assert method == "HEAD" or code_of(response) == "unauthorized"
    assert asked > 20
    assert api.nothing_written()


def test_me_creates_the_profile_once(api: ApiWorld) -> None:
    expected = {"user_id": "ann", "email": "ann@example.org", "name": "Ann", "created_at": "2026-09-21T14:13:20.000Z"}
    for _ in range(2):
        assert api.get("/me").get_json() == expected
        api.clock.time += 60
    assert len(api.store.commits) == 1


def test_connecting_with_tokens_seals_them_and_starts_the_sync(api: ApiWorld) -> None:
    response = api.post("/mail/connect", TOKENS)
    assert response.status_code == 200
    assert response.get_json() == {"message": "mail sync started", "provider": "google", "user_id": "ann"}
    assert api.accounts.calls == [("connect", "ann", "google", "google:primary")]
    assert api.grants.access_token("ann", "google:primary", pytest.fail) == "ya29.canary-a"
    assert "users/ann" in api.store.documents
    assert "canary" not in repr(api.store.documents)


def test_connecting_without_tokens_uses_the_grant_there_is(api: ApiWorld) -> None:
    api.post("/mail/connect", TOKENS)
    assert api.post("/mail/connect", {"provider": "google"}).status_code == 200
    assert api.accounts.calls[-1] == ("connect", "ann", "google", None)


def test_connecting_without_a_usable_grant_asks_for_consent(api: ApiWorld) -> None:
    response = api.post(
        "/mail/connect", {"provider": "google", "return_to": "https://app.example/x", "login_hint": "a@b"}
    )
    assert (response.status_code, code_of(response)) == (409, "consent_required")
    assert response.get_json()["error"]["details"] == {"provider": "google", "consent_url": CONSENT_URL}
    assert api.consents.calls == [("ann", "https://app.example/x", "a@b", ())]


def test_connecting_with_a_usable_grant_asks_nobody(api: ApiWorld) -> None:
    api.post("/mail/connect", TOKENS)
    assert api.post("/mail/connect", {"provider": "google", "return_to": "https://app.example/x"}).status_code == 200
    assert api.consents.calls == []


def test_connecting_with_a_usable_grant_that_lacks_something_asks_for_it_and_starts_nothing(api: ApiWorld) -> None:
    api.post("/mail/connect", TOKENS)
    before = list(api.accounts.calls)
    response = api.post("/mail/connect", {"provider": "google", "scopes": ["send"]})
    assert (response.status_code, code_of(response)) == (409, "consent_required")
    assert api.consents.calls == [("ann", None, None, ("send",))]
    assert api.accounts.calls == before


def test_tokens_that_come_with_a_demand_that_nothing_meets_are_not_kept(api: ApiWorld) -> None:
    for _ in range(3):
        response = api.post("/mail/connect", {**TOKENS, "scopes": ["send"]})
        assert (response.status_code, code_of(response)) == (409, "consent_required")
    assert not [ref for ref in api.store.documents if "/grants/" in ref]
    assert api.keys.commits == []
    assert api.accounts.calls == []


def test_where_consent_is_not_set_up_the_answer_says_what_to_set() -> None:
    api = ApiWorld(consents=False)
    response = api.post("/mail/connect", {"provider": "google"})
    assert (response.status_code, code_of(response)) == (409, "consent_required")
    assert response.get_json()["error"]["details"] == {"provider": "google"}
    for name in ("GOOGLE_CLIENT_ID", "GOOGLE_REDIRECT_URI"):
        assert name in response.get_json()["error"]["message"]
    assert api.post("/mail/connect", TOKENS).status_code == 200
    misdirected = api.post("/mail/connect", {"provider": "google", "return_to": "https://app.example/x"})
    assert (misdirected.status_code, code_of(misdirected)) == (500, "misconfigured")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"return_to": "https://evil.example/canary"}, "return_to"),
        ({"return_to": ""}, "return_to"),
        ({"return_to": 7}, "return_to"),
        ({"login_hint": "canary" * 60}, "login_hint"),
        ({"scopes": ["canary"]}, "scopes"),
        ({"scopes": ["send", "canary"]}, "scopes"),
        ({"login_hint": "a\r\nSet-Cookie: canary"}, "login_hint"),
    ],
)
def test_where_a_consent_would_lead_is_checked_before_anything_is_done(
    api: ApiWorld, body: dict[str, Any], field: str
) -> None:
    response = api.post("/mail/connect", {**TOKENS, **body})
    assert (response.status_code, code_of(response)) == (400, "invalid_request")
    assert response.get_json()["error"]["details"]["field"] == field
    assert "canary" not in response.text
    assert api.nothing_written()


@pytest.mark.parametrize(
    ("body", "expires_in"),
    [
        ({**TOKENS, "expires_in": 0}, 0),
        ({**TOKENS, "expires_in": None}, 0),
        ({"provider": "google", "access_token": "a", "refresh_token": None}, 3600),
        ({**TOKENS, "unknown": ["field"]}, 3600),
    ],
)
def test_what_may_be_left_out_of_the_tokens(api: ApiWorld, body: dict[str, Any], expires_in: int) -> None:
    assert api.post("/mail/connect", body).status_code == 200
    assert api.store.data("users/ann/grants/google:primary")["expires_at"] == api.clock.now() + expires_in


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "provider"),
        ({"provider": None}, "provider"),
        ({"provider": 7}, "provider"),
        ({"provider": ["google"]}, "provider"),
        ({**TOKENS, "access_token": ""}, "access_token"),
        ({**TOKENS, "access_token": 7}, "access_token"),
        ({**TOKENS, "access_token": None}, "access_token"),
        ({**TOKENS, "access_token": {"canary": 1}}, "access_token"),
        ({**TOKENS, "access_token": "c" * 8_193}, "access_token"),
        ({**TOKENS, "refresh_token": ""}, "refresh_token"),
        ({**TOKENS, "refresh_token": True}, "refresh_token"),
        ({**TOKENS, "refresh_token": "é" * 4_097}, "refresh_token"),
        ({**TOKENS, "expires_in": -1}, "expires_in"),
        ({**TOKENS, "expires_in": "3600"}, "expires_in"),
        ({**TOKENS, "expires_in": 1.5}, "expires_in"),
        ({**TOKENS, "expires_in": True}, "expires_in"),
        ({**TOKENS, "expires_in": 10**30}, "expires_in"),
        ({"provider": "google", "refresh_token": "1//canary-r"}, "access_token"),
        ({"provider": "google", "expires_in": 3600}, "access_token"),
    ],
)
def test_wrong_tokens_are_refused_by_field_and_never_echoed(api: ApiWorld, body: dict[str, Any], field: str) -> None:
    response = api.post("/mail/connect", body)
    assert (response.status_code, code_of(response)) == (400, "invalid_request")
    assert response.get_json()["error"]["details"]["field"] == field
    assert "canary" not in response.text
    assert api.nothing_written()


@pytest.mark.parametrize("path", ["/mail/connect", "/mail/disconnect"])
@pytest.mark.parametrize("name", ["Google", "GOOGLE", "Microsoft", "yahoo", "", "canary\x00", "x" * 1000])
def test_an_unknown_provider_is_refused(api: ApiWorld, path: str, name: str) -> None:
    response = api.post(path, {"provider": name})
    assert (response.status_code, code_of(response)) == (400, "invalid_request")
    assert response.get_json()["error"]["details"] == {
        "reason": "unknown_provider",
        "field": "provider",
        "known": ["google", "microsoft"],
    }
    assert "canary" not in response.text
    assert api.nothing_written()


@pytest.mark.parametrize("path", POST_ROUTES)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"nonsense",
        b"[]",
        b'"google"',
        b"null",
        b"\xff\xfe",
        b'{"provider": "google"',
        b'{"provider": "\xed\xa0\x80"}',
        b'{"data": {"a": NaN}}',
        b"[" * 100_000,
        b'{"type":"a.b","provider":"google","data":' + b'{"a":' * 30_000 + b"1" + b"}" * 30_001,
        b"\xef\xbb\xbf{}",
    ],
)
def test_malformed_json_is_refused(api: ApiWorld, path: str, body: bytes) -> None:
    response = api.post(path, body)
    assert (response.status_code, code_of(response)) == (400, "invalid_request")
    assert api.nothing_written()


@pytest.mark.parametrize("path", POST_ROUTES)
def test_a_body_that_is_not_said_to_be_json_is_refused(api: ApiWorld, path: str) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""):
        response = api.client.post(path, data=json.dumps(TOKENS), headers=api.headers(), content_type=kind)
        assert (response.status_code, code_of(response)) == (415, "unsupported_media_type")
    assert api.nothing_written()


@pytest.mark.parametrize("path", POST_ROUTES)
def test_a_body_over_the_limit_is_refused(api: ApiWorld, path: str) -> None:
    body = json.dumps({"type": "a.b", "data": {}, "provider": "google", "x": "y" * api.settings.max_body_bytes})
    response = api.post(path, body)
    assert (response.status_code, code_of(response)) == (413, "too_large")
    assert api.nothing_written()


def test_a_body_over_the_limit_is_refused_even_if_it_does_not_say_its_length(api: ApiWorld) -> None:
    body = json.dumps({"type": "a.b", "data": {}, "x": "y" * api.settings.max_body_bytes})
    environ = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
    response = api.post("/events", body, environ_overrides=environ)
    assert (response.status_code, code_of(response)) == (413, "too_large")
    assert api.nothing_written()
    assert api.post("/events", '{"type":"a.b","data":{}}', environ_overrides=environ).status_code == 201


def forged_with_the_public_key() -> str:
    parts = (
        {"alg": "HS256", "typ": "JWT"},
        {"iss": "https://issuer.example", "aud": "brainstem", "sub": "ann", "exp": 4e9},
    )
    text = ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)
    mac = hmac.new(PEM.encode(), text.encode(), hashlib.sha256).digest()
    return f"{text}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"


@pytest.mark.parametrize("path", POST_ROUTES)
def test_a_token_that_is_not_right_writes_nothing(api: ApiWorld, path: str) -> None:
    now = int(api.clock.now())
    unsigned = jwt.encode(
        {"iss": "https://issuer.example", "aud": "brainstem", "sub": "ann", "exp": now + 60}, "", "none"
    )
    foreign = api.token(rsa.generate_private_key(public_exponent=65537, key_size=2048))
    cases = {
        None: "missing",
        "Bearer": "missing",
        "Bearer x.y.z": "malformed",
        f"Bearer {api.token(exp=now - 31)}": "expired",
        f"Bearer {api.token(nbf=now + 31)}": "not_yet_valid",
        f"Bearer {api.token(iss='https://other.example')}": "wrong_issuer",
        f"Bearer {api.token(aud='other')}": "wrong_audience",
        f"Bearer {unsigned}": "wrong_algorithm",
        f"Bearer {forged_with_the_public_key()}": "wrong_algorithm",
        f"Bearer {foreign}": "bad_signature",
        f"Bearer {api.token(sub='')}": "no_subject",
    }
    body = {**TOKENS, "type": "a.b", "data": {}}
    for authorization, reason in cases.items():
        headers = {} if authorization is None else {"Authorization": authorization}
        response = api.client.post(path, json=body, headers=headers)
        assert (response.status_code, code_of(response)) == (401, "unauthorized")
        assert response.get_json()["error"]["details"] == {"reason": reason}
    assert api.nothing_written()


def test_disconnecting_stops_the_sync(api: ApiWorld) -> None:
    response = api.post("/mail/disconnect", {"provider": "google"})
    assert (response.status_code, response.get_json()) == (200, {"message": "mail sync stopped"})
    assert api.accounts.calls == [("disconnect", "ann", "google")]


def test_status_says_whose_it_is(api: ApiWorld) -> None:
    assert api.get("/mail/status").get_json() == {
        "user_id": "ann",
        "running_syncs": [MAILBOX],
        "mailboxes": [{"id": MAILBOX, "status": "live"}],
    }


LISTS = [("messages", {"mailbox": MAILBOX}), ("gaps", {"mailbox": MAILBOX}), ("senders", {})]


@pytest.mark.parametrize(("name", "parameters"), LISTS)
def test_a_list_is_walked_by_its_own_opaque_cursor(api: ApiWorld, name: str, parameters: dict[str, str]) -> None:
    source: Any = api.senders if name == "senders" else api.accounts
    source.answer = ([{"n": 1}], "place/1")
    first = api.get(f"/mail/{name}", **parameters).get_json()
    assert first[name] == [{"n": 1}]
    assert "place" not in first["next"]
    source.answer = ([], None)
    assert api.get(f"/mail/{name}", after=first["next"], limit="7", **parameters).get_json() == {name: [], "next": None}
    assert [call[-2:] for call in source.calls] == [(None, 100), ("place/1", 7)]


@pytest.mark.parametrize("name", ["messages", "gaps"])
@pytest.mark.parametrize(
    "mailbox",
    [
        "bob:primary:GOOGLE",
        "ann:m2:GOOGLE",
        "ann:app",
        "ann",
        "ann:",
        ":",
        "../x",
        "ann:a/b",
        "Ann:primary:GOOGLE",
        "ann:" + "x" * 5_000,
    ],
)
def test_anybody_elses_mailbox_looks_like_none(api: ApiWorld, name: str, mailbox: str) -> None:
    response = api.get(f"/mail/{name}", mailbox=mailbox)
    assert (response.status_code, code_of(response)) == (404, "not_found")
    assert response.get_json()["error"]["message"] == "There is no such mailbox."
    assert response.get_json()["error"]["details"] == {}
    assert api.accounts.calls == []


@pytest.mark.parametrize("name", ["messages", "gaps"])
def test_a_mailbox_has_to_be_named(api: ApiWorld, name: str) -> None:
    for parameters in ({}, {"mailbox": ""}):
        response = api.get(f"/mail/{name}", **parameters)
        assert (response.status_code, response.get_json()["error"]["details"]) == (400, {"field": "mailbox"})


@pytest.mark.parametrize("path", ["/events", "/mail/senders", f"/mail/messages?mailbox={MAILBOX}"])
@pytest.mark.parametrize("limit", ["0", "501", "-1", "1.5", "ten", "1e2", "٣", "9" * 5000, " 5"])
def test_a_limit_out_of_bounds_is_refused(api: ApiWorld, path: str, limit: str) -> None:
    address, _, query = path.partition("?")
    parameters = dict(part.split("=") for part in query.split("&") if part)
    response = api.get(address, limit=limit, **parameters)
    assert (response.status_code, code_of(response)) == (400, "invalid_request")
    assert response.get_json()["error"]["details"] == {"field": "limit"}


def test_a_cursor_of_another_list_or_person_or_none_at_all_is_refused(api: ApiWorld) -> None:
    api.accounts.answer = api.events.answer = ([], "place")
    cursor = api.get("/mail/messages", mailbox=MAILBOX).get_json()["next"]
    eve = {"Authorization": f"Bearer {api.token(sub='eve')}"}
    of_events = api.get("/events").get_json()["next"]
    responses = [
        api.get("/mail/gaps", mailbox=MAILBOX, after=cursor),
        api.get("/events", after=cursor),
        api.get("/events", stream="ann:app", after=of_events),
        api.client.get("/events", query_string={"after": of_events}, headers=eve),
        *(
            api.get("/events", after=text)
            for text in ("x", "canary", of_events[:-1], of_events + "A", "é", "x" * 9_000)
        ),
    ]
    for response in responses:
        assert (response.status_code, code_of(response)) == (400, "invalid_request")
        assert response.get_json()["error"]["details"] == {"field": "after"}
        assert "canary" not in response.text


def test_posting_an_event_answers_its_place_in_the_stream(api: ApiWorld) -> None:
    response = api.post("/events", {"type": "note.created", "data": {"text": "é", "n": 1}})
    assert response.status_code == 201
    assert response.get_json() == {"event_id": "e1", "stream": "ann:app", "sequence": 1}
    assert api.events.posted == [("ann", "note.created", {"text": "é", "n": 1})]


@pytest.mark.parametrize(
    "kind",
    [
        None,
        7,
        "",
        "note",
        "Note.created",
        "note.",
        ".note",
        "a..x",
        "note created",
        "1.2",
        "a.b\n",
        "é.x",
        "a." + "b" * 99,
    ],
)
def test_a_type_that_is_ill_formed_is_refused(api: ApiWorld, kind: Any) -> None:
    response = api.post("/events", {"type": kind, "data": {}})
    assert (response.status_code, code_of(response)) == (400, "invalid_request")
    assert response.get_json()["error"]["details"] == {"field": "type"}
    assert api.nothing_written()


@pytest.mark.parametrize("kind", sorted(types.RESERVED))
def test_a_client_cannot_post_what_brainstem_itself_says(api: ApiWorld, kind: str) -> None:
    response = api.post("/events", {"type": kind, "data": {}})
    assert (response.status_code, code_of(response)) == (400, "invalid_request")
    assert response.get_json()["error"]["details"] == {"reason": "reserved_type", "field": "type"}
    assert api.nothing_written()


@pytest.mark.parametrize("data", [None, [], "canary", 7, {"n": 2**63}, {"n": [-(2**63) - 1]}])
def test_data_that_is_no_storable_object_is_refused(api: ApiWorld, data: Any) -> None:
    response = api.post("/events", {"type": "a.b", "data": data})
    assert (response.status_code, code_of(response)) == (400, "invalid_request")
    assert response.get_json()["error"]["details"] == {"field": "data"}
    assert "canary" not in response.text
    assert api.nothing_written()


def nested(depth: int) -> dict[str, Any]:
    return {"a": nested(depth - 1)} if depth > 1 else {"a": 1}


def test_data_may_be_nested_sixteen_deep(api: ApiWorld) -> None:
    assert api.post("/events", {"type": "a.b", "data": nested(16)}).status_code == 201
    assert api.post("/events", {"type": "a.b", "data": nested(17)}).status_code == 400


def test_data_may_have_sixty_four_kilobytes(api: ApiWorld) -> None:
    room = fields.MAX_DATA_BYTES - len(b'{"t":""}')
    assert api.post("/events", {"type": "a.b", "data": {"t": "x" * room}}).status_code == 201
    response = api.post("/events", {"type": "a.b", "data": {"t": "x" * (room + 1)}})
    assert (response.status_code, code_of(response)) == (413, "too_large")
    assert len(api.events.posted) == 1


def test_events_are_read_by_type_stream_and_limit(api: ApiWorld) -> None:
    api.events.answer = ([{"id": "e"}], '{"ann:app":3}')
    page = api.get("/events", type="email.received", stream=MAILBOX, limit="500").get_json()
    assert page["events"] == [{"id": "e"}]
    api.get("/events", stream=MAILBOX, after=page["next"])
    api.get("/events", type="", stream="", after="", limit="")
    assert api.events.calls == [
        ("ann", "email.received", MAILBOX, None, 500),
        ("ann", None, MAILBOX, '{"ann:app":3}', 100),
        ("ann", None, None, None, 100),
    ]


@pytest.mark.parametrize("stream", ["bob:app", "bob:primary:GOOGLE", "ann", "ann:", "app", "ann:x/y", "x" * 6_000])
def test_anybody_elses_stream_looks_like_none(api: ApiWorld, stream: str) -> None:
    response = api.get("/events", stream=stream)
    assert (response.status_code, code_of(response)) == (404, "not_found")
    assert response.get_json()["error"]["message"] == "There is no such stream."
    assert api.events.calls == []


def test_expired_events_are_gone_and_the_answer_says_from_where_there_are_some(api: ApiWorld) -> None:
    api.events.failure = Hole("Events have expired.", stream="ann:app", oldest=7)
    response = api.get("/events")
    assert (response.status_code, code_of(response)) == (410, "events_expired")
    assert response.get_json()["error"]["details"] == {"stream": "ann:app", "oldest": 7}


def test_no_answer_about_mail_ever_holds_a_token(api: ApiWorld) -> None:
    api.post("/mail/connect", TOKENS)
    answers = [api.post("/mail/connect", {**TOKENS, "expires_in": -1}), api.post("/mail/connect", TOKENS)]
    answers += [
        api.get("/mail/status"),
        api.get("/mail/messages", mailbox=MAILBOX),
        api.get("/mail/gaps", mailbox=MAILBOX),
    ]
    answers += [api.get("/mail/senders"), api.post("/mail/disconnect", {"provider": "google"})]
    sealed = api.store.data("users/ann/grants/google:primary")["sealed"]
    for response in answers:
        shown = response.text + str(response.headers)
        assert "canary" not in shown
        assert sealed["access"] not in shown

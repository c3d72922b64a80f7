"""Microsoft's token endpoint by way of MSAL: what goes out, what comes back, and what each error means."""

from __future__ import annotations

import json
import threading
from typing import Any
from urllib.parse import parse_qs

import pytest

from shared.errors import (
    ConfigurationError,
    ProviderRefused,
    ProviderUnavailable,
    RateLimited,
    ReauthRequired,
)
from shared.providers.base import Tokens
from shared.providers.graph.aadsts import CONFIGURATION, REAUTH, TRANSIENT
from shared.providers.graph.tokens import AUTHORITY, TokenEndpoint
from shared.providers.http.transport import Transport
from shared.settings import Settings
from tests.unit.fakes import FakeClock
from tests.unit.providers.gmail_playback import NOW, REFRESH, SECRET, Answer, Playback, Request

LOGIN = "http://microsoft.test/"
DOCUMENT = {
    "issuer": "https://login.microsoftonline.com/{tenantid}/v2.0",
    "authorization_endpoint": f"{AUTHORITY}common/oauth2/v2.0/authorize",
    "token_endpoint": f"{AUTHORITY}common/oauth2/v2.0/token",
    "jwks_uri": f"{AUTHORITY}common/discovery/v2.0/keys",
}
GRANTED = {
    "token_type": "Bearer",
    "scope": "https://graph.microsoft.com/Mail.Read https://graph.microsoft.com/User.Read",
    "expires_in": 3599,
    "access_token": "new-access",
    "refresh_token": "new-refresh",
    "id_token": "a.b.c",
}


class Server:
    """The discovery document, and one answer of the token endpoint for every question."""

    def __init__(self, answer: Any = GRANTED, document: Any = DOCUMENT, status: int = 200) -> None:
        self.http = Playback(self.serve)
        self.answer = answer if isinstance(answer, (Answer, Exception)) else Answer(status, answer)
        self.document = document

    def serve(self, request: Request) -> Answer | Exception:
        if request.path.endswith("/.well-known/openid-configuration"):
            return self.document if isinstance(self.document, Answer) else Answer(200, self.document)
        return self.answer

    def endpoint(self, clock: FakeClock | None = None, **settings: Any) -> TokenEndpoint:
        clock = clock or FakeClock(NOW)
        chosen = {"microsoft_login_url": LOGIN, "microsoft_client_id": "client", **settings}
        transport = Transport(clock, 20.0, lambda: self.http, "Microsoft")
        return TokenEndpoint(Settings(**chosen), lambda: SECRET, transport, clock)

    @property
    def form(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(self.http.requests[-1].body).items()}


def refusal(code: int | None = None, word: str = "invalid_grant", status: int = 400, said_in: str = "codes") -> Answer:
    body: dict[str, Any] = {"error": word, "error_description": "Something canary happened."}
    if code is not None and said_in == "codes":
        body["error_codes"] = [code]
    if code is not None and said_in == "text":
        body["error_description"] = f"AADSTS{code}: Something canary happened. Trace ID: 1"
    return Answer(status, body)


def test_a_refresh_brings_the_refresh_token_that_takes_the_old_ones_place() -> None:
    server = Server()
    assert server.endpoint().refresh(REFRESH) == Tokens("new-access", NOW + 3599, "new-refresh")
    assert server.form["grant_type"] == "refresh_token"
    assert server.form["refresh_token"] == REFRESH
    assert (server.form["client_id"], server.form["client_secret"]) == ("client", SECRET)
    assert set(server.form["scope"].split()) == {"Mail.Read", "User.Read", "offline_access", "openid", "profile"}


def test_an_answer_without_a_refresh_token_leaves_the_old_one_in_use() -> None:
    answer = {name: value for name, value in GRANTED.items() if name != "refresh_token"}
    assert Server(answer).endpoint().refresh(REFRESH).refresh is None


def test_nothing_is_asked_of_another_server_than_the_one_in_the_settings() -> None:
    server = Server()
    server.endpoint().refresh(REFRESH)
    assert server.http.paths == ["GET /common/v2.0/.well-known/openid-configuration", "POST /common/oauth2/v2.0/token"]
    assert {request.url.startswith(LOGIN) for request in server.http.requests} == {True}


def test_endpoints_that_the_document_names_below_our_own_root_are_used_as_they_are() -> None:
    server = Server(document={**DOCUMENT, "token_endpoint": f"{LOGIN}there/oauth2/v2.0/token"})
    server.endpoint().refresh(REFRESH)
    assert server.http.requests[-1].url == f"{LOGIN}there/oauth2/v2.0/token"


def test_the_discovery_document_is_read_once() -> None:
    server = Server()
    endpoint = server.endpoint()
    for _ in range(3):
        endpoint.refresh(REFRESH)
    assert server.http.paths.count("GET /common/v2.0/.well-known/openid-configuration") == 1


def test_trouble_is_not_remembered_by_anything_between_us_and_the_endpoint() -> None:
    server = Server(Answer(503, {}, {"retry-after": "60"}))
    endpoint = server.endpoint()
    with pytest.raises(ProviderUnavailable) as caught:
        endpoint.refresh(REFRESH)
    assert caught.value.retry_after == 60
    server.answer = refusal(70008)
    with pytest.raises(ReauthRequired):
        endpoint.refresh(REFRESH)
    server.answer = Answer(200, GRANTED)
    assert endpoint.refresh(REFRESH).access == "new-access"


def test_nobody_is_given_what_was_traded_for_another() -> None:
    server = Server()
    endpoint = server.endpoint()

    def serve(request: Request) -> Answer:
        if request.method == "GET":
            return Answer(200, DOCUMENT)
        return Answer(200, {**GRANTED, "access_token": f"access of {parse_qs(request.body)['refresh_token'][0]}"})

    server.http._script = serve
    found: dict[int, str] = {}
    threads = [
        threading.Thread(target=lambda n=n: found.update({n: endpoint.refresh(f"refresh {n}").access}))
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert found == {n: f"access of refresh {n}" for n in range(8)}


@pytest.mark.parametrize("said_in", ["codes", "text"])
@pytest.mark.parametrize(
    ("codes", "expected"),
    [(REAUTH, ReauthRequired), (CONFIGURATION, ConfigurationError), (TRANSIENT, ProviderUnavailable)],
)
def test_numbers_say_what_is_wrong_whatever_the_word(codes: dict[str, str], expected: type, said_in: str) -> None:
    for code in codes:
        for word in ("invalid_grant", "invalid_client", "some_error"):
            answer = refusal(int(code.removeprefix("AADSTS")), word, said_in=said_in)
            with pytest.raises(expected) as caught:
                Server(answer).endpoint().refresh(REFRESH)
            assert type(caught.value) is expected
            assert f"(400 {code})" in caught.value.message


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (refusal(), ReauthRequired),
        (refusal(99999999), ReauthRequired),
        (refusal(word="interaction_required"), ReauthRequired),
        (refusal(word="consent_required"), ReauthRequired),
        (refusal(word="unauthorized_client"), ConfigurationError),
        (refusal(word="invalid_client", status=401), ConfigurationError),
        (refusal(word="temporarily_unavailable"), ProviderUnavailable),
        (refusal(word="invalid_request"), ProviderRefused),
        (refusal(70008, status=500), ProviderUnavailable),
        (refusal(70008, status=429), RateLimited),
        (Answer(404, b"<html>"), ProviderRefused),
        (Answer(302, b"", {"location": "http://elsewhere.test"}), ProviderUnavailable),
        (Answer(200, b"<html>"), ProviderUnavailable),
        (Answer(200, []), ProviderUnavailable),
        (Answer(200, {"access_token": ["no", "string"]}), ProviderUnavailable),
        (TimeoutError("canary"), ProviderUnavailable),
    ],
)
def test_words_and_statuses_say_the_rest(answer: Any, expected: type) -> None:
    with pytest.raises(expected) as caught:
        Server(answer).endpoint().refresh(REFRESH)
    assert type(caught.value) is expected
    shown = repr(caught.value) + caught.value.message
    assert "canary" not in shown


def test_without_a_refresh_token_nothing_is_asked() -> None:
    server = Server()
    with pytest.raises(ReauthRequired):
        server.endpoint().refresh("")
    assert server.http.requests == []


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("3599", 3599), (None, 300), ("soon", 300), (10**9, 86_400), (-5, 300), (float("inf"), 86_400)],
)
def test_a_lifetime_is_believed_within_reason(said: Any, seconds: float) -> None:
    text = json.dumps({**GRANTED, "expires_in": said}).encode()
    assert Server(Answer(200, text)).endpoint().refresh(REFRESH).expires_at == NOW + seconds


def test_hostile_strings_do_not_get_in_msals_way() -> None:
    answer = {**GRANTED, "access_token": "\ud800", "scope": "\ud800 \0", "refresh_token": 7, "token_type": {}}
    tokens = Server(Answer(200, json.dumps(answer).encode())).endpoint().refresh(REFRESH)
    assert tokens.refresh is None


def test_a_code_is_exchanged_with_its_verifier_and_without_asking_for_scopes() -> None:
    server = Server()
    granted = server.endpoint().exchange("code", "verifier", "https://us.test/back")
    assert (granted.access, granted.refresh, granted.expires_at) == ("new-access", "new-refresh", NOW + 3599)
    assert (granted.scopes, granted.id_token) == (tuple(str(GRANTED["scope"]).split()), "a.b.c")
    assert server.form["code"] == "code"
    assert server.form["code_verifier"] == "verifier"
    assert server.form["redirect_uri"] == "https://us.test/back"
    assert "scope" not in server.form


def test_an_exchange_without_an_id_token_is_no_exchange() -> None:
    with pytest.raises(ProviderUnavailable, match="without an id_token"):
        Server({"access_token": "a"}).endpoint().exchange("code", "verifier", "https://us.test/back")


@pytest.mark.parametrize("code", [54005, 70008, 70000])
def test_a_code_that_is_not_good_is_said_to_be_none(code: int) -> None:
    with pytest.raises(ReauthRequired, match="does not accept the code"):
        Server(refusal(code)).endpoint().exchange("code", "verifier", "https://us.test/back")


def test_the_endpoints_for_browsers_and_keys_are_below_our_root() -> None:
    server = Server({"keys": []})
    endpoint = server.endpoint()
    assert endpoint.issuer() == DOCUMENT["issuer"]
    assert endpoint.authorization_endpoint() == f"{LOGIN}common/oauth2/v2.0/authorize"
    assert endpoint.keys() == {"keys": []}
    assert server.http.requests[-1].url == f"{LOGIN}common/discovery/v2.0/keys"


def test_keys_that_are_not_served_are_an_outage() -> None:
    with pytest.raises(ProviderUnavailable, match="did not serve its keys"):
        Server(Answer(404, {})).endpoint().keys()


@pytest.mark.parametrize("url", [None, 7, "", "nonsense", "javascript:alert(1)", "http://x/;y", "http://a b/"])
def test_a_document_with_unusable_endpoints_is_refused_and_not_kept(url: Any) -> None:
    server = Server(document={**DOCUMENT, "token_endpoint": url})
    endpoint = server.endpoint()
    with pytest.raises(ProviderRefused, match="token_endpoint"):
        endpoint.refresh(REFRESH)
    server.document = DOCUMENT
    assert endpoint.refresh(REFRESH).access == "new-access"


def test_a_document_that_came_encrypted_names_no_endpoint_that_is_not() -> None:
    server = Server(document={**DOCUMENT, "token_endpoint": "http://plain.test/token"})
    with pytest.raises(ProviderRefused, match="token_endpoint"):
        server.endpoint(microsoft_login_url="https://login.test").refresh(REFRESH)


@pytest.mark.parametrize("issuer", [None, "", "x y", "a" * 501, ["https://i"]])
def test_a_document_without_a_usable_issuer_is_refused(issuer: Any) -> None:
    with pytest.raises(ProviderRefused, match="issuer"):
        Server(document={**DOCUMENT, "issuer": issuer}).endpoint().issuer()


def test_a_tenant_that_microsoft_does_not_know_is_our_mistake() -> None:
    with pytest.raises(ConfigurationError, match="MICROSOFT_TENANT"):
        Server(document=refusal(90002, "invalid_tenant")).endpoint().issuer()


@pytest.mark.parametrize("tenant", ["", "../x", "a/b", "common?", "a" * 300])
def test_a_tenant_that_can_be_none_is_refused_at_once(tenant: str) -> None:
    with pytest.raises(ConfigurationError, match="MICROSOFT_TENANT"):
        Server().endpoint(microsoft_tenant=tenant)


def test_a_root_that_is_none_is_refused_at_once() -> None:
    with pytest.raises(ConfigurationError, match="MICROSOFT_LOGIN_URL"):
        Server().endpoint(microsoft_login_url="login.microsoftonline.com")

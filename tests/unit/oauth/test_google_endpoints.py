"""Google's endpoints: a code is traded once and with its verifier, and only where a sound discovery document says."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from shared.errors import ConfigurationError, ProviderRefused, ProviderUnavailable, RateLimited, ReauthRequired
from shared.oauth.provider import Granted
from shared.providers.gmail.tokens import TokenEndpoint
from shared.providers.http.transport import Transport
from shared.providers.http.wire import Reply
from tests.unit.fakes import FakeClock

NOW = 1_790_000_000.0
DISCOVERY = {
    "issuer": "https://id.test",
    "authorization_endpoint": "https://id.test/auth",
    "token_endpoint": "https://id.test/token",
    "jwks_uri": "https://id.test/certs",
}
GRANTED = {"access_token": "a", "refresh_token": "r", "expires_in": 3599, "scope": "openid x y", "id_token": "i.d.t"}


class Server:
    """Answers by path; an exception is raised."""

    def __init__(self, **answers: Any) -> None:
        self.answers = {
            "configuration": (200, DISCOVERY),
            "token": (200, GRANTED),
            "certs": (200, {"keys": []}),
            **answers,
        }
        self.asked: list[tuple[str, str, Any]] = []

    def request(self, uri: str, method: str = "GET", body: Any = None, headers: Any = None) -> tuple[Reply, bytes]:
        path = urlsplit(uri).path.rpartition("/")[2]
        self.asked.append((method, path, body))
        answer = self.answers[path]
        if isinstance(answer, Exception):
            raise answer
        return Reply(answer[0]), json.dumps(answer[1]).encode()


def endpoint(server: Server, url: str = "https://id.test/configuration") -> TokenEndpoint:
    clock = FakeClock(NOW)
    return TokenEndpoint(
        url, "client", lambda: "secret-canary", Transport(clock, 20.0, lambda: server, "Google"), clock
    )


def exchange(server: Server) -> Granted:
    return endpoint(server).exchange("4/canary", "verifier-canary", "https://brain.example/cb")


def test_a_code_is_traded_with_its_verifier() -> None:
    server = Server()
    assert exchange(server) == Granted("a", "r", NOW + 3599, ("openid", "x", "y"), "i.d.t")
    assert [asked[:2] for asked in server.asked] == [("GET", "configuration"), ("POST", "token")]
    assert parse_qs(server.asked[1][2]) == {
        "grant_type": ["authorization_code"],
        "code": ["4/canary"],
        "code_verifier": ["verifier-canary"],
        "redirect_uri": ["https://brain.example/cb"],
        "client_id": ["client"],
        "client_secret": ["secret-canary"],
    }


def test_what_may_be_missing_from_the_answer() -> None:
    granted = exchange(Server(token=(200, {"access_token": "a", "id_token": "i.d.t"})))
    assert granted == Granted("a", None, NOW + 300, None, "i.d.t")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ((400, {"error": "invalid_grant", "error_description": "canary"}), ReauthRequired),
        ((401, {"error": "invalid_client"}), ConfigurationError),
        ((400, {"error": "redirect_uri_mismatch"}), ConfigurationError),
        ((400, {"error": "invalid_request"}), ProviderRefused),
        ((429, {}), RateLimited),
        ((500, {"error": "invalid_grant"}), ProviderUnavailable),
        ((302, {}), ProviderUnavailable),
        ((200, {"access_token": "a"}), ProviderUnavailable),
        ((200, {"access_token": 7, "id_token": "i"}), ProviderUnavailable),
        ((200, []), ProviderUnavailable),
        (TimeoutError("canary"), ProviderUnavailable),
    ],
)
def test_a_code_that_is_not_traded_is_tried_once(answer: Any, expected: type[Exception]) -> None:
    server = Server(token=answer)
    with pytest.raises(expected) as caught:
        exchange(server)
    assert "canary" not in repr(caught.value)
    assert caught.value.__cause__ is None
    assert [path for _, path, _ in server.asked].count("token") == 1


def test_nothing_that_is_secret_is_shown_of_what_was_granted() -> None:
    shown = repr(Granted("access-canary", "refresh-canary", NOW, ("x",), "id-canary"))
    assert "canary" not in shown


def test_everything_is_read_from_one_discovery_document() -> None:
    server = Server()
    google = endpoint(server)
    assert google.issuer() == "https://id.test"
    assert google.authorization_endpoint() == "https://id.test/auth"
    assert google.keys() == {"keys": []}
    assert [path for _, path, _ in server.asked] == ["configuration", "certs"]


@pytest.mark.parametrize("name", ["issuer", "authorization_endpoint", "jwks_uri"])
@pytest.mark.parametrize(
    "value",
    [
        None, "", "http://id.test/plain", "javascript:alert(1)", "//id.test", 7, "https://id.test/a\r\nSet-Cookie: x=y",
        "https://id.test; script-src *", "https://user:pw@id.test/", "https://ïd.test/", "https://[",
    ],
)  # fmt: skip
def test_an_endpoint_that_is_not_sound_is_not_used(name: str, value: Any) -> None:
    google = endpoint(Server(configuration=(200, {**DISCOVERY, name: value})))
    use = {"issuer": google.issuer, "authorization_endpoint": google.authorization_endpoint, "jwks_uri": google.keys}
    with pytest.raises(ProviderRefused, match="GOOGLE_OIDC_DISCOVERY_URL"):
        use[name]()


@pytest.mark.parametrize("name", ["issuer", "authorization_endpoint", "jwks_uri", "token_endpoint"])
def test_a_document_that_lacks_what_is_needed_now_is_read_again(name: str) -> None:
    """Kept for ever it would stop every consent until the process ends."""
    server = Server(configuration=(200, {key: value for key, value in DISCOVERY.items() if key != name}))
    google = endpoint(server)
    use = {
        "issuer": google.issuer,
        "authorization_endpoint": google.authorization_endpoint,
        "jwks_uri": google.keys,
        "token_endpoint": lambda: google.exchange("4/c", "v", "https://us.test/callback"),
    }
    others = [use[other] for other in use if other != name]
    for other in others:
        other()
    with pytest.raises(ProviderRefused, match="GOOGLE_OIDC_DISCOVERY_URL"):
        use[name]()
    server.answers["configuration"] = (200, DISCOVERY)
    use[name]()
    for other in others:
        other()
    assert [path for _, path, _ in server.asked].count("configuration") == 3


@pytest.mark.parametrize("answer", [(503, {}), (404, {}), (200, []), ConnectionResetError("canary")])
def test_keys_that_cannot_be_read(answer: Any) -> None:
    with pytest.raises(ProviderUnavailable) as caught:
        endpoint(Server(certs=answer)).keys()
    assert "canary" not in repr(caught.value)

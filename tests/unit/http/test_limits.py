"""Rate limits as callers meet them: whom a request counts for, under which class, and what the answer says."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask import Flask, g
from werkzeug.test import TestResponse

from shared.errors import ConfigurationError, Retry
from shared.http.app import create_app, json_answer
from shared.http.limits import class_of, limit_requests, limits_of, remote_address
from shared.identity.allowance import Allowances
from shared.identity.tokens import Principal
from shared.settings import Settings
from tests.unit.fakes import FakeClock, FakeStore
from tests.unit.http.api_world import code_of
from tests.unit.http.every_app import EveryApp

ANN, ADMIN, SERVICE = Principal("ann"), Principal("eve", role="admin"), Principal("robot", role="service")


class Served:
    """An app with a few routes, open or for people, below limits."""

    def __init__(self, *limits: str, proxies: int = 0) -> None:
        self.clock, self.store = FakeClock(), FakeStore()
        settings = Settings(version="1.2.3", rate_limits=limits, trusted_proxies=proxies)
        self.principal: Principal | None = None
        self.app = create_app(settings, self.clock)
        self.app.before_request(self._authenticate)
        for rule in ("/me", "/health", "/api/auth/sign-in/email", "/oauth/x/signin", "/me/exports/x/archive"):
            self.app.add_url_rule(rule, rule, lambda: json_answer({}), methods=["GET", "POST"])
        limit_requests(self.app, Allowances(self.store, self.clock), settings, self.clock)

    def _authenticate(self) -> None:
        if self.principal is not None:
            g.principal = self.principal

    def get(self, path: str, **headers: str) -> TestResponse:
        return self.app.test_client().get(path, headers={k.replace("_", "-"): v for k, v in headers.items()})

    def statuses(self, path: str, count: int, **headers: str) -> list[int]:
        return [self.get(path, **headers).status_code for _ in range(count)]


def test_every_limited_answer_says_the_limit_what_is_left_and_when_all_is_back() -> None:
    served = Served("read=60")
    served.principal = ANN
    headers = [served.get("/me").headers for _ in range(3)]
    assert [one["RateLimit-Limit"] for one in headers] == ["60"] * 3
    assert [one["RateLimit-Policy"] for one in headers] == ["60;w=60"] * 3
    assert [one["RateLimit-Remaining"] for one in headers] == ["59", "58", "57"]
    assert [one["RateLimit-Reset"] for one in headers] == ["1", "2", "3"]


def test_over_the_limit_the_answer_is_429_and_says_when_to_come_back() -> None:
    served = Served("read=60")
    served.principal = ANN
    assert served.statuses("/me", 64) == [200] * 63 + [429]
    refused = served.get("/me")
    assert (refused.status_code, code_of(refused)) == (429, "too_many_requests")
    assert (refused.headers["Retry-After"], refused.headers["RateLimit-Reset"]) == ("3", "3")
    assert refused.headers["RateLimit-Remaining"] == "0"
    served.clock.time += 3
    assert served.get("/me").status_code == 200


def test_errors_of_a_route_carry_the_headers_too() -> None:
    served = Served("write=60")
    served.principal = ANN
    served.app.add_url_rule("/broken", "broken", lambda: 1 / 0, methods=["POST"])
    assert served.app.test_client().post("/broken").headers["RateLimit-Remaining"] == "59"


def test_a_person_is_counted_by_their_token_wherever_they_are() -> None:
    served = Served("read=1", proxies=1)
    served.principal = ANN
    assert [served.get("/me", X_Forwarded_For=f"192.0.2.{number}").status_code for number in range(3)] == [
        200,
        200,
        429,
    ]
    served.principal = Principal("bob")
    assert served.get("/me", X_Forwarded_For="192.0.2.9").status_code == 200


def test_who_has_no_token_is_counted_by_address() -> None:
    served = Served("auth=2", proxies=1)
    assert served.statuses("/api/auth/sign-in/email", 3, X_Forwarded_For="192.0.2.1") == [200, 200, 429]
    assert served.statuses("/api/auth/sign-in/email", 1, X_Forwarded_For="192.0.2.2") == [200]


@pytest.mark.parametrize(
    ("proxies", "shape"), [(1, "{spoofed}, 192.0.2.1"), (2, "{spoofed}, 192.0.2.1, 203.0.113.7"), (0, "{spoofed}")]
)
def test_a_header_that_the_client_makes_up_does_not_make_it_somebody_else(proxies: int, shape: str) -> None:
    served = Served("auth=2", proxies=proxies)
    spoofs = ["198.51.100.1", "198.51.100.2, 10.0.0.1", "", "x" * 5_000, ",,,,", "192.0.2.77"]
    statuses = [
        served.get("/api/auth/sign-in/email", X_Forwarded_For=shape.format(spoofed=spoof)).status_code
        for spoof in spoofs
    ]
    assert statuses == [200, 200, 429, 429, 429, 429]


@pytest.mark.parametrize(
    ("proxies", "header", "address"),
    [
        (0, "192.0.2.1", "127.0.0.1"),
        (1, None, "127.0.0.1"),
        (1, "", "127.0.0.1"),
        (1, "192.0.2.1", "192.0.2.1"),
        (1, "192.0.2.9,192.0.2.1", "192.0.2.1"),
        (2, "192.0.2.9, 192.0.2.1, 203.0.113.7", "192.0.2.1"),
        (2, "192.0.2.1, 203.0.113.7", "192.0.2.1"),
        (2, "203.0.113.7", "127.0.0.1"),
        (1, "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        (1, "2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        (1, "::ffff:192.0.2.1", "192.0.2.1"),
        (1, "192.0.2.1:8080", "unknown"),
        (1, "nonsense", "unknown"),
        (1, "192.0.2.1, ", "127.0.0.1"),
    ],
)
def test_the_address_is_what_our_own_proxies_say(proxies: int, header: str | None, address: str) -> None:
    headers = {} if header is None else {"X-Forwarded-For": header}
    with Flask("x").test_request_context("/", headers=headers, environ_base={"REMOTE_ADDR": "127.0.0.1"}):
        assert remote_address(proxies) == address


def test_all_addresses_of_an_ipv6_network_are_one() -> None:
    served = Served("auth=2", proxies=1)
    addresses = [f"2001:db8:0:1:{number:x}::1" for number in range(1, 40)]
    statuses = [served.get("/api/auth/sign-in/email", X_Forwarded_For=one).status_code for one in addresses]
    assert statuses == [200, 200, *[429] * 37]


@pytest.mark.parametrize(
    ("rule", "method", "principal", "kind"),
    [
        ("/me", "GET", ANN, "read"),
        ("/events", "HEAD", ANN, "read"),
        ("/events", "POST", ANN, "write"),
        ("/me", "DELETE", ANN, "write"),
        ("/me", "GET", ADMIN, "read"),
        ("/me", "GET", SERVICE, "service"),
        ("/api/auth/accounts/<provider>/token", "GET", ANN, "token"),
        ("/api/auth/accounts/<any(google, microsoft):provider>/token", "GET", SERVICE, "service"),
        ("/api/auth/sign-in/email", "POST", None, "auth"),
        ("/api/auth/sign-up/email", "POST", None, "auth"),
        ("/api/v1/auth/login", "POST", None, "auth"),
        ("/api/v1/auth/refresh", "POST", None, "open"),
        ("/api/auth/jwks", "GET", None, "open"),
        ("/oauth/<any(google, microsoft):provider>/signin", "GET", None, "page"),
        ("/oauth/<any(google, microsoft):provider>/consent", "POST", None, "page"),
        ("/oauth/<any(google, microsoft):provider>/callback", "GET", None, "page"),
        ("/oauth/<any(google, microsoft):provider>/identity", "POST", None, "open"),
        ("/oauth/<any(google, microsoft):provider>/start", "POST", ANN, "write"),
        ("/me/exports/<export_id>/archive", "GET", None, "download"),
        ("/something/new", "GET", None, "open"),
    ],
)
def test_the_class_of_a_request_follows_from_its_route(
    rule: str, method: str, principal: Principal | None, kind: str
) -> None:
    assert class_of(rule, method, principal) == kind


def test_health_is_never_refused() -> None:
    served = Served(*(f"{name}=1" for name in limits_of(())))
    assert served.statuses("/health", 50) == [200] * 50
    assert "RateLimit-Limit" not in served.get("/health").headers


def test_where_the_store_is_away_people_are_served_and_nobody_signs_in() -> None:
    served = Served("read=1", "auth=1")
    served.store.read_faults = [Retry()] * 100
    refused = served.get("/api/auth/sign-in/email")
    assert (refused.status_code, code_of(refused), refused.headers["Retry-After"]) == (503, "unavailable", "5")
    served.principal = ANN
    assert served.statuses("/me", 10) == [200] * 10


def test_a_page_that_is_asked_for_too_often_is_refused_by_a_page() -> None:
    served = Served("page=1")
    refused = [served.get("/oauth/x/signin") for _ in range(3)][-1]
    assert (refused.status_code, refused.mimetype) == (429, "text/html")
    assert "Too much at once" in refused.text
    assert int(refused.headers["Retry-After"]) == 60
    assert refused.headers["RateLimit-Remaining"] == "0"


def test_what_is_not_named_keeps_its_default() -> None:
    limits = limits_of(("auth=5", "page=0"))
    assert limits["page"] is None
    assert (limits["auth"].per_minute, limits["auth"].strict) == (5, True)  # type: ignore[union-attr]
    assert (limits["read"].per_minute, limits["read"].strict) == (1_200, False)  # type: ignore[union-attr]


def test_a_single_0_switches_all_limits_off() -> None:
    assert set(limits_of(("0",)).values()) == {None}
    assert Settings.from_env({"RATE_LIMITS": "0"}).rate_limits == ("0",)
    served = Served("0")
    assert served.statuses("/api/auth/sign-in/email", 100) == [200] * 100
    assert served.store.reads == []


@pytest.mark.parametrize("setting", ["read", "read=", "read=-1", "read=1.5", "reed=5", "=5", "read=99999999999", "1"])
def test_a_limit_that_cannot_be_read_is_said_by_name(setting: str) -> None:
    with pytest.raises(ConfigurationError, match="RATE_LIMITS"):
        limits_of((setting,))


def test_two_instances_of_the_api_share_what_a_person_may_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    apps = [EveryApp(tmp_path, monkeypatch, rate_limits=("write=20",)) for _ in range(2)]
    served = 0
    for number in range(60):
        every = apps[number % 2]
        body = {"type": "note.written", "data": {}}
        response = every.apps["api"].test_client().post("/events", json=body, headers=every.bearer())
        served += response.status_code == 201
    assert served == 22

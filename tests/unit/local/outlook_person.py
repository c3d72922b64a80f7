"""The identity side and the subscriptions of a simulated Microsoft alone, and a client that sends people to it."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from flask import Flask
from werkzeug.test import Client, TestResponse

from infra.local.microsoft.identity import Identity
from infra.local.microsoft.state import State
from tests.unit.local.inprocess import FakeClock
from tests.unit.local.person import BACK, CHALLENGE, VERIFIER, Form, returned

LOGIN = "https://login.microsoftonline.com"
ROOT = "http://login.test/microsoft"
WORK = "ann.lee@contoso.example"
PERSONAL = "bob@outlook.example"
SCOPES = "openid profile email offline_access User.Read Mail.Read"


@dataclass
class Login:
    """An identity platform with a work account and a personal one, mounted below ``/microsoft``."""

    path: Path
    clock: FakeClock = field(default_factory=FakeClock)
    client_id: str = "client-1"
    counted: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.open()
        with self.state.transaction() as db:
            db.executemany("INSERT INTO mailboxes (address) VALUES (?)", [(WORK,), (PERSONAL,)])
        self.handed = {
            WORK: self.identity.accounts.add(WORK),
            PERSONAL: self.identity.accounts.add(PERSONAL, "personal"),
        }

    def open(self) -> None:
        self.state = State(self.path)
        self.identity = Identity(self.state, self.clock, 7, 3600.0)
        app = Flask("microsoft-login")
        app.testing = True
        self.identity.add_routes(app, self.counted.append)
        self.http = Client(app)

    def call(self, method: str, path: str, **more: Any) -> TestResponse:
        return self.http.open(path, method=method, base_url=ROOT, **more)

    def ask(self, tenant: str = "common", **more: Any) -> TestResponse:
        """Open the authorization endpoint; None leaves a parameter out."""
        query = {
            "client_id": self.client_id, "redirect_uri": BACK, "response_type": "code", "scope": SCOPES,
            "state": "s&t=a te/ü", "code_challenge": CHALLENGE, "code_challenge_method": "S256", "nonce": "n-1",
            "login_hint": WORK,
        } | more  # fmt: skip
        asked = {name: value for name, value in query.items() if value is not None}
        return self.call("GET", f"/{tenant}/oauth2/v2.0/authorize", query_string=asked)

    def form(self, tenant: str = "common", **more: Any) -> Form:
        answer = self.ask(tenant, **more)
        assert answer.status_code == 200, answer.text
        return Form(answer.text)

    def submit(self, form: Form, decision: str = "allow", **changed: Any) -> TestResponse:
        path = urlsplit(form.action).path.removeprefix("/microsoft")
        return self.call(form.method.upper(), path, data=form.filled_in(decision, changed))

    def consent(self, tenant: str = "common", **more: Any) -> dict[str, str]:
        return returned(self.submit(self.form(tenant, **more)))

    def token(self, tenant: str = "common", **data: Any) -> TestResponse:
        form = {"client_id": self.client_id, "client_secret": "secret"} | data
        asked = {name: value for name, value in form.items() if value is not None}
        return self.call("POST", f"/{tenant}/oauth2/v2.0/token", data=asked)

    def exchange(self, code: str, tenant: str = "common", **more: Any) -> TestResponse:
        data = {
            "grant_type": "authorization_code", "code": code, "redirect_uri": BACK, "code_verifier": VERIFIER,
        } | more  # fmt: skip
        return self.token(tenant, **data)

    def refresh(self, refresh_token: str, tenant: str = "common", **more: Any) -> TestResponse:
        return self.token(tenant, grant_type="refresh_token", refresh_token=refresh_token, **more)

    def connect(self, tenant: str = "common", **more: Any) -> dict[str, Any]:
        """The whole way to tokens."""
        answer = self.exchange(self.consent(tenant, **more)["code"], tenant)
        assert answer.status_code == 200, answer.text
        tokens: dict[str, Any] = answer.get_json()
        return tokens


class MsalHttp:
    """The ``http_client`` of MSAL that reaches the simulator in place of Microsoft."""

    def __init__(self, login: Login) -> None:
        self._login = login
        self.urls: list[str] = []

    def get(self, url: str, params: Any = None, headers: Any = None, **_: Any) -> _Heard:
        return self._call("GET", url, query_string=params, headers=headers)

    def post(self, url: str, params: Any = None, data: Any = None, headers: Any = None, **_: Any) -> _Heard:
        return self._call("POST", url, query_string=params, data=data, headers=headers)

    def close(self) -> None:
        pass

    def _call(self, method: str, url: str, **more: Any) -> _Heard:
        self.urls.append(url)
        assert url.startswith(f"{LOGIN}/"), url
        answer = self._login.call(method, url.removeprefix(LOGIN), **more)
        return _Heard(answer.status_code, answer.text, dict(answer.headers))


@dataclass(frozen=True)
class _Heard:
    status_code: int
    text: str
    headers: Mapping[str, str]

    def raise_for_status(self) -> None:
        assert self.status_code < 400, self.text


def decoded(part: str) -> bytes:
    """Base64url without its padding."""
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))

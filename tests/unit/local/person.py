"""A client that sends people to the simulator's consent page, and the person who fills the form in there."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qs, urlsplit

from flask import Flask
from werkzeug.test import Client, TestResponse

READONLY = "https://www.googleapis.com/auth/gmail.readonly"
MODIFY = "https://www.googleapis.com/auth/gmail.modify"
BACK = "https://app.example/oauth/callback?provider=google"
VERIFIER = "v" * 50
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
ROOT = "http://accounts.test/google"


class Form(HTMLParser):
    """A page's form as a browser reads it; text and tags are kept to look for what should not be there."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.action = self.method = ""
        self.fields: list[tuple[str, str]] = []
        self.radios: list[str] = []
        self.boxes: list[str] = []
        self.buttons: list[tuple[str, str]] = []
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = {name: value or "" for name, value in attrs}
        self.tags.append(tag)
        self.attributes |= set(said)
        if tag == "form":
            self.action, self.method = said["action"], said["method"]
        elif tag == "button":
            self.buttons.append((said["name"], said["value"]))
        elif tag == "input":
            kind, entry = said["type"], (said["name"], said["value"])
            if kind == "radio":
                self.radios.append(said["value"])
            if kind == "checkbox":
                self.boxes.append(said["value"])
            if kind == "hidden" or "checked" in said:
                self.fields.append(entry)

    def handle_data(self, data: str) -> None:
        self.text += data

    def filled_in(self, decision: str, changed: dict[str, Any]) -> dict[str, Any]:
        """What a browser posts: the form as it stands, but for the changed fields."""
        fields: dict[str, Any] = {}
        for name, value in self.fields:
            fields.setdefault(name, []).append(value)
        return fields | changed | {"decision": decision}


@dataclass
class Visitor:
    """Drives the identity side over HTTP, mounted below ``/google``."""

    app: Flask
    client_id: str = "client-1"

    def __post_init__(self) -> None:
        self.http = Client(self.app)

    def call(self, method: str, path: str, **more: Any) -> TestResponse:
        return self.http.open(path, method=method, base_url=ROOT, **more)

    def ask(self, **more: Any) -> TestResponse:
        """Open the authorization endpoint; None leaves a parameter out."""
        query = {
            "client_id": self.client_id, "redirect_uri": BACK, "response_type": "code", "access_type": "offline",
            "scope": f"openid email profile {READONLY}", "state": "s&t=a te/ü", "code_challenge": CHALLENGE,
            "code_challenge_method": "S256", "nonce": "n-1",
        } | more  # fmt: skip
        return self.call("GET", "/o/oauth2/v2/auth", query_string={k: v for k, v in query.items() if v is not None})

    def form(self, **more: Any) -> Form:
        answer = self.ask(**more)
        assert answer.status_code == 200, answer.text
        return Form(answer.text)

    def submit(self, form: Form, decision: str = "allow", **changed: Any) -> TestResponse:
        """Submit a form as it stands, but for the changed fields."""
        path = urlsplit(form.action).path.removeprefix("/google")
        return self.call(form.method.upper(), path, data=form.filled_in(decision, changed))

    def consent(self, decision: str = "allow", changed: dict[str, Any] | None = None, **more: Any) -> dict[str, str]:
        """Ask and answer; the parameters with which the person returns."""
        return returned(self.submit(self.form(**more), decision, **(changed or {})))

    def exchange(self, code: str, /, **more: Any) -> TestResponse:
        data = {
            "grant_type": "authorization_code", "code": code, "redirect_uri": BACK, "client_id": self.client_id,
            "client_secret": "secret", "code_verifier": VERIFIER,
        } | more  # fmt: skip
        return self.call("POST", "/token", data={k: v for k, v in data.items() if v is not None})

    def connect(self, **more: Any) -> dict[str, Any]:
        """The whole way to tokens."""
        answer = self.exchange(self.consent(**more)["code"])
        assert answer.status_code == 200, answer.text
        tokens: dict[str, Any] = answer.get_json()
        return tokens

    def refresh(self, refresh_token: str, **more: Any) -> TestResponse:
        data = {"grant_type": "refresh_token", "refresh_token": refresh_token, "client_id": self.client_id} | more
        return self.call("POST", "/token", data=data)

    def userinfo(self, access_token: str) -> TestResponse:
        return self.call("GET", "/v1/userinfo", headers={"Authorization": f"Bearer {access_token}"})

    def profile(self, access_token: str) -> TestResponse:
        headers = {"Authorization": f"Bearer {access_token}"}
        return self.call("GET", "/gmail/v1/users/me/profile", headers=headers)


def returned(answer: TestResponse) -> dict[str, str]:
    """The parameters of a redirect to the client."""
    assert answer.status_code in (302, 303), answer.text
    parts = urlsplit(answer.headers["Location"])
    assert f"{parts.scheme}://{parts.netloc}{parts.path}" == BACK.partition("?")[0]
    return {name: values[0] for name, values in parse_qs(parts.query, strict_parsing=True).items()}

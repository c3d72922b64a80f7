"""The functions ``api`` and ``oauth`` on embedded adapters, Google in memory, and browsers with cookies of their own."""

from __future__ import annotations

import html
import re
import sqlite3
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import orjson
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from flask import Request
from werkzeug.test import Client, TestResponse
from werkzeug.wrappers import Response

from shared.adapters.embedded.clock import VirtualClock
from shared.ports import Query
from shared.sets import embedded
from shared.settings import Settings
from shared.wiring import Brainstem
from tests.unit.oauth.google_double import CLIENT, CLIENT_SECRET, ISSUER, GoogleDouble

ORIGIN = "https://brain.example"
REDIRECT = f"{ORIGIN}/oauth/google/callback"
APP = "https://app.example/done"


class Browser:
    """One person's browser; it follows no redirect by itself."""

    def __init__(self, world: ConsentWorld) -> None:
        self._world = world
        self._client = Client(world.oauth_app, Response)
        self.origin = world.origin

    def get(self, url: str, **more: Any) -> TestResponse:
        return self._open(url, "GET", **more)

    def post(self, url: str, form: dict[str, str], **more: Any) -> TestResponse:
        return self._open(url, "POST", data=form, **more)

    def _open(self, url: str, method: str, **more: Any) -> TestResponse:
        parts = urlsplit(url)
        return self._client.open(parts.path, method=method, query_string=parts.query, base_url=self.origin, **more)

    def twin(self) -> Browser:
        """Another window of the same browser, which can be used at the same time."""
        twin = Browser(self._world)
        name = "__Host-brainstem_oauth" if self.origin.startswith("https") else "brainstem_oauth"
        twin._client.set_cookie(name, self.cookie(), domain=urlsplit(self.origin).hostname or "")
        return twin

    def agree(self, link: str) -> str:
        """Open our page and press its button; answers where at Google that leads."""
        page = self.get(link)
        assert page.status_code == 200, page.text
        action, form = form_of(page)
        sent = self.post(action, form)
        assert sent.status_code == 303, sent.text
        return sent.headers["Location"]

    def cookie(self) -> str:
        found = self._client.get_cookie("__Host-brainstem_oauth", "brain.example") or self._client.get_cookie(
            "brainstem_oauth", urlsplit(self.origin).hostname or ""
        )
        assert found is not None
        return found.value


class ConsentWorld:
    """The product where consent is set up; ``settings`` change it."""

    provider = "google"

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.clock = VirtualClock()
        self.google = GoogleDouble(self.clock)
        self._key = ec.generate_private_key(ec.SECP256R1())
        public = self._key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        values = {
            "data_dir": str(folder / "data"),
            "jwt_issuer": "https://issuer.test",
            "jwt_public_key": public.decode(),
            "google_oidc_discovery_url": f"{ISSUER}/.well-known/openid-configuration",
            "google_client_id": CLIENT,
            "google_client_secret": CLIENT_SECRET,
            "google_redirect_uri": REDIRECT,
            "oauth_return_urls": ("https://app.example/done", "http://localhost:3000"),
            **settings,
        }
        self.settings = Settings(**values)
        self.origin = self.settings.google_redirect_uri.partition("/oauth")[0]
        self.ports = embedded(self.settings, self.clock, synchronous="OFF")
        self.product = Brainstem(self.settings, self.ports, lambda: self.google)
        self._database = sqlite3.connect(folder / "data" / "brainstem.sqlite")

    def oauth_app(self, environ: dict[str, Any], start_response: Any) -> Any:
        return self.product.oauth(Request(environ))(environ, start_response)

    def api_app(self, environ: dict[str, Any], start_response: Any) -> Any:
        return self.product.api(Request(environ))(environ, start_response)

    def browser(self) -> Browser:
        return Browser(self)

    def token(self, uid: str = "ann", **claims: Any) -> str:
        about = {
            "iss": "https://issuer.test",
            "aud": "brainstem",
            "sub": uid,
            "email": f"{uid}@example.org",
            "name": uid.title(),
        }
        return jwt.encode({**about, "exp": self.clock.now() + 10**6, **claims}, self._key, "ES256")

    def call(self, app: Any, method: str, path: str, body: Any, uid: str | None) -> TestResponse:
        headers = {} if uid is None else {"Authorization": f"Bearer {self.token(uid)}"}
        return Client(app, Response).open(path, method=method, json=body, headers=headers, base_url=self.origin)

    def start(self, uid: str = "ann", **wanted: str) -> str:
        """A fresh link for a user."""
        response = self.call(self.oauth_app, "POST", f"/oauth/{self.provider}/start", wanted, uid)
        assert response.status_code == 200, response.text
        return str(response.json["consent_url"])

    def connect(self, uid: str = "ann", **wanted: str) -> TestResponse:
        return self.call(self.api_app, "POST", "/mail/connect", {"provider": self.provider, **wanted}, uid)

    def walk(self, browser: Browser, uid: str = "ann", email: str = "ann@gmail.example", **more: Any) -> TestResponse:
        """The whole way from a link to the end, through a second round if there is one."""
        wanted = {name: more.pop(name) for name in ("return_to", "login_hint") if name in more}
        url = browser.agree(self.start(uid, **wanted))
        response = browser.get(self.authorize(url, email, **more))
        again = response.headers.get("Location", "")
        if again.partition("?")[0] == url.partition("?")[0]:
            response = browser.get(self.authorize(again, email, **more))
        return response

    def authorize(self, url: str, email: str, **more: Any) -> str:
        """The person at the provider's pages agrees; answers the callback's URL."""
        return self.google.authorize(url, email, **more)

    def documents(self, group: str) -> dict[str, dict[str, Any]]:
        rows = self._database.execute(
            "SELECT parent, key, data FROM doc WHERE grp = ? ORDER BY key", (group,)
        ).fetchall()
        return {f"{parent}/{key}" if group != "oauth" else key: orjson.loads(data) for parent, key, data in rows}

    def grants(self, uid: str = "ann") -> dict[str, dict[str, Any]]:
        return {
            ref.rpartition("/")[2]: data for ref, data in self.documents("grants").items() if f"users/{uid}/" in ref
        }

    def mailboxes(self, uid: str = "ann") -> list[dict[str, Any]]:
        found = self.ports.store.query(Query("mailboxes", f"users/{uid}", limit=500))
        return [doc.data for doc in found]


def form_of(page: TestResponse) -> tuple[str, dict[str, str]]:
    """The action and the fields of a page's form."""
    action = re.search(r'<form method="post" action="([^"]*)"', page.text)
    assert action, page.text
    fields = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', page.text)
    return html.unescape(action[1]), {name: html.unescape(value) for name, value in fields}


def query_of(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query, strict_parsing=True).items()}

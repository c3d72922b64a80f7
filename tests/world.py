"""The whole product in one process under a virtual clock: real functions, real Gmail adapter, simulated Google, no socket.

A seed decides every order. What the laptop does with threads and HTTP, this does by hand: deliver what is due, one thing at
a time, then let time pass.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import flask
import httplib2
import jwt
import orjson
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from werkzeug.test import Client, EnvironBuilder

from infra.local.generator import generate, traffic
from infra.local.google.app import create_app
from infra.local.google.simulator import GoogleSimulator
from shared.adapters.embedded.clock import VirtualClock
from shared.adapters.embedded.subscriptions import Subscription
from shared.ports import BusMessage
from shared.providers.gmail.provider import GmailProvider
from shared.settings import Settings
from shared.wiring import Brainstem, Ports, embedded

UID = "user_abc123"
MAILBOX = f"{UID}:primary:GOOGLE"
ADDRESS = "ann@example.org"
TOPIC = "projects/local/topics/gmail"


class InProcess:
    """An HTTP client for the Gmail adapter whose server is a WSGI application."""

    def __init__(self, app: flask.Flask) -> None:
        self._client = Client(app)

    def request(
        self, uri: str, method: str = "GET", body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[httplib2.Response, bytes]:
        parts = urlsplit(uri)
        answer = self._client.open(
            parts.path, method=method, query_string=parts.query, data=body, headers=dict(headers or {}), buffered=True
        )
        fields = {name.lower(): value for name, value in answer.headers.items()} | {"status": str(answer.status_code)}
        return httplib2.Response(fields), answer.get_data()


class World:
    """One user with one simulated Gmail account; time passes only in ``run``."""

    def __init__(self, folder: Path, seed: int = 0, **settings: Any) -> None:
        self.clock = VirtualClock(seed=seed)
        self.random = random.Random(seed)
        key = ec.generate_private_key(ec.SECP256R1())
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self.settings = Settings(
            data_dir=str(folder / "data"),
            jwt_issuer="https://issuer.test",
            jwt_public_key=public.decode(),
            gmail_api_url="http://google.test/",
            google_oidc_discovery_url="http://google.test/.well-known/openid-configuration",
            google_client_id="client",
            google_client_secret="secret",
            gmail_topic=TOPIC,
            **settings,
        )
        self._tick_at = (self.clock.now() // self.settings.tick_seconds + 1) * self.settings.tick_seconds
        self.ports: Ports = embedded(self.settings, self.clock, synchronous="OFF")
        self.database = sqlite3.connect(folder / "data" / "brainstem.sqlite")
        self.google = GoogleSimulator(folder / "google.sqlite", self.clock, self._publish, seed)
        google = create_app(self.google)
        self._control = Client(google)
        provider = GmailProvider(
            self.settings, self.clock, lambda: self.settings.google_client_secret, lambda: InProcess(google)
        )
        self.product = Brainstem(self.settings, self.ports, {"GOOGLE": provider})
        claims = {"iss": "https://issuer.test", "aud": "brainstem", "sub": UID, "exp": self.clock.now() + 10**9}
        self.token = jwt.encode(claims, key, algorithm="ES256")
        bus: Any = self.ports.bus
        bus.subscribe(Subscription("gmail", "gmail", "/gmail_push"))
        bus.subscribe(Subscription("senders", "segments", "/senders"))
        bus.subscribe(Subscription("outside", "events", "/outside"))
        self.received: list[dict[str, Any]] = []

    def call(self, function: str, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """One HTTP call of a function."""
        builder = EnvironBuilder(
            path=path.partition("?")[0],
            query_string=path.partition("?")[2],
            method=method,
            data=body if isinstance(body, bytes) else orjson.dumps(body) if body is not None else None,
            headers={"content-type": "application/json", **headers},
        )
        answer = getattr(self.product, function)(flask.Request(builder.get_environ()))
        return answer.status_code, orjson.loads(answer.get_data())

    def api(self, method: str, path: str, body: Any = None) -> Any:
        """One call of the API as the user; the answer of a success."""
        status, answer = self.call("api", method, path, body, Authorization=f"Bearer {self.token}")
        assert status < 300, (status, answer)
        return answer

    def all(self, path: str, name: str, **parameters: str) -> list[dict[str, Any]]:
        """A whole list of the API, page by page."""
        found: list[dict[str, Any]] = []
        after: str | None = None
        while True:
            query = urlencode({**parameters, **({"after": after} if after else {})})
            answer = self.api("GET", f"{path}?{query}")
            found += answer[name]
            if answer["next"] is None or (name == "events" and not answer[name]):
                return found
            after = answer["next"]

    def events(self, stream: str = MAILBOX) -> list[dict[str, Any]]:
        """A whole stream."""
        return self.all("/events", "events", stream=stream)

    def connect(self, mails: int = 0) -> None:
        """Give the account so many old mails and connect it."""
        tokens = self.google.add_mailbox(ADDRESS)
        if mails:
            plans = generate(self.random.randint(0, 10**6), mails, ADDRESS, self.clock.now() - 60)
            self.google.add_mails(ADDRESS, list(plans), silent=True)
        self.api("POST", "/mail/connect", {"provider": "google", **{k: tokens[k] for k in _TOKENS}})

    def traffic(self, count: int, seconds: float) -> None:
        """Let so many changes happen while time passes."""
        for operation in traffic(self.random.randint(0, 10**6), count):
            alive = self.google.truth(ADDRESS)["mails"]
            endpoint, body = operation.request(ADDRESS, self.clock.now(), alive)
            answer = self._control.post(f"/control/mailboxes/{ADDRESS}/{endpoint}", json=body)
            assert answer.status_code == 200, answer.get_data()
            self.run(seconds / count)

    def grants(self) -> dict[str, dict[str, Any]]:
        """The user's grants as they are stored, by id."""
        rows = self.database.execute("SELECT key, data FROM doc WHERE grp = 'grants'").fetchall()
        return {key: orjson.loads(data) for key, data in rows}

    def run(self, seconds: float) -> None:
        """Let virtual time pass, doing whatever falls due; the scheduler ticks as configured."""
        end = self.clock.now() + seconds
        while True:
            self._deliver_all()
            now = self.clock.now()
            moments = [self.ports.tasks.next_due(), self.ports.bus.next_due(), self.google.pump(), self._tick_at]  # type: ignore[attr-defined]
            following = max(min(moment for moment in moments if moment is not None), now)
            if following > end:
                self.clock.advance_to(end)
                return
            self.clock.advance_to(following)
            if following == self._tick_at:
                self._tick_at += self.settings.tick_seconds
                assert self.call("tick", "POST", "/")[0] == 200

    def _deliver_all(self, limit: int = 20_000) -> None:
        tasks: Any = self.ports.tasks
        bus: Any = self.ports.bus
        for _ in range(limit):
            self.google.pump()
            work = [(tasks, one) for one in tasks.claim(100)] + [(bus, one) for one in bus.claim(100)]
            if not work:
                return
            self.random.shuffle(work)
            for source, delivery in work:
                source.settle(delivery, self._deliver(delivery))
        raise AssertionError("It does not come to rest.")

    def _deliver(self, delivery: Any) -> int:
        if delivery.target == "/outside":
            self.received.append(orjson.loads(delivery.body)["message"])
            return 200
        function, _, rest = delivery.target.strip("/").partition("/")
        return self.call(function, "POST", f"/{rest}", delivery.body, **delivery.headers)[0]

    def _publish(self, topic: str, data: bytes) -> None:
        self.ports.bus.publish(topic, [BusMessage(data)])


_TOKENS = ("access_token", "refresh_token", "expires_in")

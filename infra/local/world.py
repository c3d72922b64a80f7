"""The whole product in one process under a virtual clock: real functions, real adapters, simulated providers, no socket.

A seed decides every order. What the laptop does with threads and HTTP, this does by hand: deliver what is due, then let time
pass. A delivery that sleeps lets others go on meanwhile.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import flask
import jwt
import orjson
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from werkzeug.test import Client, EnvironBuilder

from infra.local.browser import Browser
from infra.local.client import AnswerError, JsonClient
from infra.local.crew import CrewClock
from infra.local.google.app import create_app
from infra.local.google.simulator import GoogleSimulator
from infra.local.microsoft import app as microsoft
from infra.local.microsoft.notifications import Heard
from infra.local.microsoft.simulator import MicrosoftSimulator
from infra.local.subscriber import delivery_of
from infra.local.verify_delivery import Delivery
from shared.adapters.embedded.subscriptions import Subscription
from shared.ports import BusMessage
from shared.sets import Ports, embedded
from shared.settings import Settings
from shared.wiring import Brainstem, Handler

UID = "user_abc123"
MAILBOX = f"{UID}:primary:GOOGLE"
OUTLOOK = f"{UID}:primary:MICROSOFT"
ADDRESS = "ann@example.org"
TOPIC = "projects/local/topics/gmail"
GOOGLE = "http://google.test"
MICROSOFT = "http://microsoft.test"
HOME = "http://localhost"
MOST_AT_ONCE = 20_000

_ISSUER = "https://issuer.test"
_WEBHOOK = "/graph_push"
_HEARD_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class Served:
    """The head of an answer, as the adapters read it."""

    status: int
    headers: Mapping[str, str]

    def get(self, name: str, default: str = "", /) -> str:
        """A header by its lower-case name."""
        return self.headers.get(name, default)


class InProcess:
    """An HTTP client for the provider adapters whose server is a WSGI application."""

    def __init__(self, app: flask.Flask) -> None:
        self._client = Client(app, use_cookies=False)

    def request(
        self, uri: str, method: str = "GET", body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[Served, bytes]:
        """Make one request; what breaks the connection is raised as the server raised it."""
        parts = urlsplit(uri)
        answer = self._client.open(
            parts.path,
            base_url=f"{parts.scheme}://{parts.netloc}",
            method=method,
            query_string=parts.query,
            data=body,
            headers=dict(headers or {}),
            buffered=True,
        )
        fields = {name.lower(): value for name, value in answer.headers.items()}
        return Served(answer.status_code, fields), answer.get_data()


def settings_in(folder: Path, **settings: Any) -> Settings:
    """The settings of functions that work in a folder and reach nothing but a Google and a Microsoft of their own process."""
    public = (
        _key()
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )
    chosen: dict[str, Any] = {
        "data_dir": str(folder / "data"),
        "jwt_issuer": _ISSUER,
        "jwt_public_key": public,
        "auth_issuer": HOME,
        "gmail_api_url": f"{GOOGLE}/",
        "google_oidc_discovery_url": f"{GOOGLE}/.well-known/openid-configuration",
        "google_client_id": "client",
        "google_client_secret": "secret",
        "google_redirect_uri": f"{HOME}/oauth/google/callback",
        "gmail_topic": TOPIC,
        "gmail_quota": "none",
        "graph_api_url": f"{MICROSOFT}/v1.0/",
        "microsoft_login_url": f"{MICROSOFT}/",
        "microsoft_client_id": "client",
        "microsoft_client_secret": "secret",
        "microsoft_redirect_uri": f"{HOME}/oauth/microsoft/callback",
        "graph_notification_url": f"{HOME}{_WEBHOOK}",
        "rate_limits": ("read=0", "page=0"),  # a verdict reads everything, and a town consents, in no time at all
        "trusted_proxies": 0,
    }
    return Settings(**(chosen | settings))


def token_for(uid: str, now: float) -> str:
    """An access token of a user that outlasts any run."""
    claims = {"iss": _ISSUER, "aud": "brainstem", "sub": uid, "exp": now + 10**9}
    return jwt.encode(claims, _key(), algorithm="ES256")


def ask(
    function: Handler, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
) -> tuple[int, Any]:
    """One HTTP call of a function: the status and the JSON of its answer."""
    fields: dict[str, str] = {"content-type": "application/json", **(headers or {})}
    builder = EnvironBuilder(
        path=path.partition("?")[0],
        query_string=path.partition("?")[2],
        method=method,
        data=body if isinstance(body, bytes) else orjson.dumps(body) if body is not None else None,
        headers=list(fields.items()),
    )
    answer = function(flask.Request(builder.get_environ()))
    return answer.status_code, orjson.loads(answer.get_data())


@cache
def _key() -> ec.EllipticCurvePrivateKey:
    """The issuer's key, one for all worlds of a process; what it signs is nowhere in what a seed decides."""
    return ec.generate_private_key(ec.SECP256R1())


class World:
    """One user with a simulated Gmail account, an Outlook account or both; time passes only in ``run``."""

    def __init__(self, folder: Path, seed: int = 0, **settings: Any) -> None:
        """``settings`` are those of ``Settings``; without GMAIL_QUOTA there is none to keep to."""
        self._folder, self._seed = folder, seed
        self.clock = CrewClock(seed=seed)
        self.random = random.Random(seed)  # noqa: S311 - a world that repeats itself
        self.settings = settings_in(folder, **settings)
        self._tick_at = (self.clock.now() // self.settings.tick_seconds + 1) * self.settings.tick_seconds
        self.ports: Ports = embedded(self.settings, self.clock, synchronous="OFF")
        self.google = GoogleSimulator(folder / "google.sqlite", self.clock, self._publish, seed)
        self.website = create_app(self.google)
        self.product = self.brainstem(self.ports)
        self.token = token_for(UID, self.clock.now())
        bus: Any = self.ports.bus
        bus.subscribe(Subscription("gmail", "gmail", "/gmail_push"))
        bus.subscribe(Subscription("senders", "segments", "/senders"))
        bus.subscribe(Subscription("outside", "events", "/outside"))
        self.received: list[Delivery] = []

    @cached_property
    def outlook(self) -> MicrosoftSimulator:
        """Microsoft, with our webhook where it can reach it; made when it is first asked for."""
        return MicrosoftSimulator(self._folder / "microsoft.sqlite", self.clock, self._seed, notify=self._notified)

    @cached_property
    def outlook_website(self) -> flask.Flask:
        """What Microsoft serves."""
        return microsoft.create_app(self.outlook)

    def brainstem(self, ports: Ports) -> Brainstem:
        """The functions on some ports, with this world's providers."""
        google, outlook = (lambda: InProcess(self.website)), (lambda: InProcess(self.outlook_website))
        return Brainstem(self.settings, ports, google, outlook)

    def call(self, function: str, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """One HTTP call of a function."""
        return ask(getattr(self.product, function), method, path, body, headers)

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

    def run(self, seconds: float) -> None:
        """Let virtual time pass, doing whatever falls due; the scheduler ticks as configured."""
        end = self.clock.now() + seconds
        while True:
            self._deliver_all()
            now = self.clock.now()
            moments = [
                self.ports.tasks.next_due(),  # type: ignore[attr-defined]
                self.ports.bus.next_due(),  # type: ignore[attr-defined]
                self._pump(),
                self.clock.crew.next_due(),
                self._tick_at,
            ]
            following = max(min(moment for moment in moments if moment is not None), now)
            if following > end:
                self.clock.advance_to(end)
                return
            self.clock.advance_to(following)
            if self._tick_at <= following:
                self._tick_at += self.settings.tick_seconds
                assert self.call("tick", "POST", "/")[0] == 200

    def browser(self) -> Browser:
        """A browser that reaches this world's providers and this world's functions, and nothing else."""
        return Browser(
            {f"{GOOGLE}/": self.website, f"{MICROSOFT}/": self.outlook_website, f"{HOME}/": self._front}
        )  # fmt: skip

    def close(self) -> None:
        """Close the files."""
        self.clock.crew.dismiss()
        self.google.close()
        if "outlook" in vars(self):
            self.outlook.close()

    def _front(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """The URL map: consent pages at ``oauth``, all else at ``api``."""
        function = "oauth" if environ["PATH_INFO"].startswith("/oauth/") else "api"
        answer: Iterable[bytes] = getattr(self.product, function)(flask.Request(environ))(environ, start_response)
        return answer

    def _deliver_all(self) -> None:
        tasks: Any = self.ports.tasks
        bus: Any = self.ports.bus
        crew = self.clock.crew
        for _ in range(MOST_AT_ONCE):
            self._pump()
            while crew.wake():
                pass
            work = [(tasks, one) for one in tasks.claim(100)] + [(bus, one) for one in bus.claim(100)]
            if not work:
                return
            self.random.shuffle(work)
            for source, delivery in work:
                crew.start(partial(self._handle, source, delivery))
        raise AssertionError("It does not come to rest.")

    def _handle(self, source: Any, delivery: Any) -> None:
        source.settle(delivery, self._deliver(delivery))

    def _deliver(self, delivery: Any) -> int:
        if delivery.target == "/outside":
            self.received.append(delivery_of(self.clock.now(), delivery.body))
            return 200
        function, _, rest = delivery.target.strip("/").partition("/")
        return self.call(function, "POST", f"/{rest}", delivery.body, **delivery.headers)[0]

    def _pump(self) -> float | None:
        """Let the providers push what is due; answer when the next push is."""
        moments = [self.google.pump(), self.outlook.pump() if "outlook" in vars(self) else None]
        return min((moment for moment in moments if moment is not None), default=None)

    def _notified(self, url: str, body: bytes, headers: Mapping[str, str], query: Mapping[str, str]) -> Heard:
        """What our webhook answers to a POST of Microsoft's."""
        builder = EnvironBuilder(
            path=urlsplit(url).path, method="POST", query_string=dict(query), data=body, headers=list(headers.items())
        )
        answer = self.product.graph_push(flask.Request(builder.get_environ()))
        return Heard(answer.status_code, _HEARD_SECONDS, answer.get_data(as_text=True), answer.headers["Content-Type"])

    def _publish(self, topic: str, data: bytes) -> None:
        self.ports.bus.publish(topic, [BusMessage(data)])


class WorldClient(JsonClient):
    """The API of a world, as the local commands ask a server."""

    def __init__(self, world: World) -> None:
        super().__init__(HOME)
        self._world = world

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None) -> Any:
        authorization = f"Bearer {self._world.token}"
        status, answer = self._world.call("api", method, path, body, Authorization=authorization)
        if status >= 400:
            raise AnswerError(status, answer["error"]["code"], answer["error"]["message"], answer["error"]["details"])
        return answer

"""From a doorbell's POST to the event at a subscriber of the bus: our share, warm, over real HTTP between real processes.

The functions run in a child process as in ``make demo``, on durable files; the simulated Google (no latency) and the
subscriber are here. Rings of one mailbox within 5 s share a look, and a settle look follows 3 to 5 s later, so each
sample has a mailbox of its own, of a user of its own, which is rung once. Google's own pushes go nowhere: the POST that
is measured is made here, in the form of Pub/Sub's, once the mail can be queried.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infra.local.browser import Browser
from infra.local.child import Child
from infra.local.client import JsonClient
from infra.local.connecting import connect_through
from infra.local.environment import AUDIENCE, local_environment
from infra.local.google.app import create_app
from infra.local.google.simulator import GoogleSimulator
from infra.local.tokens import development_token, invoker_secret
from infra.local.web import WebServer
from shared.adapters.embedded.clock import SystemClock
from tests.bench.figures import DOORBELL_P95_MS, Figure, Spread, percentile

LATENCY = "doorbell to event, warm, embedded, isolated, milliseconds"
SAMPLES = 60
WARM_UPS = 6
PATIENCE = 30.0
QUIET = 1.0
"""Seconds without an event after which the connected mailboxes have come to rest."""

PAUSE = 0.02


@dataclass(slots=True)
class Arrivals:
    """The subscriber: when the first event of each type came of each stream."""

    seen: dict[tuple[str, str], float] = field(default_factory=dict)
    latest: float = 0.0
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Take one push."""
        at = time.perf_counter()
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        attributes = json.loads(body)["message"]["attributes"]
        with self._changed:
            self.latest = at
            self.seen.setdefault((attributes["ce-source"], attributes["ce-type"]), at)
            self._changed.notify_all()
        start_response("204 No Content", [])
        return []

    def wait(self, stream: str, type_: str) -> float:
        """When it came; waits for it. Raises ``TimeoutError``."""
        with self._changed:
            if not self._changed.wait_for(lambda: (stream, type_) in self.seen, PATIENCE):
                raise TimeoutError(f"No {type_} came within {PATIENCE:.0f} s.")
            return self.seen[stream, type_]


def measure(folder: Path, advance: Callable[[str], None]) -> list[Figure]:
    """Connect the mailboxes, ring each once; ``advance`` hears what is being done."""
    with ExitStack() as stack:
        data = folder / "data"
        data.mkdir(mode=0o700)
        simulator = GoogleSimulator(folder / "google.sqlite", SystemClock(), lambda _topic, _data: None)
        stack.callback(simulator.close)
        arrivals = Arrivals()
        google = WebServer(create_app(simulator), 0, threads=16)
        subscriber = WebServer(arrivals, 0, threads=8)
        for server in (google, subscriber):
            server.start()
            stack.callback(server.stop)
        child = Child(
            data,
            lambda home: {**local_environment(data, home, google.url), "LOG_LEVEL": "WARNING", "RATE_LIMITS": "page=0"},
        )
        stack.callback(child.kill)
        child.start()
        child.wait_until_healthy()
        invoker = JsonClient(child.url, invoker_secret(data))
        stack.callback(invoker.close)
        invoker.put(
            "/v1/projects/local/subscriptions/bench",
            {
                "topic": "projects/local/topics/events",
                "pushConfig": {"pushEndpoint": f"{subscriber.url}/"},
                "enableMessageOrdering": True,
            },
        )
        numbers = range(SAMPLES + WARM_UPS)
        for number in numbers:
            advance(f"connecting mailbox {number + 1} of {len(numbers)}")
            _connect(simulator, child.url, data, number)
        for number in numbers:
            arrivals.wait(_stream(number), "sync.completed")
        while time.perf_counter() - arrivals.latest < QUIET:
            time.sleep(0.1)
        advance(f"ringing {len(numbers)} mailboxes")
        samples = [_sample(simulator, invoker, arrivals, number) for number in numbers][WARM_UPS:]
        child.stop()
    return _figures(samples)


def _connect(simulator: GoogleSimulator, url: str, data: Path, number: int) -> None:
    simulator.add_mailbox(_address(number))
    client = JsonClient(url, development_token(data, AUDIENCE, user=_user(number)))
    browser = Browser()
    connect_through("google", client, browser, _address(number))
    browser.close()
    client.close()


def _sample(simulator: GoogleSimulator, invoker: JsonClient, arrivals: Arrivals, number: int) -> tuple[float, float]:
    """Milliseconds until the push was acknowledged, and until the event came."""
    mail = {
        "subject": f"Mail {number}",
        "sender": ["Bob", "bob@example.org"],
        "to": [["Ann", _address(number)]],
        "labels": ["INBOX", "UNREAD"],
        "body": "Hello.",
    }
    simulator.add_mails(_address(number), [mail])
    notice = json.dumps({"emailAddress": _address(number), "historyId": 1}).encode()
    envelope = {
        "message": {"data": base64.b64encode(notice).decode(), "attributes": {}, "messageId": str(number)},
        "subscription": "projects/local/subscriptions/gmail_push",
    }
    rung = time.perf_counter()
    invoker.post("/gmail_push", envelope)
    acknowledged = time.perf_counter()
    came = arrivals.wait(_stream(number), "email.received")
    time.sleep(PAUSE)  # a person's next mail does not come within the same millisecond
    return (acknowledged - rung) * 1e3, (came - rung) * 1e3


def _figures(samples: list[tuple[float, float]]) -> list[Figure]:
    acknowledged, came = (Spread.of(column) for column in zip(*samples, strict=True))
    ascending = sorted(sample[1] for sample in samples)
    p95 = percentile(ascending, 0.95)
    note = f"{len(samples)} mailboxes, each rung once; slowest {ascending[-1]:.0f}"
    return [
        came.figure(LATENCY, "p50", "ms", note="the simulator's own work included, its latency set to 0"),
        Figure(LATENCY, "p95", p95, "ms", DOORBELL_P95_MS, note=note),
        acknowledged.figure(LATENCY, "push acknowledged", "ms"),
    ]


def _user(number: int) -> str:
    return f"user_bench{number}"


def _address(number: int) -> str:
    return f"bench{number}@example.org"


def _stream(number: int) -> str:
    return f"{_user(number)}:primary:GOOGLE"

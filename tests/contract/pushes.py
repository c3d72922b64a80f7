"""Topics, push subscriptions and their endpoint on the Pub/Sub emulator, under a clock that only the test moves.

The emulator's time is the machine's, so it is told to try again at once, and a push that comes back is held at the endpoint,
unanswered, until the clock of the world has passed the backoff. What the emulator decides remains its own: which messages
are pushed, in which order, again or not, to the dead letter topic or not.

A mirror, one pull subscription per topic, tells which messages there are. So a turn knows what the emulator owes it and
waits for exactly that, however slow the machine; a short silence at the end is for what it should not have pushed.
"""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from google.api_core.exceptions import AlreadyExists
from google.protobuf.duration_pb2 import Duration
from google.pubsub_v1 import PublisherClient, SubscriberClient
from google.pubsub_v1.services.publisher.transports.grpc import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports.grpc import SubscriberGrpcTransport
from google.pubsub_v1.types import DeadLetterPolicy, PullRequest, PushConfig, RetryPolicy, Subscription

from shared.adapters.cloud.connect import plain_channel
from shared.ports import Clock
from tests.contract.worlds import Answer, Call

MAX_ATTEMPTS = 5
MIN_BACKOFF, MAX_BACKOFF = 1.0, 4.0

_ACKNOWLEDGED = frozenset({102, 200, 201, 202, 204})
_PATIENCE = 20.0
_SILENCE = 0.15
_WINDOW = 2  # so many pushes the emulator has out at once to a subscription that has not answered any
_TIMEOUT = 20.0
_TOPICS = ("events", "segments", "dead")


@dataclass
class _Push:
    """A push that waits at the endpoint for its answer."""

    call: Call
    id: str
    answered: threading.Event = field(default_factory=threading.Event)
    status: int = 503

    def respond(self, status: int) -> None:
        self.status = status
        self.answered.set()


@dataclass
class _Subscriber:
    """What the emulator owes one subscription: lanes of message ids, of which only the first may be out."""

    name: str
    ordered: bool
    dead_letter_topic: str
    lanes: dict[str, deque[str]] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)
    due: dict[str, float] = field(default_factory=dict)

    def owed(self, now: float) -> set[str]:
        heads = {lane[0] for lane in self.lanes.values() if lane}
        return {id_ for id_ in heads if self.due.get(id_, now) <= now}

    def forget(self, id_: str) -> None:
        """The message is done with, and the next of its lane is due."""
        self._lane(id_).popleft()
        self.due.pop(id_, None)

    def abandon(self, id_: str) -> None:
        """The emulator gets stuck behind an ordered message that was tried often enough, and owes nothing of its lane."""
        self._lane(id_).clear()
        self.due.pop(id_, None)

    def _lane(self, id_: str) -> deque[str]:
        return next((lane for lane in self.lanes.values() if lane and lane[0] == id_), deque([id_]))

    def fail(self, id_: str, now: float) -> bool:
        """Note a failure and answer whether it was the last."""
        failures = self.failures[id_] = self.failures.get(id_, 0) + 1
        self.due[id_] = now + min(MIN_BACKOFF * 2 ** (failures - 1), MAX_BACKOFF)
        return failures >= MAX_ATTEMPTS


class Pushes:
    """The delivering side of the bus in one project of the emulator."""

    def __init__(self, project: str, host: str, clock: Clock) -> None:
        self._project, self._clock = f"projects/{project}", clock
        channel = plain_channel(host)
        self._publisher = PublisherClient(transport=PublisherGrpcTransport(channel=channel))
        self._subscriber = SubscriberClient(transport=SubscriberGrpcTransport(channel=channel))
        self._subscribers: dict[str, list[_Subscriber]] = {}
        self._held: list[_Push] = []
        self._arrived = threading.Condition()
        self._given_up: dict[str, int] = defaultdict(int)
        self._endpoint = _Endpoint(self._arrive)
        threading.Thread(target=self._endpoint.serve_forever, args=(0.05,), daemon=True).start()
        for topic in _TOPICS:
            self._create_topic(topic)

    def subscribe(self, name: str, topic: str, ordered: bool, dead_letter_topic: str | None) -> None:
        """Push a topic to ``/name``; without a dead letter topic Pub/Sub would try for ever, so there is always one."""
        topic, dead = topic.rpartition("/")[2], dead_letter_topic or f"{name}-given-up"
        self._create_topic(topic)
        self._create_topic(dead)
        self._reflect()
        self._create(
            Subscription(
                name=f"{self._project}/subscriptions/{name}",
                topic=f"{self._project}/topics/{topic}",
                push_config=PushConfig(push_endpoint=f"{self._endpoint.url}/{name}"),
                enable_message_ordering=ordered,
                ack_deadline_seconds=600,
                retry_policy=RetryPolicy(
                    minimum_backoff=Duration(nanos=50_000_000), maximum_backoff=Duration(nanos=50_000_000)
                ),
                dead_letter_policy=DeadLetterPolicy(
                    dead_letter_topic=f"{self._project}/topics/{dead}", max_delivery_attempts=MAX_ATTEMPTS
                ),
            )
        )
        self._subscribers[topic].append(_Subscriber(name, ordered, dead))

    def turn(self, answer: Answer) -> int:
        """Answer what is due, once each, in the order of arrival; how many there were."""
        pushes = self._due()
        for push in pushes:
            self._settle(push, answer(push.call))
        return len(pushes)

    def together(self) -> list[Call]:
        """What is out at once; all of it is answered 200."""
        pushes = self._due()
        for push in pushes:
            self._settle(push, 200)
        return [push.call for push in pushes]

    def close(self) -> None:
        for subscribers in self._subscribers.values():
            for subscriber in subscribers:
                path = f"{self._project}/subscriptions/{subscriber.name}"
                self._subscriber.delete_subscription(subscription=path, retry=None, timeout=_TIMEOUT)
        with self._arrived:
            for push in self._held:
                push.respond(503)
        self._endpoint.shutdown()
        self._endpoint.server_close()
        self._publisher.transport.close()
        self._subscriber.transport.close()

    def _create_topic(self, topic: str) -> None:
        if topic in self._subscribers:
            return
        path = f"{self._project}/topics/{topic}"
        self._publisher.create_topic(name=path, retry=None, timeout=_TIMEOUT)
        self._create(
            Subscription(name=f"{self._project}/subscriptions/mirror-{topic}", topic=path, enable_message_ordering=True)
        )
        self._subscribers[topic] = []

    def _create(self, subscription: Subscription) -> None:
        try:
            self._subscriber.create_subscription(request=subscription, retry=None, timeout=_TIMEOUT)
        except AlreadyExists as error:
            raise ValueError("A world has a subscription of that name.") from error

    def _due(self) -> list[_Push]:
        """Wait for what the emulator owes, and take it and whatever else is there from the held pushes."""
        latest = time.monotonic() + _PATIENCE
        while True:
            self._reflect()
            with self._arrived:
                if (self._is_all_here() and not self._given_up) or time.monotonic() > latest:
                    break
                self._arrived.wait(0.02)
        time.sleep(_SILENCE)
        self._reflect()
        with self._arrived:
            taken = [push for push in self._held if not self._is_early(push)]
            self._held = [push for push in self._held if push not in taken]
        return taken

    def _is_all_here(self) -> bool:
        now = self._clock.now()
        here: dict[str, set[str]] = defaultdict(set)
        for push in self._held:
            here[push.call.target].add(push.id)
        return all(
            one.owed(now) <= here[f"/{one.name}"] or len(here[f"/{one.name}"]) >= _WINDOW
            for group in self._subscribers.values()
            for one in group
        )

    def _is_early(self, push: _Push) -> bool:
        due = self._of(push).due.get(push.id)
        return due is not None and due > self._clock.now()

    def _of(self, push: _Push) -> _Subscriber:
        return next(one for group in self._subscribers.values() for one in group if f"/{one.name}" == push.call.target)

    def _settle(self, push: _Push, status: int) -> None:
        subscriber = self._of(push)
        if status in _ACKNOWLEDGED:
            subscriber.forget(push.id)
        elif subscriber.fail(push.id, self._clock.now()):
            if subscriber.ordered:
                subscriber.abandon(push.id)
            else:
                subscriber.forget(push.id)
                self._given_up[subscriber.dead_letter_topic] += 1
        push.respond(status)

    def _reflect(self) -> None:
        """Take note of what was published since."""
        for topic, subscribers in self._subscribers.items():
            path = f"{self._project}/subscriptions/mirror-{topic}"
            while True:
                request = PullRequest(subscription=path, max_messages=1000, return_immediately=True)
                answer = self._subscriber.transport.pull(
                    request, timeout=_TIMEOUT
                )  # the client itself warns of the flag
                if not answer.received_messages:
                    break
                ids = [one.ack_id for one in answer.received_messages]
                self._subscriber.acknowledge(subscription=path, ack_ids=ids, retry=None, timeout=_TIMEOUT)
                for received in answer.received_messages:
                    message = received.message
                    lane = f"key {message.ordering_key}" if message.ordering_key else f"id {message.message_id}"
                    for subscriber in subscribers:
                        subscriber.lanes.setdefault(lane, deque()).append(message.message_id)
                    if self._given_up.get(topic):
                        self._given_up[topic] -= 1
                        if not self._given_up[topic]:
                            del self._given_up[topic]

    def _arrive(self, target: str, headers: Mapping[str, str], body: Any) -> int:
        push = _Push(Call(target, headers, body), body["message"]["messageId"])
        with self._arrived:
            self._held.append(push)
            self._arrived.notify_all()
        push.answered.wait(300)
        return push.status


class _Endpoint(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, arrive: Any) -> None:
        super().__init__(("127.0.0.1", 0), _Request)
        self.arrive = arrive
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class _Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Endpoint

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        status = self.server.arrive(self.path, dict(self.headers), body)
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None: ...

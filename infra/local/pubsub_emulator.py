"""Topics and subscriptions on the Pub/Sub emulator, which forgets them whenever it restarts.

In the cloud they are infrastructure, made once by the deployment. Here whoever runs the functions makes them, and makes
them again: every call is idempotent, so ``prepare`` may be repeated whenever the emulator may have come back empty.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from google.api_core import exceptions
from google.pubsub_v1 import PublisherClient, SubscriberClient
from google.pubsub_v1.services.publisher.transports.grpc import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports.grpc import SubscriberGrpcTransport
from google.pubsub_v1.types import PullRequest, RetryPolicy, Subscription

from infra.local.catalogue import Function
from shared.adapters.cloud.connect import plain_channel
from shared.errors import Retry
from shared.ports import BusMessage

TIMEOUT = 10.0
MIN_BACKOFF, MAX_BACKOFF = timedelta(seconds=1), timedelta(seconds=60)
LEAST_DEADLINE, LONGEST_DEADLINE = 10, 600
PULL = 1000
"""What one call asks for; the emulator hands out a hundred."""


@dataclass(frozen=True, slots=True)
class Push:
    """Push a topic to a URL, in order; ``deadline`` is how many seconds the endpoint may take."""

    name: str
    topic: str
    endpoint: str
    deadline: int = 60


@dataclass(frozen=True, slots=True)
class Pulled:
    """A message as a pull subscription hands it out."""

    id: str
    ordering_key: str
    message: BusMessage


def pushes(functions: Iterable[Function], endpoint: Callable[[Function], str]) -> list[Push]:
    """The push subscriptions that the functions ask for; ``endpoint`` answers where a function listens."""
    return [
        Push(function.name, topic, endpoint(function), function.timeout_seconds)
        for function in functions
        for kind, topic in [function.trigger]
        if kind == "topic"
    ]


class PubSubEmulator:
    """One project on the emulator at ``host:port``. Its methods raise ``Retry`` while nobody answers there."""

    def __init__(self, host: str, project: str) -> None:
        self._project = f"projects/{project}"
        channel = plain_channel(host)
        self._transport: Any = SubscriberGrpcTransport(channel=channel)
        self._subscriber = SubscriberClient(transport=self._transport)
        self._publisher = PublisherClient(transport=PublisherGrpcTransport(channel=channel))

    def prepare(self, names: Iterable[str], wanted: Sequence[Push]) -> int:
        """Make the topics and push subscriptions that are not there; answer how many were not.

        A subscription that exists is pointed at its endpoint, which differs from run to run; its backlog stays.
        """
        made = sum(self._create_topic(name) for name in names)
        for push in wanted:
            subscription = self._subscription(push.name, push.topic)
            subscription.push_config.push_endpoint = push.endpoint
            subscription.enable_message_ordering = True
            subscription.ack_deadline_seconds = min(LONGEST_DEADLINE, max(LEAST_DEADLINE, push.deadline))
            subscription.retry_policy = RetryPolicy(minimum_backoff=MIN_BACKOFF, maximum_backoff=MAX_BACKOFF)
            if self._create(subscription):
                made += 1
            else:
                self._call(
                    self._subscriber.modify_push_config,
                    subscription=subscription.name,
                    push_config=subscription.push_config,
                )
        return made

    def keep(self, name: str, topic: str) -> bool:
        """Make a pull subscription, so that what is published from now on can be looked at; answer whether it is new."""
        subscription = self._subscription(name, topic)
        subscription.enable_message_ordering = True
        return self._create(subscription)

    def pull(self, name: str, limit: int = 100_000) -> list[Pulled]:
        """Take what a pull subscription holds now, in order per key, about ``limit`` messages at most; all are
        acknowledged.
        """
        subscription = f"{self._project}/subscriptions/{name}"
        # At once or not at all. The client itself warns of that for the sake of production, where it is wasteful.
        request = PullRequest(subscription=subscription, max_messages=PULL, return_immediately=True)
        pulled: list[Pulled] = []
        while len(pulled) < limit:
            received = self._call(lambda **_: self._transport.pull(request, timeout=TIMEOUT)).received_messages
            if not received:
                break
            ids = [one.ack_id for one in received]
            self._call(self._subscriber.acknowledge, subscription=subscription, ack_ids=ids)
            pulled += [_pulled(one.message) for one in received]
        return pulled

    def drop(self, name: str) -> None:
        """Remove a subscription, so that the emulator stops pushing to an endpoint that is about to go."""
        self._call(self._subscriber.delete_subscription, subscription=f"{self._project}/subscriptions/{name}")

    def close(self) -> None:
        """Let go of the connection."""
        self._transport.close()

    def _create_topic(self, name: str) -> bool:
        return self._is_new(self._publisher.create_topic, name=f"{self._project}/topics/{name}")

    def _create(self, subscription: Subscription) -> bool:
        return self._is_new(self._subscriber.create_subscription, request=subscription)

    def _subscription(self, name: str, topic: str) -> Subscription:
        return Subscription(name=f"{self._project}/subscriptions/{name}", topic=f"{self._project}/topics/{topic}")

    def _is_new(self, create: Callable[..., Any], **arguments: Any) -> bool:
        try:
            self._call(create, **arguments)
        except exceptions.AlreadyExists:
            return False
        return True

    def _call(self, method: Callable[..., Any], **arguments: Any) -> Any:
        try:
            return method(**arguments, retry=None, timeout=TIMEOUT)
        except (exceptions.ServiceUnavailable, exceptions.DeadlineExceeded) as error:
            raise Retry("The Pub/Sub emulator cannot be reached right now.") from error


def _pulled(message: Any) -> Pulled:
    return Pulled(message.message_id, message.ordering_key, BusMessage(message.data, dict(message.attributes)))

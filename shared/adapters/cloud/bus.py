"""The Bus port on Pub/Sub: one explicit request per call, in this thread, of protobuf messages built by hand.

The batching client of google-cloud-pubsub is left alone: its threads cost seven times the CPU per message, and a step
has all messages of a segment in hand anyway. Requests of one call go one after the other, and the first failure ends
the call, so a later message never overtakes an earlier one of its key.

Nothing is retried here. Whoever published tries again from the first message that is not known to be sent; a message
that arrives twice because only its answer was lost is harmless, since its ``ce-id`` and ``ce-sequence`` are its own and
consumers read the log after their watermark instead of believing a delivery.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import grpc
from google.api_core import exceptions
from google.pubsub_v1 import PublisherClient
from google.pubsub_v1.services.publisher.transports.grpc import PublisherGrpcTransport
from google.pubsub_v1.types import PublishRequest

from shared.adapters.cloud.connect import reach
from shared.adapters.cloud.faults import postponed
from shared.errors import TooLarge
from shared.ports import BusMessage

MAX_KEY_BYTES = 1024
MAX_MESSAGES = 1000
MAX_REQUEST_BYTES = 9_500_000
"""Below the service's 10 MB, because it counts the request as it is on the wire."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9._~+%-]{2,254}")
_RawRequest = PublishRequest.pb()


class CloudBus:
    """The Bus port; safe to share between threads."""

    def __init__(self, project: str, channel: grpc.Channel | None = None, timeout: float = 10.0) -> None:
        """``channel`` leads to an emulator, None to Google; one request takes at most ``timeout`` seconds.

        Raises ``ConfigurationError`` where credentials are missing.
        """
        self._project = project
        self._timeout = timeout
        self._transport: Any = reach(PublisherGrpcTransport, channel)
        self._client = PublisherClient(transport=self._transport)

    def publish(self, topic: str, messages: Sequence[BusMessage], ordering_key: str = "") -> None:
        """Publish in order; durable on return. Topics are those of our project, whatever a full name says.

        Raises ``Retry`` (some may be durable), ``TooLarge``; ``ValueError`` for what no bus can carry. The last two are
        found before anything is sent.
        """
        name = _short(topic)
        for request in _requests(f"projects/{self._project}/topics/{name}", messages, ordering_key):
            try:
                self._client.publish(request=PublishRequest.wrap(request), retry=None, timeout=self._timeout)
            except exceptions.InvalidArgument as error:
                raise TooLarge(f"The topic {name} refuses a message: something of it is over a limit.") from error
            except exceptions.GoogleAPICallError as error:
                raise postponed(f"The topic {name}", error) from error

    def close(self) -> None:
        """Let go of the connection."""
        self._transport.close()


def _short(topic: str) -> str:
    name = topic.rpartition("/topics/")[2]
    if not _NAME.fullmatch(name):
        raise ValueError("A topic's name starts with a letter and holds 3 to 255 letters, digits and ._~+%- only.")
    return name


def _requests(path: str, messages: Sequence[BusMessage], ordering_key: str) -> list[Any]:
    """The raw requests that carry the messages, each below the limits of one request, in order."""
    if len(ordering_key.encode()) > MAX_KEY_BYTES:
        raise ValueError("An ordering key holds at most 1024 bytes.")
    requests: list[Any] = []
    for first in range(0, len(messages), MAX_MESSAGES):
        request = _RawRequest(topic=path)
        add = request.messages.add
        try:
            for message in messages[first : first + MAX_MESSAGES]:
                add(data=message.data, attributes=message.attributes, ordering_key=ordering_key)
        except TypeError as error:
            raise ValueError("A message holds bytes, and attributes that are strings.") from error
        requests += _halved(request)
    return requests


def _halved(request: Any) -> list[Any]:
    """The request itself, or its halves' halves until each is small enough. Raises ``TooLarge``."""
    if request.ByteSize() <= MAX_REQUEST_BYTES:
        return [request]
    count = len(request.messages)
    if count == 1:
        raise TooLarge("A message is over its limit.")
    halves: list[Any] = []
    for part in (request.messages[: count // 2], request.messages[count // 2 :]):
        halves += _halved(_RawRequest(topic=request.topic, messages=part))
    return halves

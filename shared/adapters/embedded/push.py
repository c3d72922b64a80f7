"""One push of a message as an endpoint sees it: the envelope of Pub/Sub, without the ordering key it leaves out too."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from datetime import UTC, datetime

import orjson

from shared.adapters.embedded.delivery import Delivery
from shared.adapters.embedded.subscriptions import Subscription


@dataclass(frozen=True, slots=True)
class PushDelivery(Delivery):
    """One attempt to push a message to a subscription's endpoint."""

    subscription: str
    message_id: str
    key: str

    @property
    def endpoint(self) -> str:
        """Where it is POSTed."""
        return self.target


def provenance(subscription: Subscription, failures: int, published: float) -> dict[str, str]:
    """The attributes that Pub/Sub adds to a message when it becomes a dead letter."""
    return {
        "CloudPubSubDeadLetterSourceDeliveryCount": str(failures),
        "CloudPubSubDeadLetterSourceSubscription": subscription.name,
        "CloudPubSubDeadLetterSourceSubscriptionProject": "local",
        "CloudPubSubDeadLetterSourceTopicPublishTime": timestamp(published),
    }


def delivery(
    subscription: Subscription, row: int, message: int, key: str, published: float, attributes: str, data: bytes
) -> PushDelivery:
    """The push of a row of the backlog."""
    moment = timestamp(published)
    envelope = {
        "message": {
            "data": b64encode(data).decode(),
            "attributes": orjson.loads(attributes),
            "messageId": str(message),
            "message_id": str(message),
            "publishTime": moment,
            "publish_time": moment,
        },
        "subscription": f"projects/local/subscriptions/{subscription.name}",
    }
    headers = {"Content-Type": "application/json", "User-Agent": "CloudPubSub-Google"}
    return PushDelivery(
        row,
        subscription.endpoint,
        headers,
        orjson.dumps(envelope),
        subscription.ack_deadline,
        subscription.name,
        str(message),
        key,
    )


def timestamp(moment: float) -> str:
    """A time as Pub/Sub writes it, to the millisecond."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

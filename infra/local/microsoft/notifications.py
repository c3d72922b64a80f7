"""What Graph posts to a webhook, and what it takes for an answer: the handshake, changes, and lifecycle events."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

import orjson

Json = dict[str, Any]
HANDSHAKE_SECONDS = 10.0
ANSWER_SECONDS = 3.0
EVENTS = ("reauthorizationRequired", "subscriptionRemoved", "missed")
Event = Literal["reauthorizationRequired", "subscriptionRemoved", "missed"]
_JSON = {"Content-Type": "application/json; charset=utf-8"}
_TEXT = {"Content-Type": "text/plain; charset=utf-8"}


class Heard(NamedTuple):
    """What an endpoint answered: status (0: nobody was there), seconds that it took, body, and its content type."""

    status: int
    seconds: float
    text: str = ""
    kind: str = "text/plain"


Notify = Callable[[str, bytes, Mapping[str, str], Mapping[str, str]], Heard]
"""(URL, body, headers, query) -> what was heard: a POST; nobody there is ``OSError`` or status 0."""

NOBODY = Heard(0, 0.0)


def post(notify: Notify, url: str, values: Sequence[bytes]) -> Heard:
    """Post some notifications, each as JSON, in one body."""
    return _call(notify, url, b'{"value":[' + b",".join(values) + b"]}", _JSON, {})


def acknowledged(heard: Heard) -> bool:
    """Whether notifications count as delivered: any 2xx in time."""
    return 200 <= heard.status < 300 and heard.seconds <= ANSWER_SECONDS


def objection(notify: Notify, url: str, token: str) -> str:
    """What is wrong with an endpoint's answer to the handshake, "" if nothing is."""
    heard = _call(notify, url, b"", _TEXT, {"validationToken": token})
    if heard.status == 0:
        return "The endpoint could not be reached."
    if heard.seconds > HANDSHAKE_SECONDS:
        return "The endpoint did not answer in time."
    if heard.status != 200:
        return f"The endpoint must answer 200 OK, not {heard.status}."
    if heard.kind.partition(";")[0].strip().lower() != "text/plain" or heard.text != token:
        return "The endpoint must answer the decoded validation token as text/plain."
    return ""


def change(subscription: Mapping[str, Any], kind: str, user: str, tenant: str, item: str, etag: str) -> bytes:
    """One notification of a changed message; ``subscription`` is its row."""
    place = f"Users/{user}/Messages/{item}"
    return orjson.dumps(
        _common(subscription, tenant)
        | {
            "changeType": kind,
            "resource": place,
            "resourceData": {
                "@odata.type": "#Microsoft.Graph.Message", "@odata.id": place, "@odata.etag": etag, "id": item,
            },
        }
    )  # fmt: skip


def lifecycle(subscription: Mapping[str, Any], event: str, tenant: str) -> bytes:
    """One lifecycle event of a subscription."""
    return orjson.dumps(_common(subscription, tenant) | {"lifecycleEvent": event, "resource": subscription["resource"]})


def stamp(time: float) -> str:
    """A time as Graph writes it."""
    moment = datetime.fromtimestamp(time, UTC)
    return moment.isoformat(timespec="milliseconds" if moment.microsecond else "seconds").replace("+00:00", "Z")


def _common(subscription: Mapping[str, Any], tenant: str) -> Json:
    return {
        "subscriptionId": subscription["id"],
        "subscriptionExpirationDateTime": stamp(subscription["expires"]),
        "clientState": subscription["client_state"],
        "tenantId": tenant,
    }


def _call(notify: Notify, url: str, body: bytes, headers: Mapping[str, str], query: Mapping[str, str]) -> Heard:
    try:
        return notify(url, body, headers, query)
    except OSError:
        return NOBODY

"""Cut a message to what one document and one event can hold, and name what was cut."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import replace

import orjson

from shared.providers.base import Message

MAX_ID = 512
MAX_SUBJECT = 10_000
MAX_SNIPPET = 2_000
MAX_LABELS = 1_000
MAX_LABEL = 256
MAX_HEADER = 100_000
MAX_ADDRESS = 1_000
MAX_MESSAGE_BYTES = 600_000
"""What the whole message may weigh as compact UTF-8 JSON."""

_MAX_HEADERS_BYTES = 250_000  # of a message that is too heavy, so that recipients have room
_MAX_LABELS_BYTES = 100_000
_WORST = 6  # bytes that one character can take in JSON: \u001f


def fit(message: Message) -> Message:
    """Answer the message within all bounds; ``truncated`` names the fields that lost something, in field order.

    Fields are cut at their end, recipients by whole addresses: bcc first, then cc, then to.
    """
    if _small(message):
        return message
    labels = tuple(sorted({label[:MAX_LABEL] for label in message.labels})[:MAX_LABELS])
    fitted = replace(
        message,
        labels=labels,
        subject=message.subject[:MAX_SUBJECT],
        sender=message.sender if len(message.sender) <= MAX_ADDRESS else "",
        to=_sane(message.to),
        cc=_sane(message.cc),
        bcc=_sane(message.bcc),
        snippet=message.snippet[:MAX_SNIPPET],
        headers={name: value[:MAX_HEADER] for name, value in message.headers.items()},
    )
    if len(orjson.dumps(fitted)) >= MAX_MESSAGE_BYTES:
        fitted = _lighten(fitted)
    cut = tuple(
        name
        for name in ("labels", "subject", "sender", "to", "cc", "bcc", "snippet", "headers")
        if getattr(fitted, name) != getattr(message, name)
    )
    return replace(fitted, truncated=cut) if cut else fitted


def _sane(addresses: tuple[str, ...]) -> tuple[str, ...]:
    if max(map(len, addresses), default=0) <= MAX_ADDRESS:
        return addresses
    return tuple(address for address in addresses if len(address) <= MAX_ADDRESS)


def _small(message: Message) -> bool:
    """Whether it is within all bounds by far, even with the worst escaping: spares ordinary mail the exact answer."""
    addresses = len("".join((message.sender, *message.to, *message.cc, *message.bcc)))
    labels = len("".join(message.labels))
    if addresses > MAX_ADDRESS or labels > MAX_LABEL:  # no single one is longer than all; if all are, look at each
        addressed = (message.sender, *message.to, *message.cc, *message.bcc)
        if max(map(len, addressed)) > MAX_ADDRESS or max(map(len, message.labels), default=0) > MAX_LABEL:
            return False
    lengths = addresses + labels + len("".join(message.headers.values())) + len(message.subject)
    return lengths < MAX_SUBJECT and len(message.snippet) <= MAX_SNIPPET and len(message.labels) <= MAX_LABELS


def _lighten(message: Message) -> Message:
    headers = _level(message.headers, _MAX_HEADERS_BYTES)
    labels, _ = _as_many(message.labels, _MAX_LABELS_BYTES)
    message = replace(message, labels=labels)
    room = MAX_MESSAGE_BYTES - 1_000 - len(orjson.dumps(replace(message, headers=headers, to=(), cc=(), bcc=())))
    to, room = _as_many(message.to, room)
    cc, room = _as_many(message.cc, room)
    bcc, room = _as_many(message.bcc, room)
    return replace(message, headers=headers, to=to, cc=cc, bcc=bcc)


def _as_many(addresses: Iterable[str], room: int) -> tuple[tuple[str, ...], int]:
    """Take addresses from the front while they fit; answer them and the room that is left."""
    taken: list[str] = []
    for address in addresses:
        weight = len(orjson.dumps(address)) + 1
        if weight > room:
            return tuple(taken), 0
        room -= weight
        taken.append(address)
    return tuple(taken), room


def _level(headers: dict[str, str], room: int) -> dict[str, str]:
    """Cut the heaviest values to one common weight, such that all together fit."""
    weights = sorted(len(orjson.dumps(value)) for value in headers.values())
    level = room
    for position, weight in enumerate(weights):
        level = room // (len(weights) - position)
        if weight > level:
            break
        room -= weight
    return {name: _to_weight(value, level) for name, value in headers.items()}


def _to_weight(value: str, limit: int) -> str:
    if _WORST * len(value) <= limit:
        return value
    return value[: bisect_right(range(len(value)), limit, key=lambda length: len(orjson.dumps(value[: length + 1])))]

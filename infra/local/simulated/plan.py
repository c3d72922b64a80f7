"""A planned mail: what a person meant, before any MIME. The simulator renders it; the truth is read off the plan.

As JSON (every key but ``sender`` may be absent)::

    {"subject": str, "sender": [name, address], "to": [[name, address]], "cc": [...], "bcc": [...],
     "date": epoch | null (no Date header), "received_at": epoch | null (now), "labels": [...], "body": str,
     "headers": {extra: ASCII value}, "thread": key | null}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from infra.local.simulated.errors import BadPlan

Person: TypeAlias = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Plan:
    """One planned mail; people are (name, address)."""

    sender: Person
    subject: str = ""
    to: tuple[Person, ...] = ()
    cc: tuple[Person, ...] = ()
    bcc: tuple[Person, ...] = ()
    date: float | None = None
    received_at: float | None = None
    labels: tuple[str, ...] = ()
    body: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    thread: str | None = None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Plan:
        """Read the JSON form. Raises ``BadPlan``."""
        unknown = set(data) - set(cls.__slots__)
        if unknown:
            raise BadPlan(f"A mail plan has no field {sorted(unknown)[0]!r}.")
        if "sender" not in data:
            raise BadPlan("A mail plan needs a sender.")
        headers = data.get("headers") or {}
        if not isinstance(headers, Mapping):
            raise BadPlan("headers must be an object.")
        return cls(
            sender=_person(data["sender"]),
            subject=_text(data, "subject"),
            to=_people(data, "to"),
            cc=_people(data, "cc"),
            bcc=_people(data, "bcc"),
            date=_time(data, "date"),
            received_at=_time(data, "received_at"),
            labels=labels_of(data),
            body=_text(data, "body"),
            headers=tuple((_line(name), _line(value)) for name, value in headers.items()),
            thread=None if data.get("thread") is None else _text(data, "thread"),
        )


def labels_of(data: Mapping[str, Any]) -> tuple[str, ...]:
    """Read the labels of a plan or a raw mail. Raises ``BadPlan``."""
    labels = data.get("labels") or []
    if not isinstance(labels, (list, tuple)) or not all(isinstance(label, str) and label for label in labels):
        raise BadPlan("labels must be a list of names.")
    return tuple(labels)


def _time(data: Mapping[str, Any], name: str) -> float | None:
    value = data.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 2**35:
        raise BadPlan(f"{name} must be a time in seconds.")
    return float(value)


def _text(data: Mapping[str, Any], name: str) -> str:
    value = data.get(name, "")
    if not isinstance(value, str):
        raise BadPlan(f"{name} must be a string.")
    return value


def _line(value: Any) -> str:
    if not isinstance(value, str) or not value.isascii() or not value.isprintable():
        raise BadPlan("Extra headers must be single lines of ASCII.")
    return value


def _people(data: Mapping[str, Any], name: str) -> tuple[Person, ...]:
    people = data.get(name) or []
    if not isinstance(people, (list, tuple)):
        raise BadPlan(f"{name} must be a list of [name, address].")
    return tuple(_person(person) for person in people)


def _person(value: Any) -> Person:
    if not isinstance(value, (list, tuple)) or len(value) != 2 or not all(isinstance(part, str) for part in value):
        raise BadPlan("A person is [name, address].")
    name, address = value
    if "@" not in address or not address.isascii() or any(mark in address for mark in ' <>",;:()\\\r\n'):
        raise BadPlan("A person's address must be a bare one.")
    return name, address

"""What goes wrong in a simulator: a provider's own words for clients, plain words for whoever drives it."""

from __future__ import annotations

from typing import Protocol

JSON = "application/json; charset=UTF-8"
HTML = "text/html; charset=UTF-8"


class Refusal(Protocol):
    """An error that a provider answers, each in its own shape."""

    @property
    def code(self) -> int:
        """The HTTP status."""

    @property
    def reason(self) -> str:
        """The provider's word for it."""

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """What its headers say beside the content type."""

    def rendered(self) -> tuple[bytes, str]:
        """Body and content type as they travel."""


def page(code: int, title: str) -> bytes:
    """What a machine in front says when the API itself says nothing."""
    return (
        f"<!DOCTYPE html>\n<html lang=en>\n  <title>Error {code} ({title})!!1</title>\n"
        f"  <p><b>{code}.</b> <ins>That’s an error.</ins>\n  <p>The server could not complete your request.\n"
    ).encode()


class ControlError(Exception):
    """The person or test that drives the simulator asked for something impossible."""


class UnknownThing(ControlError):
    """There is no such mailbox or message."""


class BadPlan(ControlError):
    """A mail plan lacks something or holds something of the wrong type."""


class UnreadableMail(ControlError):
    """These bytes are not a mail; the message says why."""

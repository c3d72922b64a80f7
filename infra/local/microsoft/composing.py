"""A message that a client writes: as Graph's JSON, or as MIME in base64, on its way to become a mail."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from email.utils import formatdate
from functools import partial
from typing import Any

from infra.local.microsoft.asked import Asked, Json
from infra.local.microsoft.errors import invalid
from infra.local.simulated.chance import stream
from infra.local.simulated.errors import BadPlan, UnreadableMail
from infra.local.simulated.plan import Person, Plan
from infra.local.simulated.reading import Mail, from_plan, from_raw

Build = Callable[[str], Mail]
"""The id of a message -> the mail."""

_PEOPLE = {"to": "toRecipients", "cc": "ccRecipients", "bcc": "bccRecipients"}
CONTENT = frozenset({"subject", "body", *_PEOPLE.values(), "from", "sender", "replyTo", "internetMessageHeaders"})


def is_mime(asked: Asked) -> bool:
    """Whether the body of a call is a whole message in base64."""
    return asked.call.headers.get("content-type", "").partition(";")[0].strip().lower() == "text/plain"


def from_mime(asked: Asked) -> Mail:
    """The message that is the body of a call. Raises ``GraphError`` 400."""
    try:
        return from_raw(base64.b64decode(asked.call.body, validate=True))
    except (ValueError, binascii.Error, UnreadableMail):
        raise invalid("Invalid base64 string for MIME content.", "ErrorMimeContentInvalidBase64String") from None


def from_json(asked: Asked, message: Json) -> Build:
    """The message that a JSON object describes, from the owner unless it says otherwise. Raises ``GraphError`` 400."""
    try:
        body = message.get("body") or {}
        headers = {str(one["name"]): str(one["value"]) for one in message.get("internetMessageHeaders") or ()}
        if replies := [_person(entry) for entry in message.get("replyTo") or ()]:
            headers["Reply-To"] = ", ".join(address for _, address in replies)
        plan = Plan.from_json(
            {
                "subject": message.get("subject") or "",
                "sender": list(_person(message["from"]) if message.get("from") else ("", asked.address)),
                **{name: [_person(entry) for entry in message.get(key) or ()] for name, key in _PEOPLE.items()},
                "date": float(int(asked.outlook.clock.now())),
                "body": str(body.get("content") or ""),
                "headers": headers,
            }
        )
    except (BadPlan, AttributeError, KeyError, TypeError) as error:
        raise invalid(f"A value of the message is invalid: {type(error).__name__}.", "ErrorInvalidProperty") from None
    return partial(_build, plan, asked.outlook.changes.seed)


def as_sent(asked: Asked, mail: Mail) -> Mail:
    """The same with what Outlook adds to MIME that lacks it: sender and date."""
    present = {name.lower() for name, _ in mail.headers}
    usual = {"From": asked.address, "Date": formatdate(asked.outlook.clock.now())}
    head = "".join(f"{name}: {value}\r\n" for name, value in usual.items() if name.lower() not in present)
    return from_raw(head.encode() + mail.raw) if head else mail


def _build(plan: Plan, seed: int, message_id: str) -> Mail:
    name = message_id[-24:].strip("=")
    return from_plan(plan, f"<{name}@outlook.simulator.example>", stream(seed, "mime", message_id))


def _person(entry: Any) -> Person:
    said = entry["emailAddress"]
    name, address = said.get("name") or "", said["address"]
    return ("" if name == address else str(name)), str(address)

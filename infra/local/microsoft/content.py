"""What of a mail Graph shows as fields, and what a faithful client should make of them.

Header lines are served only for mail that came in from outside. Of mail that was sent or drafted here a client knows
what the fields say: people, subject, Message-ID, date; so the truth of ``headers`` holds no more. Times have whole seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from email.message import Message
from email.utils import formatdate
from typing import Any

from infra.local.simulated.body import SNIPPET, content_of, snippet_of, text_of
from infra.local.simulated.plan import Person
from infra.local.simulated.reading import Mail, date_among, parse, spelled

Json = dict[str, Any]

PREVIEW = 255
_PEOPLE_IN = ("From", "To", "Cc", "Bcc", "Reply-To")
_PEOPLE = {"toRecipients": "To", "ccRecipients": "Cc", "bccRecipients": "Bcc", "replyTo": "Reply-To"}


def describe(mail: Mail, inbound: bool, received: float, message_id: str) -> tuple[Json, Json]:
    """The fields that never change on their own, and the truth, both as JSON."""
    preview = mail.truth["snippet"]
    if len(preview) >= SNIPPET - 1:  # it was cut, or might have been
        preview = snippet_of(parse(mail.raw), PREVIEW)
    sender = recipient(mail.people["From"][0]) if mail.people["From"] else None
    dated = date_among(mail.headers)
    own = next((value for name, value in mail.headers if name.lower() == "message-id"), "")
    fields: Json = {
        "createdDateTime": moment(received),
        "sentDateTime": moment(received if dated is None else dated),
        "hasAttachments": mail.mime_type.startswith("multipart/") and bool(attachments(mail.raw)),
        "internetMessageId": own.strip() or f"<{message_id[-20:].strip('=')}@outlook.simulator.example>",
        "subject": mail.truth["subject"],
        "bodyPreview": preview,
        "from": sender,
        "sender": sender,
    }
    fields |= {field: [recipient(person) for person in mail.people[name]] for field, name in _PEOPLE.items()}
    truth = mail.truth | {"snippet": preview}
    if inbound:
        fields["internetMessageHeaders"] = [
            {"name": name, "value": value} for name, value in (_received(received), *mail.headers)
        ]
    else:
        people = {name: spelled(mail.people[name][:1] if name == "From" else mail.people[name]) for name in _PEOPLE_IN}
        told = people | {"Subject": truth["subject"]}
        truth["headers"] = {name: value for name, value in told.items() if value}
    # Where no header says it, the fields do.
    missing = {"Message-ID": fields["internetMessageId"], "Date": dated_header(received if dated is None else dated)}
    truth["headers"] = missing | truth["headers"]
    return fields, truth


def recipient(person: Person) -> Json:
    """A person; one without a name is called by the address."""
    name, address = person
    return {"emailAddress": {"name": name or address, "address": address}}


def moment(seconds: float) -> str:
    """A time as Graph writes it."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def dated_header(seconds: float) -> str:
    """A time as a Date header without a zone, for mail that names none itself."""
    return formatdate(int(seconds))


def body_of(raw: bytes, text_only: bool) -> Json:
    """The body: HTML where there is some and it is wanted, else text."""
    parts: dict[str, Message] = {}
    for part in parse(raw).walk():
        if not part.is_multipart() and part.get_content_maintype() == "text":
            parts.setdefault(part.get_content_subtype(), part)
    if "html" in parts and not text_only:
        return {"contentType": "html", "content": text_of(parts["html"])}
    readable = parts.get("plain") or parts.get("html")
    return {"contentType": "text", "content": "" if readable is None else text_of(readable)}


def attachments(raw: bytes) -> list[Json]:
    """The parts that have a name, without their bytes; ``contentBytes`` is filled in by who wants them."""
    named = [part for part in parse(raw).walk() if not part.is_multipart() and part.get_filename()]
    return [
        {
            "@odata.type": "#microsoft.graph.fileAttachment", "name": str(part.get_filename()),
            "contentType": part.get_content_type(), "size": len(content_of(part)), "isInline": False,
        }
        for part in named
    ]  # fmt: skip


def attachment_bytes(raw: bytes) -> Sequence[bytes]:
    """The bytes of the same parts, in the same order."""
    return [content_of(part) for part in parse(raw).walk() if not part.is_multipart() and part.get_filename()]


def _received(at: float) -> tuple[str, str]:
    stamp = datetime.fromtimestamp(int(at), UTC).strftime("%a, %d %b %Y %H:%M:%S +0000")
    return "Received", f"from mx.simulator.example (203.0.113.7) by outlook.simulator.example with HTTPS; {stamp}"

"""A message that a client hands in: as ``raw`` in the JSON body, or as the body of an upload."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass, replace
from email.utils import formatdate
from typing import Any

import orjson

from infra.local.google.asked import UPLOAD, Asked, Json, names
from infra.local.google.errors import GoogleError
from infra.local.google.mailbox import Arrival
from infra.local.google.shown import valid_id
from infra.local.simulated.errors import UnreadableMail
from infra.local.simulated.reading import Mail, from_raw


@dataclass(frozen=True, slots=True)
class Submission:
    """The bytes of a message, and what the client says beside them."""

    raw: bytes
    labels: tuple[str, ...] = ()
    thread: str = ""

    def mail(self) -> Mail:
        """Read it. Raises ``GoogleError`` 400 for what is no mail."""
        try:
            return from_raw(self.raw)
        except UnreadableMail as error:
            raise GoogleError(400, f"Invalid message: {error}", "invalidArgument") from None

    def arrival(self, labels: Sequence[str], received_at: float) -> Arrival:
        """The same on its way into a mailbox. Raises ``GoogleError`` 400."""
        mail = self.mail()
        return Arrival(tuple(labels), received_at, lambda _: mail, self.thread)


def submitted(asked: Asked) -> Submission:
    """Read the message of messages.insert, import and send. Raises ``GoogleError`` 400."""
    return _read(*_taken_apart(asked))


def submitted_draft(asked: Asked) -> tuple[str, Submission | None]:
    """Read the draft of drafts.create, update and send: its id ('' for none) and its message (None for none)."""
    raw, draft = _taken_apart(asked)
    draft_id = draft.get("id", "")
    message = draft.get("message") or {}
    if not isinstance(draft_id, str) or not isinstance(message, dict):
        raise GoogleError(400, "Invalid value at 'draft'", "invalidArgument")
    return draft_id, None if raw is None and not message else _read(raw, message)


def sending(submission: Submission, labels: Sequence[str], address: str, now: float) -> Arrival:
    """A message on its way out: Gmail adds sender, date and id where the client left them out.

    Raises ``GoogleError`` 400.
    """
    present = {name.lower() for name, _ in submission.mail().headers}

    def build(message_id: str) -> Mail:
        usual = {"From": address, "Date": formatdate(now), "Message-ID": f"<{message_id}@mail.simulator.example>"}
        head = "".join(f"{name}: {value}\r\n" for name, value in usual.items() if name.lower() not in present)
        return replace(submission, raw=head.encode() + submission.raw).mail()

    return Arrival(tuple(labels), now, build, submission.thread)


def _read(raw: bytes | None, message: Json) -> Submission:
    if raw is None:
        raw = _decoded(message.get("raw"))
    thread = message.get("threadId") or ""
    if thread:
        valid_id(str(thread))
    return Submission(raw, tuple(names(message, "labelIds")), str(thread))


def _decoded(value: Any) -> bytes:
    if not isinstance(value, str) or not value:
        message = "'raw' RFC822 payload message string or uploading message via /upload/* URL required"
        raise GoogleError(400, message, "invalidArgument")
    try:
        return base64.b64decode(value.replace("-", "+").replace("_", "/") + "=" * (-len(value) % 4), validate=True)
    except (ValueError, binascii.Error):
        raise GoogleError(400, "Invalid value at 'raw' (TYPE_BYTES), Base64 decoding failed") from None


def _taken_apart(asked: Asked) -> tuple[bytes | None, Json]:
    """The uploaded message, None where it is in the JSON; and the JSON."""
    if not asked.call.target.startswith(UPLOAD):
        return None, asked.json()
    match asked.one("uploadType"):
        case "media":
            return asked.call.body, {}
        case "multipart":
            return _related(asked.call.body)
    raise GoogleError(400, "Uploads of this type are not simulated: use media or multipart.", "invalidArgument")


def _related(body: bytes) -> tuple[bytes, Json]:
    """Read an upload of JSON and message; its first line names the boundary."""
    boundary, _, rest = body.partition(b"\n")
    pieces = rest.split(b"\n" + boundary.rstrip())
    if len(pieces) < 2 or not boundary.startswith(b"--"):
        raise GoogleError(400, "Malformed multipart body.", "invalidArgument")
    try:
        given = orjson.loads(_content(pieces[0]))
    except ValueError:
        raise GoogleError(400, "Invalid JSON payload received.") from None
    if not isinstance(given, dict):
        raise GoogleError(400, "Invalid JSON payload received.")
    return _content(pieces[1].lstrip(b"\r\n")), given


def _content(piece: bytes) -> bytes:
    blank = b"\r\n\r\n" if piece.partition(b"\n")[0].endswith(b"\r") else b"\n\n"
    return piece.partition(blank)[2].removesuffix(b"\r")

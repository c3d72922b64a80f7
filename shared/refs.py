"""Where every document lives: the only place that spells document paths.

A mailbox id is ``{uid}:{slot}:{PROVIDER}`` and names its stream too; a user's own stream is ``{uid}:app``. Neither uid
nor slot contains a colon or a slash, so ids and paths convert without a lookup.
"""

from __future__ import annotations

import base64
import hashlib
import re

from shared.errors import InvalidRequest, NotFound

_NAME = re.compile(r"[^/\x00-\x1f\x7f]{1,300}")
_KEY = re.compile(r"[0-9a-v]{32}")


def user(uid: str) -> str:
    """The user's document."""
    return f"users/{uid}"


def grant(uid: str, grant_id: str) -> str:
    """A grant; ``grant_id`` is ``{provider}:{subject}``."""
    return f"users/{uid}/grants/{grant_id}"


def data_key(uid: str) -> str:
    """The user's wrapped data key, in the store of keys."""
    return f"keys/{uid}"


def mailbox_id(uid: str, slot: str, provider: str) -> str:
    """Compose the id of a mailbox, which is also its stream."""
    return f"{uid}:{slot}:{provider}"


def app_stream(uid: str) -> str:
    """The stream of the events that the user's clients post."""
    return f"{uid}:app"


def owner(stream: str) -> str:
    """The uid in a mailbox id or stream."""
    return stream.partition(":")[0]


def stream(name: str) -> str:
    """The document at the head of a stream: the mailbox, or the user's app stream. Raises ``NotFound``."""
    uid, _, rest = name.partition(":")
    if not _NAME.fullmatch(name) or not uid or not rest:
        raise NotFound("There is no such stream.")
    return f"users/{uid}/streams/app" if rest == "app" else f"users/{uid}/mailboxes/{name}"


def segment(name: str, first: int) -> str:
    """The log document whose first event has this sequence."""
    return f"{stream(name)}/log/{first:012d}"


def message(mailbox: str, provider_id: str) -> str:
    """A message; provider ids are hashed, so that a hostile one cannot leave its collection and writes spread."""
    return f"{stream(mailbox)}/messages/{_digest(provider_id)}"


def gap(mailbox: str, provider_id: str) -> str:
    """The gap of a message that could not be read."""
    return f"{stream(mailbox)}/gaps/{_digest(provider_id)}"


def cursor(mailbox: str, folder: str) -> str:
    """Where one folder is followed from; ``folder`` is the provider's id of it."""
    return f"{stream(mailbox)}/cursors/{_digest(folder)}"


def resync_page(mailbox: str, run: int, page: int) -> str:
    """What one listing page of a resync named, kept until that resync ends."""
    return f"{stream(mailbox)}/resync/{run:06d}-{page:08d}"


def watermark(consumer: str, name: str) -> str:
    """How far a consumer has applied a stream."""
    return f"consumers/{consumer}/watermarks/{name}"


def effect(consumer: str, scope: str, *key: str) -> str:
    """One effect of a consumer in one scope (a stream's generation)."""
    return f"consumers/{consumer}/effects/{_digest('|'.join((scope, *key)))}"


def route(provider: str, address: str) -> str:
    """Which mailboxes a doorbell means, by the provider's address or channel id."""
    return f"routes/{_digest(f'{provider}|{address}')}"


def oauth(secret: str) -> str:
    """What is known under a state or a code of ours; only its digest is kept."""
    return f"oauth/{_digest(secret)}"


def login(kind: str, name: str) -> str:
    """Who signs in with an e-mail address (kind ``email``), or with a subject at a provider (its name)."""
    return f"logins/{_digest(f'{kind}|{name}')}"


def session(uid: str, session_id: str) -> str:
    """A session of the user's."""
    return f"users/{uid}/sessions/{session_id}"


def attempts(kind: str, name: str) -> str:
    """How often somebody has tried to sign in, by account or by remote address."""
    return f"attempts/{_digest(f'{kind}|{name}')}"


def allowance(name: str) -> str:
    """The bucket of somebody's requests of one class; who it is cannot be read from it."""
    return f"limits/{_digest(name)}"


def trail(uid: str, moment: str) -> str:
    """An entry of the user's audit trail; ``moment`` sorts by time."""
    return f"users/{uid}/audit/{moment}"


def export(uid: str, export_id: str) -> str:
    """One export of all that is kept of a user."""
    return f"users/{uid}/exports/{export_id}"


def archive(uid: str, export_id: str = "") -> str:
    """Where the blobs of an export are, or those of all exports of a user."""
    return f"exports/{uid}/{export_id}" if export_id else f"exports/{uid}"


def tombstone(digest: str) -> str:
    """What is left of a deleted person; the digest is keyed, so that nobody without the key can tell whose it is."""
    return f"tombstones/{digest}"


def key(ref: str) -> str:
    """The last part of a reference."""
    return ref.rpartition("/")[2]


def checked_key(text: str) -> str:
    """A key of ours that has been outside. Raises ``InvalidRequest`` for anything else."""
    if not _KEY.fullmatch(text):
        raise InvalidRequest("The position is not one that was given out.")
    return text


def _digest(text: str) -> str:
    raw = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:20]
    return base64.b32hexencode(raw).decode().lower()

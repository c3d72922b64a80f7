"""What an archive holds, line by line: the form of each record, and the hash that ties the segments of a stream together.

Messages, gaps and segments are the documents as they are stored. Of profile, grants and mailboxes only the fields named
here go out, so that a field that somebody adds, which may be a secret, stays inside until it is named.

A stream's hash begins as the SHA-256 of its name; each segment makes of it the SHA-256 of what it was (its 32 bytes) and the
segment as compact JSON with sorted keys. Two logs with one hash have the same sequences, ids and contents.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import orjson

from shared import refs
from shared.ports import Data, Doc

FORMAT = 1

PROFILE = ("uid", "email", "name", "created_at", "slots", "role")
GRANT = ("provider", "subject", "scopes", "status", "created_at", "updated_at", "expires_at")
MAILBOX = (
    "id", "uid", "provider", "slot", "grant_id", "address", "status", "created_at", "updated_at", "followed_since",
    "last_synced_at", "caught_up_at", "head", "messages",
)  # fmt: skip
STREAM = ("uid", "head")
AUDIT = ("at", "action", "by", "about")


def profile(doc: Doc) -> Data:
    """Who the person is."""
    return {"kind": "profile", "data": _named(doc.data, PROFILE)}


def grant(doc: Doc) -> Data:
    """What a provider was asked for, without the tokens."""
    return {"kind": "grant", "id": refs.key(doc.ref), "data": _named(doc.data, GRANT)}


def mailbox(doc: Doc) -> Data:
    """A mailbox at the moment up to which its stream is in the archive."""
    return {"kind": "mailbox", "id": doc.data["id"], "data": _named(doc.data, MAILBOX)}


def message(mailbox_id: str, doc: Doc) -> Data:
    """A message, a tombstone or a placeholder. Of two with one ``data.id`` the later one counts."""
    return {"kind": "message", "mailbox": mailbox_id, "data": doc.data}


def gap(mailbox_id: str, doc: Doc) -> Data:
    """A message that could not be read."""
    return {"kind": "gap", "mailbox": mailbox_id, "data": doc.data}


def segment(doc: Doc, before: str) -> Data:
    """A segment of a log; ``before`` is the stream's hash up to it."""
    return {"kind": "segment", "stream": doc.data["stream"], "hash": chained(before, doc.data), "data": doc.data}


def audit(doc: Doc) -> Data:
    """An entry of the person's audit trail."""
    return {"kind": "audit", "id": refs.key(doc.ref), "data": _named(doc.data, AUDIT)}


def beginning(stream: str) -> str:
    """The hash of a stream of which nothing has been read."""
    return hashlib.sha256(stream.encode()).hexdigest()


def chained(before: str, segment: Data) -> str:
    """The hash of a stream with one more segment."""
    return hashlib.sha256(bytes.fromhex(before) + orjson.dumps(segment, option=orjson.OPT_SORT_KEYS)).hexdigest()


def line(record: Any) -> bytes:
    """A record as a line of the archive."""
    return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)


def _named(data: Data, names: Iterable[str]) -> Data:
    return {name: data[name] for name in names if name in data}

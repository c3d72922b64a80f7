"""User ids out of what issuers call people: safe in document paths, stable, and never the same for two of them.

Three families, which no id belongs to two of::

    u_ and 26 of a-z2-7      given by our own ``auth``; no subject of another issuer ever becomes one
    plain, or h_ + digest    subjects of an issuer with plain uids, as they are where they are plain
    h_0 + digest             subjects of any other issuer; the digest is over issuer and subject

A plain subject is one of ``[A-Za-z0-9_-]``, at most 64 long, that looks like none of the others. A digest in base32 has no 0,
so the last two cannot meet either. Nothing is normalised: look-alikes are different people.
"""

from __future__ import annotations

import base64
import hashlib
import re

import orjson

_OWN = re.compile(r"u_[a-z2-7]{26}\Z")
_PLAIN = re.compile(r"(?!h_)[A-Za-z0-9_-]{1,64}\Z")
_RESERVED = re.compile(r"__.*__\Z")


def own_uid(subject: str) -> str | None:
    """The subject, if it is an id that our own ``auth`` gives; None for anything else."""
    return subject if _OWN.match(subject) else None


def uid_of(subject: str) -> str:
    """The id of a subject whose issuer has plain uids: itself where it is plain, else a digest."""
    if _PLAIN.match(subject) and not _OWN.match(subject) and not _RESERVED.match(subject):
        return subject
    return "h_" + _digest(subject.encode("utf-8", "surrogatepass"))


def uid_apart(issuer: str, subject: str) -> str:
    """The id of a subject of an issuer that shares its people with no other."""
    # As JSON, so that no two pairs look alike; a lone surrogate is no text that JSON has.
    pair = [text.encode("utf-8", "surrogatepass").hex() for text in (issuer, subject)]
    return "h_0" + _digest(orjson.dumps(pair))


def is_uid(text: str) -> bool:
    """Whether this could be a user id: safe in a document's path, and of a form that is given."""
    return bool(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", text)) and not _RESERVED.match(text)


def _digest(content: bytes) -> str:
    return base64.b32encode(hashlib.sha256(content).digest()).decode().rstrip("=").lower()

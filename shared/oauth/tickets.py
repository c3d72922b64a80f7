"""What works once and not for long: a document under the digest of a random secret that only the holder knows.

The document is deleted, by compare-and-set, before what it stands for happens: whoever deletes it is the one who uses it.
When nobody can tell who did (an answer was lost), it counts as used, because starting over costs a person a click.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass

from shared import queries, refs
from shared.errors import Busy, Conflict, Unknown
from shared.ports import Clock, Create, Data, Delete, Doc, Store

SECRET_BYTES = 32
ATTEMPTS = 5

_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class Tickets:
    """Documents of the collection ``oauth``; ``kind`` keeps those of one use from being taken for those of another."""

    store: Store
    clock: Clock

    def issue(self, kind: str, data: Data, lifetime: float) -> str:
        """Keep the data for so many seconds; answers the secret. Raises ``Retry``."""
        for _ in range(ATTEMPTS):
            secret = random_text(self.clock)
            ref = refs.oauth(secret)
            now = self.clock.now()
            about = {
                "kind": kind,
                "created_at": now,
                "expires_at": now + lifetime,
                "shard": queries.shard_of(ref),
                "rev": 1,
            }
            try:
                self.store.commit([Create(ref, {**data, **about})])
            except (Conflict, Unknown):
                continue  # what was perhaps written is known to nobody, and swept
            return secret
        raise Busy("The consent could not be written; try again.", retry_after=2)

    def find(self, kind: str, secret: str) -> Doc | None:
        """The document of a secret, None where there is none (any more)."""
        if not _SECRET.fullmatch(secret):
            return None
        ref = refs.oauth(secret)
        doc = self.store.get([ref]).get(ref)
        if doc is None or doc.data["kind"] != kind or doc.data["expires_at"] <= self.clock.now():
            return None
        return doc

    def spend(self, doc: Doc) -> bool:
        """Use up what was found; False for everybody but one. Raises ``Retry``, after which it can still be used."""
        try:
            self.store.commit([Delete(doc.ref, doc.version)])
        except (Conflict, Unknown):
            return False
        return True


def random_text(clock: Clock) -> str:
    """256 random bits, in characters that mean nothing in URLs, cookies and forms."""
    return encoded(clock.entropy(SECRET_BYTES))


def encoded(value: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


def sweep(store: Store, now: float, limit: int = 500) -> int:
    """Delete consents and identities that have expired, at most so many; answers how many. Raises ``StoreError``."""
    swept = 0
    for shard in range(queries.SHARDS):
        if swept >= limit:
            break
        expired = store.query(queries.expired_consents(shard, now, limit - swept))
        if expired:
            store.commit([Delete(doc.ref) for doc in expired])
        swept += len(expired)
    return swept

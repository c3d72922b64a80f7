"""What sign-ins leave behind and nobody needs any more: counts that hold nobody up, sessions that are over."""

from __future__ import annotations

from shared import queries
from shared.ports import Delete, Store


def sweep(store: Store, now: float, tick: float, limit: int = 250) -> int:
    """Delete what has expired in one shard, at most so much of each; answers how much. Each tick has another shard.

    Raises ``StoreError``.
    """
    shard = queries.shard_in_turn(now, tick)
    swept = 0
    for expired in (queries.expired_attempts, queries.expired_sessions):
        found = store.query(expired(shard, now, limit))
        if found:
            # As they were read: a session is gone on with until it has expired, a count begins anew after that.
            store.commit([Delete(doc.ref, doc.version) for doc in found])
        swept += len(found)
    return swept

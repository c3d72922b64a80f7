"""How many requests somebody may make in a minute, kept together by instances that know nothing of each other.

Each person (or remote address) has one bucket per class of requests: a document that says when it will be full again. An
instance leases a share of the bucket by compare-and-set and serves it from memory, so a hot person costs a write per share and
not per request, and nobody who is refused costs any. The first share of each minute an instance gives on its own account:
whoever makes few requests costs nothing at all, and since a lease is never larger, nobody is refused in a minute before the
last request that the limit allows, however many instances the requests are spread over. The price is that so many shares more
than the limit may be served as there are instances.

Where ``strict``, there is no first share and a lease is one request: the limit is exact. When the store cannot be asked,
strict requests are refused (503) and others served. A full bucket and an absent one are the same, so documents can be deleted
as soon as they are full (``sweep``).
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from dataclasses import dataclass, field

from shared import queries, refs
from shared.errors import Busy, Conflict, Retry, StoreError
from shared.observability import logs
from shared.ports import Clock, Create, Delete, Store, Update

WINDOW = 60.0
SHARES = 20
MAX_BUCKETS = 10_000
"""In the memory of one instance; the one that was not asked for the longest time goes first."""

ATTEMPTS = 16
KEPT = 60.0
"""Seconds that a document is kept once its bucket is full, so that none is deleted under a lease."""

_LOG = logs.named(__name__)
_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class Limit:
    """So many requests of one class a minute."""

    name: str
    per_minute: int
    strict: bool = False

    @property
    def share(self) -> int:
        """What is leased at once."""
        return 1 if self.strict else max(1, self.per_minute // SHARES)

    @property
    def seconds(self) -> float:
        """What one request has to wait for."""
        return WINDOW / self.per_minute


@dataclass(frozen=True, slots=True)
class Allowance:
    """What became of a request, and how many more there can be: at least for a refused one, a guess for a served one.

    ``reset`` is in seconds: until the next request may be served where this one was not, else until the bucket is full again.
    """

    limit: Limit
    granted: bool
    remaining: int
    reset: float


@dataclass(slots=True)
class _Bucket:
    """One bucket as an instance knows it; ``elsewhere`` is what is left in the store, as far as it is known."""

    tokens: int = 0
    elsewhere: float = 0.0
    minute_ends: float = float("-inf")
    refused_until: float = float("-inf")
    lock: threading.Lock = field(default_factory=threading.Lock)


class Allowances:
    """The buckets of everybody, for all threads of one instance."""

    def __init__(self, store: Store, clock: Clock, size: int = MAX_BUCKETS) -> None:
        self._store, self._clock, self._size = store, clock, size
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, limit: Limit, who: str) -> Allowance:
        """Count one request. Raises ``Retry`` where the limit is strict and the store cannot be asked."""
        name = f"{limit.name}|{who}"
        bucket = self._bucket(name)
        with bucket.lock:  # while one thread leases, the others that ask for the same person wait for its share
            now = self._clock.now()
            if now >= bucket.minute_ends:
                bucket.minute_ends = now + WINDOW
                bucket.tokens = max(bucket.tokens, 0 if limit.strict else limit.share)
                bucket.elsewhere = limit.per_minute - bucket.tokens
            if bucket.tokens == 0 and now >= bucket.refused_until:
                self._lease(limit, name, bucket, now)
            if bucket.tokens == 0:
                return Allowance(limit, False, 0, bucket.refused_until - now)
            bucket.tokens -= 1
            remaining = math.floor(bucket.tokens + bucket.elsewhere + _ROUNDING)
            return Allowance(limit, True, remaining, (limit.per_minute - remaining) * limit.seconds)

    def _bucket(self, name: str) -> _Bucket:
        with self._lock:
            bucket = self._buckets.setdefault(name, _Bucket())
            self._buckets.move_to_end(name)
            if len(self._buckets) > self._size:
                self._buckets.popitem(last=False)
            return bucket

    def _lease(self, limit: Limit, name: str, bucket: _Bucket, now: float) -> None:
        try:
            left = self._charge(limit, refs.allowance(name), now)
        except StoreError as error:
            _LOG.warning("limit_not_kept", "A share of a limit could not be leased.", error, limit=limit.name)
            if limit.strict:
                raise Retry("This cannot be served right now.", retry_after=5) from None
            bucket.tokens = limit.share  # on trust, so that a store in trouble is asked once in a share
            return
        if left < 0:
            bucket.elsewhere = 0.0
            bucket.refused_until = now - left * limit.seconds
        else:
            # The instance's own first share is not told as one more than the limit.
            bucket.tokens, bucket.elsewhere = limit.share, max(0.0, min(left, bucket.elsewhere - limit.share))

    def _charge(self, limit: Limit, ref: str, now: float) -> float:
        """Take a share out of the bucket; answers what is left, or how much is lacking, as a negative number.

        A charge whose outcome is unknown is an error: whether it counts is up to the caller. Raises ``StoreError``.
        """
        for _ in range(ATTEMPTS):
            known = self._store.get([ref]).get(ref)
            # An instance whose clock is far ahead must not lock anybody out for longer than a window.
            full_at = now if known is None else min(max(now, float(known.data["full_at"])), now + WINDOW)
            full_at += limit.share * limit.seconds
            left = (now + WINDOW - full_at) / limit.seconds
            if left < -_ROUNDING:
                return left
            data = {"full_at": full_at, "expires_at": full_at + KEPT, "shard": queries.shard_of(ref)}
            try:
                self._store.commit([Create(ref, data) if known is None else Update(ref, data, known.version)])
            except Conflict:
                continue
            return max(0.0, left)
        raise Busy("A limit kept changing.")


def sweep(store: Store, now: float, tick: float, limit: int = 500) -> int:
    """Delete the buckets of one shard that have been full for a while; answers how many. Each tick has another shard.

    Raises ``StoreError``.
    """
    full = store.query(queries.full_allowances(queries.shard_in_turn(now, tick), now, limit))
    if full:
        store.commit([Delete(doc.ref) for doc in full])
    return len(full)

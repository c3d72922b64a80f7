"""How often somebody may try to sign in: counted before a password is looked at, per account and per remote address.

Every attempt counts as a failure until it has succeeded, so a burst that comes at once, on however many instances, gets no
further than one that comes in a row: whoever counts, by compare-and-set, is the one who goes on. After some failures each
further one has to wait twice as long; a success forgives an account everything, an address just itself, as it may be shared
by many and a stranger may have one good account. Successes are counted too, per minute.

An account is the digest of an address that was typed, whether anybody has it or not: what is refused tells nothing.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from shared import queries, refs
from shared.errors import Busy, Conflict, StoreError, Unknown
from shared.observability import logs
from shared.ports import Clock, Create, Data, Doc, Store, Update, Write

WINDOW = 60.0
REMEMBERED = 15.0
"""Seconds for which an instance refuses without asking the store; a success elsewhere is known to it after these."""

MOST_REMEMBERED = 10_000
TRIES = 16

_LOG = logs.named(__name__)


@dataclass(frozen=True, slots=True)
class Policy:
    """So many failures are free; then one has to wait, ``first`` seconds and twice as long each time, up to ``most``.

    ``per_window`` attempts are allowed in ``WINDOW`` seconds, successful ones too. After ``forget`` seconds without any it
    starts anew.
    """

    free: int
    per_window: int
    first: float = 15.0
    most: float = 3_600.0
    forget: float = 86_400.0

    def waits(self, failures: int) -> float:
        """Seconds to wait after so many failures."""
        return 0.0 if failures < self.free else min(self.most, self.first * 2.0 ** min(failures - self.free, 32))


ACCOUNT = Policy(free=5, per_window=8)
ADDRESS = Policy(free=50, per_window=120, most=900.0, forget=3_600.0)


@dataclass(frozen=True, slots=True)
class Held:
    """An attempt that may not be made now; ``by_account`` or else by the remote address. ``until`` is a time."""

    by_account: bool
    until: float


@dataclass(frozen=True, slots=True)
class Attempt:
    """One that is counted; ``Attempts.succeeded`` takes it back."""

    account: str
    address: str | None


@dataclass(slots=True)
class Attempts:
    """Counts attempts in the store; safe to share between threads."""

    store: Store
    clock: Clock
    _held: OrderedDict[str, float] = field(default_factory=OrderedDict, init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def take(self, account: str, address: str | None) -> Attempt | Held:
        """Count an attempt, or say that it may not be made. ``address`` is None where nobody can tell.

        Raises ``Retry`` when it cannot be counted: then nothing may be tried.
        """
        attempt = Attempt(
            refs.attempts("account", account), None if address is None else refs.attempts("address", address)
        )
        policies = _policies(attempt)
        for ref in policies:
            if (until := self._remembered(ref)) is not None:
                return Held(ref == attempt.account, until)

        def count(now: float, ref: str, row: Data) -> Data:
            return _counted(row, policies[ref], now)

        for _ in range(TRIES):
            now = self.clock.now()
            found = self.store.get(list(policies))
            for ref in policies:
                until = _until(_row(found.get(ref), now), policies[ref], now)
                if until > now:
                    self._remember(ref, until, now)
                    which = "account" if ref == attempt.account else "address"
                    _LOG.warning("sign_in_held", "There were too many attempts to sign in.", which=which, until=until)
                    return Held(ref == attempt.account, until)
            if self._write(found, policies, now, count):
                return attempt
        raise Busy("Too many are trying to sign in there at once; try again.", retry_after=1)

    def succeeded(self, attempt: Attempt) -> None:
        """Take back that it counted as a failure. What the store refuses is said in the log: the person is signed in."""
        policies = _policies(attempt)

        def forgive(_: float, ref: str, row: Data) -> Data:
            failures = 0 if ref == attempt.account else max(0, row["failures"] - 1)
            return {**row, "failures": failures, "until": row["until"] if policies[ref].waits(failures) else 0.0}

        try:
            for _ in range(TRIES):
                if self._write(self.store.get(list(policies)), policies, self.clock.now(), forgive):
                    return
            raise Busy("The counts of attempts kept changing.")
        except StoreError as error:
            _LOG.warning("attempt_not_forgiven", "A successful attempt to sign in still counts as a failure.", error)

    def _write(
        self,
        found: dict[str, Doc],
        policies: dict[str, Policy],
        now: float,
        change: Callable[[float, str, Data], Data],
    ) -> bool:
        """Whether the change was made; after a False the documents have to be read again."""
        writes: list[Write] = []
        for ref, policy in policies.items():
            doc = found.get(ref)
            data = change(now, ref, _row(doc, now))
            data |= {"expires_at": max(now, data["until"]) + policy.forget, "shard": queries.shard_of(ref), "rev": 1}
            writes.append(Create(ref, data) if doc is None else Update(ref, data, doc.version))
        try:
            self.store.commit(writes)
        except (Conflict, Unknown):
            return False  # an attempt that was perhaps counted is counted once more: too strict, never too lax
        return True

    def _remembered(self, ref: str) -> float | None:
        with self._lock:
            until = self._held.get(ref, 0.0)
            if until > self.clock.now():
                return until
            self._held.pop(ref, None)
            return None

    def _remember(self, ref: str, until: float, now: float) -> None:
        with self._lock:
            self._held[ref] = min(until, now + REMEMBERED)
            self._held.move_to_end(ref)
            while len(self._held) > MOST_REMEMBERED:
                self._held.popitem(last=False)


def _policies(attempt: Attempt) -> dict[str, Policy]:
    if attempt.address is None:
        return {attempt.account: ACCOUNT}
    return {attempt.address: ADDRESS, attempt.account: ACCOUNT}


def _row(doc: Doc | None, now: float) -> Data:
    """What is counted so far; nothing where that is too long ago."""
    if doc is None or doc.data["expires_at"] <= now:
        return {"failures": 0, "until": 0.0, "since": now, "count": 0}
    row = {name: doc.data[name] for name in ("failures", "until", "since", "count")}
    return row if now - row["since"] < WINDOW else {**row, "since": now, "count": 0}


def _until(row: Data, policy: Policy, now: float) -> float:
    """When the next attempt may be made."""
    full = row["since"] + WINDOW if row["count"] >= policy.per_window else now
    return max(float(row["until"]), full)


def _counted(row: Data, policy: Policy, now: float) -> Data:
    failures = row["failures"] + 1
    return {
        "failures": failures,
        "until": now + policy.waits(failures),
        "since": row["since"],
        "count": row["count"] + 1,
    }

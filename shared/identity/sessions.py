"""Sessions, each a family of refresh tokens of which the newest one is good, once.

A refresh token is ``{uid}.{session}.{generation}.{secret}``. The first half of the secret is the family's and stays, the other
changes with every refresh; a digest of both is kept. So a token that has been replaced is told from one that somebody made
up: the first ends the session, since its holder or the one before has stolen it; the second changes nothing.

The answer with a successor may be lost on its way to the client. So for ``GRACE`` seconds, and while nobody has used the
successor, the token before it is good for another one in its place; at any time one token of a family is the newest, and of
two who come with different ones the second ends the session. After a lost answer of the store the document is read again: it
says whether the successor is the one that was about to be written.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from shared import queries, refs
from shared.cas import amend
from shared.errors import Busy, Conflict, Retry, Unauthorized, Unknown
from shared.identity.trail import Trail
from shared.oauth.tickets import encoded
from shared.observability import logs
from shared.ports import Check, Clock, Create, Data, Delete, Doc, Store

IDLE = 30 * 86_400.0
"""Seconds after which a session that was not refreshed is over."""

LONGEST = 365 * 86_400.0
MOST = 50
"""Sessions that a person has; who opens one more loses those that were unused for longest."""

GRACE = 60.0
"""Seconds after a refresh for which the token that was replaced is taken for one whose answer was lost, and not as stolen."""

MAX_CLIENT = 120
HALF_BYTES = 16
TRIES = 6
FIRST_PAUSE = 0.1
"""Seconds before the store is asked again; each time twice as long, three seconds in all."""

_TOKEN = re.compile(r"(u_[a-z2-7]{26})\.([a-z2-7]{26})\.([0-9]{1,9})\.([A-Za-z0-9_-]{22})([A-Za-z0-9_-]{22})")
_ID = re.compile(r"[a-z2-7]{26}")
_LOG = logs.named(__name__)


@dataclass(frozen=True, slots=True)
class Opened:
    """A session that goes on: of whom, by which id, their profile, and the refresh token that is good for it now."""

    id: str
    profile: Data
    refresh: str = field(repr=False)


class _Replayed(Exception):
    """The token was good once."""


class _Refused(Exception):
    """The token never was good, or its session is over."""


@dataclass(frozen=True, slots=True)
class Sessions:
    """The sessions of everybody who signs in here."""

    store: Store
    clock: Clock
    trail: Trail

    def open(self, uid: str, method: str, client: str) -> Opened:
        """A new session; ``client`` says in a few words what it was opened with.

        Raises ``Unauthorized`` for somebody who is not there (any more), ``Retry``.
        """
        session_id = base64.b32encode(self.clock.entropy(HALF_BYTES)).decode().rstrip("=").lower()
        family = encoded(self.clock.entropy(HALF_BYTES))
        refresh = _token(uid, session_id, 1, family, encoded(self.clock.entropy(HALF_BYTES)))
        ref, now = refs.session(uid, session_id), self.clock.now()
        row: Data = {
            "family": _digest(family),
            "digest": _digest(refresh),
            "generation": 1,
            "method": method,
            "client": _label(client),
            "created_at": now,
            "used_at": now,
            "expires_at": now + IDLE,
            "shard": queries.shard_of(ref),
            "rev": 1,
        }
        for _ in range(TRIES):
            found = self.store.get([refs.user(uid), ref])
            user = _living(found.get(refs.user(uid)))
            if ref in found:
                return Opened(session_id, user.data, refresh)
            try:
                # With the profile as it was read: nobody opens a session while their account is being deleted.
                self.store.commit([Check(user.ref, user.version), Create(ref, row), *self._room(uid)])
            except (Conflict, Unknown):
                continue
            return Opened(session_id, user.data, refresh)
        raise Busy("The session could not be written; try again.", retry_after=2)

    def refresh(self, token: str) -> Opened:
        """The next refresh token for one that is good, or whose answer may be lost. Raises ``Unauthorized``, ``Retry``."""
        parts = _TOKEN.fullmatch(token)
        if parts is None:
            raise _refusal()
        uid, session_id, generation, family, _ = parts.groups()
        successor = _token(uid, session_id, int(generation) + 1, family, encoded(self.clock.entropy(HALF_BYTES)))

        def decide(doc: Doc) -> Data | None:
            row, now = doc.data, self.clock.now()
            if hmac.compare_digest(row["digest"], _digest(successor)):
                return None
            if not hmac.compare_digest(row["family"], _digest(family)) or row["expires_at"] <= now:
                raise _Refused
            if not hmac.compare_digest(row["digest"], _digest(token)):
                # Once the successor has been used, it is what ``previous`` names itself.
                if now - row["used_at"] >= GRACE or not hmac.compare_digest(row.get("previous", ""), _digest(token)):
                    raise _Replayed
                # Not ``used_at``: whoever holds a token that was replaced could else put off its end for ever.
                return {"digest": _digest(successor)}
            return {
                "digest": _digest(successor),
                "previous": _digest(token),
                "generation": int(generation) + 1,
                "used_at": now,
                "expires_at": min(now + IDLE, row["created_at"] + LONGEST),
            }

        for tried in range(TRIES):
            try:
                return self._replace(uid, session_id, decide, successor)
            except Retry:
                # What an earlier try wrote may be there; whoever gave up now would take the good token with it.
                if tried == TRIES - 1:
                    raise
                self.clock.sleep(FIRST_PAUSE * 2**tried)
        raise AssertionError("the last try answers or raises")

    def find(self, uid: str, session_id: str) -> dict[str, Any] | None:
        """A session as its person sees it, None when it is over."""
        if not _ID.fullmatch(session_id):
            return None
        ref = refs.session(uid, session_id)
        doc = self.store.get([ref]).get(ref)
        return None if doc is None or self._is_over(doc) else _shown(doc)

    def demand(self, uid: str, session_id: str) -> dict[str, Any]:
        """A session as its person sees it. Raises ``Unauthorized`` when it is over, ``Retry``."""
        found = self.find(uid, session_id)
        if found is None:
            raise _refusal()
        return found

    def of(self, uid: str) -> list[dict[str, Any]]:
        """The sessions of a person, the one that was used last in front."""
        return [_shown(doc) for doc in self._all(uid) if not self._is_over(doc)]

    def end(self, uid: str, session_id: str, action: str, by: str = "") -> bool:
        """End a session, and say so on the trail as ``action``; False when there is none (any more). Raises ``Retry``."""
        if self.find(uid, session_id) is None:
            return False
        # Ids come once, so nothing that is deleted by its id alone can be another session.
        self._delete(refs.session(uid, session_id))
        self.trail.add(uid, action, by=by, session=session_id)
        return True

    def _replace(self, uid: str, session_id: str, decide: Callable[[Doc], Data | None], successor: str) -> Opened:
        ref = refs.session(uid, session_id)
        found = self.store.get([refs.user(uid), ref])
        user = _living(found.get(refs.user(uid)))
        try:
            if ref not in found or amend(self.store, ref, decide, found[ref]) is None:
                raise _Refused
        except _Refused:
            raise _refusal() from None
        except _Replayed:
            self._end_family(uid, session_id)
            raise _refusal() from None
        return Opened(session_id, user.data, successor)

    def _end_family(self, uid: str, session_id: str) -> None:
        self._delete(refs.session(uid, session_id))
        _LOG.warning("session_replayed", "A refresh token came a second time; its session is over.", uid=uid)
        self.trail.add(uid, "session_replayed", session=session_id)

    def _delete(self, ref: str) -> None:
        for _ in range(TRIES):
            try:
                self.store.commit([Delete(ref)])
            except (Conflict, Unknown):
                continue
            return
        raise Busy("The session could not be ended; try again.", retry_after=2)

    def _room(self, uid: str) -> list[Delete]:
        """What has to go so that there is room for one more."""
        rows = self._all(uid)
        over = [doc for doc in rows if self._is_over(doc)]
        going_on = [doc for doc in rows if not self._is_over(doc)]
        return [Delete(doc.ref) for doc in (*over, *going_on[MOST - 1 :])]

    def _all(self, uid: str) -> list[Doc]:
        rows = self.store.query(queries.kept_below(uid, "sessions", 2 * MOST))
        return sorted(rows, key=lambda doc: (-doc.data["used_at"], doc.ref))

    def _is_over(self, doc: Doc) -> bool:
        return bool(doc.data["expires_at"] <= self.clock.now())


def _living(user: Doc | None) -> Doc:
    if user is None or user.data.get("erasing") is not None:
        raise _refusal()
    return user


def _refusal() -> Unauthorized:
    return Unauthorized("The session is over, or never was: sign in again.", reason="session_over")


def _token(uid: str, session_id: str, generation: int, family: str, own: str) -> str:
    return f"{uid}.{session_id}.{generation}.{family}{own}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _label(client: str) -> str:
    """What a client says of itself, as far as it can be shown."""
    return "".join(character for character in client[: 2 * MAX_CLIENT] if character.isprintable())[:MAX_CLIENT]


def _shown(doc: Doc) -> dict[str, Any]:
    names = ("method", "client", "created_at", "used_at", "expires_at")
    return {"id": refs.key(doc.ref), **{name: doc.data[name] for name in names}}

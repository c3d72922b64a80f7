"""The audit trail of a person: what was done with their account, by whom, appended and never changed.

An entry is written once the deed is done, or refused: a trail that a store's outage could block would lock people out, so
what cannot be written is said in the log instead. It says what, when and from where, and never what was read or sent.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from shared import queries, refs
from shared.errors import InvalidRequest, StoreError
from shared.observability import logs
from shared.ports import Clock, Create, Data, Doc, Scalar, Store

ACTIONS = frozenset(
    {
        "sign_up", "sign_in", "sign_out", "session_revoked", "session_replayed", "connect", "disconnect", "token_access",
        "reauth", "export", "deletion", "admin_read", "role",
    }
)  # fmt: skip
MAX_TEXT = 200

_MOMENT = re.compile(r"[0-9]{15}-[0-9a-f]{12}")
_LOG = logs.named(__name__)


@dataclass(frozen=True, slots=True)
class Trail:
    """Appends to, and reads, the audit trails of users."""

    store: Store
    clock: Clock

    def add(self, uid: str, action: str, *, by: str = "", **about: Scalar | None) -> None:
        """Append an entry: ``action`` of ``ACTIONS``, ``by`` whom where it was not the person.

        ``about`` holds short texts and numbers, such as ``provider`` or ``outcome``; no token, password or address of mail.
        """
        try:
            self.demand(uid, action, by=by, **about)
        except StoreError as error:
            _LOG.error("trail_not_written", "An entry of an audit trail could not be written.", error, action=action)

    def demand(self, uid: str, action: str, *, by: str = "", **about: Scalar | None) -> None:
        """Append an entry without which something may not be done. Raises ``StoreError`` where that is not certain."""
        self.store.commit([self.entry(uid, action, by=by, **about)])

    def entry(self, uid: str, action: str, *, by: str = "", **about: Scalar | None) -> Create:
        """An entry as a write, for who commits it together with the deed."""
        if action not in ACTIONS:
            raise ValueError(f"{action} is no action of the audit trail.")
        now = self.clock.now()
        entry: Data = {
            "at": now,
            "shard": queries.shard_of(uid),
            "action": action,
            "by": by or uid,
            "about": {name: _short(value) for name, value in about.items() if value is not None},
        }
        moment = f"{int(now * 1000):015d}-{self.clock.entropy(6).hex()}"
        return Create(refs.trail(uid, moment), entry)

    def page(self, uid: str, after: str | None, limit: int) -> tuple[list[dict[str, Any]], str | None]:
        """Entries ``{at, action, by, about}`` after a position, oldest first, and the position behind them."""
        if after is not None and not _MOMENT.fullmatch(after):
            raise InvalidRequest("The position is not one that was given out.")
        docs = self.store.query(queries.trail_of(uid, limit, after))
        return [_entry(doc) for doc in docs], refs.key(docs[-1].ref) if len(docs) == limit else None


def _entry(doc: Doc) -> dict[str, Any]:
    return {name: doc.data[name] for name in ("at", "action", "by", "about")}


def _short(value: Scalar) -> Scalar:
    return value[:MAX_TEXT] if isinstance(value, str) else value

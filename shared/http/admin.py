"""What an admin may read of others: how their mailboxes are, what was done with their account, and by which sessions they are
signed in, which they may end. Nothing of their mail.

Each reading is on the trail of the person before it is answered: where it cannot be written down, there is no answer. Whoever
is no admin is refused before anything is looked up, so nobody finds out here who exists.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Flask, Response

from shared import refs
from shared.errors import NotFound
from shared.events.envelope import iso
from shared.http import cursors, fields, lists
from shared.http.app import json_answer
from shared.http.auth import caller
from shared.identity.roles import require_permission
from shared.identity.sessions import Sessions
from shared.identity.trail import Trail
from shared.identity.uids import is_uid
from shared.ports import Clock, Store


def admin_routes(
    app: Flask, store: Store, clock: Clock, status: Callable[[str], dict[str, Any]], living: Callable[[str], str]
) -> None:
    """Add ``/admin/users/{uid}/*`` to an app that asks for tokens; ``status`` answers how a user's mailboxes are.

    ``living`` raises ``errors.AccountDeleted`` for a caller who has left.
    """
    trail = Trail(store, clock)
    kept = Sessions(store, clock, trail)

    @app.get("/admin/users/<uid>/status")
    def admin_status(uid: str) -> Response:
        _read(uid, "status")
        return json_answer({**status(uid), "user_id": uid})

    @app.get("/admin/users/<uid>/audit")
    def admin_audit(uid: str) -> Response:
        scope, limit, after = f"audit\n{uid}", fields.limit(), fields.parameter("after")
        position = None if after is None else cursors.decode(scope, after)
        _read(uid, "audit")
        entries, position = trail.page(uid, position, limit)
        return json_answer(
            {
                "entries": [{**entry, "at": iso(entry["at"])} for entry in entries],
                "next": None if position is None else cursors.encode(scope, position),
            }
        )

    @app.get("/admin/users/<uid>/sessions")
    def admin_sessions(uid: str) -> Response:
        _read(uid, "sessions")
        return lists.sessions(kept.of(uid), caller().session)

    @app.delete("/admin/users/<uid>/sessions/<session_id>")
    def admin_revoke(uid: str, session_id: str) -> Response:
        require_permission(caller(), "sessions", "revoke", uid)
        living(caller().uid)
        _find(uid)
        if not kept.end(uid, session_id, "session_revoked", by=caller().uid):
            raise NotFound("There is no such session.")
        return json_answer({"message": "session revoked"})

    def _read(uid: str, what: str) -> None:
        principal = caller()
        require_permission(principal, what, "read", uid)
        living(principal.uid)
        _find(uid)
        if principal.uid != uid:
            trail.demand(uid, "admin_read", by=principal.uid, what=what)

    def _find(uid: str) -> None:
        ref = refs.user(uid)
        known = store.get([ref]).get(ref) if is_uid(uid) else None
        if known is None or known.data.get("erasing") is not None:
            raise NotFound("There is no such user.")

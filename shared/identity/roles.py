"""Who may do what with whose data: one table, and a question that is asked wherever the data may be somebody else's.

A role comes from our own issuer, or from one that is allowed to give it (``identity/tokens``); whoever comes without one is an
``owner``. Everybody may do everything with what is theirs, and most routes reach nothing else: they know the caller alone. What
is somebody else's takes a line of the table, and a role that is not in it may nothing at all. Admins see that people are well
and who did what, and may end sessions; they never see mail, events or tokens. Who is an admin with us, the operator says:
``give`` is what ``make role`` does.
"""

from __future__ import annotations

from collections.abc import Mapping

from shared import refs
from shared.errors import Forbidden, InvalidRequest, NotFound
from shared.identity.tokens import Principal
from shared.identity.trail import Trail
from shared.identity.uids import is_uid, own_uid
from shared.identity.users import refuse_erasing
from shared.ports import Update

OWNER, ADMIN, SERVICE = "owner", "admin", "service"

ACTIONS: Mapping[str, frozenset[str]] = {
    "profile": frozenset({"read", "write"}),
    "mail": frozenset({"read", "connect", "disconnect"}),
    "events": frozenset({"read", "write"}),
    "status": frozenset({"read"}),
    "audit": frozenset({"read"}),
    "sessions": frozenset({"read", "revoke"}),
    "provider_token": frozenset({"read"}),
    "export": frozenset({"create", "read"}),
    "account": frozenset({"delete"}),
}
"""What can be done with each kind of thing."""

_OTHERS: Mapping[str, frozenset[tuple[str, str]]] = {
    OWNER: frozenset(),
    ADMIN: frozenset({("status", "read"), ("audit", "read"), ("sessions", "read"), ("sessions", "revoke")}),
    SERVICE: frozenset({("provider_token", "read")}),
}
"""What a role may do with what is somebody else's."""

ROLES = frozenset(_OTHERS)


def has_permission(principal: Principal, resource: str, action: str, owner_uid: str) -> bool:
    """Whether the caller may do this with that kind of thing of that person.

    Raises ``ValueError`` for what is not in ``ACTIONS``, whoever asks: a misspelt question must not be a quiet no.
    """
    if action not in ACTIONS.get(resource, ()):
        raise ValueError(f"{resource}/{action} is no permission.")
    others = _OTHERS.get(principal.role)
    if others is None or not owner_uid:
        return False
    return principal.uid == owner_uid or (resource, action) in others


def require_permission(principal: Principal, resource: str, action: str, owner_uid: str) -> None:
    """Raises ``Forbidden`` unless ``has_permission``."""
    if not has_permission(principal, resource, action, owner_uid):
        raise Forbidden("Your role does not allow this.")


def give(trail: Trail, uid: str, role: str) -> bool:
    """Give somebody who signs in with us a role, which their next access token has; False where they have it.

    Raises ``InvalidRequest`` for what is no role and for whoever signs in elsewhere, whose profile's role nobody asks for,
    ``NotFound``, ``AccountDeleted``, ``StoreError``.
    """
    if role not in ROLES:
        raise InvalidRequest(f"There is no role {role!r}, only {', '.join(sorted(ROLES))}.", field="role")
    ref = refs.user(uid)
    doc = trail.store.get([ref]).get(ref) if is_uid(uid) else None
    if doc is None:
        raise NotFound("There is no such user.")
    refuse_erasing(doc.data)
    if own_uid(uid) is None:
        raise InvalidRequest("Their issuer says what role they have.")
    before = doc.data.get("role", OWNER)
    if before == role:
        return False
    trail.store.commit(
        [Update(ref, {"role": role}, doc.version), trail.entry(uid, "role", by="operator", before=before, role=role)]
    )
    return True

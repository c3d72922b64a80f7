"""Who may do what with whose data: one table, and a question that everything asks.

A role comes from our own issuer, or from one that is allowed to give it (``identity/tokens``); whoever comes without one is an
``owner``. Everybody may do everything with what is theirs. What is somebody else's takes a line of the table, and a role that
is not in it may nothing at all. Admins see that people are well and who did what; they never see mail, events or tokens.
"""

from __future__ import annotations

from collections.abc import Mapping

from shared.errors import Forbidden
from shared.identity.tokens import Principal

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
    SERVICE: frozenset({("provider_token", "read"), ("export", "create"), ("export", "read")}),
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

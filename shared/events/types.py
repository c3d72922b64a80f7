"""The event types that Brainstem itself writes, each once; clients may post any other."""

from __future__ import annotations

RECEIVED = "email.received"
SENT = "email.sent"
UPDATED = "email.updated"
DELETED = "email.deleted"
CONNECTED = "mailbox.connected"
DISCONNECTED = "mailbox.disconnected"
REAUTH_REQUIRED = "grant.reauth_required"
PROGRESS = "sync.progress"
COMPLETED = "sync.completed"
ACCOUNT_DELETED = "account.deleted"

RESERVED = frozenset(
    {
        RECEIVED, SENT, UPDATED, DELETED, CONNECTED, DISCONNECTED, REAUTH_REQUIRED, PROGRESS, COMPLETED, ACCOUNT_DELETED,
    }
)  # fmt: skip
"""All of them: what nobody else may post."""

"""What a client asks for when it subscribes or renews, read and checked."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from infra.local.microsoft.errors import GraphError, invalid
from infra.local.microsoft.identity_accounts import Account
from infra.local.simulated.clients import is_redirect_uri

LONGEST_SECONDS = 10_080 * 60.0
SHORTEST_SECONDS = 45 * 60.0
_LONGEST_CLIENT_STATE = 128
_CHANGES = ("created", "updated", "deleted")
_RESOURCE = re.compile(
    r"/?(?:me|users(?:/|\(')(?P<user>[^/']{1,254})(?:'\))?)"
    r"(?:/mailfolders(?:/|\(')(?P<folder>[A-Za-z0-9_=-]{1,200})(?:'\))?)?/messages",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A subscription that may be made; ``folder`` is "" for the whole mailbox, ``changes`` are sorted, with commas."""

    resource: str
    folder: str
    changes: str
    url: str
    lifecycle_url: str
    client_state: str | None
    expires: float


def read(body: Mapping[str, Any], account: Account, now: float) -> Wanted:
    """Check the body of a creation. Raises ``GraphError``."""
    resource, url = _text(body, "resource"), _text(body, "notificationUrl")
    changes = {change.strip().lower() for change in _text(body, "changeType").split(",")}
    if not changes <= set(_CHANGES):
        raise invalid("changeType must name created, updated or deleted.", "InvalidRequest")
    found = _RESOURCE.fullmatch(resource)
    if found is None or (found["user"] or account.id).lower() not in (account.id, account.address.lower()):
        raise invalid("Resource is not supported, or belongs to somebody else.", "InvalidRequest")
    lifecycle_url = body.get("lifecycleNotificationUrl") or ""
    if not is_redirect_uri(url) or not (lifecycle_url == "" or is_redirect_uri(lifecycle_url)):
        raise invalid("The notification URL must be an absolute web URL.", "InvalidRequest")
    state = body.get("clientState")
    if state is not None and (not isinstance(state, str) or len(state) > _LONGEST_CLIENT_STATE):
        raise invalid(f"clientState must not exceed {_LONGEST_CLIENT_STATE} characters.", "InvalidRequest")
    if body.get("includeResourceData"):
        raise invalid("Resource data needs an encryption certificate, which this simulator does not have.")
    expires = read_expiry(body, now)
    return Wanted(resource, found["folder"] or "", ",".join(sorted(changes)), url, lifecycle_url, state, expires)


def read_renewal(body: Mapping[str, Any], now: float) -> float:
    """Check the body of a renewal; until when it asks. Raises ``GraphError``."""
    if set(body) - {"expirationDateTime"}:
        raise invalid("Only expirationDateTime can be changed.", "InvalidRequest")
    return read_expiry(body, now)


def read_expiry(body: Mapping[str, Any], now: float) -> float:
    """Until when a subscription shall last; what is too short is made longer. Raises ``GraphError``."""
    try:
        moment = datetime.fromisoformat(_text(body, "expirationDateTime"))
        expires = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise invalid("expirationDateTime is no time.", "InvalidRequest") from None
    if expires <= now:
        raise invalid("Subscription expiration must be in the future.", "InvalidRequest")
    if expires > now + LONGEST_SECONDS:
        raise GraphError(
            400,
            "ExtensionError",
            f"Subscription expiration can only be {LONGEST_SECONDS / 60:.0f} minutes in the future.",
        )
    return max(expires, now + SHORTEST_SECONDS)


def matches(changes: str, folder: str, kind: str, folders: Collection[str]) -> bool:
    """Whether a subscription to these changes of a folder ("" for all) hears of a change there."""
    return kind in changes.split(",") and (not folder or folder in folders)


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise invalid(f"The property {name} is missing or no text.", "InvalidRequest")
    return value

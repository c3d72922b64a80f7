"""Who the mailbox belongs to, and the subscriptions of its clients."""

from __future__ import annotations

from infra.local.microsoft.asked import Asked, Json, Route


def me(asked: Asked) -> Json:
    """GET /me."""
    account = asked.outlook.identity.accounts.find(asked.address)
    return {
        "id": account.id, "displayName": account.name, "mail": account.address, "userPrincipalName": account.address,
    }  # fmt: skip


def subscribe(asked: Asked) -> Json:
    """POST /subscriptions."""
    return asked.outlook.subscriptions.create(asked.address, asked.json(), asked.immutable)


def subscriptions(asked: Asked) -> Json:
    """GET /subscriptions."""
    return {"value": asked.outlook.subscriptions.list(asked.address)}


def subscription(asked: Asked) -> Json:
    """GET /subscriptions/{id}."""
    return asked.outlook.subscriptions.read(asked.address, asked.words[0])


def renew(asked: Asked) -> Json:
    """PATCH /subscriptions/{id}."""
    return asked.outlook.subscriptions.patch(asked.address, asked.words[0], asked.json())


def reauthorize(asked: Asked) -> None:
    """POST /subscriptions/{id}/reauthorize."""
    asked.outlook.subscriptions.reauthorize(asked.address, asked.words[0])


def unsubscribe(asked: Asked) -> None:
    """DELETE /subscriptions/{id}."""
    asked.outlook.subscriptions.delete(asked.address, asked.words[0])


ROUTES = (
    Route("me.get", "GET", "", me, scope="me"),
    Route("subscriptions.create", "POST", "subscriptions", subscribe, 201, mine=False),
    Route("subscriptions.list", "GET", "subscriptions", subscriptions, mine=False),
    Route("subscriptions.get", "GET", "subscriptions/{id}", subscription, mine=False),
    Route("subscriptions.patch", "PATCH", "subscriptions/{id}", renew, mine=False),
    Route("subscriptions.reauthorize", "POST", "subscriptions/{id}/reauthorize", reauthorize, mine=False),
    Route("subscriptions.delete", "DELETE", "subscriptions/{id}", unsubscribe, mine=False),
)

"""OAuth clients: who may send people here, where they are sent back to, and how a client proves itself.

As long as none is registered every client is taken at its word, so that a laptop needs no set-up.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping
from typing import Any, Literal, NoReturn
from urllib.parse import unquote_plus, urlsplit

from infra.local.simulated.errors import ControlError
from infra.local.simulated.state import State

Trouble = Literal["", "two ways", "nameless", "unknown", "no secret", "secret"]


class TokenError(Exception):
    """The token or revocation endpoint refuses, in the words of RFC 6749.

    ``trouble`` says what is wrong with a client, for providers that have words of their own for it.
    """

    def __init__(self, error: str, description: str, status: int = 400, trouble: Trouble = "") -> None:
        super().__init__(description)
        self.status = status
        self.trouble = trouble
        self.body = {"error": error, "error_description": description}


class Clients:
    """The registered clients, kept in the state file."""

    def __init__(self, state: State) -> None:
        self._state = state

    def register(self, clients: Any) -> list[dict[str, Any]]:
        """Replace the list of ``{"client_id", "client_secret", "redirect_uris": [...]}``; an empty one lets everyone in.

        Answers it without the secrets. Raises ``ControlError``.
        """
        if not isinstance(clients, list):
            raise ControlError("clients must be a list.")
        table = dict(_entry(client) for client in clients)
        self._state.remember("clients", table)
        return [{"client_id": name, "redirect_uris": entry["redirect_uris"]} for name, entry in table.items()]

    def known(self, client_id: str) -> bool:
        """Whether people may be sent here by this client."""
        table = self._table()
        return client_id in table if table else bool(client_id)

    def returns_to(self, client_id: str, redirect_uri: str) -> bool:
        """Whether a client may have people sent back to a URI: exactly one of its own, or any while none is registered."""
        table = self._table()
        if table:
            return client_id in table and redirect_uri in table[client_id]["redirect_uris"]
        return is_redirect_uri(redirect_uri)

    def authenticate(self, form: Mapping[str, str], authorization: str) -> str:
        """The client that a form or a Basic header names and proves. Raises ``TokenError``."""
        client_id, secret = form.get("client_id", ""), form.get("client_secret", "")
        if authorization:
            named, basic = _basic(authorization)
            if secret or client_id not in ("", named):
                raise TokenError("invalid_request", "The client authenticates in two ways at once.", trouble="two ways")
            client_id, secret = named, basic
        if not client_id:
            raise TokenError("invalid_request", "Could not determine client ID from request.", trouble="nameless")
        table = self._table()
        if table:
            if client_id not in table:
                raise TokenError("invalid_client", "The OAuth client was not found.", 401, "unknown")
            if not secret:
                raise TokenError("invalid_request", "client_secret is missing.", trouble="no secret")
            if not hmac.compare_digest(secret.encode(), table[client_id]["client_secret"].encode()):
                raise TokenError("invalid_client", "Unauthorized", 401, "secret")
        return client_id

    def _table(self) -> dict[str, dict[str, Any]]:
        return self._state.setting("clients") or {}


def is_redirect_uri(value: object) -> bool:
    """Whether something is an absolute web URI without a fragment."""
    if not isinstance(value, str) or len(value) > 2000 or not value.isascii():
        return False
    if not value.isprintable() or set(value) & set(' \\<>"#'):
        return False
    try:
        parts = urlsplit(value)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _entry(client: Any) -> tuple[str, dict[str, Any]]:
    if not isinstance(client, dict) or not all(
        isinstance(client.get(name), str) and client[name] for name in ("client_id", "client_secret")
    ):
        raise ControlError("A client needs client_id and client_secret.")
    uris = client.get("redirect_uris")
    if not isinstance(uris, list) or not all(is_redirect_uri(uri) for uri in uris):
        raise ControlError("redirect_uris must be a list of http or https URIs without a fragment.")
    return client["client_id"], {"client_secret": client["client_secret"], "redirect_uris": uris}


def _basic(authorization: str) -> tuple[str, str]:
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() != "basic":
        _unreadable()
    try:
        name, colon, secret = base64.b64decode(value, validate=True).decode().partition(":")
    except (ValueError, binascii.Error):
        _unreadable()
    if not colon:
        _unreadable()
    return unquote_plus(name), unquote_plus(secret)


def _unreadable() -> NoReturn:
    raise TokenError("invalid_client", "The Authorization header is no client authentication.", 401, "secret")

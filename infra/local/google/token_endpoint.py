"""The token endpoint: codes and refresh tokens in, access tokens out, in the words of RFC 6749 and Google's own."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

import orjson

from infra.local.google import scopes
from infra.local.google.identity import Identity
from infra.local.google.state import State
from infra.local.simulated.authorization import Authorization
from infra.local.simulated.clients import Clients, TokenError
from infra.local.simulated.tokens import Token, Tokens
from shared.ports import Clock

Json = dict[str, Any]


class TokenEndpoint:
    """Exchanges, refreshes and revokes."""

    def __init__(self, state: State, clock: Clock, tokens: Tokens, clients: Clients, identity: Identity) -> None:
        self._state = state
        self._clock = clock
        self._tokens = tokens
        self._clients = clients
        self._identity = identity

    def answer(self, form: Mapping[str, str], authorization: str, issuer: str) -> Json:
        """Answer a token request, as ``issuer`` where an id_token is due. Raises ``TokenError``."""
        kind = form.get("grant_type", "")
        if kind not in ("authorization_code", "refresh_token"):
            raise TokenError("unsupported_grant_type", f"Invalid grant_type: {kind[:40]}")
        client = self._clients.authenticate(form, authorization)
        if kind == "refresh_token":
            return self._refresh(_needed(form, "refresh_token"), client, issuer)
        return self._exchange(_needed(form, "code"), form, client, issuer)

    def revoke(self, token: str) -> None:
        """End the grant behind an access or refresh token. Raises ``TokenError``."""
        if not self._tokens.withdraw(token):
            raise TokenError("invalid_token", "Token expired or revoked")

    def _exchange(self, code: str, form: Mapping[str, str], client: str, issuer: str) -> Json:
        with self._state.transaction() as db:
            row = db.execute("SELECT * FROM codes WHERE code = ? AND client = ?", (code, client)).fetchone()
            if row is None:
                raise TokenError("invalid_grant", "Malformed auth code.")
            if not row["used"]:
                asked = Authorization.from_json(orjson.loads(row["asked"]))
                if row["until"] <= self._clock.now():
                    raise TokenError("invalid_grant", "Bad Request")
                if form.get("redirect_uri", "") != asked.redirect_uri:
                    raise TokenError("redirect_uri_mismatch", "Bad Request")
                _check_verifier(asked, form.get("code_verifier", ""))
                db.execute("UPDATE codes SET used = 1 WHERE number = ?", (row["number"],))
                token = Token(row["address"], client, row["scopes"], code)
                refresh = self._refresh_token_due(db, asked, token)
                access = self._tokens.issue_access(db, token)
            else:
                # Somebody else holds the code too: what it brought is withdrawn, and that has to outlast the refusal.
                self._tokens.withdraw_descendants(db, code)
        if row["used"]:
            raise TokenError("invalid_grant", "Bad Request")
        return self._answer(token, access, refresh, issuer, asked.nonce)

    def _refresh(self, refresh_token: str, client: str, issuer: str) -> Json:
        with self._state.transaction() as db:
            token = self._tokens.refreshable(db, refresh_token)
            if token is None:
                raise TokenError("invalid_grant", "Token has been expired or revoked.")
            if token.client not in ("", client):
                raise TokenError("unauthorized_client", "Unauthorized", 401)
            access = self._tokens.issue_access(db, token)
        return self._answer(token, access, None, issuer, None)

    def _refresh_token_due(self, db: sqlite3.Connection, asked: Authorization, token: Token) -> str | None:
        """A refresh token for the first offline consent of an account and client, and for one that was asked anew."""
        if not asked.offline:
            return None
        grant = (token.address, token.client)
        row = db.execute("SELECT offline FROM grants WHERE address = ? AND client = ?", grant).fetchone()
        if row["offline"] and "consent" not in asked.prompt.split():
            return None
        db.execute("UPDATE grants SET offline = 1 WHERE address = ? AND client = ?", grant)
        return self._tokens.issue_refresh(db, token)

    def _answer(self, token: Token, access: str, refresh: str | None, issuer: str, nonce: str | None) -> Json:
        """Outside of any transaction, because the first signature writes its key."""
        answer: Json = {
            "access_token": access,
            "expires_in": int(self._tokens.seconds),
            "scope": token.scopes,
            "token_type": "Bearer",
        }
        if refresh is not None:
            answer["refresh_token"] = refresh
        if scopes.OPENID in token.scopes.split():
            answer["id_token"] = self._identity.id_token(issuer, token, access, nonce)
        return answer


def _check_verifier(asked: Authorization, verifier: str) -> None:
    """PKCE, RFC 7636: a verifier where there was a challenge, and only there."""
    if not asked.challenge:
        if verifier:
            raise TokenError("invalid_grant", "code_verifier or verifier is not needed.")
        return
    if not verifier:
        raise TokenError("invalid_grant", "Missing code verifier.")
    if not asked.proven_by(verifier):
        raise TokenError("invalid_grant", "Invalid code verifier.")


def _needed(form: Mapping[str, str], name: str) -> str:
    value = form.get(name, "")
    if not value:
        raise TokenError("invalid_request", f"Missing required parameter: {name}")
    return value

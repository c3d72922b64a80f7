"""The token endpoint: codes and refresh tokens in, access tokens and always another refresh token out."""

from __future__ import annotations

import base64
from collections.abc import Collection, Mapping
from typing import Any

import orjson

from infra.local.microsoft import identity_scopes as scopes
from infra.local.microsoft.identity_accounts import Account, Accounts
from infra.local.microsoft.identity_ordered import OrderedRefusals
from infra.local.microsoft.identity_refusals import AadstsError
from infra.local.microsoft.state import State
from infra.local.microsoft.tokens import RotatingTokens
from infra.local.simulated.authorization import Authorization
from infra.local.simulated.clients import Clients, TokenError
from infra.local.simulated.signing import SigningKey
from infra.local.simulated.tokens import Token
from shared.ports import Clock

Json = dict[str, Any]
ID_TOKEN_SECONDS = 3600
ISSUER = "https://login.microsoftonline.com/{tenantid}/v2.0"
_FATES = {"unknown": 70000, "expired": 700082, "revoked": 50173}


class TokenEndpoint:
    """Exchanges and refreshes."""

    def __init__(
        self,
        state: State,
        clock: Clock,
        tokens: RotatingTokens,
        accounts: Accounts,
        clients: Clients,
        key: SigningKey,
        ordered: OrderedRefusals,
    ) -> None:
        self._state = state
        self._clock = clock
        self._tokens = tokens
        self._accounts = accounts
        self._clients = clients
        self._key = key
        self._ordered = ordered

    def answer(self, tenant: str, form: Mapping[str, str], authorization: str) -> Json:
        """Answer a token request. Raises ``AadstsError``."""
        kind = form.get("grant_type", "")
        if kind not in ("authorization_code", "refresh_token"):
            raise AadstsError(70003)
        try:
            client = self._clients.authenticate(form, authorization)
        except TokenError as error:
            raise AadstsError(_CLIENT_TROUBLE[error.trouble]) from None
        if kind == "refresh_token":
            return self._refresh(_needed(form, "refresh_token"), tenant, form, client)
        return self._exchange(_needed(form, "code"), tenant, form, client)

    def _exchange(self, code: str, tenant: str, form: Mapping[str, str], client: str) -> Json:
        with self._state.reading() as db:
            row = db.execute("SELECT address FROM codes WHERE code = ? AND client = ?", (code, client)).fetchone()
        self._ordered.strike("" if row is None else row["address"])
        if row is None:
            raise AadstsError(70000)
        account = self._account(row["address"], tenant)
        with self._state.transaction() as db:
            row = db.execute("SELECT * FROM codes WHERE code = ? AND client = ?", (code, client)).fetchone()
            if row is None or row["used"]:
                raise AadstsError(70000 if row is None else 54005)
            asked = Authorization.from_json(orjson.loads(row["asked"]))
            if row["until"] <= self._clock.now():
                raise AadstsError(70008)
            if form.get("redirect_uri", "") != asked.redirect_uri:
                raise AadstsError(500112)
            verifier = form.get("code_verifier", "")
            if asked.challenge and not verifier:
                raise AadstsError(50148)
            if verifier and not (asked.challenge and asked.proven_by(verifier)):
                raise AadstsError(501481)
            db.execute("UPDATE codes SET used = 1 WHERE number = ?", (row["number"],))
            token = Token(row["address"], client, row["scopes"], code)
            lasting = scopes.OFFLINE in row["scopes"].split()
            refresh = self._tokens.issue_refresh(db, token) if lasting else ""
            access = self._tokens.issue_access(db, token)
        return self._answer(account, token, access, refresh, asked.nonce, form)

    def _refresh(self, refresh_token: str, tenant: str, form: Mapping[str, str], client: str) -> Json:
        wanted, invalid = scopes.canonical(form.get("scope", "").split())
        if invalid:
            raise AadstsError(500011 if any(scope.startswith("http") for scope in invalid) else 70011)
        with self._state.reading() as db:
            found = self._tokens.refreshable(db, refresh_token)
        self._ordered.strike("" if found is None else found.address)
        with self._state.transaction() as db:
            found = self._tokens.refreshable(db, refresh_token)
            fate = self._tokens.use(db, refresh_token)
            if found is None or fate != "living":
                raise AadstsError(_FATES[fate])
            account = self._account(found.address, tenant)
            if found.client not in ("", client):
                raise AadstsError(70000)
            granted = found.scopes.split()
            if not set(wanted) <= {*granted, *scopes.BASIC}:
                raise AadstsError(65001)
            asked = " ".join(scope for scope in granted if scope in wanted) if wanted else found.scopes
            refresh = self._tokens.issue_refresh(db, found)
            token = Token(found.address, found.client, asked, found.code)
            access = self._tokens.issue_access(db, token)
        return self._answer(account, Token(found.address, client, asked), access, refresh, None, form)

    def _account(self, address: str, tenant: str) -> Account:
        account = self._accounts.find(address)
        if not account.belongs_to(tenant):
            raise AadstsError(50020)
        return account

    def _answer(
        self, account: Account, token: Token, access: str, refresh: str, nonce: str | None, form: Mapping[str, str]
    ) -> Json:
        """Outside of any transaction, because the first signature writes its key."""
        granted = token.scopes.split()
        answer: Json = {
            "token_type": "Bearer",
            "scope": scopes.answered(granted),
            "expires_in": int(self._tokens.seconds),
            "ext_expires_in": int(self._tokens.seconds),
            "access_token": access,
        }
        if refresh:
            answer["refresh_token"] = refresh
        if scopes.OPENID in granted:
            answer["id_token"] = self._key.sign(self._claims(account, token.client, granted, nonce))
        if form.get("client_info") == "1":
            info = orjson.dumps({"uid": account.object_id, "utid": account.tenant})
            answer["client_info"] = base64.urlsafe_b64encode(info).rstrip(b"=").decode()
        return answer

    def _claims(self, account: Account, client: str, granted: Collection[str], nonce: str | None) -> Json:
        issued = int(self._clock.now())
        claims: Json = {
            "aud": client,
            "iss": ISSUER.format(tenantid=account.tenant),
            "iat": issued,
            "nbf": issued,
            "exp": issued + ID_TOKEN_SECONDS,
            "sub": account.subject(client),
            "tid": account.tenant,
            "ver": "2.0",
        }
        if "profile" in granted:
            claims |= {"oid": account.object_id, "preferred_username": account.address, "name": account.name}
        if "email" in granted:
            claims["email"] = account.address
            if account.kind == "work":
                claims["xms_edov"] = True  # the tenant owns the domain of the address
        if nonce is not None:
            claims["nonce"] = nonce
        return claims


_CLIENT_TROUBLE = {"two ways": 700003, "nameless": 900144, "unknown": 700016, "no secret": 7000218, "secret": 7000215}


def _needed(form: Mapping[str, str], name: str) -> str:
    value = form.get(name, "")
    if not value:
        raise AadstsError(900144)
    return value

"""Microsoft as the consent flow meets it: work, school and personal accounts, each in a tenant with an issuer of its own.

Two things are not to be believed. An ``email`` claim is whatever an administrator of some tenant has typed in, so it proves
an address only where Microsoft itself keeps the accounts, or says that the tenant owns the domain (``xms_edov``). And the
keys of all tenants are in one set, so a key counts only for the issuer that it is published for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jwt

from shared.errors import Unauthorized
from shared.identity.keys import Key, Keys
from shared.identity.tokens import verified_claims
from shared.oauth.provider import IDENTITY_SCOPES, Identity, claim_text
from shared.oauth.stopped import Why

ALGORITHMS = ("RS256",)
PERSONAL = "9188040d-6c67-4c5b-b112-36a304b66dad"
"""The tenant of all personal accounts."""

CONNECTING = ("offline_access", "User.Read")
"""What connecting a mailbox takes beside the scopes of the mailbox: a refresh token, and reading whose it is."""

GRAPH = "https://graph.microsoft.com/"
"""What the names of Graph's scopes begin with where they are written in full."""

_TENANT = "{tenantid}"
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_CODE = re.compile(r"AADSTS(\d{5,7})")
_DECLINED = {"65004"}
_APPROVAL = {"65001", "90093", "90094", "90095"}
"""Consent that is lacking and that an administrator has to give."""

_POLICY = {"50020", "50105", "53000", "53001", "53002", "53003", "500212", "500213"}
"""The organisation does not let this account, this device or this place in."""

_PASSING = {"90006", "90024", "90033"}
_WHY = {
    "access_denied": Why.DENIED,
    "consent_required": Why.UNAPPROVED,
    "server_error": Why.UNAVAILABLE,
    "temporarily_unavailable": Why.UNAVAILABLE,
}


@dataclass(frozen=True, slots=True)
class Microsoft:
    """Microsoft's own way; ``tenant`` is `common`, `organizations`, `consumers`, or one tenant's id or domain."""

    tenant: str
    name: str = "microsoft"
    title: str = "Microsoft"
    lasting_at_full_consent_only: bool = False

    def asked(self, scopes: Sequence[str], connecting: bool) -> dict[str, str]:
        """A refresh token comes with the scope ``offline_access``, at every consent."""
        more = (*CONNECTING, *scopes) if connecting else ()
        return {"scope": " ".join((*IDENTITY_SCOPES, *more)), "response_mode": "query"}

    def covers(self, granted: Sequence[str], asked: Sequence[str]) -> bool:
        """Nobody can untick anything here, yet a token without the scope would be of no use."""
        return {_plain(scope) for scope in asked} <= {_plain(scope) for scope in granted}

    def origins(self, endpoint: str) -> tuple[str, ...]:  # noqa: ARG002 - the Protocol's signature
        """Personal accounts sign in at a host of their own, to which the tenant ``consumers`` redirects at once."""
        return ("https://login.live.com",)

    def is_issuer(self, said: str, issuer: str) -> bool:
        """Whether this is the issuer of some tenant that may connect."""
        before, _, after = issuer.partition(_TENANT)
        tenant = said.removeprefix(before).removesuffix(after)
        return said == issuer.replace(_TENANT, tenant) and (said == issuer or self._admits(tenant))

    def why(self, error: str, description: str) -> tuple[Why, str]:
        """The AADSTS code in the description says more than the error does."""
        found = _CODE.search(description)
        code = found[1] if found else ""
        for codes, why in (
            (_DECLINED, Why.DENIED),
            (_APPROVAL, Why.UNAPPROVED),
            (_POLICY, Why.BLOCKED),
            (_PASSING, Why.UNAVAILABLE),
        ):
            if code in codes:
                return why, code
        return _WHY.get(error, Why.REFUSED), code

    def verified(self, id_token: str, keys: Keys, issuer: str, audience: str, now: float) -> dict[str, Any]:
        """The claims, once they are sure; the issuer has to be that of the tenant that the token itself names."""
        tenant = _tenant(id_token)
        if not self._admits(tenant):
            raise Unauthorized("The id_token comes from a tenant that may not connect.")
        own = issuer.replace(_TENANT, tenant)
        if tenant not in own:
            raise Unauthorized("The id_token names another tenant than its issuer.")
        return verified_claims(id_token, _KeysOf(keys, tenant, own), ALGORITHMS, (own,), audience, now)

    def identity(self, claims: Mapping[str, Any]) -> Identity:
        """The account in its home tenant: ``sub`` would be another one for every client, so a new client would lose all."""
        account = claims.get("oid")
        account = account.lower() if isinstance(account, str) else ""
        if not _UUID.fullmatch(account):
            raise Unauthorized("The id_token names no usable subject.")
        email = claim_text(claims.get("email"))
        vouched = claims["tid"].lower() == PERSONAL or claims.get("xms_edov") in (True, "1", "true")
        subject = f"{claims['tid'].lower()}.{account}"
        return Identity(subject, email, email is not None and vouched, claim_text(claims.get("name")))

    def _admits(self, tenant: str) -> bool:
        """Whether accounts of this tenant may connect."""
        if not _UUID.fullmatch(tenant):
            return False
        if self.tenant == "organizations":
            return tenant != PERSONAL
        if self.tenant == "consumers":
            return tenant == PERSONAL
        return tenant == self.tenant.lower() if _UUID.fullmatch(self.tenant.lower()) else True


@dataclass(frozen=True, slots=True)
class _KeysOf:
    """The keys that the issuer of a tenant may sign with; one that is published for another issuer does not exist."""

    keys: Keys
    tenant: str
    issuer: str

    def find(self, kid: str | None) -> Key | None:
        """The key of this id."""
        key = self.keys.find(kid)
        ours = key is not None and key.issuer.replace(_TENANT, self.tenant) in ("", self.issuer)
        return key if ours else None


def _tenant(id_token: str) -> str:
    """The tenant that a token names, before anything about it is sure: it only says which issuer the token has to have."""
    try:
        tenant = jwt.decode(id_token, options={"verify_signature": False}).get("tid")
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        tenant = None
    return tenant.lower() if isinstance(tenant, str) else ""


def _plain(scope: str) -> str:
    """A scope by its short name: the token endpoint answers either."""
    return scope.lower().removeprefix(GRAPH)

"""Microsoft's endpoints in memory, at the port: every tenant has an issuer and its accounts; codes work once."""

from __future__ import annotations

import base64
import hashlib
import itertools
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt

from shared.errors import ReauthRequired
from shared.oauth.microsoft import PERSONAL
from shared.oauth.provider import Granted
from shared.ports import Clock
from tests.unit.oauth.google_double import KEY

LOGIN = "https://login.microsoftonline.com"
TEMPLATE = f"{LOGIN}/{{tenantid}}/v2.0"
CLIENT = "0f0f0f0f-1111-2222-3333-444444444444"
WORK = "11111111-aaaa-4bbb-8ccc-222222222222"
"""The tenant of an organisation."""


class MicrosoftDouble:
    """An ``Endpoints``; ``authorize`` is the person at Microsoft's pages.

    ``claims`` and ``token`` change the id_token, ``published`` its key, ``failure`` is raised instead of an answer, and
    ``scopes`` is what the token endpoint says was granted, if not what was asked for.
    """

    def __init__(self, clock: Clock, tenant: str = "common") -> None:
        self.clock, self.tenant = clock, tenant
        self.said_issuer = TEMPLATE
        self.claims: dict[str, Any] = {}
        self.token: str | None = None
        self.key, self.kid, self.algorithm = KEY, "k1", "RS256"
        self.published: dict[str, Any] = {"issuer": TEMPLATE}
        self.failure: Exception | None = None
        self.scopes: tuple[str, ...] | None = None
        self.lasting = True
        self.exchanges = 0
        self._codes: dict[str, dict[str, Any]] = {}
        self._numbers = itertools.count(1)

    def issuer(self) -> str:
        return self.said_issuer

    def authorization_endpoint(self) -> str:
        return f"{LOGIN}/{self.tenant}/oauth2/v2.0/authorize"

    def keys(self) -> dict[str, Any]:
        public = jwt.algorithms.RSAAlgorithm.to_jwk(KEY.public_key(), as_dict=True)
        return {"keys": [{**public, "kid": "k1", "use": "sig", **self.published}]}

    def authorize(self, url: str, email: str = "ann@outlook.example", *, tid: str = PERSONAL, oid: str = "") -> str:
        """The person picks an account and agrees; answers the callback's URL."""
        endpoint, _, query = url.partition("?")
        assert endpoint == self.authorization_endpoint()
        asked = {name: values[0] for name, values in parse_qs(query, strict_parsing=True).items()}
        code = f"M.C5_canary-{next(self._numbers)}"
        self._codes[code] = {**asked, "email": email, "tid": tid, "oid": oid or object_id(email)}
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state'], 'session_state': 'x'})}"

    def refuse(self, url: str, error: str, description: str = "") -> str:
        """The person, or Microsoft, says no."""
        asked = parse_qs(urlsplit(url).query)
        said = {"error": error, "error_description": description, "state": asked["state"][0]}
        return f"{asked['redirect_uri'][0]}?{urlencode(said)}"

    def exchange(self, code: str, verifier: str, redirect_uri: str) -> Granted:
        self.exchanges += 1
        if self.failure is not None:
            raise self.failure
        grant = self._codes.pop(code, None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
        if grant is None or (grant["code_challenge"], grant["redirect_uri"]) != (challenge, redirect_uri):
            raise ReauthRequired("AADSTS70008: canary")
        asked = grant["scope"].split()
        scopes = tuple(scope for scope in asked if scope != "offline_access") if self.scopes is None else self.scopes
        number = next(self._numbers)
        refresh = f"M.R3_canary-{number}" if self.lasting and "offline_access" in asked else None
        token = self.token if self.token is not None else self._id_token(grant)
        return Granted(f"EwB-canary-{number}", refresh, self.clock.now() + 3_599, scopes, token)

    def _id_token(self, grant: dict[str, Any]) -> str:
        now = int(self.clock.now())
        claims = {
            "iss": TEMPLATE.replace("{tenantid}", grant["tid"]), "aud": CLIENT, "sub": "AAAA-pairwise", "oid": grant["oid"],
            "tid": grant["tid"], "email": grant["email"], "name": "Ann", "preferred_username": grant["email"],
            "nonce": grant["nonce"], "ver": "2.0", "iat": now, "nbf": now, "exp": now + 3_600, **self.claims,
        }  # fmt: skip
        claims = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(claims, self.key, self.algorithm, headers={"kid": self.kid})


def object_id(email: str) -> str:
    """The object id of an account."""
    digest = hashlib.sha256(email.encode()).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-{digest[12:16]}-{digest[16:20]}-{digest[20:32]}"

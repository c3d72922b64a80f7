"""Google's endpoints in memory, strict where Google is: codes work once, for their client, redirect URI and verifier."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from shared.ports import Clock
from shared.providers.http.wire import Reply

ISSUER = "https://accounts.google.example"
CLIENT, CLIENT_SECRET = "client-1", "client-secret-canary"
READ = "https://www.googleapis.com/auth/gmail.readonly"
MODIFY = "https://www.googleapis.com/auth/gmail.modify"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


class GoogleDouble:
    """An HttpLike; ``authorize`` is the person at Google's pages.

    ``refresh`` says when a refresh token is handed out: ``consent`` (as Google does), ``never``, ``always``. ``claims`` and
    ``token`` change the id_token, ``answers`` replaces answers by the end of their path.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.refresh = "consent"
        self.claims: dict[str, Any] = {}
        self.token: Any = None
        self.key, self.kid, self.algorithm = KEY, "k1", "RS256"
        self.answers: dict[str, Any] = {}
        self.exchanges = 0
        self.granted: dict[str, set[str]] = {}
        self.asked: list[tuple[str, str, Any]] = []
        self._codes: dict[str, dict[str, Any]] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def authorize(
        self, url: str, email: str = "ann@gmail.example", *, sub: str = "", untick: set[str] | None = None, **said: str
    ) -> str:
        """The person picks an account and agrees; answers the callback's URL."""
        parts = urlsplit(url)
        assert f"{parts.scheme}://{parts.netloc}{parts.path}" == f"{ISSUER}/o/oauth2/v2/auth"
        asked = {name: values[0] for name, values in parse_qs(parts.query, strict_parsing=True).items()}
        assert asked["response_type"] == "code"
        assert asked["client_id"] == CLIENT
        assert asked["code_challenge_method"] == "S256"
        with self._lock:
            code = f"4/code-canary-{next(self._numbers)}"
        scopes = set(asked["scope"].split()) - (untick or set())
        subject = sub or str(int(hashlib.sha256(email.encode()).hexdigest(), 16))[:21]
        first = READ not in self.granted.get(subject, set())
        self.granted.setdefault(subject, set()).update(scopes)
        self._codes[code] = {
            **asked, "email": email, "sub": subject, "scopes": scopes,
            "lasting": asked.get("access_type") == "offline" and (first or asked["prompt"] == "consent"),
        }  # fmt: skip
        answer = {"state": asked["state"], "code": code, "scope": " ".join(sorted(scopes)), "iss": ISSUER, **said}
        return f"{asked['redirect_uri']}?{urlencode({k: v for k, v in answer.items() if v})}"

    def deny(self, url: str, error: str = "access_denied") -> str:
        """The person, or Google, says no."""
        asked = parse_qs(urlsplit(url).query)
        return f"{asked['redirect_uri'][0]}?{urlencode({'error': error, 'state': asked['state'][0]})}"

    def request(
        self, uri: str, method: str = "GET", body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[Reply, bytes]:
        """Answer as the endpoint of this path does."""
        self.asked.append((method, uri, body))
        path = urlsplit(uri).path
        name = path.rpartition("/")[2]
        answer = self.answers.get(name)
        if answer is None:
            answer = getattr(self, f"_{name.replace('-', '_')}")(body)
        if isinstance(answer, Exception):
            raise answer
        status, value = answer
        return Reply(status), json.dumps(value).encode()

    def _openid_configuration(self, body: Any) -> tuple[int, Any]:
        return 200, {
            "issuer": ISSUER,
            "authorization_endpoint": f"{ISSUER}/o/oauth2/v2/auth",
            "token_endpoint": f"{ISSUER}/token",
            "jwks_uri": f"{ISSUER}/oauth2/v3/certs",
        }

    def _certs(self, body: Any) -> tuple[int, Any]:
        public = jwt.algorithms.RSAAlgorithm.to_jwk(KEY.public_key(), as_dict=True)
        return 200, {"keys": [{**public, "kid": "k1", "alg": "RS256", "use": "sig"}]}

    def _token(self, body: Any) -> tuple[int, Any]:
        form = {name: values[0] for name, values in parse_qs(body, strict_parsing=True).items()}
        with self._lock:
            self.exchanges += 1
            if (form["client_id"], form["client_secret"]) != (CLIENT, CLIENT_SECRET):
                return 401, {"error": "invalid_client"}
            grant = self._codes.pop(form["code"], None)
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        if grant is None or grant["code_challenge"] != challenge or grant["redirect_uri"] != form["redirect_uri"]:
            return 400, {"error": "invalid_grant", "error_description": "Malformed auth code: canary"}
        lasting = self.refresh == "always" or (self.refresh == "consent" and grant["lasting"])
        number = next(self._numbers)
        answer = {
            "access_token": f"ya29.access-canary-{number}",
            "expires_in": 3599,
            "scope": " ".join(sorted(grant["scopes"])),
            "token_type": "Bearer",
            "id_token": self.token if self.token is not None else self._id_token(grant),
        }
        return 200, answer | ({"refresh_token": f"1//refresh-canary-{number}"} if lasting else {})

    def _id_token(self, grant: Mapping[str, Any]) -> str:
        now = int(self.clock.now())
        claims = {
            "iss": ISSUER, "aud": CLIENT, "azp": CLIENT, "sub": grant["sub"], "email": grant["email"],
            "email_verified": True, "name": "Ann", "nonce": grant["nonce"], "iat": now, "exp": now + 3600, **self.claims,
        }  # fmt: skip
        claims = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(claims, self.key, self.algorithm, headers={"kid": self.kid})

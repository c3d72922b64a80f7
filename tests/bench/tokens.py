"""How long it takes to verify an access token with the issuer's keys at hand."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from infra.local.web import WebServer
from shared.adapters.embedded.clock import SystemClock
from shared.identity.tokens import TokenVerifier
from shared.settings import Settings
from tests.bench.figures import JWT_MS, Figure, Spread

JWT = "JWT verification, keys of the issuer's JWKS cached, milliseconds"
ISSUER = "https://issuer.test"
SAMPLES = 500


def measure() -> list[Figure]:
    """Verify tokens signed with each algorithm that a listed issuer may use, by keys of one published set."""
    private: dict[str, Any] = {
        "RS256": rsa.generate_private_key(public_exponent=65537, key_size=2048),
        "ES256": ec.generate_private_key(ec.SECP256R1()),
        "EdDSA": ed25519.Ed25519PrivateKey.generate(),
    }
    server = WebServer(_published(private), 0, threads=1)
    server.start()
    try:
        settings = Settings(jwt_issuer=ISSUER, jwt_jwks_url=f"{server.url}/jwks.json")
        verifier = TokenVerifier(settings, SystemClock())
        return [_timed(verifier, algorithm, key) for algorithm, key in private.items()]
    finally:
        server.stop()


def _timed(verifier: TokenVerifier, algorithm: str, key: Any) -> Figure:
    claims = {"iss": ISSUER, "aud": "brainstem", "sub": "user_abc123", "exp": int(time.time()) + 3600}
    header = f"Bearer {jwt.encode(claims, key, algorithm=algorithm, headers={'kid': algorithm})}"
    verifier.verify(header)
    samples = []
    for _ in range(SAMPLES):
        began = time.perf_counter()
        verifier.verify(header)
        samples.append((time.perf_counter() - began) * 1e3)
    return Spread.of(samples).figure(JWT, algorithm, "ms", JWT_MS)


def _published(private: dict[str, Any]) -> Callable[..., Iterable[bytes]]:
    keys = [
        {**jwt.get_algorithm_by_name(name).to_jwk(key.public_key(), as_dict=True), "kid": name, "alg": name}
        for name, key in private.items()
    ]
    body = json.dumps({"keys": keys}).encode()

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]

    return app

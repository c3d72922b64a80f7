"""Who may trigger functions: Google's callers by their tokens, a secret in development, and before anything runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from flask import Request
from werkzeug.test import Client, TestResponse
from werkzeug.wrappers import Response

from infra.local.catalogue import load
from shared.errors import ConfigurationError, ProviderUnavailable
from shared.http.invokers import DISCOVERY, LONGEST, invoker_check
from shared.http.triggers import create_trigger
from shared.identity import keys
from shared.sets import embedded
from shared.settings import Settings
from shared.wiring import Brainstem
from tests.unit.fakes import FakeClock
from tests.unit.identity.test_issuers import jwk
from tests.unit.identity.test_tokens import pem

NOW = 1_790_000_000
KEY, OTHER = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
CERTS = "https://www.googleapis.com/oauth2/v3/certs"
AUDIENCE = "https://brainstem-sync-123.europe-west1.run.app"
PUBSUB, TASKS = (f"brainstem-from-{name}@my-project.iam.gserviceaccount.com" for name in ("pubsub", "tasks"))
SETTINGS = {"invoker_audience": (AUDIENCE,), "invoker_accounts": (PUBSUB, TASKS)}
CLAIMS = {
    "aud": AUDIENCE, "azp": "113774264463038321964", "email": PUBSUB, "sub": "113774264463038321964", "email_verified": True,
    "exp": NOW + 3_600, "iat": NOW, "iss": "https://accounts.google.com",
}  # fmt: skip
"""What Pub/Sub puts into the token of a push (cloud.google.com/pubsub/docs/authenticate-push-subscriptions)."""


class Google:
    """Google's keys, and how often somebody asked for them."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.away = False

    def __call__(self, url: str) -> Any:
        self.asked.append(url)
        if self.away:
            raise ProviderUnavailable("503")
        if url == DISCOVERY:
            return {"issuer": "https://accounts.google.com", "jwks_uri": CERTS}
        assert url == CERTS
        return {"keys": [jwk(KEY, "g1", alg="RS256", use="sig")]}


class Site:
    """A triggered function that notes what it ran."""

    def __init__(self, **settings: Any) -> None:
        self.google, self.clock, self.ran = Google(), FakeClock(NOW), []
        values = Settings(**{**SETTINGS, **settings})

        def run(body: Any) -> dict[str, Any]:
            self.ran.append(body)
            return {"done": True}

        self.client = Client(create_trigger(values, self.clock, {"": run, "other": run}, self.google), Response)

    def post(self, authorization: str | None, path: str = "/sync", data: bytes = b'{"a": 1}') -> TestResponse:
        headers = {} if authorization is None else {"Authorization": authorization}
        return self.client.post(path, data=data, headers=headers)

    def refused(self, authorization: str | None, status: int = 401) -> bool:
        answer = self.post(authorization)
        return answer.status_code == status and not self.ran


def signed(key: Any = KEY, algorithm: str = "RS256", kid: str = "g1", **changes: Any) -> str:
    claims = {name: value for name, value in {**CLAIMS, **changes}.items() if value is not ...}
    return f"Bearer {jwt.encode(claims, key, algorithm, headers={'kid': kid})}"


@pytest.mark.parametrize("account", [PUBSUB, TASKS])
@pytest.mark.parametrize("issuer", ["https://accounts.google.com", "accounts.google.com"])
def test_a_token_of_googles_for_us_and_of_a_known_account_runs_the_function(account: str, issuer: str) -> None:
    site = Site()
    assert site.post(signed(email=account, iss=issuer)).status_code == 200
    assert site.ran == [{"a": 1}]
    assert site.google.asked == [DISCOVERY, CERTS]


def test_where_the_platform_checks_the_app_asks_for_nothing() -> None:
    site = Site(invoker_audience=(), invoker_accounts=())
    assert site.post(None).status_code == 200
    assert site.google.asked == []
    assert invoker_check(Settings(backend="cloud", cloud_run_service="sync"), FakeClock()) is None


def test_where_nobody_checks_the_app_does_not_start() -> None:
    with pytest.raises(ConfigurationError, match="Outside Cloud Run"):
        Site(invoker_audience=(), invoker_accounts=(), backend="cloud")


# Forged


@pytest.mark.parametrize(
    "authorization",
    [
        None, "", "Bearer", "Bearer x", "Basic YTpi", "Bearer a.b.c",
        "Bearer " + jwt.encode(CLAIMS, "", "none"),
        "Bearer " + "a" * 9_000,
        signed().rpartition(".")[0] + ".SIGNATURE_REMOVED_BY_GOOGLE",
        signed().rpartition(".")[0] + ".",
        signed(OTHER),
        signed(OTHER, kid="g2"),
        signed(iss="https://accounts.google.example"),
        signed(iss="https://securetoken.google.com/my-project"),
        signed(iss=...),
    ],
)  # fmt: skip
def test_a_forged_token_runs_nothing(authorization: str | None) -> None:
    assert Site().refused(authorization)


def test_googles_public_key_is_no_shared_secret() -> None:
    import hashlib
    import hmac as mac

    encode = jwt.utils.base64url_encode
    body = ".".join(encode(json.dumps(part).encode()).decode() for part in ({"alg": "HS256", "kid": "g1"}, CLAIMS))
    signature = encode(mac.new(pem(KEY).encode(), body.encode(), hashlib.sha256).digest()).decode()
    assert Site().refused(f"Bearer {body}.{signature}")


def test_a_changed_claim_breaks_the_signature() -> None:
    head, _, signature = signed(email="eve@example.org").split(".")
    body = jwt.utils.base64url_encode(json.dumps(CLAIMS).encode()).decode()
    assert Site().refused(f"{head}.{body}.{signature}")


# Replayed


def test_a_token_that_is_replayed_once_it_has_expired_runs_nothing() -> None:
    site, token = Site(), signed()
    assert site.post(token).status_code == 200
    site.ran.clear()
    site.clock.time += 3_600 + 31
    assert site.refused(token)


@pytest.mark.parametrize(
    "times", [{"exp": ...}, {"iat": ...}, {"iat": "now"}, {"exp": NOW + LONGEST + 1}, {"exp": NOW - 31}]
)
def test_a_token_that_could_be_replayed_for_ever_runs_nothing(times: dict[str, Any]) -> None:
    assert Site().refused(signed(**times))


# Another tenant's


@pytest.mark.parametrize(
    "audience", ["https://other.run.app", f"{AUDIENCE}/", f"{AUDIENCE}/sync", "", None, ..., [], 7]
)
def test_a_token_for_another_service_runs_nothing(audience: Any) -> None:
    claims = {**CLAIMS, "aud": audience}
    token = jwt.PyJWS().encode(
        json.dumps({name: value for name, value in claims.items() if value is not ...}).encode(),
        KEY,
        "RS256",
        {"kid": "g1"},
    )
    assert Site().refused(f"Bearer {token}")


@pytest.mark.parametrize(
    "email",
    [
        "brainstem-from-pubsub@other-project.iam.gserviceaccount.com", "eve@gmail.com", PUBSUB.upper(), f"{PUBSUB} ", "", None,
        ..., [PUBSUB], 7,
    ],
)  # fmt: skip
def test_another_account_runs_nothing_although_google_vouches_for_it(email: Any) -> None:
    assert Site().refused(signed(email=email), 403)


@pytest.mark.parametrize("verified", [False, None, ..., "true", 1])
def test_an_address_that_google_has_not_verified_runs_nothing(verified: Any) -> None:
    assert Site().refused(signed(email_verified=verified), 403)


# What is asked of whom


@pytest.mark.parametrize("path", ["/", "/sync", "/other", "/x/y/other", "/sync/../other", "//"])
def test_every_path_of_a_triggered_function_is_closed(path: str) -> None:
    site = Site()
    assert site.post(None, path).status_code == 401
    assert site.client.get(path).status_code == 401
    assert site.ran == []


def test_the_body_of_a_stranger_is_not_read() -> None:
    site = Site(max_body_bytes=100)
    assert site.post(None, data=b"{" * 50).status_code == 401
    assert site.post(signed(), data=b"{" * 50).status_code == 400


def test_a_flood_of_unknown_keys_asks_google_once_per_cool_down() -> None:
    site = Site()
    for number in range(1_000):
        assert site.refused(signed(OTHER, kid=f"made-up-{number}")) or number < 0
    assert len(site.google.asked) == 2
    site.clock.time += keys.COOL_DOWN
    assert site.refused(signed(OTHER, kid="another"))
    assert len(site.google.asked) == 3


def test_while_googles_keys_cannot_be_read_the_trigger_comes_again() -> None:
    site = Site()
    site.google.away = True
    assert site.post(signed()).status_code == 503
    assert site.ran == []


# Settings, and every function


@pytest.mark.parametrize(
    "settings",
    [
        {"invoker_accounts": ()},
        {"invoker_audience": ()},
        {"invoker_secret": "s"},
        {"backend": "cloud", "invoker_secret": "s", "invoker_audience": (), "invoker_accounts": ()},
        {"backend": "cloud", "invoker_secret": "s"},
    ],
)
def test_settings_that_would_let_anybody_in_let_nobody_in(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="INVOKER_"):
        Site(**settings)


def test_development_has_a_secret_that_the_cloud_refuses() -> None:
    values = {"invoker_secret": "the secret", "invoker_audience": (), "invoker_accounts": ()}
    site = Site(**values)
    for authorization, status in [(None, 401), ("Bearer", 401), ("Bearer another", 403), (signed(), 403)]:
        assert site.refused(authorization, status)
    assert site.post("Bearer the secret").status_code == 200
    for backend in ("embedded", "emulators"):
        Site(**values, backend=backend)
    with pytest.raises(ConfigurationError, match="development"):
        Site(**values, backend="cloud")


TRIGGERED = [function.name for function in load() if not function.public]


@pytest.mark.parametrize("name", TRIGGERED)
@pytest.mark.parametrize("settings", [SETTINGS, {"invoker_secret": "s"}], ids=["oidc", "development"])
def test_no_function_that_is_not_public_runs_for_a_stranger(
    tmp_path: Path, name: str, settings: dict[str, Any]
) -> None:
    values = Settings(data_dir=str(tmp_path), jwt_issuer="x", jwt_public_key=pem(KEY), **settings)
    product = Brainstem(values, embedded(values, synchronous="OFF"))
    function = getattr(product, name)

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        return function(Request(environ))(environ, start_response)

    for authorization in (None, "Bearer x", signed(OTHER, kid="g1")[:60]):
        headers = {} if authorization is None else {"Authorization": authorization}
        answer = Client(app, Response).post(f"/{name}", data=b"{}", headers=headers)
        assert answer.status_code in (401, 403), answer.text


def test_the_triggered_functions_are_those_that_no_person_calls() -> None:
    assert {"sync", "gmail_push", "tick", "senders"} <= set(TRIGGERED)

"""Access tokens: who gets in, and with which reason everybody else does not."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import ConfigurationError, ProviderUnavailable, Retry, Unauthorized
from shared.identity import keys, tokens
from shared.identity.tokens import Principal, TokenVerifier
from shared.settings import Settings
from tests.unit.fakes import FakeClock

ISSUER, AUDIENCE, NOW = "https://issuer.example", "brainstem", 1_790_000_000
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
ED_KEY = ed25519.Ed25519PrivateKey.generate()
JWKS_URL = "https://issuer.example/jwks"


def pem(key: Any) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return str(key.public_key().public_bytes(serialization.Encoding.PEM, form).decode())


def claims(**changes: Any) -> dict[str, Any]:
    given_claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "iat": NOW, "exp": NOW + 600, **changes}
    return {name: value for name, value in given_claims.items() if value is not ...}


def sign(payload: dict[str, Any], key: Any = RSA_KEY, algorithm: str = "RS256", **headers: Any) -> str:
    return "Bearer " + jwt.encode(payload, key, algorithm, headers=headers or None)


def verifier(key: Any = RSA_KEY, **settings: Any) -> TokenVerifier:
    given_settings = {"jwt_issuer": ISSUER, "jwt_audience": AUDIENCE, "jwt_public_key": pem(key), **settings}
    return TokenVerifier(Settings(**given_settings), FakeClock(NOW))


def reason(authorization: str | None, by: TokenVerifier | None = None) -> str:
    with pytest.raises(Unauthorized) as caught:
        (by or verifier()).verify(authorization)
    assert caught.value.details["reason"] in tokens.REASONS
    return str(caught.value.details["reason"])


@pytest.mark.parametrize(("key", "algorithm"), [(RSA_KEY, "RS256"), (EC_KEY, "ES256"), (ED_KEY, "EdDSA")])
def test_a_good_token_names_its_caller(key: Any, algorithm: str) -> None:
    authorization = sign(claims(email="ann@example.org", name="Ann"), key, algorithm)
    assert verifier(key).verify(authorization) == Principal("ann", "ann@example.org", "Ann", issuer=ISSUER)


def test_typ_jti_nbf_and_iat_are_not_required() -> None:
    assert verifier().verify(sign(claims(iat=...), typ=None)) == Principal("ann", issuer=ISSUER)


def test_the_scheme_is_case_insensitive() -> None:
    assert verifier().verify(sign(claims()).replace("Bearer", "bearer")).uid == "ann"


def test_one_of_several_audiences_is_enough() -> None:
    assert verifier().verify(sign(claims(aud=["other", AUDIENCE]))).uid == "ann"


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic YTpi", "token"])
def test_no_bearer_token_is_missing(header: str | None) -> None:
    assert reason(header) == "missing"


@pytest.mark.parametrize(
    "header",
    [
        "Bearer x",
        "Bearer a.b.c",
        "Bearer eyJhbGciOiJSUzI1NiJ9",
        "Bearer W10.W10.W10",
        "Bearer é.é.é",
        "Bearer " + "a" * 9_000,
        "Bearer " + "." * 100,
        "Bearer " + base64.urlsafe_b64encode(b'{"alg":"RS256","kid":7}').decode().rstrip("=") + ".e30.e30",
    ],
)
def test_what_is_no_jwt_is_malformed(header: str) -> None:
    assert reason(header) == "malformed"


def test_expiry_is_judged_by_the_injected_clock_with_thirty_seconds_of_leeway() -> None:
    assert verifier().verify(sign(claims(exp=NOW - 29))).uid == "ann"
    assert reason(sign(claims(exp=NOW - 30))) == "expired"


@pytest.mark.parametrize("name", ["nbf", "iat"])
def test_a_token_from_the_future_is_not_yet_valid(name: str) -> None:
    assert verifier().verify(sign(claims(**{name: NOW + 30}))).uid == "ann"
    assert reason(sign(claims(**{name: NOW + 31}))) == "not_yet_valid"


@pytest.mark.parametrize("exp", [..., None, "1790000600", True, [NOW], float("nan"), float("inf")])
def test_an_expiry_that_is_not_a_number_is_malformed(exp: Any) -> None:
    assert reason(sign(claims(exp=exp))) == "malformed"


def test_an_absurdly_late_expiry_is_a_number_all_the_same() -> None:
    assert verifier().verify(sign(claims(exp=10**400))).uid == "ann"


@pytest.mark.parametrize("issuer", [..., None, "", "https://issuer.example/", ["https://issuer.example"], 7])
def test_another_issuer_is_refused(issuer: Any) -> None:
    payload = claims(iss=issuer)
    header = sign(claims()).split(".")[0] + "."
    body = base64.urlsafe_b64encode(json.dumps(payload).encode()).decode().rstrip("=")
    signed = (header + body).removeprefix("Bearer ").encode()
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.hashes import SHA256

    signature = RSA_KEY.sign(signed, PKCS1v15(), SHA256())
    token = "Bearer " + signed.decode() + "." + base64.urlsafe_b64encode(signature).decode().rstrip("=")
    assert reason(token) == "wrong_issuer"


@pytest.mark.parametrize("audience", [..., None, "", [], "brainstem2", ["other"], 7, [7]])
def test_another_audience_is_refused(audience: Any) -> None:
    assert reason(sign(claims(aud=audience))) == "wrong_audience"


@pytest.mark.parametrize("subject", [..., None, "", 7, ["ann"]])
def test_a_token_without_a_subject_is_refused(subject: Any) -> None:
    token = jwt.PyJWS().encode(json.dumps(claims(sub=subject)).encode(), RSA_KEY, "RS256")
    assert reason("Bearer " + token) == "no_subject"


def test_an_unsigned_token_is_refused() -> None:
    assert reason("Bearer " + jwt.encode(claims(), "", "none")) == "wrong_algorithm"


@pytest.mark.parametrize("spelling", ["none", "None", "NONE", "", None, 7, ["RS256"]])
def test_no_spelling_of_none_gets_through(spelling: Any) -> None:
    head, body = (
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
        for part in ({"alg": spelling}, claims())
    )
    assert reason(f"Bearer {head}.{body}.") == "wrong_algorithm"


def test_the_public_key_is_no_shared_secret() -> None:
    head, body = (
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
        for part in ({"alg": "HS256", "typ": "JWT"}, claims())
    )
    mac = hmac.new(pem(RSA_KEY).encode(), f"{head}.{body}".encode(), hashlib.sha256).digest()
    forged = f"Bearer {head}.{body}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"
    assert reason(forged) == "wrong_algorithm"


def test_an_algorithm_outside_the_list_is_refused_even_with_the_right_key() -> None:
    assert reason(sign(claims(), algorithm="RS512")) == "wrong_algorithm"
    assert reason(sign(claims()), verifier(jwt_algorithms=("ES256",))) == "wrong_algorithm"


def test_a_key_of_another_kind_than_the_algorithm_is_refused() -> None:
    assert reason(sign(claims(), EC_KEY, "ES256"), verifier(RSA_KEY)) == "wrong_algorithm"


def test_a_foreign_signature_is_refused() -> None:
    assert reason(sign(claims(), OTHER_RSA_KEY)) == "bad_signature"


def test_a_token_that_is_good_and_too_long_is_refused_before_it_is_read() -> None:
    assert verifier().verify(sign(claims(name="x" * 4_000))).uid == "ann"
    assert reason(sign(claims(name="x" * 8_000))) == "malformed"


def test_a_header_that_demands_what_nobody_understands_is_refused() -> None:
    head = {"alg": "RS256", "crit": ["x"], "x": 1}
    signed = ".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in (head, claims())
    )
    scheme = jwt.get_algorithm_by_name("RS256")
    signature = base64.urlsafe_b64encode(scheme.sign(signed.encode(), RSA_KEY)).decode().rstrip("=")
    assert reason(f"Bearer {signed}.{signature}") == "malformed"


@pytest.mark.parametrize(
    "claims_text", ["[" * 3_000, "[]", "7", "null", '{"iss": ', "{}{}", '{"exp": ' + "9" * 5_000 + "}"]
)
def test_claims_that_are_no_object_are_malformed_and_nothing_worse(claims_text: str) -> None:
    body = base64.urlsafe_b64encode(claims_text.encode()).decode().rstrip("=")
    head, _, signature = sign(claims()).split(".")
    assert reason(f"{head}.{body}.{signature}") == "malformed"


def test_a_token_without_its_signature_is_refused() -> None:
    assert reason(sign(claims()).rpartition(".")[0] + ".") == "bad_signature"


def test_changed_claims_break_the_signature() -> None:
    head, _, signature = sign(claims()).split(".")
    body = base64.urlsafe_b64encode(json.dumps(claims(sub="eve")).encode()).decode().rstrip("=")
    assert reason(f"{head}.{body}.{signature}") == "bad_signature"


@given(st.text(max_size=300))
def test_no_header_makes_it_raise_anything_else(text: str) -> None:
    reason("Bearer " + text)


def test_an_error_never_repeats_the_token() -> None:
    token = sign(claims(), OTHER_RSA_KEY)
    with pytest.raises(Unauthorized) as caught:
        verifier().verify(token)
    assert token.removeprefix("Bearer ")[:40] not in f"{caught.value!r} {caught.value.details}"
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "settings",
    [
        {"jwt_issuer": ""},
        {"jwt_audience": ""},
        {"jwt_algorithms": ()},
        {"jwt_algorithms": ("RS256", "HS256")},
        {"jwt_algorithms": ("none",)},
        {"jwt_public_key": ""},
        {"jwt_jwks_url": JWKS_URL},
        {"jwt_public_key": "/nowhere/key.pem"},
        {"jwt_public_key": "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"},
        {"jwt_public_key": "", "jwt_jwks_url": "file:///etc/passwd"},
    ],
)
def test_wrong_settings_are_named_at_once_and_not_repeated(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="JWT_") as caught:
        verifier(**settings)
    assert "passwd" not in caught.value.message


def test_the_key_may_be_a_path_or_a_pem_with_escaped_line_breaks(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_text(pem(RSA_KEY))
    for given_key in (str(path), pem(RSA_KEY).replace("\n", "\\n")):
        assert verifier(jwt_public_key=given_key).verify(sign(claims())).uid == "ann"


class Issuer:
    """Publishes its keys, and counts how often somebody reads them."""

    def __init__(self) -> None:
        self.entries: list[Any] = []
        self.requests = 0
        self.failure: Exception | None = None
        self.clock = FakeClock(NOW)
        settings = Settings(jwt_issuer=ISSUER, jwt_audience=AUDIENCE, jwt_jwks_url=JWKS_URL)
        self.verifier = TokenVerifier(settings, self.clock, self._serve)

    def _serve(self, url: str) -> dict[str, Any]:
        assert url == JWKS_URL
        self.requests += 1
        if self.failure:
            raise self.failure
        return {"keys": self.entries}

    def publish(self, key: Any, kid: str | None, **changes: Any) -> None:
        kind = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
        entry = {**kind.to_jwk(key.public_key(), as_dict=True), **changes}
        self.entries.append(entry if kid is None else {**entry, "kid": kid})

    def sign(self, key: Any, algorithm: str = "RS256", **headers: Any) -> str:
        return sign(claims(exp=int(self.clock.now()) + 600), key, algorithm, **headers)


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


def test_published_keys_without_use_or_alg_are_normal(issuer: Issuer) -> None:
    issuer.publish(RSA_KEY, "r")
    issuer.publish(EC_KEY, "e")
    issuer.entries[0].pop("use", None)
    issuer.entries[0].pop("alg", None)
    assert issuer.verifier.verify(issuer.sign(RSA_KEY, kid="r")).uid == "ann"
    assert issuer.verifier.verify(issuer.sign(EC_KEY, "ES256", kid="e")).uid == "ann"
    assert issuer.requests == 1


def test_junk_among_the_published_keys_is_passed_over(issuer: Issuer) -> None:
    issuer.entries += [
        None,
        7,
        {},
        {"kty": "RSA"},
        {"kty": "RSA", "n": 1, "e": 2},
        {"kty": "EC", "crv": "X", "kid": "e"},
    ]
    issuer.publish(RSA_KEY, "r", x5c="junk")
    assert issuer.verifier.verify(issuer.sign(RSA_KEY, kid="r")).uid == "ann"


def test_symmetric_and_encryption_keys_are_not_taken(issuer: Issuer) -> None:
    issuer.entries.append({"kty": "oct", "k": "c2VjcmV0", "kid": "o"})
    issuer.publish(RSA_KEY, "enc", use="enc")
    issuer.publish(OTHER_RSA_KEY, "r")
    assert reason(issuer.sign(RSA_KEY, kid="o"), issuer.verifier) == "unknown_key"
    assert reason(issuer.sign(RSA_KEY, kid="enc"), issuer.verifier) == "unknown_key"


def test_a_key_that_names_its_algorithm_verifies_no_other(issuer: Issuer) -> None:
    issuer.publish(RSA_KEY, "r", alg="RS512")
    assert reason(issuer.sign(RSA_KEY, kid="r"), issuer.verifier) == "wrong_algorithm"


def test_a_token_without_a_key_id_is_taken_only_if_there_is_no_choice(issuer: Issuer) -> None:
    issuer.publish(RSA_KEY, None)
    assert issuer.verifier.verify(issuer.sign(RSA_KEY)).uid == "ann"
    issuer.publish(OTHER_RSA_KEY, "second")
    issuer.clock.time += keys.LIFESPAN
    assert reason(issuer.sign(RSA_KEY), issuer.verifier) == "unknown_key"


def test_an_unknown_key_id_is_looked_up_once_per_cool_down(issuer: Issuer) -> None:
    issuer.publish(RSA_KEY, "old")
    for number in range(20):
        assert reason(issuer.sign(OTHER_RSA_KEY, kid=f"made-up-{number}"), issuer.verifier) == "unknown_key"
    assert issuer.requests == 1
    issuer.publish(OTHER_RSA_KEY, "new")
    issuer.clock.time += keys.COOL_DOWN
    assert issuer.verifier.verify(issuer.sign(OTHER_RSA_KEY, kid="new")).uid == "ann"
    assert issuer.requests == 2


def test_a_withdrawn_key_stops_working_when_the_set_is_read_again(issuer: Issuer) -> None:
    issuer.publish(RSA_KEY, "r")
    assert issuer.verifier.verify(issuer.sign(RSA_KEY, kid="r")).uid == "ann"
    issuer.entries.clear()
    issuer.publish(OTHER_RSA_KEY, "new")
    issuer.clock.time += keys.LIFESPAN
    assert reason(issuer.sign(RSA_KEY, kid="r"), issuer.verifier) == "unknown_key"


@pytest.mark.parametrize("served", [[], [{"kty": "oct", "k": "c2VjcmV0", "kid": "r"}], [None]])
def test_a_set_without_a_usable_key_is_no_answer_and_those_known_go_on(issuer: Issuer, served: list[Any]) -> None:
    issuer.publish(RSA_KEY, "r")
    assert issuer.verifier.verify(issuer.sign(RSA_KEY, kid="r")).uid == "ann"
    issuer.entries = served
    issuer.clock.time += keys.STALE - 1
    assert issuer.verifier.verify(issuer.sign(RSA_KEY, kid="r")).uid == "ann"
    assert issuer.requests == 2
    issuer.clock.time += 1
    with pytest.raises(Retry):
        issuer.verifier.verify(issuer.sign(RSA_KEY, kid="r"))


def test_whoever_has_seen_no_usable_key_yet_says_so_and_refuses_nobody(issuer: Issuer) -> None:
    with pytest.raises(Retry):
        issuer.verifier.verify(issuer.sign(RSA_KEY, kid="r"))
    issuer.publish(RSA_KEY, "r")
    issuer.clock.time += keys.COOL_DOWN
    assert issuer.verifier.verify(issuer.sign(RSA_KEY, kid="r")).uid == "ann"


@pytest.mark.parametrize("failure", [ProviderUnavailable("x"), ConnectionResetError(), ValueError("no json")])
def test_an_issuer_that_is_away_is_no_fault_of_the_caller(issuer: Issuer, failure: Exception) -> None:
    issuer.failure = failure
    for _ in range(3):
        with pytest.raises(Retry) as caught:
            issuer.verifier.verify(issuer.sign(RSA_KEY, kid="r"))
        assert caught.value.retry_after
    assert issuer.requests == 1


def test_known_keys_outlive_a_day_without_the_issuer_and_no_longer(issuer: Issuer) -> None:
    issuer.publish(RSA_KEY, "r")
    issuer.verifier.verify(issuer.sign(RSA_KEY, kid="r"))
    issuer.failure = ProviderUnavailable("x")
    issuer.clock.time += keys.STALE - 1
    assert issuer.verifier.verify(issuer.sign(RSA_KEY, kid="r")).uid == "ann"
    issuer.clock.time += 1
    with pytest.raises(Retry):
        issuer.verifier.verify(issuer.sign(RSA_KEY, kid="r"))

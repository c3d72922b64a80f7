"""Issuers of other people's making: their tokens as they come, who is believed what, and floods that reach nobody."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from shared.errors import ConfigurationError, ProviderUnavailable, Retry, Unauthorized
from shared.identity import keys, roles
from shared.identity.issuers import ROLES, trusted
from shared.identity.keys import PinnedKey
from shared.identity.tokens import Principal, TokenVerifier
from shared.identity.uids import uid_apart, uid_of
from shared.settings import Settings
from tests.unit.fakes import FakeClock
from tests.unit.identity.test_tokens import RSA_KEY, pem

NOW = 1_790_000_000
OURS = "u_" + "a" * 26
RSA = {
    name: rsa.generate_private_key(public_exponent=65537, key_size=2048)
    for name in ("own", "firebase", "clerk", "auth0")
}
ED = ed25519.Ed25519PrivateKey.generate()
EC = ec.generate_private_key(ec.SECP256R1())

OWN, JWT = "https://brain.example", "https://issuer.example"
BETTER = "https://app.example"
CLERK = "https://clerk.example.com"
FIREBASE = "https://securetoken.google.com/my-project"
AUTH0 = "https://example.eu.auth0.com/"

LISTED: list[dict[str, Any]] = [
    {"issuer": CLERK, "azp": [BETTER]},
    {"issuer": FIREBASE, "audience": "my-project"},
    {"issuer": AUTH0, "audience": "https://api.example", "algorithms": ["RS256"]},
]


def jwk(key: Any, kid: str, **more: Any) -> dict[str, Any]:
    """A published key, without the ``use`` and ``alg`` that not everybody gives."""
    kinds: dict[type, Any] = {
        rsa.RSAPrivateKey: jwt.algorithms.RSAAlgorithm,
        ec.EllipticCurvePrivateKey: jwt.algorithms.ECAlgorithm,
        ed25519.Ed25519PrivateKey: jwt.algorithms.OKPAlgorithm,
    }
    [kind] = [kind for base, kind in kinds.items() if isinstance(key, base)]
    entry = {**kind.to_jwk(key.public_key(), as_dict=True), "kid": kid, **more}
    return {name: value for name, value in entry.items() if name not in ("use", "key_ops") and value is not None}


def discovery(issuer: str, jwks: str) -> dict[str, Any]:
    return {"issuer": issuer, "jwks_uri": jwks, "authorization_endpoint": f"{issuer}/authorize"}


class Web:
    """What is served where, and what was asked for."""

    def __init__(self, pages: dict[str, Any] | None = None) -> None:
        self.pages = pages if pages is not None else dict(SERVED)
        self.asked: list[str] = []

    def __call__(self, url: str) -> Any:
        self.asked.append(url)
        if url not in self.pages:
            raise ProviderUnavailable("404")
        return self.pages[url]


SERVED: dict[str, Any] = {
    f"{OWN}/api/auth/jwks": {"keys": [jwk(RSA["own"], "o1", alg="RS256", use="sig")]},
    f"{BETTER}/api/auth/jwks": {"keys": [jwk(ED, "b1")]},
    f"{CLERK}/.well-known/openid-configuration": discovery(CLERK, f"{CLERK}/.well-known/jwks.json"),
    f"{CLERK}/.well-known/jwks.json": {"keys": [jwk(RSA["clerk"], "ins_1", alg="RS256")]},
    f"{FIREBASE}/.well-known/openid-configuration": discovery(FIREBASE, "https://www.googleapis.com/certs/jwk"),
    "https://www.googleapis.com/certs/jwk": {"keys": [jwk(RSA["firebase"], "f1", alg="RS256")]},
    f"{AUTH0}.well-known/openid-configuration": discovery(AUTH0, f"{AUTH0}.well-known/jwks.json"),
    f"{AUTH0}.well-known/jwks.json": {"keys": [jwk(RSA["auth0"], "a1", alg="RS256", x5t="x", x5c=["junk"])]},
}

# As they come, but for times and names.
BETTER_TOKEN = {
    "id": "rKcYb2gR9mZtAq0PfHdWuXsE7nLoVi34", "name": "Ann", "email": "ann@example.org", "emailVerified": True, "image": None,
    "createdAt": "2026-01-01T00:00:00.000Z", "updatedAt": "2026-01-01T00:00:00.000Z", "iat": NOW, "iss": BETTER, "aud": BETTER,
    "exp": NOW + 900, "sub": "rKcYb2gR9mZtAq0PfHdWuXsE7nLoVi34",
}  # fmt: skip
CLERK_TOKEN = {
    "azp": BETTER, "exp": NOW + 60, "fva": [7, -1], "iat": NOW, "iss": CLERK, "jti": "a1b2", "nbf": NOW - 10, "pla": "u:free",
    "sid": "sess_2abc", "sts": "active", "sub": "user_2abcDEF", "v": 2, "fea": "u:x",
}  # fmt: skip
FIREBASE_TOKEN = {
    "name": "Ann", "picture": "https://x.example/a.png", "iss": FIREBASE, "aud": "my-project", "auth_time": NOW - 100,
    "user_id": "zQ1", "sub": "zQ1", "iat": NOW, "exp": NOW + 3600, "email": "ann@example.org", "email_verified": True,
    "firebase": {"identities": {"email": ["ann@example.org"]}, "sign_in_provider": "password"},
}  # fmt: skip
AUTH0_TOKEN = {
    "iss": AUTH0, "sub": "auth0|65a", "aud": ["https://api.example", "https://example.eu.auth0.com/userinfo"], "iat": NOW,
    "exp": NOW + 86_400, "azp": "client", "scope": "openid profile", "gty": "password",
}  # fmt: skip
OWN_TOKEN = {
    "iss": OWN, "aud": "brainstem", "sub": OURS, "sid": "s1", "role": "owner", "iat": NOW, "exp": NOW + 900, "jti": "x",
    "email": "ann@example.org", "name": "Ann",
}  # fmt: skip
SHAPES = {
    "better auth": (BETTER_TOKEN, ED, "EdDSA", "b1"),
    "clerk": (CLERK_TOKEN, RSA["clerk"], "RS256", "ins_1"),
    "firebase": (FIREBASE_TOKEN, RSA["firebase"], "RS256", "f1"),
    "auth0": (AUTH0_TOKEN, RSA["auth0"], "RS256", "a1"),
    "own": (OWN_TOKEN, RSA["own"], "RS256", "o1"),
}


def settings(**changes: Any) -> Settings:
    values = {
        "auth_issuer": OWN, "jwt_issuer": JWT, "jwt_public_key": pem(RSA_KEY), "better_auth_url": BETTER,
        "trusted_issuers": json.dumps(LISTED),
    }  # fmt: skip
    return Settings(**{**values, **changes})


def verifier(web: Web | None = None, clock: FakeClock | None = None, **changes: Any) -> TokenVerifier:
    return TokenVerifier(settings(**changes), clock or FakeClock(NOW), web or Web())


def sign(claims: dict[str, Any], key: Any, algorithm: str, kid: str | None) -> str:
    present = {name: value for name, value in claims.items() if value is not ...}
    return f"Bearer {jwt.encode(present, key, algorithm, headers={'kid': kid, 'typ': None})}"


def shaped(shape: str, **changes: Any) -> str:
    claims, key, algorithm, kid = SHAPES[shape]
    return sign({**claims, **changes}, key, algorithm, kid)


def reason(authorization: str, by: TokenVerifier | None = None) -> str:
    with pytest.raises(Unauthorized) as caught:
        (by or verifier()).verify(authorization)
    return str(caught.value.details["reason"])


@pytest.mark.parametrize(
    ("shape", "principal"),
    [
        ("own", Principal(OURS, "ann@example.org", "Ann", "owner", OWN, "s1")),
        ("better auth", Principal(uid_apart(BETTER, BETTER_TOKEN["sub"]), "ann@example.org", "Ann", "owner", BETTER)),
        ("clerk", Principal(uid_apart(CLERK, "user_2abcDEF"), None, None, "owner", CLERK)),
        ("firebase", Principal(uid_apart(FIREBASE, "zQ1"), "ann@example.org", "Ann", "owner", FIREBASE)),
        ("auth0", Principal(uid_apart(AUTH0, "auth0|65a"), None, None, "owner", AUTH0)),
    ],
)
def test_a_token_as_its_issuer_makes_it_names_its_person(shape: str, principal: Principal) -> None:
    assert verifier().verify(shaped(shape)) == principal


def test_the_issuer_of_the_settings_keeps_its_plain_uids_beside_all_others() -> None:
    token = sign({"iss": JWT, "aud": "brainstem", "sub": "ann", "exp": NOW + 9}, RSA_KEY, "RS256", "development")
    assert verifier().verify(token) == Principal("ann", issuer=JWT)


def test_better_auth_alone_is_one_setting() -> None:
    alone = TokenVerifier(Settings(better_auth_url=f"{BETTER}/"), FakeClock(NOW), Web())
    assert alone.verify(shaped("better auth")).issuer == BETTER
    assert alone.verify(shaped("better auth", aud="brainstem")).issuer == BETTER
    assert reason(shaped("better auth", aud="https://other.example"), alone) == "wrong_audience"


@pytest.mark.parametrize(
    ("url", "jwks", "asked"),
    [
        (BETTER, "", f"{BETTER}/api/auth/jwks"),
        (f"{BETTER}/", "", f"{BETTER}/api/auth/jwks"),
        (f"{BETTER}/api/identity", "", f"{BETTER}/api/identity/jwks"),
        (BETTER, "https://cdn.example/keys", "https://cdn.example/keys"),
    ],
)
def test_where_better_auth_publishes_its_keys(url: str, jwks: str, asked: str) -> None:
    web = Web({asked: SERVED[f"{BETTER}/api/auth/jwks"]})
    alone = TokenVerifier(Settings(better_auth_url=url, better_auth_jwks_url=jwks), FakeClock(NOW), web)
    assert alone.verify(shaped("better auth")).issuer == BETTER
    assert web.asked == [asked]


def test_the_list_may_lie_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "issuers.json"
    path.write_text(json.dumps(LISTED))
    assert verifier(trusted_issuers=str(path)).verify(shaped("clerk")).issuer == CLERK


@pytest.mark.parametrize("shape", SHAPES)
def test_no_issuer_can_speak_for_another(shape: str) -> None:
    """A token that claims to be another's has to stand up to the other's keys."""
    _, key, algorithm, kid = SHAPES[shape]
    for other, (claims, *_) in SHAPES.items():
        if other != shape:
            assert reason(sign(claims, key, algorithm, kid)) in ("unknown_key", "bad_signature", "wrong_algorithm")


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    "issuer", ["https://evil.example", "", None, ..., 7, ["https://app.example"], "https://app.example/"]
)
def test_an_issuer_that_is_not_trusted_is_refused_before_anybody_is_asked(shape: str, issuer: Any) -> None:
    claims, key, algorithm, kid = SHAPES[shape]
    header = sign({}, key, algorithm, kid).split(".")[0].removeprefix("Bearer ")
    payload = {name: value for name, value in {**claims, "iss": issuer}.items() if value is not ...}
    body = jwt.utils.base64url_encode(json.dumps(payload).encode()).decode()
    scheme = jwt.get_algorithm_by_name(algorithm)
    signature = jwt.utils.base64url_encode(scheme.sign(f"{header}.{body}".encode(), scheme.prepare_key(key))).decode()
    web = Web()
    assert reason(f"Bearer {header}.{body}.{signature}", verifier(web)) == "wrong_issuer"
    assert web.asked == []


@pytest.mark.parametrize("shape", SHAPES)
def test_times_and_audiences_count_for_every_issuer(shape: str) -> None:
    assert reason(shaped(shape, exp=NOW - 31)) == "expired"
    assert reason(shaped(shape, exp=...)) == "malformed"
    assert reason(shaped(shape, nbf=NOW + 60)) == "not_yet_valid"
    assert reason(shaped(shape, aud="another")) == "wrong_audience"


def test_a_token_for_nobody_in_particular_needs_the_right_party_and_no_audience() -> None:
    for party in (..., None, "https://evil.example", f"{BETTER}/", [BETTER]):
        assert reason(shaped("clerk", azp=party)) == "wrong_audience"
    for audience in (BETTER, [], None, "brainstem"):
        assert reason(shaped("clerk", aud=audience)) == "wrong_audience"


def test_audience_and_party_are_both_asked_for_where_both_are_listed() -> None:
    both = verifier(trusted_issuers=json.dumps([{"issuer": CLERK, "azp": [BETTER], "audience": ["x", "y"]}]))
    assert both.verify(shaped("clerk", aud="y")).issuer == CLERK
    assert reason(shaped("clerk", aud="y", azp="z"), both) == "wrong_audience"
    assert reason(shaped("clerk"), both) == "wrong_audience"


@pytest.mark.parametrize("subject", [..., None, "", 7, ["zQ1"], {"a": 1}])
def test_the_claim_that_is_the_uid_can_be_chosen_and_has_to_be_there(subject: Any) -> None:
    entry = {"issuer": FIREBASE, "audience": "my-project", "uid_claim": "https://x.example/uid"}
    chosen = verifier(trusted_issuers=json.dumps([entry]))
    token = shaped("firebase", sub="other", **{"https://x.example/uid": "zQ1"})
    assert chosen.verify(token).uid == uid_apart(FIREBASE, "zQ1")
    assert reason(shaped("firebase", **{"https://x.example/uid": subject}), chosen) == "no_subject"


def test_plain_uids_are_given_to_listed_issuers_that_are_meant_to_share_their_people() -> None:
    shared = verifier(trusted_issuers=json.dumps([{**LISTED[1], "plain_uids": True}]))
    assert shared.verify(shaped("firebase", sub="ann")).uid == "ann"
    assert shared.verify(shaped("firebase", sub="a/b")).uid == uid_of("a/b")
    assert shared.verify(shaped("firebase", sub=OURS)).uid == uid_of(OURS) != OURS


@pytest.mark.parametrize("shape", ["better auth", "clerk", "firebase", "auth0"])
def test_the_same_subject_of_two_issuers_is_two_people(shape: str) -> None:
    uid = verifier().verify(shaped(shape, sub="ann")).uid
    assert uid != "ann"
    assert uid not in {
        verifier().verify(shaped(other, sub="ann")).uid for other in SHAPES if other not in (shape, "own")
    }


@pytest.mark.parametrize("subject", ["../x", "a/b", "ann", "__x__", "\u0430nn", "x" * 4_096, OURS.upper(), f"{OURS}/x"])
def test_our_own_issuer_names_only_ids_that_it_gives(subject: str) -> None:
    assert reason(shaped("own", sub=subject)) == "no_subject"


# Roles and sessions


def test_roles_that_can_be_given_are_those_of_the_table() -> None:
    assert roles.ROLES - {roles.OWNER} == ROLES


@pytest.mark.parametrize(
    ("role", "given"), [("admin", "admin"), ("service", "service"), ("owner", "owner"), ("root", "owner")]
)
def test_our_own_tokens_give_roles_that_there_are(role: str, given: str) -> None:
    assert verifier().verify(shaped("own", role=role)).role == given


@pytest.mark.parametrize("role", [None, ..., 7, ["admin"], {"admin": True}, ""])
def test_a_role_that_is_no_text_is_none(role: Any) -> None:
    assert verifier().verify(shaped("own", role=role)).role == "owner"


@pytest.mark.parametrize("shape", ["better auth", "clerk", "firebase", "auth0"])
@pytest.mark.parametrize("role", ["admin", "service"])
def test_nobody_else_gives_a_role_or_a_session_unless_they_may(shape: str, role: str) -> None:
    principal = verifier().verify(shaped(shape, role=role, sid="s1"))
    assert (principal.role, principal.session) == ("owner", None)


def test_the_issuer_of_the_settings_gives_none_either() -> None:
    claims = {"iss": JWT, "aud": "brainstem", "sub": "ann", "exp": NOW + 9, "role": "admin", "sid": "s1"}
    assert verifier().verify(sign(claims, RSA_KEY, "RS256", "development")) == Principal("ann", issuer=JWT)


def test_an_issuer_gives_the_roles_that_it_may_by_the_claim_that_it_may() -> None:
    entry = {**LISTED[1], "roles": ["service"], "role_claim": "https://x.example/role"}
    allowed = verifier(trusted_issuers=json.dumps([entry]))
    for claim, said, given in [
        ("https://x.example/role", "service", "service"),
        ("https://x.example/role", "admin", "owner"),
        ("role", "service", "owner"),
    ]:
        principal = allowed.verify(shaped("firebase", **{claim: said, "sid": "s1"}))
        assert (principal.role, principal.session) == (given, None)


# Keys


def test_own_keys_that_are_at_hand_are_asked_for_nowhere() -> None:
    web = Web()
    keys_at_hand = PinnedKey.load(pem(RSA["own"]))
    assert TokenVerifier(settings(), FakeClock(NOW), web, keys_at_hand).verify(shaped("own")).uid == OURS
    assert web.asked == []


@pytest.mark.parametrize(
    "document",
    [
        {**discovery(CLERK, f"{CLERK}/.well-known/jwks.json"), "issuer": f"{CLERK}/"},
        {**discovery(CLERK, f"{CLERK}/.well-known/jwks.json"), "issuer": "https://evil.example"},
        discovery(CLERK, "http://clerk.example.com/.well-known/jwks.json"),
        discovery(CLERK, "file:///etc/passwd"),
        {"issuer": CLERK},
        {"issuer": CLERK, "jwks_uri": 7},
        [],
        None,
    ],
)
def test_a_discovery_document_that_is_not_the_issuers_leads_nowhere(document: Any) -> None:
    url = f"{CLERK}/.well-known/openid-configuration"
    web = Web({**SERVED, url: document})
    with pytest.raises(Retry):
        verifier(web).verify(shaped("clerk"))
    assert web.asked == [url]


def test_where_the_keys_are_is_asked_once_and_again_when_they_have_moved() -> None:
    web, clock = Web(), FakeClock(NOW)
    by = verifier(web, clock)
    named, old, new = f"{CLERK}/.well-known/openid-configuration", f"{CLERK}/.well-known/jwks.json", f"{CLERK}/keys"
    by.verify(shaped("clerk"))
    clock.time += keys.LIFESPAN
    by.verify(shaped("clerk", exp=clock.time + 60))
    assert web.asked == [named, old, old]
    web.pages[new] = web.pages.pop(old)
    web.pages[named] = discovery(CLERK, new)
    for _ in range(2):
        clock.time += keys.LIFESPAN
        by.verify(shaped("clerk", exp=clock.time + 60))
    assert web.asked[3:] == [old, named, new]


def test_a_discovery_that_is_named_is_used() -> None:
    web = Web({"https://d.example/x": discovery(AUTH0, f"{AUTH0}.well-known/jwks.json"), **SERVED})
    by = verifier(web, trusted_issuers=json.dumps([{**LISTED[2], "discovery": "https://d.example/x"}]))
    assert by.verify(shaped("auth0")).issuer == AUTH0
    assert web.asked[0] == "https://d.example/x"


def test_a_key_set_that_is_named_needs_no_discovery() -> None:
    web = Web()
    by = verifier(web, trusted_issuers=json.dumps([{**LISTED[2], "jwks_url": f"{AUTH0}.well-known/jwks.json"}]))
    assert by.verify(shaped("auth0")).issuer == AUTH0
    assert web.asked == [f"{AUTH0}.well-known/jwks.json"]


def test_ten_thousand_made_up_keys_cost_each_issuer_one_reading() -> None:
    web, clock = Web(), FakeClock(NOW)
    by = verifier(web, clock)
    made_up = {shape: shaped(shape).split(".") for shape in SHAPES}
    for number in range(10_000):
        shape = list(SHAPES)[number % len(SHAPES)]
        header = {"alg": SHAPES[shape][2], "kid": f"made-up-{number}"}
        head = jwt.utils.base64url_encode(json.dumps(header).encode()).decode()
        assert reason(f"Bearer {'.'.join([head, *made_up[shape][1:]])}", by) == "unknown_key"
    documents = 2  # of the issuers with discovery, beside their keys
    assert len(web.asked) == len(SHAPES) + 3 <= 5 * documents
    assert len(set(web.asked)) == len(web.asked)
    assert by.verify(shaped("firebase")).issuer == FIREBASE, "whoever is known goes on meanwhile"


def test_a_flood_of_an_hour_reads_a_set_no_more_than_twice_a_minute() -> None:
    web, clock = Web(), FakeClock(NOW)
    by = verifier(web, clock)
    for number in range(3_600):
        token = sign({**BETTER_TOKEN, "exp": clock.time + 60}, ED, "EdDSA", f"made-up-{number}")
        assert reason(token, by) == "unknown_key"
        clock.time += 1
    assert len(web.asked) <= 3_600 / keys.COOL_DOWN + 1


def test_made_up_issuers_cost_nothing_at_all() -> None:
    web = Web()
    by = verifier(web)
    for number in range(1_000):
        token = sign({**BETTER_TOKEN, "iss": f"https://evil-{number}.example"}, ED, "EdDSA", f"k{number}")
        assert reason(token, by) == "wrong_issuer"
    assert web.asked == []


def test_one_issuer_that_is_away_keeps_nobody_else_out() -> None:
    web = Web({url: page for url, page in SERVED.items() if not url.startswith(CLERK)})
    by = verifier(web)
    for _ in range(100):
        with pytest.raises(Retry):
            by.verify(shaped("clerk"))
        assert by.verify(shaped("firebase")).issuer == FIREBASE
    assert len([url for url in web.asked if url.startswith(CLERK)]) == 1


# Settings


@pytest.mark.parametrize(
    "text",
    [
        "nowhere.json", "{}", "[7]", '["https://a.example"]', "[{}]", '[{"issuer": "https://a.example"}]',
        '[{"issuer": "", "audience": "x"}]', '[{"issuer": "https://a.example", "audience": ""}]',
        '[{"issuer": "https://a.example", "audience": []}]', '[{"issuer": "https://a.example", "azp": [""]}]',
        '[{"issuer": "https://a.example", "audience": "x", "algorithms": []}]',
        '[{"issuer": "https://a.example", "audience": "x", "algorithms": ["HS256"]}]',
        '[{"issuer": "https://a.example", "audience": "x", "algorithms": ["none"]}]',
        '[{"issuer": "https://a.example", "audience": "x", "roles": ["root"]}]',
        '[{"issuer": "https://a.example", "audience": "x", "uid_claim": ""}]',
        '[{"issuer": "https://a.example", "audience": "x", "jwks_url": "file:///etc/passwd"}]',
        '[{"issuer": "https://a.example", "audience": "x", "jwks_url": "https://a.example/k", "discovery": "https://a.example/d"}]',
        '[{"issuer": "a.example", "audience": "x"}]', '[{"issuer": "https://a.example", "audience": "x", "jwks": "typo"}]',
        '[{"issuer": "https://a.example", "audience": "x"}, {"issuer": "https://a.example", "audience": "y"}]',
        f'[{{"issuer": "{BETTER}", "audience": "x"}}]', "[" * 5_000,
        json.dumps([{"issuer": f"https://{number}.example", "audience": "x"} for number in range(60)]),
    ],
)  # fmt: skip
def test_a_list_that_cannot_be_is_refused_at_once_and_not_repeated(text: str) -> None:
    with pytest.raises(ConfigurationError, match="TRUSTED_ISSUERS") as caught:
        trusted(settings(trusted_issuers=text), FakeClock(NOW), Web())
    assert "a.example" not in caught.value.message
    assert "passwd" not in caught.value.message


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"better_auth_url": "app.example"}, "BETTER_AUTH_URL"),
        ({"better_auth_jwks_url": "file:///etc/passwd"}, "BETTER_AUTH_JWKS_URL"),
        ({"auth_issuer": "brain.example"}, "AUTH_ISSUER"),
        ({"auth_issuer": JWT}, "AUTH_ISSUER"),
        ({"jwt_issuer": ""}, "JWT_ISSUER"),
        ({"jwt_audience": ""}, "JWT_AUDIENCE"),
    ],
)
def test_wrong_settings_are_named(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named) as caught:
        trusted(settings(**changes), FakeClock(NOW), Web())
    assert "passwd" not in caught.value.message


def test_somebody_has_to_be_trusted() -> None:
    with pytest.raises(ConfigurationError, match="TRUSTED_ISSUERS"):
        trusted(Settings(), FakeClock(NOW), Web())

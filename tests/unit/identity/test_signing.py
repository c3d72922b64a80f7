"""Keys of our own access tokens: published before they sign, and until nothing that they have signed is good any more."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from infra import rotate_keys
from shared.adapters.embedded.clock import VirtualClock
from shared.adapters.embedded.secrets import EmbeddedSecrets
from shared.errors import ConfigurationError, Unauthorized
from shared.http.auth_api import JWKS_SECONDS
from shared.identity import keys
from shared.identity.keys import PublishedKeys
from shared.identity.signing import KEPT, LINGER, SECRET, SETTLE, TOKEN_SECONDS, Ring, Signing, SigningKey, rotate
from shared.identity.tokens import LEEWAY, verified_claims
from tests.unit.fakes import FakeSecrets

FIRST, SECOND, THIRD = (SigningKey.new(created_at) for created_at in (0.0, 10_000.0, 20_000.0))


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


def claims(clock: VirtualClock) -> dict[str, object]:
    now = int(clock.now())
    return {"iss": "i", "aud": "a", "sub": "s", "iat": now, "exp": now + int(TOKEN_SECONDS)}


def test_the_first_key_is_made_at_first_use_and_stays(clock: VirtualClock) -> None:
    secrets = FakeSecrets()
    kids = {
        jwt.get_unverified_header(Signing(secrets, clock, may_create=True).sign(claims(clock)))["kid"] for _ in range(3)
    }
    assert kids == {Ring.of(secrets.get(SECRET)).keys[0].kid}


def test_threads_that_come_first_together_make_one_key(tmp_path: Path, clock: VirtualClock) -> None:
    signings = [Signing(EmbeddedSecrets(tmp_path), clock, may_create=True) for _ in range(8)]
    start, kids = threading.Barrier(8), set()

    def first(signing: Signing) -> None:
        start.wait()
        kids.add(jwt.get_unverified_header(signing.sign(claims(clock)))["kid"])

    threads = [threading.Thread(target=first, args=(signing,)) for signing in signings]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(kids) == 1


def test_where_the_deployment_makes_keys_none_is_made(clock: VirtualClock) -> None:
    secrets = FakeSecrets()
    with pytest.raises(ConfigurationError, match="make rotate-keys"):
        Signing(secrets, clock, may_create=False).sign({})


def test_a_new_key_is_published_at_once_and_signs_once_it_has_settled() -> None:
    ring = Ring((FIRST, SECOND))
    made = SECOND.created_at
    assert [key.kid for key in ring.published(made)] == [FIRST.kid, SECOND.kid]
    assert ring.signing(made + SETTLE - 1) is FIRST
    assert ring.signing(made + SETTLE) is SECOND
    assert len(ring.published(made + SETTLE + LINGER - 1)) == 2
    assert ring.published(made + SETTLE + LINGER) == (SECOND,)


def test_a_key_settles_for_longer_than_anybody_keeps_a_key_set_and_lingers_for_longer_than_a_token_lives() -> None:
    assert SETTLE >= keys.LIFESPAN + JWKS_SECONDS + KEPT + 60.0
    assert LINGER >= TOKEN_SECONDS + LEEWAY + 2 * 60.0 + KEPT


def test_a_single_key_signs_from_the_start_however_young_it_is() -> None:
    assert Ring((SECOND,)).signing(SECOND.created_at) is SECOND


def test_rotating_keeps_what_somebody_may_need_and_nothing_else() -> None:
    ring = Ring((FIRST, SECOND)).rotated(SECOND.created_at + 3_600)
    assert [key.kid for key in ring.keys[:-1]] == [SECOND.kid]
    assert ring.keys[-1].created_at == SECOND.created_at + 3_600
    soon = Ring((FIRST, SECOND)).rotated(SECOND.created_at + SETTLE + 1)
    assert [key.kid for key in soon.keys[:-1]] == [FIRST.kid, SECOND.kid]


def test_rotating_again_has_to_wait_until_the_newest_key_signs() -> None:
    with pytest.raises(ConfigurationError, match="again in 600 seconds"):
        Ring((FIRST, SECOND)).rotated(SECOND.created_at)


def test_after_a_theft_the_new_key_is_the_only_one_at_once() -> None:
    ring = Ring((FIRST, SECOND)).rotated(SECOND.created_at, at_once=True)
    [key] = ring.keys
    assert key.kid not in (FIRST.kid, SECOND.kid)
    assert ring.signing(SECOND.created_at) is key
    again = ring.rotated(SECOND.created_at)
    assert again.signing(SECOND.created_at).kid == key.kid


def test_what_is_kept_is_read_again_as_it_was() -> None:
    ring = Ring((FIRST, SECOND, THIRD))
    assert Ring.of(ring.encoded()) == ring
    assert FIRST.pem[40:80] not in str(ring)


def test_the_first_key_of_a_deployment_comes_from_openssl() -> None:
    pem = subprocess.run(["openssl", "genrsa", "2048"], capture_output=True, check=True).stdout
    ring = Ring.of(pem)
    assert ring.signing(0.0) is ring.keys[0]
    assert ring.rotated(1e9).keys[0].kid == ring.keys[0].kid


@pytest.mark.parametrize(
    "secret", [b"", b"[]", b"x", b"{}", b'[{"pem": "x", "created_at": 0}]', b"-----BEGIN x", b"[1]"]
)
def test_a_secret_that_holds_no_keys_is_said_in_one_sentence(secret: bytes) -> None:
    with pytest.raises(ConfigurationError, match=SECRET):
        Ring.of(secret)


def test_keys_of_another_kind_or_too_short_are_refused() -> None:
    curve = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(ConfigurationError, match="RSA keys"):
        Ring.of(curve)


def test_nobody_is_ever_refused_while_keys_rotate(clock: VirtualClock) -> None:
    """Instances that notice late, verifiers that keep what they read, tokens that are used to their last second."""
    secrets = FakeSecrets()
    instances = [Signing(secrets, clock, may_create=True) for _ in range(2)]
    fetched = [0]

    def fetch() -> dict[str, object]:
        fetched[0] += 1
        return instances[fetched[0] % 2].key_set()

    verifier = PublishedKeys(fetch, clock)
    alive: list[tuple[float, str]] = []
    kids = set()
    for minute in range(4 * 60):
        if minute % 35 == 10:
            rotate(secrets, clock)
        instance = instances[minute % 2]
        alive.append((clock.now() + TOKEN_SECONDS, instance.sign(claims(clock))))
        alive = [(until, token) for until, token in alive if until >= clock.now()]
        for _, token in alive:
            kids.add(jwt.get_unverified_header(token)["kid"])
            verified_claims(token, verifier, ["RS256"], ["i"], "a", clock.now())
        clock.advance(60.0)
    assert len(kids) >= 6


def test_a_stolen_key_is_worth_nothing_once_its_set_is_read_again(clock: VirtualClock) -> None:
    secrets = FakeSecrets()
    signing = Signing(secrets, clock, may_create=True)
    verifier = PublishedKeys(signing.key_set, clock)
    signing.sign(claims(clock))
    thief = Ring.of(secrets.get(SECRET)).keys[0]
    rotate(secrets, clock, at_once=True)
    clock.advance(keys.LIFESPAN + KEPT)
    forged = jwt.encode(claims(clock), thief.private, "RS256", headers={"kid": thief.kid})
    with pytest.raises(Unauthorized):
        verified_claims(forged, verifier, ["RS256"], ["i"], "a", clock.now())


def test_make_rotate_keys_works_on_a_data_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = ["--data", str(tmp_path)]
    assert rotate_keys.main(data, {}) == 0
    assert "signs from now on" in capsys.readouterr().out
    assert rotate_keys.main(data, {}) == 0
    assert "is published now and signs from" in capsys.readouterr().out
    assert rotate_keys.main(data, {}) == 2
    assert "rotate again in" in capsys.readouterr().err
    assert rotate_keys.main([*data, "--now"], {}) == 0
    assert "signs from now on" in capsys.readouterr().out
    assert len(Ring.of(EmbeddedSecrets(tmp_path / "secrets").get(SECRET)).keys) == 1


def test_make_rotate_keys_makes_no_folder_by_a_misspelt_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert rotate_keys.main(["--data", str(tmp_path / "nowhere")], {}) == 2
    assert "no data folder" in capsys.readouterr().err
    assert not (tmp_path / "nowhere").exists()


def test_make_rotate_keys_says_what_the_cloud_lacks(capsys: pytest.CaptureFixture[str]) -> None:
    assert rotate_keys.main([], {"BACKEND": "cloud"}) == 2
    assert "GOOGLE_CLOUD_PROJECT" in capsys.readouterr().err

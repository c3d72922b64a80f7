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
from shared.errors import ConfigurationError, ProviderUnavailable, Retry, Unauthorized
from shared.http.auth_api import JWKS_SECONDS
from shared.identity import keys
from shared.identity.issuers import trusted
from shared.identity.keys import Keys, PublishedKeys
from shared.identity.signing import (
    KEPT,
    LINGER,
    SECRET,
    SETTLE,
    TOKEN_SECONDS,
    WITHOUT,
    Ring,
    Signing,
    SigningKey,
    rotate,
)
from shared.identity.tokens import LEEWAY, verified_claims
from shared.settings import Settings
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
        jwt.get_unverified_header(Signing(secrets, clock, may_create=True).key().sign(claims(clock)))["kid"]
        for _ in range(3)
    }
    assert kids == {Ring.of(secrets.get(SECRET)).keys[0].kid}


def test_threads_that_come_first_together_make_one_key(tmp_path: Path, clock: VirtualClock) -> None:
    signings = [Signing(EmbeddedSecrets(tmp_path), clock, may_create=True) for _ in range(8)]
    start, kids = threading.Barrier(8), set()

    def first(signing: Signing) -> None:
        start.wait()
        kids.add(jwt.get_unverified_header(signing.key().sign(claims(clock)))["kid"])

    threads = [threading.Thread(target=first, args=(signing,)) for signing in signings]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(kids) == 1


def test_where_the_deployment_makes_keys_none_is_made(clock: VirtualClock) -> None:
    secrets = FakeSecrets()
    with pytest.raises(ConfigurationError, match="make rotate-keys"):
        Signing(secrets, clock, may_create=False).key().sign({})


def test_a_new_key_is_published_at_once_and_signs_once_it_has_settled() -> None:
    ring = Ring((FIRST, SECOND))
    made = SECOND.created_at
    assert [key.kid for key in ring.published(made)] == [FIRST.kid, SECOND.kid]
    assert ring.signing(made + SETTLE - 1) is FIRST
    assert ring.signing(made + SETTLE) is SECOND
    assert len(ring.published(made + SETTLE + LINGER - 1)) == 2
    assert ring.published(made + SETTLE + LINGER) == (SECOND,)


def test_a_key_settles_for_longer_than_anybody_keeps_a_key_set_and_lingers_for_longer_than_a_token_lives() -> None:
    assert SETTLE >= keys.LIFESPAN + JWKS_SECONDS + WITHOUT + 60.0
    assert SETTLE >= keys.OWN_STALE + JWKS_SECONDS + WITHOUT
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
        alive.append((clock.now() + TOKEN_SECONDS, instance.key().sign(claims(clock))))
        alive = [(until, token) for until, token in alive if until >= clock.now()]
        for _, token in alive:
            kids.add(jwt.get_unverified_header(token)["kid"])
            verified_claims(token, verifier, ["RS256"], ["i"], "a", clock.now())
        clock.advance(60.0)
    assert len(kids) >= 6


OWN = "https://brain.example"


class Theft:
    """A key was stolen; a function verifies with our own key set, which an instance of ``auth`` and a cache keep too."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock, self.secrets = clock, FakeSecrets()
        self.signing = Signing(self.secrets, clock, may_create=True)
        self.stolen = self.signing.key()
        self.cached: tuple[float, object] | None = None
        self.is_away = False
        settings = Settings(auth_issuer=OWN, jwt_audience="a")
        self.keys: Keys = trusted(settings, clock, self._fetch)[OWN].keys

    def _fetch(self, url: str) -> object:
        if self.is_away:
            raise ProviderUnavailable("auth cannot be reached")
        if self.cached is None or self.clock.now() - self.cached[0] >= JWKS_SECONDS:
            self.cached = self.clock.now(), self.signing.key_set()
        return self.cached[1]

    def is_let_in(self) -> bool:
        """Whether a token that the thief signs now opens anything; False also while nobody can tell."""
        try:
            verified_claims(self.stolen.sign(claims(self.clock)), self.keys, ["RS256"], ["i"], "a", self.clock.now())
        except (Unauthorized, Retry):
            return False
        return True


def test_a_stolen_key_is_worth_nothing_anywhere_within_five_minutes(clock: VirtualClock) -> None:
    theft = Theft(clock)
    rotate(theft.secrets, clock, at_once=True)
    # As late as can be: the instance looks just before it has to, then the cache, then the verifier.
    clock.advance(KEPT - 1)
    theft._fetch("")
    clock.advance(JWKS_SECONDS - 1)
    assert theft.is_let_in()
    clock.advance(300.0 - KEPT - JWKS_SECONDS)
    assert not theft.is_let_in()


def test_nor_anywhere_within_ten_where_auth_and_its_secret_are_out_of_reach(clock: VirtualClock) -> None:
    assert keys.OWN_STALE + JWKS_SECONDS + WITHOUT <= 600.0
    theft = Theft(clock)
    assert theft.is_let_in()
    rotate(theft.secrets, clock, at_once=True)
    theft.is_away = True
    clock.advance(keys.OWN_STALE - 1)
    assert theft.is_let_in(), "people are not locked out by a short outage"
    clock.advance(1)
    assert not theft.is_let_in()


class Flaky(FakeSecrets):
    is_away = False

    def get(self, name: str, version: str | None = None) -> bytes:
        if self.is_away:
            raise Retry
        return super().get(name, version)


def test_known_keys_go_on_while_the_secret_cannot_be_read_for_two_minutes_and_no_longer(clock: VirtualClock) -> None:
    secrets = Flaky()
    signing = Signing(secrets, clock, may_create=True)
    secrets.is_away = True
    with pytest.raises(Retry):
        signing.key()
    secrets.is_away = False
    kid = signing.key().kid
    secrets.is_away = True
    clock.advance(WITHOUT - 1)
    assert signing.key().kid == kid
    assert [key["kid"] for key in signing.key_set()["keys"]] == [kid]
    clock.advance(1)
    with pytest.raises(Retry):
        signing.key()
    secrets.is_away = False
    assert signing.key().kid == kid


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

"""A vault key in Cloud KMS: bound, checked on the way, found by version, and never mistaken for another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from google.cloud.kms_v1.services.key_management_service.transports.grpc import KeyManagementServiceGrpcTransport
from google.cloud.kms_v1.types import (
    CryptoKeyVersion,
    DecryptRequest,
    DecryptResponse,
    EncryptRequest,
    EncryptResponse,
)

from shared.adapters.cloud import kms
from shared.adapters.cloud.connect import plain_channel
from shared.adapters.cloud.kms import KmsKey
from shared.errors import ConfigurationError, ReauthRequired, Retry
from shared.vault.seal import Vault
from shared.vault.texts import KeyLost, Unopenable, bound, made_by
from shared.vault.wrapping import Wrappings
from tests.contract.key_management import KeyManagement
from tests.contract.services import handlers, serve
from tests.unit.fakes import FakeClock, FakeSecrets, FakeStore

NAME = "projects/p-1/locations/europe-west1/keyRings/brainstem/cryptoKeys/vault"
OTHER = NAME + "-2"
BOUND = bound("wrapped", "ann", "id")
DISABLED = CryptoKeyVersion.CryptoKeyVersionState.DISABLED
DESTROYED = CryptoKeyVersion.CryptoKeyVersionState.DESTROYED


class Service(KeyManagement):
    """A KMS that can damage what it receives and what it sends."""

    deaf = False
    damaged = ""

    def encrypt(self, request: EncryptRequest) -> EncryptResponse:
        answer = super().encrypt(request)
        if self.deaf:
            answer.verified_additional_authenticated_data_crc32c = False
        if self.damaged == "encrypt":
            answer.ciphertext += b"!"
        return answer

    def decrypt(self, request: DecryptRequest) -> DecryptResponse:
        answer = super().decrypt(request)
        if self.damaged == "decrypt":
            answer.plaintext += b"!"
        return answer


@pytest.fixture
def service() -> Service:
    service = Service()
    service.add_version(NAME)
    service.add_version(OTHER)
    return service


@pytest.fixture
def address(service: Service) -> Iterator[str]:
    server, address = serve(*handlers(KeyManagementServiceGrpcTransport, service))
    yield address
    server.stop(None).wait()


@pytest.fixture
def key(address: str) -> Iterator[KmsKey]:
    key = KmsKey(NAME, plain_channel(address))
    yield key
    key.close()


@pytest.fixture
def other(address: str) -> Iterator[KmsKey]:
    key = KmsKey(OTHER, plain_channel(address))
    yield key
    key.close()


def vault_of(wrapping: Any, keys: FakeStore) -> Vault:
    return Vault(keys, FakeSecrets(), FakeClock(), wrapping=wrapping)


def test_what_is_wrapped_is_unwrapped_with_what_it_is_bound_to_and_with_nothing_else(key: KmsKey) -> None:
    text = key.wrap(b"k" * 32, BOUND)
    assert key.unwrap(text, BOUND) == b"k" * 32
    for moved in (bound("wrapped", "bob", "id"), bound("wrapped", "ann", "id2"), bound("sealed", "ann", "id"), b""):
        with pytest.raises(Unopenable):
            key.unwrap(text, moved)


def test_a_text_names_key_and_version_and_old_versions_stay_readable(key: KmsKey, service: Service) -> None:
    first = key.wrap(b"one", BOUND)
    service.add_version(NAME)
    second = key.wrap(b"two", BOUND)
    assert made_by(first).endswith("-1")
    assert made_by(second).endswith("-2")
    assert (key.unwrap(first, BOUND), key.unwrap(second, BOUND)) == (b"one", b"two")


def test_texts_of_another_key_are_not_taken_for_ours(key: KmsKey, other: KmsKey) -> None:
    text = other.wrap(b"data", BOUND)
    assert (key.has_made(text), other.has_made(text)) == (False, True)
    assert not any(key.has_made(odd) for odd in (None, 3, "", "v1.a.b", "k1.", text.replace("k1.", "v1.", 1)))
    with pytest.raises(Unopenable):
        key.unwrap(text, BOUND)
    with pytest.raises(KeyLost, match="VAULT_KEY does not name"):
        Wrappings((key,)).unwrap(text, BOUND)


@pytest.mark.parametrize("state", [DISABLED, DESTROYED])
def test_a_version_that_is_not_enabled_is_the_operators_matter_and_may_come_back(
    key: KmsKey, service: Service, state: CryptoKeyVersion.CryptoKeyVersionState
) -> None:
    text = key.wrap(b"data", BOUND)
    service.states[NAME, 1] = state
    with pytest.raises(KeyLost, match="Cloud KMS"):
        key.unwrap(text, BOUND)
    with pytest.raises(KeyLost):
        key.wrap(b"data", BOUND)
    service.states[NAME, 1] = CryptoKeyVersion.CryptoKeyVersionState.ENABLED
    assert key.unwrap(text, BOUND) == b"data"


def test_a_key_that_is_not_there_is_lost_and_not_the_persons_fault(address: str) -> None:
    absent = KmsKey(NAME + "-absent", plain_channel(address))
    with pytest.raises(KeyLost) as caught:
        absent.wrap(b"data", BOUND)
    assert not isinstance(caught.value, ReauthRequired)
    absent.close()


def test_what_is_damaged_on_its_way_is_neither_kept_nor_believed(key: KmsKey, service: Service) -> None:
    text = key.wrap(b"data", BOUND)
    service.damaged = "encrypt"
    with pytest.raises(Retry, match="damaged"):
        key.wrap(b"data", BOUND)
    service.damaged = "decrypt"
    with pytest.raises(Retry, match="damaged"):
        key.unwrap(text, BOUND)
    service.damaged, service.deaf = "", True
    with pytest.raises(Retry, match="damaged"):
        key.wrap(b"data", BOUND)


def test_every_altered_text_is_refused(key: KmsKey) -> None:
    text = key.wrap(b"data", BOUND)
    front = len(made_by(text)) + 1
    for place in (*range(front, front + 12), len(text) - 3, len(text) - 1):
        altered = text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1 :]
        with pytest.raises((Unopenable, KeyLost)):
            key.unwrap(altered, BOUND)


def test_every_call_has_a_time_limit(key: KmsKey, monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[Any] = []

    class Client:
        def __init__(self, real: Any) -> None:
            self._real = real

        def encrypt(self, **given: Any) -> Any:
            limits.append((given["timeout"], given["retry"]))
            return self._real.encrypt(**given)

        def decrypt(self, **given: Any) -> Any:
            limits.append((given["timeout"], given["retry"]))
            return self._real.decrypt(**given)

    monkeypatch.setattr(key, "_client", Client(key._client))
    key.unwrap(key.wrap(b"data", BOUND), BOUND)
    assert limits == [(kms.TIMEOUT, None)] * 2


def test_nobody_there_is_to_be_tried_again() -> None:
    key = KmsKey(NAME, plain_channel("127.0.0.1:1"))
    with pytest.raises(Retry, match="The vault key cannot be reached"):
        key.wrap(b"data", BOUND)
    with pytest.raises(Retry):
        key.unwrap(f"k1.{key._id}-1.AAAA", BOUND)
    key.close()


@pytest.mark.parametrize("name", ["", "vault", NAME + "/cryptoKeyVersions/1", NAME.replace("p-1", "../x"), NAME + "\n"])
def test_what_cannot_be_the_name_of_a_key_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="VAULT_KEY"):
        KmsKey(name, plain_channel("127.0.0.1:1"))


def test_a_vault_on_it_asks_once_per_person_and_ten_minutes(key: KmsKey, service: Service) -> None:
    keys = FakeStore()
    vault = vault_of(key, keys)
    sealed = [vault.seal("ann", "purpose", b"token") for _ in range(3)]
    assert [vault.open("ann", "purpose", text) for text in sealed] == [b"token"] * 3
    assert service.calls == ["encrypt"]
    assert vault_of(key, keys).open("ann", "purpose", sealed[0]) == b"token"
    assert service.calls == ["encrypt", "decrypt"]


def test_from_a_secret_to_a_key_in_kms_and_everything_opens_on_the_way(key: KmsKey) -> None:
    from shared.vault.master import SecretKey

    keys, secrets, clock = FakeStore(), FakeSecrets(), FakeClock()
    secret = SecretKey(keys, secrets, clock, may_create=True)
    sealed = Vault(keys, secrets, clock, wrapping=secret).seal("ann", "purpose", b"token")
    both = Vault(keys, secrets, clock, wrapping=Wrappings((key, secret)))
    assert both.open("ann", "purpose", sealed) == b"token"
    doc = both.keys.stored("ann")
    assert doc is not None
    assert both.keys.rewrap("ann", doc, made_by(key.wrap(b"x", b"")))
    assert vault_of(key, keys).open("ann", "purpose", sealed) == b"token"

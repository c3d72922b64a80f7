"""Secrets in Secret Manager: remembered for a short while, whole or not at all, never guessed."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from google.cloud.secretmanager_v1.services.secret_manager_service.transports.grpc import (
    SecretManagerServiceGrpcTransport,
)
from google.cloud.secretmanager_v1.types import (
    AccessSecretVersionRequest,
    AccessSecretVersionResponse,
    DisableSecretVersionRequest,
)

from shared.adapters.cloud.connect import plain_channel
from shared.adapters.cloud.crc32c import crc32c
from shared.adapters.cloud.secrets import CACHED, CloudSecrets
from shared.adapters.embedded.clock import VirtualClock
from shared.errors import ConfigurationError, NotFound, Retry, TooLarge
from tests.contract.secret_manager import SecretManager
from tests.contract.services import handlers, serve


class Service(SecretManager):
    """A Secret Manager that can be slow and can damage what it sends."""

    damaged = False

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(clock)
        self.reading = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()

    def access_secret_version(self, request: AccessSecretVersionRequest) -> AccessSecretVersionResponse:
        answer = super().access_secret_version(request)
        self.reading.set()
        assert self.go_on.wait(10)
        if self.damaged:
            answer = AccessSecretVersionResponse(answer)
            answer.payload.data += b"!"
        return answer


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def service(clock: VirtualClock) -> Service:
    return Service(clock)


@pytest.fixture
def address(service: Service) -> Iterator[str]:
    server, address = serve(*handlers(SecretManagerServiceGrpcTransport, service))
    yield address
    server.stop(None).wait()


@pytest.fixture
def ours(address: str, clock: VirtualClock) -> Iterator[CloudSecrets]:
    secrets = CloudSecrets("p-1", clock, plain_channel(address))
    yield secrets
    secrets.close()


@pytest.fixture
def theirs(address: str, clock: VirtualClock) -> Iterator[CloudSecrets]:
    """The same secrets as another process sees them."""
    secrets = CloudSecrets("p-1", clock, plain_channel(address))
    yield secrets
    secrets.close()


@pytest.mark.parametrize(
    ("data", "checksum"),
    [(b"", 0), (b"123456789", 0xE3069283), (b"\x00" * 32, 0x8A9136AA), (b"\xff" * 32, 0x62A8AB43)],
)
def test_the_checksum_is_the_one_of_the_rfc(data: bytes, checksum: int) -> None:
    assert crc32c(data) == checksum


def test_a_secret_is_asked_for_once_in_its_lifetime(
    ours: CloudSecrets, theirs: CloudSecrets, service: Service, clock: VirtualClock
) -> None:
    theirs.add("name", b"one")
    assert ours.get("name") == b"one"
    theirs.add("name", b"two")
    clock.advance(59)
    assert (ours.get("name"), service.accessed) == (b"one", 1)
    clock.advance(2)
    assert (ours.get("name"), service.accessed) == (b"two", 2)


def test_our_own_new_version_shows_at_once(ours: CloudSecrets) -> None:
    ours.add("name", b"one")
    assert ours.get("name") == b"one"
    ours.add("name", b"two")
    assert ours.get("name") == b"two"


def test_that_there_is_none_is_not_remembered(ours: CloudSecrets, theirs: CloudSecrets) -> None:
    with pytest.raises(NotFound):
        ours.get("name")
    theirs.add("name", b"value")
    assert ours.get("name") == b"value"


def test_a_slow_look_does_not_outlive_a_newer_version(ours: CloudSecrets, service: Service) -> None:
    ours.add("name", b"one")
    service.go_on.clear()
    slow = threading.Thread(target=ours.get, args=("name",))
    slow.start()
    assert service.reading.wait(10)
    ours.add("name", b"two")
    service.go_on.set()
    slow.join(10)
    assert ours.get("name") == b"two"


def test_few_secrets_are_remembered(ours: CloudSecrets, service: Service) -> None:
    for n in range(CACHED + 1):
        ours.add(f"name-{n}", b"value")
        ours.get(f"name-{n}")
    before = service.accessed
    ours.get(f"name-{CACHED}")
    assert service.accessed == before
    ours.get("name-0")
    assert service.accessed == before + 1


def test_a_damaged_secret_is_not_believed(ours: CloudSecrets, service: Service) -> None:
    ours.add("name", b"value")
    service.damaged = True
    with pytest.raises(Retry, match="damaged"):
        ours.get("name")
    service.damaged = False
    assert ours.get("name") == b"value"


def test_a_disabled_version_is_not_a_missing_one(ours: CloudSecrets, service: Service) -> None:
    version = ours.add("vault-key", b"value")
    service.disable_secret_version(
        DisableSecretVersionRequest(name=f"projects/p-1/secrets/vault-key/versions/{version}")
    )
    with pytest.raises(ConfigurationError, match="vault-key is disabled"):
        ours.get("vault-key")


def test_versions_are_remembered_apart_from_the_newest(
    ours: CloudSecrets, theirs: CloudSecrets, service: Service
) -> None:
    ours.add("name", b"one")
    assert ours.get("name") == b"one"
    theirs.add("name", b"two")
    assert (ours.get("name"), ours.get("name", "2"), ours.get("name", "1")) == (b"one", b"two", b"one")
    before = service.accessed
    assert (ours.get("name", "2"), ours.get("name", "1")) == (b"two", b"one")
    assert service.accessed == before


def test_a_disabled_version_of_an_id_is_not_a_missing_one(ours: CloudSecrets, service: Service) -> None:
    version = ours.add("name", b"one")
    ours.add("name", b"two")
    service.disable_secret_version(DisableSecretVersionRequest(name=f"projects/p-1/secrets/name/versions/{version}"))
    with pytest.raises(ConfigurationError, match="Version 1 of the secret name is disabled"):
        ours.get("name", version)
    assert ours.get("name") == b"two"


def test_a_secret_is_not_empty_and_has_a_limit(ours: CloudSecrets) -> None:
    with pytest.raises(ValueError, match="empty"):
        ours.add("name", b"")
    with pytest.raises(TooLarge):
        ours.add("name", b"x" * 65_537)
    with pytest.raises(NotFound):
        ours.get("name")


def test_nobody_there_is_to_be_tried_again(clock: VirtualClock) -> None:
    secrets = CloudSecrets("p-1", clock, plain_channel("127.0.0.1:1"))
    with pytest.raises(Retry, match="The secret name cannot be reached"):
        secrets.get("name")
    with pytest.raises(Retry):
        secrets.add("name", b"value")
    secrets.close()

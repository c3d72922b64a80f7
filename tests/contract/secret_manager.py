"""Secrets, versions and payloads as Secret Manager keeps them."""

from __future__ import annotations

import re
import threading

import grpc
from google.cloud.secretmanager_v1.types import (
    AccessSecretVersionRequest,
    AccessSecretVersionResponse,
    AddSecretVersionRequest,
    CreateSecretRequest,
    DisableSecretVersionRequest,
    Secret,
    SecretPayload,
    SecretVersion,
)

from shared.ports import Clock
from tests.contract.service_error import ServiceError, invalid, missing, taken

MAX_PAYLOAD_BYTES = 65_536

_PARENT = re.compile(r"projects/[a-z0-9.:-]+")
_ID = re.compile(r"[A-Za-z0-9_-]{1,255}")


class SecretManager:
    """The methods of the service that are needed."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._versions: dict[str, list[tuple[SecretVersion, SecretPayload]]] = {}
        self.accessed = 0

    def create_secret(self, request: CreateSecretRequest) -> Secret:
        if not _PARENT.fullmatch(request.parent) or not _ID.fullmatch(request.secret_id):
            raise invalid("The parent or the id of the secret is malformed.")
        if "replication" not in request.secret:
            raise invalid("Field [secret.replication] is required.")
        name = f"{request.parent}/secrets/{request.secret_id}"
        with self._lock:
            if name in self._versions:
                raise taken(f"Secret [{name}] already exists.")
            self._versions[name] = []
        return Secret(name=name, replication=request.secret.replication)

    def add_secret_version(self, request: AddSecretVersionRequest) -> SecretVersion:
        payload = request.payload
        with self._lock:
            versions = self._of(request.parent)
            # An empty payload counts as none: github.com/hashicorp/terraform-provider-google/issues/10475
            if not payload.data:
                raise invalid("Field [payload] is required.")
            if len(payload.data) > MAX_PAYLOAD_BYTES:
                raise invalid("The payload is larger than 64 KiB.")
            checked = payload.data_crc32c is not None
            if checked and payload.data_crc32c != checksum(payload.data):
                raise invalid("The checksum does not match the payload.")
            name = f"{request.parent}/versions/{len(versions) + 1}"
            version = SecretVersion(
                name=name, state=SecretVersion.State.ENABLED, client_specified_payload_checksum=checked
            )
            versions.append((version, SecretPayload(data=payload.data, data_crc32c=checksum(payload.data))))
            return version

    def access_secret_version(self, request: AccessSecretVersionRequest) -> AccessSecretVersionResponse:
        secret, _, which = request.name.rpartition("/versions/")
        with self._lock:
            self.accessed += 1
            version, payload = self._version(secret, which)
            if version.state != SecretVersion.State.ENABLED:
                raise ServiceError(grpc.StatusCode.FAILED_PRECONDITION, f"{version.name} is in DISABLED state.")
            return AccessSecretVersionResponse(name=version.name, payload=payload)

    def disable_secret_version(self, request: DisableSecretVersionRequest) -> SecretVersion:
        secret, _, which = request.name.rpartition("/versions/")
        with self._lock:
            version, _ = self._version(secret, which)
            version.state = SecretVersion.State.DISABLED
            return version

    def _of(self, secret: str) -> list[tuple[SecretVersion, SecretPayload]]:
        if secret not in self._versions:
            raise missing(f"Secret [{secret}] not found.")
        return self._versions[secret]

    def _version(self, secret: str, which: str) -> tuple[SecretVersion, SecretPayload]:
        versions = self._of(secret)
        number = len(versions) if which == "latest" else int(which) if which.isdecimal() else 0
        if not 0 < number <= len(versions):
            raise missing(f"Secret Version [{secret}/versions/{which}] not found.")
        return versions[number - 1]


def checksum(data: bytes) -> int:
    """CRC-32C bit by bit, so that it shares nothing with the one it checks."""
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = (register >> 1) ^ (0x82F63B78 if register & 1 else 0)
    return register ^ 0xFFFFFFFF

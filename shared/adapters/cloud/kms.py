"""A key-encryption key in Cloud KMS: the key never leaves Google, and each use of it is in their audit log.

A text is ``k1.{key}-{version}.{base64url(ciphertext)}``, where ``key`` is a digest of the key's name: KMS finds the version in
the ciphertext by itself, and people find it in the text. What a data key is bound to goes along as additional authenticated
data, so KMS itself refuses one that was moved. Nothing is remembered here: the vault remembers data keys, for ten minutes.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any, NoReturn

import grpc
from google.api_core import exceptions
from google.cloud.kms_v1 import KeyManagementServiceClient
from google.cloud.kms_v1.services.key_management_service.transports.grpc import KeyManagementServiceGrpcTransport
from google.cloud.kms_v1.types import DecryptRequest, EncryptRequest

from shared.adapters.cloud.connect import reach
from shared.adapters.cloud.crc32c import crc32c
from shared.adapters.cloud.faults import postponed
from shared.errors import ConfigurationError, Retry
from shared.vault.texts import KeyLost, Unopenable, compose, parse

FORMAT = "k1"
TIMEOUT = 10.0
"""Seconds that one call may take."""

_NAME = re.compile(
    r"projects/[a-z0-9.:-]{1,99}/locations/[a-z0-9-]{1,63}/keyRings/[A-Za-z0-9_-]{1,63}/cryptoKeys/[A-Za-z0-9_-]{1,63}"
)


class KmsKey:
    """A ``Wrapping`` by a symmetric key; safe to share between threads."""

    def __init__(self, name: str, channel: grpc.Channel | None = None, timeout: float = TIMEOUT) -> None:
        """``channel`` leads to a stand-in, None to Google. Raises ``ConfigurationError`` for what cannot be a key's name."""
        if not _NAME.fullmatch(name):
            raise ConfigurationError(
                "VAULT_KEY must name a key as kms:projects/P/locations/L/keyRings/R/cryptoKeys/K, without a version."
            )
        self._name = name
        self._id = hashlib.sha256(name.encode()).hexdigest()[:16]
        self._timeout = timeout
        self._transport: Any = reach(KeyManagementServiceGrpcTransport, channel)
        self._client = KeyManagementServiceClient(transport=self._transport)

    def wrap(self, data: bytes, bound: bytes) -> str:
        """Wrap under the key's primary version. Raises ``Retry``, ``ConfigurationError`` where it may not be used."""
        request = EncryptRequest(
            name=self._name,
            plaintext=data,
            plaintext_crc32c=crc32c(data),
            additional_authenticated_data=bound,
            additional_authenticated_data_crc32c=crc32c(bound),
        )
        try:
            answer = self._client.encrypt(request=request, retry=None, timeout=self._timeout)
        except exceptions.GoogleAPICallError as error:
            _refuse(error)
        arrived = answer.verified_plaintext_crc32c and answer.verified_additional_authenticated_data_crc32c
        if not arrived or crc32c(answer.ciphertext) != answer.ciphertext_crc32c:
            raise Retry("What the vault key wrapped was damaged on its way.")
        version = answer.name.rpartition("/")[2]
        return compose(f"{self._id}-{version}", answer.ciphertext, FORMAT)

    def unwrap(self, text: str, bound: bytes) -> bytes:
        """Unwrap under the version that wrapped. Raises ``KeyLost``, ``Unopenable``, ``Retry``."""
        _, blob = parse(text, FORMAT)
        request = DecryptRequest(
            name=self._name,
            ciphertext=blob,
            ciphertext_crc32c=crc32c(blob),
            additional_authenticated_data=bound,
            additional_authenticated_data_crc32c=crc32c(bound),
        )
        try:
            answer = self._client.decrypt(request=request, retry=None, timeout=self._timeout)
        except exceptions.InvalidArgument as error:
            raise Unopenable("The stored grant cannot be opened: its key was altered or moved.") from error
        except exceptions.GoogleAPICallError as error:
            _refuse(error)
        if crc32c(answer.plaintext) != answer.plaintext_crc32c:
            raise Retry("What the vault key unwrapped was damaged on its way.")
        return bytes(answer.plaintext)

    def has_made(self, text: object) -> bool:
        """Whether the text names this key."""
        return isinstance(text, str) and text.startswith(f"{FORMAT}.{self._id}-")

    def close(self) -> None:
        """Let go of the connection."""
        self._transport.close()


def _refuse(error: exceptions.GoogleAPICallError) -> NoReturn:
    """A key that is not there, disabled or out of reach for this identity waits for an operator; the rest may pass."""
    if isinstance(error, (exceptions.NotFound, exceptions.FailedPrecondition, exceptions.Forbidden)):
        raise KeyLost("The vault key in Cloud KMS is missing or disabled, or this identity may not use it.") from error
    raise postponed("The vault key", error) from error

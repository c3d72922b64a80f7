"""Symmetric keys, versions and ciphertexts as Cloud KMS keeps them."""

from __future__ import annotations

import re
import threading

import grpc
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from google.cloud.kms_v1.types import (
    CryptoKeyVersion,
    DecryptRequest,
    DecryptResponse,
    EncryptRequest,
    EncryptResponse,
    ProtectionLevel,
)

from tests.contract.secret_manager import checksum
from tests.contract.service_error import ServiceError, invalid, missing

MAX_BYTES = 65_536

_KEY = re.compile(r"projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+")
_ENABLED = CryptoKeyVersion.CryptoKeyVersionState.ENABLED


class KeyManagement:
    """The methods of the service that are needed; keys are made with ``add_version``, whose state a test may change."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._keys: dict[str, list[bytes]] = {}
        self._primary: dict[str, int] = {}
        self.states: dict[tuple[str, int], CryptoKeyVersion.CryptoKeyVersionState] = {}
        self.calls: list[str] = []

    def add_version(self, name: str) -> int:
        """A new version of a key, which is its primary one from then on."""
        with self._lock:
            versions = self._keys.setdefault(name, [])
            versions.append(AESGCM.generate_key(256))
            self._primary[name] = len(versions)
            self.states[name, len(versions)] = _ENABLED
            return len(versions)

    def encrypt(self, request: EncryptRequest) -> EncryptResponse:
        self.calls.append("encrypt")
        with self._lock:
            number = self._primary[self._known(request.name)]
            key = self._usable(request.name, number)
        plaintext, bound = request.plaintext, request.additional_authenticated_data
        if not plaintext or len(plaintext) > MAX_BYTES or len(bound) > MAX_BYTES:
            raise invalid("The plaintext or the additional authenticated data are of no allowed size.")
        verified = (
            _verified(plaintext, request.plaintext_crc32c),
            _verified(bound, request.additional_authenticated_data_crc32c),
        )
        nonce = AESGCM.generate_key(128)[:12]
        ciphertext = number.to_bytes(4, "big") + nonce + AESGCM(key).encrypt(nonce, plaintext, bound)
        return EncryptResponse(
            name=f"{request.name}/cryptoKeyVersions/{number}",
            ciphertext=ciphertext,
            ciphertext_crc32c=checksum(ciphertext),
            verified_plaintext_crc32c=verified[0],
            verified_additional_authenticated_data_crc32c=verified[1],
            protection_level=ProtectionLevel.SOFTWARE,
        )

    def decrypt(self, request: DecryptRequest) -> DecryptResponse:
        self.calls.append("decrypt")
        ciphertext, bound = request.ciphertext, request.additional_authenticated_data
        _verified(ciphertext, request.ciphertext_crc32c)
        _verified(bound, request.additional_authenticated_data_crc32c)
        number = int.from_bytes(ciphertext[:4], "big")
        with self._lock:
            versions = self._keys[self._known(request.name)]
            if not 0 < number <= len(versions):
                raise invalid("Decryption failed: the ciphertext is invalid.")
            key = self._usable(request.name, number)
            primary = self._primary[request.name] == number
        try:
            plaintext = AESGCM(key).decrypt(ciphertext[4:16], ciphertext[16:], bound)
        except (InvalidTag, ValueError):
            raise invalid("Decryption failed: verify that 'name' refers to the correct CryptoKey.") from None
        return DecryptResponse(plaintext=plaintext, plaintext_crc32c=checksum(plaintext), used_primary=primary)

    def _known(self, name: str) -> str:
        if not _KEY.fullmatch(name):
            raise invalid("The name of the key is malformed.")
        if name not in self._keys:
            raise missing(f"CryptoKey {name} not found.")
        return name

    def _usable(self, name: str, number: int) -> bytes:
        if self.states[name, number] != _ENABLED:
            raise ServiceError(
                grpc.StatusCode.FAILED_PRECONDITION, f"{name}/cryptoKeyVersions/{number} is not enabled."
            )
        return self._keys[name][number - 1]


def _verified(data: bytes, said: int | None) -> bool:
    if said is not None and said != checksum(data):
        raise invalid("The checksum in the request does not match the data.")
    return said is not None

"""The Secrets port on Secret Manager, with a short memory so that a warm function does not pay for every look.

A secret that is replaced elsewhere is noticed after ``lifetime`` seconds at the latest; our own ``add`` shows at once.
That there is none is never remembered, so a person who adds what was missing need not wait.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from typing import Any

import grpc
from google.api_core import exceptions
from google.cloud.secretmanager_v1 import SecretManagerServiceClient
from google.cloud.secretmanager_v1.services.secret_manager_service.transports.grpc import (
    SecretManagerServiceGrpcTransport,
)
from google.cloud.secretmanager_v1.types import (
    AccessSecretVersionRequest,
    AddSecretVersionRequest,
    CreateSecretRequest,
)

from shared.adapters.cloud.connect import reach
from shared.adapters.cloud.crc32c import crc32c
from shared.adapters.cloud.faults import postponed
from shared.errors import ConfigurationError, NotFound, Retry, TooLarge
from shared.ports import Clock

CACHED = 32
MAX_SECRET_BYTES = 65_536

_NAME = re.compile(r"[A-Za-z0-9_-]{1,255}")
_VERSION = re.compile(r"[1-9][0-9]{0,8}")


class CloudSecrets:
    """The Secrets port; safe to share between threads."""

    def __init__(
        self,
        project: str,
        clock: Clock,
        channel: grpc.Channel | None = None,
        lifetime: float = 60.0,
        timeout: float = 10.0,
    ) -> None:
        """``channel`` leads to a stand-in, None to Google. Raises ``ConfigurationError`` where credentials are missing."""
        self._project = f"projects/{project}"
        self._clock = clock
        self._lifetime = lifetime
        self._timeout = timeout
        self._cache: OrderedDict[tuple[str, str], tuple[bytes, float]] = OrderedDict()
        self._changes = 0
        self._lock = threading.Lock()
        self._transport: Any = reach(SecretManagerServiceGrpcTransport, channel)
        self._client = SecretManagerServiceClient(transport=self._transport)

    def get(self, name: str, version: str | None = None) -> bytes:
        """The newest version, or the one of an id, which shows as soon as it was added.

        Raises ``NotFound``, ``Retry``; ``ConfigurationError`` when that version is disabled; ``ValueError`` for what cannot
        be a name or a version.
        """
        _check(name)
        if version is not None and not _VERSION.fullmatch(version):
            raise ValueError("A version is a number from 1.")
        which = (name, version or "latest")
        with self._lock:
            value, since = self._cache.get(which, (b"", 0.0))
            if which in self._cache and 0 <= self._clock.now() - since < self._lifetime:
                return value
            changes = self._changes
        now = self._clock.now()
        value = self._read(*which)
        with self._lock:
            if changes == self._changes:
                self._cache[which] = value, now
                self._cache.move_to_end(which)
                while len(self._cache) > CACHED:
                    self._cache.popitem(last=False)
        return value

    def add(self, name: str, value: bytes) -> str:
        """Add a version and answer its id, a number; makes the secret where there is none; durable on return.

        Raises ``Retry`` (there may be such a version now; one more of the same value does no harm), ``TooLarge``;
        ``ValueError``.
        """
        _check(name)
        if not value:
            raise ValueError("A secret is not empty.")
        if len(value) > MAX_SECRET_BYTES:
            raise TooLarge("A secret is over its limit.")
        try:
            try:
                return self._add(name, value)
            except exceptions.NotFound:
                self._create(name)
                return self._add(name, value)
        except exceptions.GoogleAPICallError as error:
            raise postponed(f"The secret {name}", error) from error
        finally:
            with self._lock:
                self._changes += 1
                self._cache.pop((name, "latest"), None)

    def close(self) -> None:
        """Let go of the connection, and of what is remembered."""
        self._transport.close()
        with self._lock:
            self._cache.clear()

    def _read(self, name: str, version: str) -> bytes:
        request = AccessSecretVersionRequest(name=f"{self._project}/secrets/{name}/versions/{version}")
        try:
            payload = self._client.access_secret_version(request=request, retry=None, timeout=self._timeout).payload
        except exceptions.NotFound:
            raise NotFound("There is no such secret.") from None
        except exceptions.FailedPrecondition as error:
            raise ConfigurationError(f"Version {version} of the secret {name} is disabled or destroyed.") from error
        except exceptions.GoogleAPICallError as error:
            raise postponed(f"The secret {name}", error) from error
        if payload.data_crc32c != crc32c(payload.data):
            raise Retry(f"The secret {name} arrived damaged.")
        return bytes(payload.data)

    def _add(self, name: str, value: bytes) -> str:
        request = AddSecretVersionRequest(
            parent=f"{self._project}/secrets/{name}", payload={"data": value, "data_crc32c": crc32c(value)}
        )
        version = self._client.add_secret_version(request=request, retry=None, timeout=self._timeout)
        return str(version.name.rpartition("/")[2])

    def _create(self, name: str) -> None:
        request = CreateSecretRequest(parent=self._project, secret_id=name, secret={"replication": {"automatic": {}}})
        try:
            self._client.create_secret(request=request, retry=None, timeout=self._timeout)
        except exceptions.AlreadyExists:
            return  # another process was faster


def _check(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ValueError("A secret's name holds letters, digits, - and _ only.")

"""Which project the adapters speak to, and over which channel: Google's, or that of an emulator.

Emulators take no credentials and no TLS; where a ``*_EMULATOR_HOST`` is set, nothing here asks for either.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import TypeVar

import google.auth
import grpc
from google.auth.credentials import Credentials
from google.auth.exceptions import GoogleAuthError

from shared.errors import ConfigurationError

SCOPE = "https://www.googleapis.com/auth/cloud-platform"

_Transport = TypeVar("_Transport")

_PROJECT = re.compile(r"[a-z0-9][a-z0-9.:-]{2,99}")
_HOST = re.compile(r"[A-Za-z0-9.-]+:[0-9]{1,5}|\[[0-9A-Fa-f:]+\]:[0-9]{1,5}")

# A document may weigh a megabyte and an answer hold hundreds; grpc's own default of 4 MiB would refuse to receive it.
_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_reconnect_backoff_ms", 2000),  # its own two minutes would find a restarted emulator late
)


def project_id(project: str) -> str:
    """The project, if it can be one. Raises ``ConfigurationError``."""
    if not project:
        raise ConfigurationError("GOOGLE_CLOUD_PROJECT must name the Google Cloud project.")
    if not _PROJECT.fullmatch(project):
        raise ConfigurationError("GOOGLE_CLOUD_PROJECT is not the id of a project.")
    return project


def plain_channel(host: str, what: str = "An emulator's address") -> grpc.Channel:
    """A channel without TLS to ``host:port``. Raises ``ConfigurationError`` for anything else."""
    if not _HOST.fullmatch(host):
        raise ConfigurationError(f"{what} must be host:port.")
    return grpc.insecure_channel(host, options=_OPTIONS)


def reach(transport: Callable[..., _Transport], channel: grpc.Channel | None) -> _Transport:
    """A transport over the channel to an emulator, or without one to Google, as the machine's own identity.

    Raises ``ConfigurationError`` where there are no credentials.
    """
    return transport(channel=channel) if channel else transport(credentials=_credentials())


@cache
def _credentials() -> Credentials:
    """The machine's own credentials, looked for once: each look may ask a server or take a private key apart."""
    try:
        credentials, _ = google.auth.default(scopes=(SCOPE,))
    except GoogleAuthError as error:
        raise ConfigurationError(
            "Google Cloud credentials are missing: run `gcloud auth application-default login`,"
            " or start this under a service account."
        ) from error
    return credentials

"""The settings of a Brainstem that lives in one folder and talks to a simulated Google."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from infra.local.tokens import ISSUER, public_key

AUDIENCE = "brainstem"
GMAIL_TOPIC = "projects/local/topics/gmail"


def local_environment(folder: Path, google: str) -> dict[str, str]:
    """The variables for the data in ``folder`` and the simulator whose root is ``google`` (a URL without a slash)."""
    return {
        "BACKEND": "embedded",
        "DATA_DIR": str(folder),
        "JWT_ISSUER": ISSUER,
        "JWT_AUDIENCE": AUDIENCE,
        "JWT_JWKS_URL": "",
        "JWT_PUBLIC_KEY": str(public_key(folder)),
        "JWT_ALGORITHMS": "RS256",
        "GMAIL_API_URL": f"{google}/",
        "GOOGLE_OIDC_DISCOVERY_URL": f"{google}/.well-known/openid-configuration",
        "GOOGLE_CLIENT_ID": "local",
        "GOOGLE_CLIENT_SECRET": "local",
        "GMAIL_TOPIC": GMAIL_TOPIC,
    }


def apply(variables: Mapping[str, str]) -> None:
    """Put the variables into the environment of this process, before anything reads its settings."""
    os.environ.update(variables)

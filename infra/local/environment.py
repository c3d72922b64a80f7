"""The settings of a Brainstem that lives in one folder: with simulated providers, or with the real ones."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

from dotenv import dotenv_values

from infra.local.catalogue import ROOT
from infra.local.emulators import Emulators
from infra.local.tokens import ISSUER, invoker_secret, public_key
from shared.settings import Settings

AUDIENCE = "brainstem"
GMAIL_TOPIC = "projects/local/topics/gmail"
REAL = {"google": "GOOGLE_CLIENT_ID", "microsoft": "MICROSOFT_CLIENT_ID"}
"""The variables in ``.env`` that make ``make run`` talk to real providers."""


def local_environment(folder: Path, home: str, google: str, microsoft: str = "") -> dict[str, str]:
    """The variables for the data in ``folder``, functions at ``home`` and simulators whose roots these are.

    All are URLs without a slash at their end. Without ``microsoft`` no Outlook can be connected. The simulated Gmail has no
    quota unless it is given one.
    """
    return {
        **_own(folder),
        "AUTH_ISSUER": home,
        "GMAIL_API_URL": f"{google}/",
        "GOOGLE_OIDC_DISCOVERY_URL": f"{google}/.well-known/openid-configuration",
        "GOOGLE_CLIENT_ID": "local",
        "GOOGLE_CLIENT_SECRET": "local",
        "GOOGLE_REDIRECT_URI": f"{home}/oauth/google/callback",
        "GOOGLE_SCOPES": "",
        "OAUTH_RETURN_URLS": "",
        "GMAIL_TOPIC": GMAIL_TOPIC,
        "GMAIL_QUOTA": "none",
        **(_microsoft(home, microsoft) if microsoft else dict.fromkeys(_microsoft("", ""), "")),
    }


def on_emulators(where: Emulators, project: str) -> dict[str, str]:
    """What differs from ``local_environment`` where store and bus are Google's emulators."""
    return {
        "BACKEND": "emulators",
        "GOOGLE_CLOUD_PROJECT": project,
        "FIRESTORE_EMULATOR_HOST": where.firestore,
        "PUBSUB_EMULATOR_HOST": where.pubsub,
        "GMAIL_TOPIC": f"projects/{project}/topics/gmail",
    }


def real_environment(folder: Path, port: int, chosen: Mapping[str, str]) -> dict[str, str]:
    """The variables for the data in ``folder`` and the real providers, with what a person has ``chosen`` in ``.env``.

    Of the simulators' variables none stays from the environment.
    """
    simulated = dict.fromkeys(local_environment(folder, "", ""), "")
    home = f"http://localhost:{port}"
    redirects = {
        "AUTH_ISSUER": home,
        "GOOGLE_REDIRECT_URI": f"{home}/oauth/google/callback",
        "MICROSOFT_REDIRECT_URI": f"{home}/oauth/microsoft/callback",
    }
    return {**simulated, **redirects, **chosen, **_own(folder)}


def dotenv(path: Path = ROOT / ".env") -> dict[str, str]:
    """The settings in a ``.env`` file; other variables in it are none of ours, and an absent file has none."""
    known = {str(spec.metadata["env"]) for spec in fields(Settings)}
    return {name: value for name, value in dotenv_values(path).items() if name in known and value}


def apply(variables: Mapping[str, str]) -> None:
    """Put the variables into the environment of this process, before anything reads its settings."""
    os.environ.update(variables)


def _microsoft(home: str, root: str) -> dict[str, str]:
    return {
        "GRAPH_API_URL": f"{root}/v1.0/",
        "MICROSOFT_LOGIN_URL": f"{root}/",
        "MICROSOFT_TENANT": "common",
        "MICROSOFT_CLIENT_ID": "local",
        "MICROSOFT_CLIENT_SECRET": "local",
        "MICROSOFT_REDIRECT_URI": f"{home}/oauth/microsoft/callback",
        "MICROSOFT_SCOPES": "",
        "GRAPH_NOTIFICATION_URL": f"{home}/graph_push",
    }


def _own(folder: Path) -> dict[str, str]:
    return {
        "BACKEND": "embedded",
        "DATA_DIR": str(folder),
        "JWT_ISSUER": ISSUER,
        "JWT_AUDIENCE": AUDIENCE,
        "JWT_JWKS_URL": "",
        "JWT_PUBLIC_KEY": str(public_key(folder)),
        "JWT_ALGORITHMS": "RS256",
        "TRUSTED_PROXIES": "0",
        "INVOKER_SECRET": invoker_secret(folder),
        "INVOKER_AUDIENCE": "",
        "INVOKER_ACCOUNTS": "",
    }

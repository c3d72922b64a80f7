"""The secrets of one data folder: a signing key for development tokens and the invoker's secret, both mode 0600."""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

ISSUER = "https://local.brainstem.dev"
"""Who signs development tokens; no server of this name takes part."""

USER = "user_demo"
TOKEN_SECONDS = 365 * 24 * 3600.0


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read; a reader sees all of it or nothing, also after a power cut."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def invoker_secret(folder: Path) -> str:
    """What a caller shows to reach a function that is not public, as a service account would in the cloud."""
    path = folder / "invoker"
    if not path.exists():
        write_private(path, secrets.token_urlsafe(32).encode())
    return path.read_text(encoding="ascii")


def public_key(folder: Path) -> Path:
    """Where the public half of the signing key lies; both halves are made when there are none."""
    private, public = folder / "signing-key.pem", folder / "signing-key.pub.pem"
    if not private.exists() or not public.exists():
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        write_private(
            private,
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
        )
        write_private(
            public,
            key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
        )
    return public


def development_token(folder: Path, audience: str, user: str = USER, issuer: str = ISSUER) -> str:
    """Mint an access token that is good for a year on this data folder and nowhere else."""
    public_key(folder)
    now = int(time.time())
    claims = {
        "iss": issuer,
        "aud": audience,
        "sub": user,
        "iat": now,
        "exp": now + int(TOKEN_SECONDS),
        "email": f"{user}@example.org",
        "name": "Demo",
    }
    private = (folder / "signing-key.pem").read_bytes()
    return jwt.encode(claims, private, algorithm="RS256", headers={"kid": "development"})

"""Secrets as files: a folder per name, a file per version, readable by their owner only, written whole or not."""

from __future__ import annotations

import os
import re
import stat
import threading
from pathlib import Path

from shared.adapters.embedded.files import force, private, translated, write_new
from shared.errors import ConfigurationError, NotFound

_NAME = re.compile(r"[A-Za-z0-9_-]{1,255}")
_VERSION = re.compile(r"[1-9][0-9]{0,8}")
_WHAT = "The folder of secrets"


class EmbeddedSecrets:
    """The Secrets port on a folder; versions count from 1 and are never rewritten."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._folder = Path(folder)
        with translated(_WHAT):
            private(self._folder)

    def get(self, name: str, version: str | None = None) -> bytes:
        """The newest version, or the one of an id. Raises ``NotFound``, ``Retry``; ``ValueError`` for what cannot be a name.

        What somebody else on this machine can read is no secret: ``ConfigurationError``.
        """
        folder = self._of(name)
        if version is not None and not _VERSION.fullmatch(version):
            raise ValueError("A version is a number from 1.")
        with translated(_WHAT):
            versions = _versions(folder)
            wanted = versions[-1] if versions and version is None else int(version or 0)
            if wanted not in versions:
                raise NotFound("There is no such secret.")
            return _read(folder / str(wanted), name)

    def add(self, name: str, value: bytes) -> str:
        """Add a version and answer its id; durable on return. Raises ``Retry``; ``ValueError``."""
        folder = self._of(name)
        if not value:
            raise ValueError("A secret is not empty.")
        with translated(_WHAT):
            private(folder)
            draft = folder / f"draft-{os.getpid()}-{threading.get_ident()}"
            try:
                write_new(draft, value)
                version = _publish(draft, folder)
            finally:
                draft.unlink(missing_ok=True)
            for changed in (folder, self._folder):
                force(changed)
        return str(version)

    def _of(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise ValueError("A secret's name holds letters, digits, - and _ only.")
        return self._folder / name


def _versions(folder: Path) -> list[int]:
    if not folder.is_dir():
        return []
    return sorted(int(entry.name) for entry in folder.iterdir() if entry.name.isdecimal())


def _read(path: Path, name: str) -> bytes:
    with open(path, "rb") as file:
        for mode, place in ((os.fstat(file.fileno()).st_mode, "file"), (path.parent.stat().st_mode, "folder")):
            if stat.S_IMODE(mode) & 0o077:
                raise ConfigurationError(f"The {place} of the secret {name} is open to others: chmod go-rwx it.")
        return file.read()


def _publish(draft: Path, folder: Path) -> int:
    """Give the draft the next number; a link fails where another writer took that number, so nobody overwrites."""
    while True:
        version = max(_versions(folder), default=0) + 1
        try:
            os.link(draft, folder / str(version))
        except FileExistsError:
            continue
        return version

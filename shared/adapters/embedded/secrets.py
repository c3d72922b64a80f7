"""Secrets as files: a folder per name, a file per version, readable by their owner only, written whole or not."""

from __future__ import annotations

import errno
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.errors import NotFound, Retry, StorageFull

_NAME = re.compile(r"[A-Za-z0-9_-]{1,255}")


class EmbeddedSecrets:
    """The Secrets port on a folder; versions count from 1 and are never rewritten."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._folder = Path(folder)
        with _translated():
            _private(self._folder)

    def get(self, name: str) -> bytes:
        """The newest version. Raises ``NotFound``, ``Retry``; ``ValueError`` for what cannot be a name."""
        folder = self._of(name)
        with _translated():
            versions = _versions(folder)
            if not versions:
                raise NotFound("There is no such secret.")
            return (folder / str(versions[-1])).read_bytes()

    def add(self, name: str, value: bytes) -> str:
        """Add a version and answer its id; durable on return. Raises ``Retry``; ``ValueError``."""
        folder = self._of(name)
        if not value:
            raise ValueError("A secret is not empty.")
        with _translated():
            _private(folder)
            draft = folder / f"draft-{os.getpid()}-{threading.get_ident()}"
            try:
                _write(draft, value)
                version = _publish(draft, folder)
            finally:
                draft.unlink(missing_ok=True)
            for changed in (folder, self._folder):
                _force(changed)
        return str(version)

    def _of(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise ValueError("A secret's name holds letters, digits, - and _ only.")
        return self._folder / name


def _versions(folder: Path) -> list[int]:
    if not folder.is_dir():
        return []
    return sorted(int(entry.name) for entry in folder.iterdir() if entry.name.isdecimal())


def _publish(draft: Path, folder: Path) -> int:
    """Give the draft the next number; a link fails where another writer took that number, so nobody overwrites."""
    while True:
        version = max(_versions(folder), default=0) + 1
        try:
            os.link(draft, folder / str(version))
        except FileExistsError:
            continue
        return version


def _write(path: Path, value: bytes) -> None:
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(value)
        file.flush()
        os.fsync(file.fileno())


def _force(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _private(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull from error
        raise Retry("The folder of secrets cannot be used right now.") from error

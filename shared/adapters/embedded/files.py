"""Files and folders that only their owner may read, written whole and forced to the disk."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.errors import Retry, StorageFull


def write_new(path: Path, value: bytes) -> None:
    """Write a file under a name that nobody else uses; what a writer that died left there goes first."""
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(value)
        file.flush()
        os.fsync(file.fileno())


def force(folder: Path) -> None:
    """Have the names in a folder outlive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def private(folder: Path) -> None:
    """Make a folder that is its owner's alone, or close one that is there."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Say in our own errors what the machine could not do to ``what``."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull from error
        raise Retry(f"{what} cannot be used right now.") from error

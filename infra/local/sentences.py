"""What stops a local command, in one sentence that says how to go on."""

from __future__ import annotations

import errno
import shutil
import sqlite3
from pathlib import Path

from shared.errors import StorageFull

LEAST_BYTES = 256 * 1024


class CannotRun(Exception):
    """The command cannot go on; the message is the sentence that the person reads, and the exit status is 2."""


class DiskFull(CannotRun):
    """The disk is full."""


def port_in_use(port: int) -> CannotRun:
    """Something else listens on the port."""
    return CannotRun(f"Port {port} is already in use: stop what listens there, or choose another with PORT={port + 1}.")


def data_in_use(folder: str) -> CannotRun:
    """Another process works on the same data."""
    return CannotRun(
        f"Another Brainstem is running on {folder}: stop it first, or choose another folder with DATA=path."
    )


def disk_full(folder: str) -> DiskFull:
    """The disk does not take another byte."""
    return DiskFull(f"The disk that holds {folder} is full: free some space and start again; nothing was lost.")


def ensure_room(folder: Path) -> None:
    """Raise ``CannotRun`` when the disk is full: the functions only postpone what they cannot write, so nobody else says it."""
    if shutil.disk_usage(folder).free < LEAST_BYTES:
        raise disk_full(str(folder))


def is_disk_full(error: BaseException) -> bool:
    """Whether this error, or one that caused it, says that the disk is full."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, StorageFull):
            return True
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if isinstance(cause, sqlite3.OperationalError) and "disk is full" in str(cause):
            return True
        cause = cause.__cause__ or cause.__context__
    return False

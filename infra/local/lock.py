"""One process per data folder: a lock that the kernel releases whatever way the process ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType

from infra.local.sentences import CannotRun, data_in_use


class DataLock:
    """Hold the data folder for this process, as a context manager. Raises ``CannotRun`` when another one holds it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._handle = -1

    def __enter__(self) -> DataLock:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._handle = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except (FileExistsError, NotADirectoryError, PermissionError) as error:
            raise CannotRun(
                f"{self._folder} cannot be used as a data folder ({error.strerror}): choose another with DATA=."
            ) from None
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._handle)
            raise data_in_use(str(self._folder)) from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._handle)

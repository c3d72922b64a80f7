"""Blobs as files in a folder, readable by their owner only, written whole or not."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from shared.adapters.blobs import FsspecBlobs
from shared.adapters.embedded.files import force, private, translated, write_new

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

ATTEMPTS = 5
DRAFTS = ".drafts"
"""The folder of what is being written. A data folder belongs to one process, so what lies there at its start is nobody's."""


class FolderBlobs(FsspecBlobs):
    """The Blobs port on a folder, which is made when the first blob is."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._folder = Path(folder).absolute()
        self._drafts = self._folder / DRAFTS
        self._cleared = False
        self._clearing = threading.Lock()
        super().__init__(str(self._folder), _local)

    def _write(self, path: str, data: bytes) -> None:
        """Under a name of its own first; a rename puts it in its place, and there is no moment without one."""
        private(self._folder)
        self._clear()
        target = Path(path)
        draft = self._drafts / f"{os.getpid()}-{threading.get_ident()}"
        for attempt in range(ATTEMPTS):
            try:
                target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                write_new(draft, data)
                os.replace(draft, target)
                break
            except FileNotFoundError:  # who removed the last blob of the folder has removed the folder
                if attempt == ATTEMPTS - 1:
                    raise
            finally:
                draft.unlink(missing_ok=True)
        for folder in target.relative_to(self._folder).parents:
            force(self._folder / folder)

    def _clear(self) -> None:
        """Before the first draft, remove those of a process that died: no name of a blob leads to them."""
        with self._clearing:
            if not self._cleared:
                shutil.rmtree(self._drafts, ignore_errors=True)
                private(self._drafts)
                self._cleared = True

    def _remove(self, path: str) -> None:
        """With the folders that are empty then: their names may say whose they were."""
        self._clear()
        target = Path(path)
        target.unlink()
        for folder in target.relative_to(self._folder).parents:
            if folder == Path():
                break
            try:
                (self._folder / folder).rmdir()
            except OSError:
                break  # there is more in it
        force(self._folder)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        with translated("The folder of blobs"):
            yield


def _local() -> AbstractFileSystem:
    from fsspec.implementations.local import LocalFileSystem

    return LocalFileSystem(skip_instance_cache=True, use_listings_cache=False)

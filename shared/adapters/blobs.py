"""The Blobs port on any file system of fsspec: names, bounds and errors; which file system, ``connect`` says.

It is asked for when the first blob is: importing one takes a quarter of a second, and most functions never need any.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from shared.errors import NotFound, Retry, TooLarge
from shared.ports import MAX_BLOB_BYTES

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

PARTS = 8
_PART = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")


class FsspecBlobs:
    """The Blobs port below ``root``; safe to share between threads."""

    def __init__(
        self,
        root: str,
        connect: Callable[[], AbstractFileSystem],
        failures: Callable[[], tuple[type[Exception], ...]] = lambda: (),
        timeout: float | None = None,
    ) -> None:
        """``failures`` are what it raises beside ``OSError``; ``timeout`` is in seconds, for file systems that take one."""
        self._root = root.rstrip("/")
        self._connect, self._failures = connect, failures
        self._bounds: dict[str, Any] = {} if timeout is None else {"timeout": timeout}

    def put(self, name: str, data: bytes) -> None:
        """Write a blob or replace one. Raises ``Retry``, ``TooLarge``; ``ValueError``."""
        checked(name)
        if not data:
            raise ValueError("A blob is not empty.")
        if len(data) > MAX_BLOB_BYTES:
            raise TooLarge("A blob is over its limit.")
        with self._translated():
            self._write(self._path(name), data)

    def get(self, name: str) -> bytes:
        """The bytes of a blob. Raises ``NotFound``, ``Retry``, ``TooLarge``; ``ValueError``."""
        checked(name)
        path = self._path(name)
        with self._translated():
            try:
                about = self._fs.info(path, **self._bounds)
                if about["type"] != "file":
                    raise NotFound("There is no such blob.")
                if about["size"] > MAX_BLOB_BYTES:
                    raise TooLarge("A blob is over its limit.")
                data: bytes = self._fs.cat_file(path, **self._bounds)
            except FileNotFoundError:
                raise NotFound("There is no such blob.") from None
        return data

    def below(self, folder: str, limit: int = 1000) -> list[str]:
        """The names below a folder, ascending. Raises ``Retry``; ``ValueError``."""
        checked(folder)
        with self._translated():
            try:
                found = self._fs.find(self._path(folder), **self._bounds)
            except FileNotFoundError:
                return []
        names = (str(path).removeprefix(f"{self._root}/") for path in found)
        return sorted(name for name in names if name.startswith(f"{folder}/") and _fits(name))[:limit]

    def delete(self, names: Sequence[str]) -> None:
        """Remove blobs. Raises ``Retry``; ``ValueError``."""
        for name in names:
            checked(name)
        with self._translated():
            for name in names:
                try:
                    self._remove(self._path(name))
                except FileNotFoundError:
                    continue

    @cached_property
    def _fs(self) -> AbstractFileSystem:
        return self._connect()

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _write(self, path: str, data: bytes) -> None:
        """Object stores show an upload once it is complete."""
        self._fs.pipe_file(path, data, **self._bounds)

    def _remove(self, path: str) -> None:
        self._fs.rm_file(path, **self._bounds)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if not isinstance(error, (OSError, TimeoutError, *self._failures())):
                raise
            raise Retry("The blobs cannot be reached right now.") from error


def checked(name: str) -> str:
    """The name, if it can be one. Raises ``ValueError``."""
    if not _fits(name):
        raise ValueError("A blob's name is a path of plain parts.")
    return name


def _fits(name: str) -> bool:
    parts = name.split("/")
    return len(parts) <= PARTS and all(_PART.fullmatch(part) for part in parts)

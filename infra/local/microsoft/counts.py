"""How often each method was called, in all and by folder, since the process started."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

IN_FOLDERS = frozenset(
    {"messages.delta", "mailFolders.get", "mailFolders.patch", "mailFolders.move", "childFolders.list"}
)
"""The methods whose path begins with a folder's id."""


class Counts:
    """Thread-safe sums."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[str] = Counter()
        self._of_folders: dict[str, dict[str, Counter[str]]] = {}

    def add(self, method: str, address: str = "", folder: str = "") -> None:
        """Count one call, also for a folder of a mailbox where one is named."""
        with self._lock:
            self._requests[method] += 1
            if folder:
                self._of_folders.setdefault(address, {}).setdefault(folder, Counter())[method] += 1

    def report(self) -> dict[str, Any]:
        """``{"requests": {method: count}, "folders": {address: {folder id: {method: count}}}}``."""
        with self._lock:
            return {
                "requests": dict(sorted(self._requests.items())),
                "folders": {
                    address: {folder: dict(counts) for folder, counts in folders.items()}
                    for address, folders in self._of_folders.items()
                },
            }

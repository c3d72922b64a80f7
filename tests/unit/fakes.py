"""In-memory stand-ins for the ports that keep the promises of ``shared/ports.py``, with faults on demand."""

from __future__ import annotations

import hashlib
import itertools
import threading
from collections.abc import Callable, Sequence

from shared.errors import BrainstemError, ConfigurationError, Conflict, NotFound, Unknown
from shared.ports import Check, Create, Data, Delete, Doc, Put, Query, Update, Write


class FakeClock:
    """A clock that moves only when told; chance is a counter, so that runs repeat."""

    def __init__(self, now: float = 1_790_000_000.0) -> None:
        self.time = now
        self.slept: list[float] = []
        self._drawn = itertools.count()

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds

    def entropy(self, size: int) -> bytes:
        return hashlib.shake_256(str(next(self._drawn)).encode()).digest(size)


class FakeStore:
    """Documents in a dict under one lock.

    ``faults`` are taken from the front, one per commit: None lets it through, an error is raised with nothing applied,
    except that ``Unknown`` is raised *after* the commit was applied if ``unknown_applies``. ``before_commit`` is called
    with the writes ahead of each commit, outside the lock, for races that must happen just there.
    """

    def __init__(self) -> None:
        self.documents: dict[str, Doc] = {}
        self.reads: list[list[str]] = []
        self.commits: list[list[Write]] = []
        self.faults: list[BrainstemError | None] = []
        self.read_faults: list[BrainstemError | None] = []
        self.unknown_applies = True
        self.before_commit: Callable[[Sequence[Write]], None] | None = None
        self._lock = threading.RLock()
        self._versions = itertools.count(1)

    def get(self, refs: Sequence[str]) -> dict[str, Doc]:
        with self._lock:
            self.reads.append(list(refs))
            if self.read_faults and (fault := self.read_faults.pop(0)):
                raise fault
            return {ref: self.documents[ref] for ref in refs if ref in self.documents}

    def query(self, query: Query) -> list[Doc]:
        raise AssertionError("no part under test here queries")

    def commit(self, writes: Sequence[Write]) -> list[str | None]:
        if self.before_commit is not None:
            self.before_commit(writes)
        with self._lock:
            fault = self.faults.pop(0) if self.faults else None
            if fault is not None and not (isinstance(fault, Unknown) and self.unknown_applies):
                raise fault
            for write in writes:
                self._expect(write)
            self.commits.append(list(writes))
            versions = [self._apply(write) for write in writes]
            if fault is not None:
                raise fault
            return versions

    def data(self, ref: str) -> Data:
        return self.documents[ref].data

    def _expect(self, write: Write) -> None:
        current = self.documents.get(write.ref)
        if isinstance(write, Create) and current is not None:
            raise Conflict
        expected = write.expect if isinstance(write, (Update, Delete, Check)) else None
        if expected is not None and (current is None or current.version != expected):
            raise Conflict

    def _apply(self, write: Write) -> str | None:
        if isinstance(write, Check):
            return write.expect
        if isinstance(write, Delete):
            self.documents.pop(write.ref, None)
            return None
        known = self.documents[write.ref].data if isinstance(write, Update) else {}
        version = str(next(self._versions))
        assert isinstance(write, (Create, Update, Put))
        self.documents[write.ref] = Doc(write.ref, {**known, **write.data}, version)
        return version


class Listed(FakeStore):
    """A store that answers which documents a collection holds."""

    def query(self, query: Query) -> list[Doc]:
        held = [
            doc
            for ref, doc in sorted(self.documents.items())
            if ref.split("/")[-2] == query.group and (query.parent is None or ref.startswith(f"{query.parent}/"))
        ]
        after = query.start_after.ref if query.start_after else ""
        return [doc for doc in held if doc.ref > after][: query.limit]


class FakeSecrets:
    """Secrets in a dict of version lists."""

    def __init__(self) -> None:
        self.versions: dict[str, list[bytes]] = {}
        self.disabled: set[tuple[str, int]] = set()

    def get(self, name: str, version: str | None = None) -> bytes:
        values = self.versions.get(name, [])
        number = len(values) if version is None else int(version)
        if not 0 < number <= len(values):
            raise NotFound("There is no such secret.")
        if (name, number) in self.disabled:
            raise ConfigurationError("That version is disabled.")
        return values[number - 1]

    def add(self, name: str, value: bytes) -> str:
        self.versions.setdefault(name, []).append(value)
        return str(len(self.versions[name]))

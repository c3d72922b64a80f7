"""A store in memory that answers queries below a user, may be interrupted at every call, and loses answers by chance."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from shared.errors import BrainstemError, Conflict, Retry, Unknown
from shared.ports import Doc, Query, Write
from tests.unit.fakes import FakeStore


class UserStore(FakeStore):
    """Answers queries below a user as well, and calls ``around`` before everything it does, with its name."""

    def __init__(self) -> None:
        super().__init__()
        self.around: Callable[[str], None] = lambda _: None
        self.lose: Callable[[], BrainstemError | None] = lambda: None

    def get(self, refs: Sequence[str]) -> dict[str, Doc]:
        self.around("get")
        return super().get(refs)

    def query(self, query: Query) -> list[Doc]:
        self.around("query")
        return [doc for ref, doc in sorted(self.documents.items()) if ref.startswith(f"{query.parent}/{query.group}/")]

    def commit(self, writes: Sequence[Write]) -> list[str | None]:
        self.around("commit")
        self.faults = [self.lose()]
        return super().commit(writes)


class Lost(random.Random):
    """Faults by chance: every so often a commit's answer is lost, or the store is away."""

    def fault(self, share: float) -> BrainstemError | None:
        if self.random() >= share:
            return None
        return self.choice([Unknown(), Retry(), Conflict()])

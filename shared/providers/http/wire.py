"""What is needed of an HTTP client: the seam at which tests and benches plug in servers of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias


class HttpAnswer(Protocol):
    """What a request answers besides its body."""

    @property
    def status(self) -> int:
        """The HTTP status."""

    def get(self, name: str, default: str = "", /) -> str:
        """A header by its lower-case name."""


class HttpLike(Protocol):
    """What is needed of an HTTP client: ``PooledHttp`` has it, and tests bring their own."""

    def request(
        self, uri: str, method: str = "GET", body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[HttpAnswer, bytes]:
        """Make one request; used by several threads at once."""


HttpFactory: TypeAlias = Callable[[], HttpLike]


@dataclass(frozen=True, slots=True)
class Reply:
    """The plain ``HttpAnswer``: a status and headers by their lower-case names."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)

    def get(self, name: str, default: str = "") -> str:
        """Answer a header by its lower-case name."""
        return self.headers.get(name, default)


class HeavyAnswer(Exception):
    """The answer weighs more than any may, and was abandoned."""

"""The ports through which Brainstem meets the world: Protocols and the data that cross them, nothing else.

The promises below are stated as tests in ``tests/contract``; every set of adapters has to pass the same ones. All times
are seconds since the epoch (float, UTC). All documents are JSON objects: ``None``, ``bool``, ``int`` within 64 bits,
``float``, ``str`` (valid UTF-8), ``list`` and ``dict`` with string keys.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol, TypeAlias

Data: TypeAlias = dict[str, Any]
"""The fields of one document."""

Scalar: TypeAlias = str | int | float | bool

MAX_COMMIT_BYTES = 3_670_016
"""What one commit may weigh, 3.5 MiB of compact JSON; a heavier one raises ``TooLarge`` and changes nothing."""

MAX_DOCUMENT_BYTES = 900_000
"""What one document may weigh as compact JSON; a heavier one raises ``TooLarge`` and changes nothing.

An Update weighs what it brings. That the document as a whole has outgrown the limit, a store may notice only at 1 MiB.
"""

MAX_BLOB_BYTES = 33_554_432
"""What one blob may weigh, 32 MiB: blobs are read and written whole."""


@dataclass(frozen=True, slots=True)
class Doc:
    """A document as it was read: its reference (``users/u/mailboxes/m``), its fields, its version."""

    ref: str
    data: Data
    version: str


@dataclass(frozen=True, slots=True)
class Create:
    """Write a document that must not exist yet."""

    ref: str
    data: Data


@dataclass(frozen=True, slots=True)
class Update:
    """Replace the named top-level fields of a document that still has the version ``expect``; keep its other fields."""

    ref: str
    data: Data
    expect: str


@dataclass(frozen=True, slots=True)
class Put:
    """Write the whole document whatever was there. Only for documents that nobody compares."""

    ref: str
    data: Data


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove a document; with ``expect`` only while it has that version, without it also when it is already gone."""

    ref: str
    expect: str | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """Change nothing, but fail the commit unless the document still has the version ``expect``."""

    ref: str
    expect: str


Write: TypeAlias = Create | Update | Put | Delete | Check


@dataclass(frozen=True, slots=True)
class Range:
    """Order by ``field`` ascending and keep documents that have it, ``after`` < field <= ``up_to`` where given."""

    field: str
    after: Scalar | None = None
    up_to: Scalar | None = None


@dataclass(frozen=True, slots=True)
class Shape:
    """What an index has to support: collection id, below one parent or group-wide, equal fields, ordering field."""

    group: str
    scoped: bool
    equal: tuple[str, ...] = ()
    order: str | None = None


@dataclass(frozen=True, slots=True)
class Query:
    """One bounded look into a collection (``parent`` given) or a collection group (``parent`` is None).

    Results come ascending by the range's field and then by reference; without a range by reference alone.
    ``start_after`` is the last document of the page before.
    """

    group: str
    parent: str | None = None
    equal: tuple[tuple[str, Scalar], ...] = ()
    range: Range | None = None
    limit: int = 100
    start_after: Doc | None = None

    @property
    def shape(self) -> Shape:
        """The shape whose index serves this query."""
        return Shape(
            self.group,
            self.parent is not None,
            tuple(name for name, _ in self.equal),
            self.range.field if self.range else None,
        )


class Store(Protocol):
    """Documents under compare-and-set; there are no interactive transactions."""

    def get(self, refs: Sequence[str]) -> dict[str, Doc]:
        """Read documents in one batched call; references that do not exist are absent from the answer.

        Raises ``errors.Retry``.
        """

    def query(self, query: Query) -> list[Doc]:
        """Answer one query whose shape was declared. Raises ``errors.Retry``; ``ValueError`` for an undeclared shape."""

    def commit(self, writes: Sequence[Write]) -> list[str | None]:
        """Apply all writes or none; answer the new version per write (None for Delete; for Check the one it has).

        Every Create, Update and Put changes the document's version even when the data are equal. A reference may occur
        once in a commit. Raises ``errors.Conflict`` (an expectation failed; which one is not promised), ``errors.Retry``
        (nothing was applied), ``errors.Unknown`` (it may have been applied), ``errors.TooLarge``.
        """


@dataclass(frozen=True, slots=True)
class BusMessage:
    """One message: its bytes and its string attributes."""

    data: bytes
    attributes: Mapping[str, str] = field(default_factory=dict)


class Bus(Protocol):
    """Publish and subscribe, at least once; with an ordering key, in order per key."""

    def publish(self, topic: str, messages: Sequence[BusMessage], ordering_key: str = "") -> None:
        """Return once every message is durable, in the given order. Raises ``errors.Retry`` (some may be durable)."""


class Enqueued(StrEnum):
    """What became of an enqueue."""

    CREATED = "created"
    PENDING = "pending"  # a task of this name exists and has not been started yet
    SPENT = "spent"  # a task of this name has been started, and perhaps finished, within the last day


class Tasks(Protocol):
    """A queue of HTTP calls, at least once each, retried with backoff until answered 2xx."""

    def enqueue(
        self, queue: str, path: str, body: Data, name: str | None = None, not_before: float | None = None
    ) -> Enqueued:
        """Add a task that POSTs ``body`` as JSON to ``path``, not before a time; a name is taken once per queue and day.

        Returns once durable. Raises ``errors.Retry``.
        """


class Secrets(Protocol):
    """Named secrets with versions; never logged, never in documents."""

    def get(self, name: str, version: str | None = None) -> bytes:
        """The newest version, which may be one of a minute ago, or the version of an id, which never changes.

        Raises ``errors.NotFound``; ``errors.ConfigurationError`` for a version that may not be used now.
        """

    def add(self, name: str, value: bytes) -> str:
        """Add a version and answer its id: versions count from 1."""


class Blobs(Protocol):
    """Named bytes, each there as a whole or not at all.

    A name is a path below the place of the adapter: 1 to 8 parts of ``A-Z a-z 0-9 . _ -``, at most 200 characters each, none
    of which begins with a dot. What else is asked for raises ``ValueError``.
    """

    def put(self, name: str, data: bytes) -> None:
        """Write a blob or replace one; durable on return. Not empty, at most ``MAX_BLOB_BYTES``.

        Raises ``errors.Retry`` (it may be there all the same, whole; putting it again does no harm), ``errors.TooLarge``.
        """

    def get(self, name: str) -> bytes:
        """The bytes of a blob. Raises ``errors.NotFound``, ``errors.Retry``, ``errors.TooLarge``."""

    def below(self, folder: str, limit: int = 1000) -> list[str]:
        """The names that begin with the parts of ``folder``, ascending, the first so many. Raises ``errors.Retry``."""

    def delete(self, names: Sequence[str]) -> None:
        """Remove blobs; those that are not there are none the worse. Raises ``errors.Retry``: some may be gone."""


class Clock(Protocol):
    """Time and chance; nothing in ``shared`` reads either any other way."""

    def now(self) -> float:
        """Seconds since the epoch."""

    def sleep(self, seconds: float) -> None:
        """Wait."""

    def entropy(self, size: int) -> bytes:
        """So many unpredictable bytes (predictable ones under a virtual clock)."""

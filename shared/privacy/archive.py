"""An archive: gzip of NDJSON in numbered parts, the last of which is the manifest; written part by part, read as one stream.

::

    {"kind": "archive", ...}                                 who, when, which form
    records ...
    {"kind": "part", "part": 1, "sha256", "parts_sha256"}    the end of each part
    records ...
    {"kind": "manifest", ...}                                the end of the archive: what it must hold

``sha256`` is that of the lines of the part before this one; ``parts_sha256`` that of all such digests up to here, as 64
letters each, one after the other. A stream without a manifest was cut off. A part is known by what it holds, so whoever
writes it twice, or writes something else in its place because the store has changed, disturbs nobody.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from io import BufferedReader
from typing import Any

import orjson

from shared.errors import InvalidRequest
from shared.ports import Data
from shared.privacy import records

MAX_LINE = 4_194_304
"""Bytes of one record; a segment, the largest, has at most 900,000."""

LEVEL = 6


@dataclass(frozen=True, slots=True)
class Part:
    """One part: its lines' SHA-256, and its bytes as they are kept."""

    sha256: str
    data: bytes


def part(number: int, before: Sequence[str], lines: Sequence[bytes]) -> Part:
    """A part of the archive; ``before`` are the digests of those before it."""
    body = b"".join(lines)
    digest = hashlib.sha256(body).hexdigest()
    end = {
        "kind": "part",
        "part": number,
        "records": len(lines),
        "sha256": digest,
        "parts_sha256": whole([*before, digest]),
    }
    return Part(digest, gzip.compress(body + records.line(end), LEVEL, mtime=0))


def last(manifest: Data) -> bytes:
    """The end of the archive."""
    return gzip.compress(records.line(manifest), LEVEL, mtime=0)


def whole(digests: Iterable[str]) -> str:
    """The SHA-256 of an archive, by those of its parts."""
    return hashlib.sha256("".join(digests).encode()).hexdigest()


@dataclass(slots=True)
class Reading:
    """Reads an archive and compares it with what it says of itself."""

    records: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    streams: dict[str, str] = field(default_factory=dict)
    manifest: Data | None = None

    def read(self, file: BufferedReader) -> Iterator[Data]:
        """Its records, one by one. Raises ``InvalidRequest`` where it is damaged, cut off, or none of ours.

        What was yielded before counts only once all of it has been read.
        """
        digests: list[str] = []
        body, held = hashlib.sha256(), 0
        for text in _lines(file):
            if self.manifest is not None:
                raise _damaged("there is something behind its end")
            record = _record(text)
            if record["kind"] == "part":
                digests.append(body.hexdigest())
                _agree(record, "part", part=len(digests), records=held, sha256=digests[-1], parts_sha256=whole(digests))
                body, held = hashlib.sha256(), 0
                continue
            if record["kind"] == "manifest":
                self.manifest = record
                _agree(record, "manifest", parts=digests, records=self.records, parts_sha256=whole(digests))
                _agree(record, "manifest", counts=self.counts)
                self._check_streams(record["streams"])
                continue
            body.update(text)
            held += 1
            self._note(record)
            yield record
        if self.manifest is None or held:
            raise _damaged("it ends in the middle")

    def _note(self, record: Data) -> None:
        kind = record["kind"]
        if (kind == "archive") != (self.records == 0) or (kind == "archive" and record.get("format") != records.FORMAT):
            raise _damaged("its form is not known here")
        self.records += 1
        self.counts[kind] = self.counts.get(kind, 0) + 1
        if kind == "segment":
            stream = record["stream"]
            self.streams[stream] = records.chained(
                self.streams.get(stream) or records.beginning(stream), record["data"]
            )
            _agree(record, "segment", hash=self.streams[stream])

    def _check_streams(self, streams: dict[str, Data]) -> None:
        for name, said in streams.items():
            if said["hash"] != (self.streams.get(name) or records.beginning(name)):
                raise _damaged("a stream is not the one of its manifest")


def _lines(file: BufferedReader) -> Iterator[bytes]:
    is_packed = file.peek(2)[:2] == b"\x1f\x8b"
    try:
        with gzip.GzipFile(fileobj=file) if is_packed else nullcontext(file) as unpacked:
            while text := unpacked.readline(MAX_LINE + 1):
                if not text.endswith(b"\n"):  # cut off, or over the limit
                    raise _damaged("a line has no end")
                yield text
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise _damaged("it cannot be unpacked") from None


def _record(text: bytes) -> Data:
    try:
        record = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise _damaged("a line is not JSON") from None
    if not isinstance(record, dict) or not isinstance(record.get("kind"), str):
        raise _damaged("a line is no record")
    return record


def _agree(record: Data, what: str, **expected: Any) -> None:
    for name, value in expected.items():
        if record.get(name) != value:
            raise _damaged(f"the {name} of a {what} is another")


def _damaged(why: str) -> InvalidRequest:
    return InvalidRequest(f"The archive is damaged: {why}.")

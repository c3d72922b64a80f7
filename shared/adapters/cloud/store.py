"""The Store port on Firestore: one raw protobuf request per call, versions from the answers, no transaction.

A version is the document's ``update_time``. Firestore keeps it when a write changes nothing, so every write that could
repeat what is there also sets the field ``_w``, which readers never see: an Update to the version it replaces (no document
can hold its own current version yet), a Put to a number that no other write has. Neither costs a read or a transform. A
Create meets no document, so it needs none. A Check is an update with an empty mask and a precondition.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import count, takewhile

import grpc
from google.api_core.exceptions import GoogleAPICallError
from google.cloud.firestore_v1 import types
from google.cloud.firestore_v1.services.firestore import FirestoreClient
from google.cloud.firestore_v1.services.firestore.transports.grpc import FirestoreGrpcTransport

from shared.adapters import documents
from shared.adapters.cloud import decode, failures, queries
from shared.adapters.cloud.connect import reach
from shared.adapters.cloud.encode import TOUCH, Raw, document_name, field_path, fill, stored_name
from shared.errors import Conflict, TooLarge
from shared.ports import MAX_COMMIT_BYTES, Check, Clock, Create, Delete, Doc, Put, Query, Shape, Update, Write

READ_SECONDS = 20.0
COMMIT_SECONDS = 30.0

_BatchGet = types.BatchGetDocumentsRequest
_RunQuery = types.RunQueryRequest
_Commit = types.CommitRequest


class CloudStore:
    """The Store port on one database of a project; ``shapes`` are the only queries it answers."""

    def __init__(
        self,
        project: str,
        shapes: Iterable[Shape],
        clock: Clock,
        channel: grpc.Channel | None = None,
        database: str = "(default)",
    ) -> None:
        """``channel`` leads to an emulator, None to Google. Raises ``ConfigurationError`` where credentials are missing."""
        self._transport: FirestoreGrpcTransport = reach(FirestoreGrpcTransport, channel)
        self._client = FirestoreClient(transport=self._transport)
        self._database = f"projects/{project}/databases/{database}"
        self._root = f"{self._database}/documents"
        self._skip = len(self._root) + 1
        self._shapes = {queries.normal(shape) for shape in shapes}
        self._puts = count(int.from_bytes(clock.entropy(7), "big"))

    def get(self, refs: Sequence[str]) -> dict[str, Doc]:
        """Read documents in one consistent view; missing ones are absent. Raises ``Retry``."""
        wanted = {ref: document_name(self._root, ref) for ref in refs}
        if not wanted:
            return {}
        request = _BatchGet.pb()(database=self._database, documents=wanted.values())
        found = {}
        for answer in self._read(self._client.batch_get_documents, _BatchGet.wrap(request)):
            raw = types.BatchGetDocumentsResponse.pb(answer)
            if raw.HasField("found"):
                doc = decode.doc(raw.found, self._skip)
                found[doc.ref] = doc
        return {ref: found[ref] for ref in wanted if ref in found}

    def query(self, query: Query) -> list[Doc]:
        """Answer a query of a declared shape. Raises ``Retry``; ``ValueError`` for any other shape."""
        if queries.normal(query.shape) not in self._shapes:
            raise ValueError(f"No such shape was declared: {query.shape}.")
        request = _RunQuery.pb()()
        queries.build(query, self._root, request)
        docs = []
        for answer in self._read(self._client.run_query, _RunQuery.wrap(request)):
            raw = types.RunQueryResponse.pb(answer)
            if raw.HasField("document"):
                docs.append(decode.doc(raw.document, self._skip))
        if query.range is None:
            return docs
        field = query.range.field
        return list(takewhile(lambda doc: isinstance(doc.data.get(field), str | int | float), docs))

    def commit(self, writes: Sequence[Write]) -> list[str | None]:
        """Apply all writes or none. Raises ``Conflict``, ``Retry``, ``Unknown``, ``TooLarge``; ``ValueError``."""
        request = self._request(writes)
        if not writes:
            return []
        try:
            answer = self._client.commit(request=_Commit.wrap(request), retry=None, timeout=COMMIT_SECONDS)
        except GoogleAPICallError as error:
            raise failures.of_commit(error) from error
        results = types.CommitResponse.pb(answer).write_results
        return [_version(write, result) for write, result in zip(writes, results, strict=True)]

    def close(self) -> None:
        """Let go of the connection."""
        self._transport.close()  # type: ignore[no-untyped-call]

    def _request(self, writes: Sequence[Write]) -> Raw:
        if len({write.ref for write in writes}) < len(writes):
            raise ValueError("A reference occurs twice in a commit.")
        request = _Commit.pb()(database=self._database)
        weight, possible = 0, True
        for write in writes:
            raw = request.writes.add()
            name = document_name(self._root, write.ref)
            match write:
                case Create():
                    raw.update.name = name
                    weight += fill(raw.update, write.data)
                    raw.current_document.exists = False
                case Update():
                    raw.update.name = name
                    weight += fill(raw.update, write.data)
                    raw.update_mask.field_paths.extend(field_path(stored_name(field)) for field in write.data)
                    raw.update_mask.field_paths.append(TOUCH)
                    possible &= decode.into_time(write.expect, raw.update.fields[TOUCH].timestamp_value)
                    possible &= decode.into_time(write.expect, raw.current_document.update_time)
                case Put():
                    raw.update.name = name
                    weight += fill(raw.update, write.data)
                    raw.update.fields[TOUCH].integer_value = next(self._puts)
                case Delete():
                    raw.delete = name
                    if write.expect is not None:
                        possible &= decode.into_time(write.expect, raw.current_document.update_time)
                case Check():
                    raw.update.name = name
                    raw.update_mask.SetInParent()
                    possible &= decode.into_time(write.expect, raw.current_document.update_time)
        if weight > MAX_COMMIT_BYTES and _weight(writes) > MAX_COMMIT_BYTES:
            raise TooLarge("A commit is over its limit.")
        if not possible:
            raise Conflict  # no document ever had such a version
        return request

    def _read(self, method: object, request: object) -> Iterator[object]:
        try:
            yield from method(request=request, retry=None, timeout=READ_SECONDS)  # type: ignore[operator]
        except GoogleAPICallError as error:
            raise failures.of_read(error) from error


def _weight(writes: Sequence[Write]) -> int:
    """The bytes of compact JSON that a commit brings."""
    datas = [write.data for write in writes if isinstance(write, Create | Update | Put)]
    return sum([len(documents.dump(data)) for data in datas])


def _version(write: Write, result: Raw) -> str | None:
    if isinstance(write, Delete):
        return None
    return write.expect if isinstance(write, Check) else decode.version(result.update_time)

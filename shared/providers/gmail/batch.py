"""Read messages and threads, many in one request, over templates that are made once.

google-api-python-client would build and parse each part with the general tools of a discovery document and of e-mail;
``make bench`` shows what that costs beside this.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import quote, urlsplit

import orjson

from shared.ports import Clock
from shared.providers.base import Access
from shared.providers.gmail import multipart
from shared.providers.gmail.failures import Where, error_for
from shared.providers.gmail.quota import Quota
from shared.providers.http.answers import MALFORMED, parse, read_failure
from shared.providers.http.failure import Failure
from shared.providers.http.transport import Transport, bearer

MESSAGE, THREAD = "messages.get", "threads.get"

Json: TypeAlias = dict[str, Any]

_FIELDS = "id,threadId,labelIds,snippet,historyId,internalDate,payload/headers"
_MASKS = {MESSAGE: _FIELDS, THREAD: f"messages({_FIELDS})"}
_NO_ENDPOINT = (404, 405, 501)
_NOT_AS_A_BATCH = (400, 413)
_REMEMBERED = 3_600.0
"""Seconds for which a server counts as one without a batch endpoint."""


class Read(NamedTuple):
    """One read: which method (``MESSAGE`` or ``THREAD``), and of which id."""

    method: str
    id: str


class BatchReader:
    """Sends reads to one API root, alone or as a batch; safe to use from several threads."""

    def __init__(self, root: str, headers: Sequence[str], transport: Transport, quota: Quota, clock: Clock) -> None:
        self._transport = transport
        self._quota = quota
        self._clock = clock
        self._alone_until = float("-inf")
        root = root.rstrip("/") + "/"
        self._batch_url = f"{root}batch/gmail/v1"
        self._origin = root[: -len(urlsplit(root).path)]
        asked = "".join(f"&metadataHeaders={quote(name, safe='')}" for name in headers)
        mount = urlsplit(root).path
        self._targets = {
            method: (
                f"{mount}gmail/v1/users/me/{method.partition('.')[0]}/",
                f"?format=metadata{asked}&fields={_MASKS[method]}&prettyPrint=false",
            )
            for method in (MESSAGE, THREAD)
        }

    @property
    def batches(self) -> bool:
        """Whether batches are worth trying: not within an hour of hearing that the server has none."""
        return self._clock.now() >= self._alone_until

    def one(self, access: Access, read: Read) -> Json | Failure:
        """Read one message or thread. Raises ``ProviderUnavailable`` if no answer came, and ``Paced``."""
        headers = {"accept": "application/json", **bearer(access.token)}
        access.meter.spend(self._quota.price(read.method))
        return self._transport.ask(self._origin + self._target(read), "GET", None, headers)

    def many(self, access: Access, reads: Sequence[Read]) -> list[Json | Failure] | None:
        """Read them in one request: an answer for each, in order; None where they have to be read one by one.

        That is where the server has no batch endpoint, refuses this batch, or answers it with something else. Raises
        what ``error_for`` makes of any other refusal of the whole.
        """
        headers = {"content-type": multipart.CONTENT_TYPE, **bearer(access.token)}
        access.meter.spend(sum([self._quota.price(read.method) for read in reads]))
        body = multipart.build([self._target(read) for read in reads])
        sent = self._transport.send(self._batch_url, "POST", body, headers)
        if isinstance(sent, Failure):
            if sent.status in _NO_ENDPOINT:
                self._alone_until = self._clock.now() + _REMEMBERED
            elif sent.status not in _NOT_AS_A_BATCH and not sent.malformed:
                raise error_for(sent, Where.BATCH)
            return None
        answer, content = sent
        parts = multipart.parse(content, answer.get("content-type", ""), len(reads))
        if not any(parts):
            return None
        now = self._clock.now()
        return [_result(part, now) for part in parts]

    def _target(self, read: Read) -> str:
        before, after = self._targets[read.method]
        id = read.id
        return before + (id if id.isalnum() and id.isascii() else quote(id, safe="", errors="replace")) + after


def _result(part: multipart.Part | None, now: float) -> Json | Failure:
    if part is None:
        return Failure(200, (MALFORMED,))
    if part.status != 200:
        return read_failure(part.status, {"retry-after": part.retry_after}, part.body, now)
    try:
        value = orjson.loads(part.body)
    except orjson.JSONDecodeError:
        value = parse(part.body)  # which is more lenient
    else:
        if _rounded(value):
            value = parse(part.body)
    return value if isinstance(value, dict) else Failure(200, (MALFORMED,))


def _rounded(value: Any) -> bool:
    """Whether orjson made a float of an integer over 64 bits where it matters (``parse`` tells them apart)."""
    if not isinstance(value, dict):
        return False
    messages = value.get("messages")
    if not isinstance(messages, list):
        return isinstance(value.get("historyId"), float)
    return any(isinstance(message, dict) and isinstance(message.get("historyId"), float) for message in messages)

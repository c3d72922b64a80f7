"""One pool of kept connections to a provider's servers for all threads; every answer is bounded in time and in bytes."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import certifi
import urllib3

from shared.ports import Clock
from shared.providers.http.answers import MAX_ANSWER_BYTES
from shared.providers.http.wire import HeavyAnswer, HttpAnswer, Reply

_KEPT = 32  # connections per server: more threads than that open and close their own
_PIECE = 65_536
_GZIP = 16 + zlib.MAX_WBITS
# Google compresses for clients whose name says that they can read it (docs/gmail.md, 18).
_ALWAYS = {"accept-encoding": "gzip", "user-agent": "brainstem (gzip)"}


class PooledHttp:
    """HTTP over urllib3, without redirects (tokens go where the settings say) and retries (the engine has its own).

    Connecting and each wait for bytes may take ``timeout`` seconds, the body of an answer as long again by the clock.
    """

    def __init__(self, clock: Clock, timeout: float) -> None:
        self._clock = clock
        self._timeout = timeout
        self._pool = urllib3.PoolManager(
            maxsize=_KEPT,
            timeout=urllib3.Timeout(connect=timeout, read=timeout),
            cert_reqs="CERT_REQUIRED",
            ca_certs=certifi.where(),
        )

    def request(
        self, uri: str, method: str = "GET", body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[HttpAnswer, bytes]:
        """Make one request; safe to use from several threads.

        Raises ``HeavyAnswer`` for one over ``MAX_ANSWER_BYTES``, ``TimeoutError`` and what urllib3 raises.
        """
        answer = self._pool.request(
            method,
            uri,
            body=body,
            headers={**(headers or {}), **_ALWAYS},
            redirect=False,
            retries=False,
            preload_content=False,
        )
        try:
            content = self._read(answer)
        except BaseException:
            answer.close()  # its connection is in the middle of something
            raise
        answer.release_conn()
        return Reply(answer.status, {name.lower(): value for name, value in answer.headers.items()}), content

    def _read(self, answer: urllib3.BaseHTTPResponse) -> bytes:
        until = self._clock.now() + self._timeout
        unpacker = _unpacker(answer.headers.get("content-encoding", ""))
        pieces: list[bytes] = []
        wire = size = 0
        while piece := answer.read1(_PIECE, decode_content=False):
            wire += len(piece)
            if unpacker is not None:
                # One byte over the bound is enough to know; what a bomb would become is never made.
                piece = unpacker.decompress(piece, MAX_ANSWER_BYTES + 1 - size)
            size += len(piece)
            pieces.append(piece)
            if max(wire, size) > MAX_ANSWER_BYTES:
                raise HeavyAnswer(f"The answer is over {MAX_ANSWER_BYTES} bytes.")
            if self._clock.now() > until:
                raise TimeoutError("The answer did not end in time.")
        if unpacker is not None and wire and not unpacker.eof:
            raise EOFError("The compressed answer is cut short.")
        return b"".join(pieces)


def _unpacker(encoding: str) -> Any:
    """Answer what undoes a content encoding, None for none. Raises ``ValueError`` for one that was not asked for."""
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return None
    if encoding not in ("gzip", "x-gzip"):
        raise ValueError("The answer has an encoding that was not asked for.")
    return zlib.decompressobj(_GZIP)

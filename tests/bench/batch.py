"""CPU per mail of reading metadata in batches, beside google-api-python-client's BatchHttpRequest used as documented.

Both get the same answers from a server in this process, whose own work is not counted; what is counted ends with the
mails as dicts. The runs alternate, batch by batch, so that noise hits both.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import httplib2
import orjson
from googleapiclient.discovery import build

from shared.adapters.embedded.clock import VirtualClock
from shared.providers.gmail import GmailProvider
from shared.providers.gmail.batch import MESSAGE, THREAD, BatchReader, Read
from shared.providers.gmail.quota import Quota
from shared.providers.headers import STRUCTURAL
from shared.providers.http.failure import Failure
from shared.providers.http.transport import Transport
from shared.providers.http.wire import Reply
from shared.settings import Settings
from tests.bench.figures import BATCH_SHARE, Figure, Spread
from tests.bench.naive import Unexpected
from tests.meter import free
from tests.world import ADDRESS, InProcess, World

MAILS = 600
AT_ONCE = 25
THREAD_LENGTH = 3
SECTION = f"CPU per mail of reading metadata, {AT_ONCE} a batch, microseconds"

_ROOT = "http://google.test/"
_SETTINGS = Settings(gmail_api_url=_ROOT, gmail_quota="none", gmail_batch_size=AT_ONCE)
_ASKED = list({name.lower(): name for name in (*STRUCTURAL, *_SETTINGS.headers)}.values())
_CALL = re.compile(rb"Content-ID: <([^>]*)>\r?\n(?:[^\r\n]+\r?\n)*\r?\nGET [^ ?]*/(messages|threads)/([^ ?]*)")


class Canned:
    """A batch endpoint that answers from memory; ``spent`` is the CPU time that it took itself, in seconds."""

    def __init__(self, resources: Mapping[bytes, bytes], answer: Callable[[dict[str, str]], Any]) -> None:
        self.spent = 0.0
        self._resources = resources
        self._answer = answer

    def request(self, uri: str, method: str = "GET", body: Any = None, **_: Any) -> tuple[Any, bytes]:
        """Answer a batch; the arguments are those of httplib2 and of ``HttpLike``."""
        began = time.process_time()
        pieces = []
        for name, _kind, id in _CALL.findall(body if isinstance(body, bytes) else body.encode()):
            content = self._resources[id]
            head = b"--batch_canned\r\nContent-Type: application/http\r\nContent-ID: <response-%b>\r\n\r\n" % name
            head += b"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=UTF-8\r\nVary: Origin\r\n"
            head += b"Vary: X-Origin\r\nVary: Referer\r\nContent-Length: %d\r\n\r\n" % len(content)
            pieces.append(head + content + b"\r\n")
        pieces.append(b"--batch_canned--\r\n")
        answer = self._answer({"status": "200", "content-type": "multipart/mixed; boundary=batch_canned"})
        content = b"".join(pieces)
        self.spent += time.process_time() - began
        return answer, content


def measure(folder: Path) -> list[Figure]:
    """Time all of it."""
    resources = _resources(folder)
    ids = list(resources)
    threads = {f"t{start}": ids[start : start + THREAD_LENGTH] for start in range(0, len(ids), THREAD_LENGTH)}
    canned = {id.encode(): content for id, content in resources.items()}
    for thread, members in threads.items():
        canned[thread.encode()] = b'{"messages":[%b]}' % b",".join([resources[id] for id in members])
    ours = Canned(canned, lambda fields: Reply(200, fields))
    google = Canned(canned, httplib2.Response)
    reader, provider, client = _reader(ours), _provider(ours), _client(google)
    names = list(threads)
    samples: dict[str, list[float]] = {"ours": [], "normalised": [], "threads": [], "google": []}
    for start in range(0, len(ids), AT_ONCE):
        chunk = ids[start : start + AT_ONCE]
        first = start // THREAD_LENGTH
        whole = names[first : first + AT_ONCE // THREAD_LENGTH]
        samples["ours"].append(_timed(ours, lambda: _read(reader, MESSAGE, chunk), AT_ONCE))  # noqa: B023 - called at once
        samples["google"].append(_timed(google, lambda: client(chunk), AT_ONCE))  # noqa: B023
        samples["normalised"].append(_timed(ours, lambda: provider.fetch(free(), chunk), AT_ONCE))  # noqa: B023
        mails = len(whole) * THREAD_LENGTH
        samples["threads"].append(_timed(ours, lambda: _read(reader, THREAD, whole), mails))  # noqa: B023
    # What is done once per process is no cost of a mail.
    return _figures({name: Spread.of(values[len(values) // 4 :]) for name, values in samples.items()})


def _figures(spreads: Mapping[str, Spread]) -> list[Figure]:
    ratio = spreads["google"].middle / spreads["ours"].middle
    return [
        spreads["ours"].figure(SECTION, "messages: build, take apart, JSON", "us"),
        spreads["normalised"].figure(SECTION, "the same, normalised", "us"),
        spreads["threads"].figure(SECTION, f"threads of {THREAD_LENGTH}: build, take apart, JSON", "us"),
        spreads["google"].figure(SECTION, "BatchHttpRequest, messages as dicts", "us"),
        Figure(
            SECTION,
            "ours of BatchHttpRequest's",
            100 / ratio,
            "%",
            BATCH_SHARE,
            note=f"{ratio:.1f} times less CPU per mail than google-api-python-client's batches",
        ),
    ]


def _timed(server: Canned, work: Callable[[], Any], mails: int) -> float:
    """Microseconds of CPU per mail, without the server's."""
    server.spent = 0.0
    began = time.process_time()
    work()
    return (time.process_time() - began - server.spent) * 1e6 / mails


def _reader(server: Canned) -> BatchReader:
    clock = VirtualClock()
    transport = Transport(clock, _SETTINGS.provider_timeout, lambda: server, "Google")
    return BatchReader(_ROOT, _ASKED, transport, Quota.of(_SETTINGS), clock)


def _read(reader: BatchReader, method: str, ids: Sequence[str]) -> None:
    answers = reader.many(free(), [Read(method, id) for id in ids])
    if answers is None or any(isinstance(answer, Failure) for answer in answers):
        raise Unexpected("The canned batch was not understood.")


def _provider(server: Canned) -> GmailProvider:
    return GmailProvider(_SETTINGS, VirtualClock(), lambda: "secret", lambda: server)


def _client(server: Canned) -> Callable[[Sequence[str]], None]:
    """Google's client as its guide shows it: one request per mail, added to a batch with a callback."""
    service = build("gmail", "v1", http=server, static_discovery=True, cache_discovery=False)

    def read(ids: Sequence[str]) -> None:
        found: list[dict[str, Any]] = []

        def callback(_id: str, response: dict[str, Any], exception: Exception | None) -> None:
            if exception is not None:
                raise Unexpected("The canned batch was not understood.") from exception
            found.append(response)

        batch = service.new_batch_http_request(callback=callback)
        for id in ids:
            batch.add(service.users().messages().get(userId="me", id=id, format="metadata", metadataHeaders=_ASKED))
        batch.execute()
        if [message["id"] for message in found] != list(ids):
            raise Unexpected("The canned batch was not understood.")

    return read


def _resources(folder: Path) -> dict[str, bytes]:
    """Generated mails as Gmail serves their metadata, by id."""
    world = World(folder, seed=1)
    world.connect(MAILS)
    token = world.google.add_mailbox(ADDRESS)["access_token"]
    server = InProcess(world.website)
    kept: dict[str, bytes] = {}

    class Keeping:
        def request(self, uri: str, method: str = "GET", body: Any = None, headers: Any = None) -> tuple[Any, bytes]:
            answer, content = server.request(uri, method, body, headers)
            kept[orjson.loads(content)["id"]] = content
            return answer, content

    settings = Settings(gmail_api_url=world.settings.gmail_api_url, gmail_quota="none", gmail_batch_size=1)
    provider = GmailProvider(settings, world.clock, lambda: "secret", Keeping)
    provider.fetch(free(token), [mail["id"] for mail in world.google.truth(ADDRESS)["mails"]])
    return kept

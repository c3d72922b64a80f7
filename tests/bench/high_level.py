"""The pipeline as Google's own guides write it: one mail at a time, on the high-level clients of Gmail, Firestore and Pub/Sub.

Per mail one ``messages.get``, one read of the state, one event row, one outbox row, one state row, one publish that is waited
for, and one mark: the write pattern of ``tests.bench.naive``. Gmail answers from memory, as the tape does for ours; Firestore
and Pub/Sub are the same emulators. Mails are normalised in the plainest way. There is no task queue, no HTTP function and no
grant around it, and no second event for our own consumers, which is all in its favour.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httplib2
import orjson
from google.cloud import firestore, pubsub_v1
from googleapiclient.discovery import build

from infra.local.emulators import Emulators
from infra.local.world import GOOGLE
from shared.events.publish import EVENTS_TOPIC
from shared.providers.headers import STRUCTURAL
from tests.bench.ledger import Tally
from tests.bench.rig import TimedPage
from tests.bench.tape import PAGE
from tests.world import ADDRESS, MAILBOX, InProcess, World

_PATIENCE = 30.0


class Remembering:
    """An ``httplib2.Http`` that asks the simulator once for everything and answers from memory from then on."""

    def __init__(self, world: World) -> None:
        self._server = InProcess(world.website)
        self._headers = {"Authorization": f"Bearer {world.google.add_mailbox(ADDRESS)['access_token']}"}
        self._answers: dict[str, tuple[Any, bytes]] = {}

    def request(self, uri: str, method: str = "GET", body: Any = None, headers: Any = None, **_: Any) -> Any:
        known = self._answers.get(uri)
        if known is None:
            served, content = self._server.request(uri, method, body, self._headers)
            known = httplib2.Response({**served.headers, "status": str(served.status)}), content
            self._answers[uri] = known
        return known

    def close(self) -> None: ...


class HighLevel:
    """One mailbox, walked page by page, mail by mail."""

    def __init__(self, where: Emulators, project: str, http: Remembering, headers: tuple[str, ...]) -> None:
        """``headers`` are those to ask for beside the structural ones, as ours asks for them."""
        self._asked = list({name.lower(): name for name in (*STRUCTURAL, *headers)}.values())
        self._gmail = build(
            "gmail", "v1", http=http, static_discovery=True, cache_discovery=False,
            client_options={"api_endpoint": f"{GOOGLE}/"},
        )  # fmt: skip
        with _environment(FIRESTORE_EMULATOR_HOST=where.firestore, PUBSUB_EMULATOR_HOST=where.pubsub):
            self._documents = firestore.Client(project=project)
            ordered = pubsub_v1.types.PublisherOptions(enable_message_ordering=True)
            self._publisher = pubsub_v1.PublisherClient(publisher_options=ordered)
        self._topic = self._publisher.topic_path(project, EVENTS_TOPIC)
        self._root = self._documents.collection("naive").document(MAILBOX)
        self._tally = Tally()

    def backfill(self, pages: int) -> list[TimedPage]:
        """Walk so many pages of the past."""
        self._root.set({"id": MAILBOX, "head": 0, "messages": 0, "updated_at": time.time()})
        token: str | None = None
        timed: list[TimedPage] = []
        for _ in range(pages):
            self._tally = Tally()
            wall, cpu = time.perf_counter(), time.process_time()
            token = self._page(token)
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
            timed.append(TimedPage(cpu, wall, self._tally, {}))
        return timed

    def rows(self, collection: str) -> list[Any]:
        """What was written to one of the collections."""
        return list(self._root.collection(collection).stream())

    def close(self) -> None:
        """End the clients and their threads."""
        self._publisher.stop()
        self._publisher.transport.close()
        self._documents.close()

    def _page(self, token: str | None) -> str | None:
        listing = self._gmail.users().messages().list(userId="me", maxResults=PAGE, pageToken=token).execute()
        for entry in listing["messages"]:
            self._mail(entry["id"])
        return listing.get("nextPageToken")

    def _mail(self, id_: str) -> None:
        read = self._gmail.users().messages().get(
            userId="me", id=id_, format="metadata", metadataHeaders=self._asked
        )  # fmt: skip
        row, now = normalised(read.execute()), time.time()
        state = self._root.get()
        self._tally.reads += 1
        sequence = state.get("head") + 1
        event = {"id": f"{MAILBOX}/{sequence}", "type": "email.received", "data": row}
        self._write(self._row("events", id_).create, {**row, "event": event})
        self._write(self._row("outbox", id_).create, {"event": event, "at": now})
        after = {"head": sequence, "messages": state.get("messages") + 1, "updated_at": now}
        unchanged = self._documents.write_option(last_update_time=state.update_time)
        self._write(lambda data: self._root.update(data, option=unchanged), after)
        attributes = {
            "ce-id": event["id"], "ce-type": event["type"], "ce-source": MAILBOX, "ce-sequence": str(sequence)
        }  # fmt: skip
        sent = self._publisher.publish(self._topic, orjson.dumps(event), ordering_key=MAILBOX, **attributes)
        sent.result(timeout=_PATIENCE)
        self._tally.publishes += 1
        self._write(self._row("marks", id_).create, {"id": id_, "sent_at": now})

    def _row(self, collection: str, id_: str) -> Any:
        return self._root.collection(collection).document(id_)

    def _write(self, write: Callable[[dict[str, Any]], Any], data: dict[str, Any]) -> None:
        write(data)
        self._tally.writes += 1
        self._tally.commits += 1


def normalised(resource: Mapping[str, Any]) -> dict[str, Any]:
    """What one would keep of a ``users.messages`` resource without thinking of bad ones."""
    headers = {header["name"].lower(): header["value"] for header in resource["payload"].get("headers", [])}
    return {
        "id": resource["id"],
        "thread": resource["threadId"],
        "labels": resource.get("labelIds", []),
        "snippet": resource.get("snippet", ""),
        "received_at": int(resource["internalDate"]) / 1000,
        "size": resource.get("sizeEstimate", 0),
        "subject": headers.get("subject", ""),
        "from": headers.get("from", ""),
        "to": headers.get("to", ""),
        "headers": headers,
    }


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    """These clients find an emulator by the environment alone, and only while they are made."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value

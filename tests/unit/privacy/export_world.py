"""A person with mailboxes whose documents are written straight into an embedded store, and exports that can be killed."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson

from shared import queries, refs, sets
from shared.adapters.embedded.clock import VirtualClock
from shared.adapters.embedded.pump import deliver
from shared.adapters.embedded.tasks import EmbeddedTasks
from shared.events.envelope import Event, fact_id, iso, segments
from shared.mail.state import MailboxState, document
from shared.ports import Blobs, Create, Data, Doc, Enqueued, Put, Query, Store, Tasks, Write
from shared.privacy.archive import Reading
from shared.privacy.export import Exports
from shared.privacy.links import ArchiveLinks
from shared.privacy.tasks import ExportTask, parse_export
from shared.privacy.writing import Writing, rescue
from shared.settings import Settings

UID = "ann"
MAILBOX = "ann:primary:GOOGLE"


class Killed(BaseException):
    """The process has died."""


class Fate:
    """Counts what goes through the ports, and kills at the numbers in ``at``: odd ones after it was done, even ones before."""

    def __init__(self) -> None:
        self.count = 0
        self.at: set[int] = set()
        self.killed = 0

    def through(self, call: Callable[[], Any]) -> Any:
        self._strike()
        answer = call()
        self._strike()
        return answer

    def _strike(self) -> None:
        self.count += 1
        if self.count in self.at:
            self.killed += 1
            raise Killed


class MortalStore:
    def __init__(self, inner: Store, fate: Fate) -> None:
        self.inner, self.fate = inner, fate
        self.before_query: Callable[[Query], None] | None = None

    def get(self, wanted: Sequence[str]) -> dict[str, Doc]:
        return self.inner.get(wanted)

    def query(self, query: Query) -> list[Doc]:
        if self.before_query is not None:
            self.before_query(query)
        return self.inner.query(query)

    def commit(self, writes: Sequence[Write]) -> list[str | None]:
        return self.fate.through(lambda: self.inner.commit(writes))  # type: ignore[no-any-return]


class MortalBlobs:
    def __init__(self, inner: Blobs, fate: Fate) -> None:
        self.inner, self.fate = inner, fate

    def put(self, name: str, data: bytes) -> None:
        self.fate.through(lambda: self.inner.put(name, data))

    def get(self, name: str) -> bytes:
        return self.inner.get(name)

    def below(self, folder: str, limit: int = 1000) -> list[str]:
        return self.inner.below(folder, limit)

    def delete(self, names: Sequence[str]) -> None:
        self.fate.through(lambda: self.inner.delete(names))


class MortalTasks:
    def __init__(self, inner: Tasks, fate: Fate) -> None:
        self.inner, self.fate = inner, fate

    def enqueue(
        self, queue: str, path: str, body: Data, name: str | None = None, not_before: float | None = None
    ) -> Enqueued:
        return self.fate.through(lambda: self.inner.enqueue(queue, path, body, name, not_before))  # type: ignore[no-any-return]


class ExportWorld:
    """One embedded set; ``run`` delivers tasks until there are none, a killed one again."""

    def __init__(self, folder: Path) -> None:
        self.clock = VirtualClock()
        self.settings = Settings(data_dir=str(folder))
        self.ports = sets.embedded(self.settings, self.clock, synchronous="OFF")
        self.fate = Fate()
        self.store = MortalStore(self.ports.store, self.fate)
        self.blobs = MortalBlobs(self.ports.blobs, self.fate)
        self.tasks = MortalTasks(self.ports.tasks, self.fate)
        self.links = ArchiveLinks(self.ports.secrets, self.clock, may_create=True)
        self.exports = Exports(self.store, self.tasks, self.clock, self.links, lambda: self.blobs)
        self.writing = Writing(self.store, self.tasks, self.clock, self.blobs, days=7)
        self.steps = 0
        self.failure: Exception | None = None

    def person(self, uid: str = UID) -> None:
        profile = {
            "uid": uid,
            "email": f"{uid}@example.org",
            "name": uid.title(),
            "created_at": self.clock.now(),
            "rev": 1,
        }
        grant = {
            "provider": "google", "subject": "1", "scopes": ["mail"], "status": "active", "version": 1,
            "sealed": {"access": "SECRET-A", "refresh": "SECRET-R"}, "claim": "SECRET-C",
        }  # fmt: skip
        profile |= {"slots": {"GOOGLE": 1}, "password": "SECRET-P"}
        self.ports.store.commit([Create(refs.user(uid), profile), Create(refs.grant(uid, "google:1"), grant)])

    def mailbox(self, mailbox: str = MAILBOX, messages: int = 0) -> MailboxState:
        """A mailbox with so many messages, each announced."""
        uid, slot, provider = mailbox.split(":")
        now = self.clock.now()
        state = MailboxState(
            mailbox, uid, provider, slot, "google:1", created_at=now, updated_at=now, rev=1, status="live",
            connected=True, verified=True, address=f"{slot}@example.org", cursor="4711", followed_since=now,
        )  # fmt: skip
        self.ports.store.commit([Create(state.ref, document(state))])
        for first in range(0, messages, 100):
            state = self.page(state, [f"m{first + n}" for n in range(min(100, messages - first))])
        return state

    def gap(self, state: MailboxState, id_: str, status: str = "open") -> MailboxState:
        """A message that could not be read, or can be by now, as the engine commits it with its mailbox."""
        after = replace(state, rev=state.rev + 1)
        gap = {"id": id_, "status": status, "reason": "refused", "attempts": 1, "next_at": self.clock.now() + 5.0}
        self.ports.store.commit([Put(state.ref, document(after)), Put(refs.gap(state.id, id_), gap)])
        return after

    def page(
        self, state: MailboxState, ids: Sequence[str], type_: str = "email.received", /, **changes: Any
    ) -> MailboxState:
        """One page as the engine commits it: messages, segment, mailbox."""
        now = self.clock.now()
        documents = [message(id_, **changes) for id_ in ids]
        events = [
            Event(
                fact_id(state.id, data["id"], type_, str(state.rev)), type_, state.id, state.head + 1 + n, now,
                {"provider_message_id": data["id"], "subject": data["subject"], "labels": data["labels"],
                 "sender": "bob@example.org", "msg_date": iso(now)}, "GOOGLE", "live",
            )
            for n, data in enumerate(documents)
        ]  # fmt: skip
        written = list(segments(state.id, f"c{state.rev}", events)) if type_ else []
        head = state.head + len(events) if type_ else state.head
        after = replace(state, rev=state.rev + 1, head=head, published=head, messages=state.messages + len(ids))
        self.ports.store.commit(
            [
                Put(state.ref, document(after)),
                *(Put(refs.message(state.id, data["id"]), data) for data in documents),
                *(segment.create() for segment in written),
            ]
        )
        return after

    def begin(self, uid: str = UID) -> str:
        return str(self.exports.start(uid)["export_id"])

    def run(self) -> None:
        """Let every task be delivered, again after it was killed, until there is none."""
        tasks = self.ports.tasks
        assert isinstance(tasks, EmbeddedTasks)
        while tasks.depth():
            deliver(tasks, self._post)
            if self.failure is not None:
                raise self.failure
            self.clock.advance(5)
            assert self.steps < 2000

    def tick(self) -> int:
        return rescue(self.ports.store, self.ports.tasks, self.clock.now())

    def _post(self, target: str, headers: Any, body: bytes, timeout: float) -> int:
        self.steps += 1
        assert target == "/privacy/export"
        try:
            self.writing.step(parse_export(orjson.loads(body)))
        except Killed:
            return 0
        except Exception as error:
            if getattr(error, "code", "") != "busy":
                self.failure = error
            return 409
        return 200

    def step(self, export_id: str, parts: int) -> None:
        """A task that comes twice, or late."""
        self.writing.step(ExportTask(UID, export_id, parts))

    def archive(self, export_id: str, uid: str = UID) -> bytes:
        """What the link of a finished export leads to."""
        link = urlsplit(self.exports.show(uid, export_id)["link"])
        query = {name: values[0] for name, values in parse_qs(link.query).items()}
        assert link.path == f"/me/exports/{export_id}/archive"
        _, parts = self.exports.open(query["user"], export_id, query["expires"], query["signature"])
        return b"".join(parts)


def message(id_: str, **changes: Any) -> Data:
    """The document of a message."""
    return {
        "state": "present", "id": id_, "version": "1", "announced": "received", "thread_id": f"t{id_}",
        "labels": ["INBOX"], "received_at": 1.5, "subject": f"About {id_}", "sender": "bob@example.org",
        "to": ["ann@example.org"], "cc": [], "bcc": [], "snippet": "Hello, " * 10,
        "headers": {"From": "Bob <bob@example.org>", "Subject": f"About {id_}", "List-Id": "x" * 40}, "truncated": [],
        **changes,
    }  # fmt: skip


def read(archive: bytes) -> tuple[list[Data], Data]:
    """The records of an archive, and its manifest."""
    reading = Reading()
    records = list(reading.read(io.BufferedReader(io.BytesIO(archive))))  # type: ignore[arg-type]
    assert reading.manifest is not None
    return records, reading.manifest


Held = tuple[dict[str, Data], list[Data], dict[str, Data]]
"""The messages of a mailbox by id, its log, and its gaps by id."""


def stored(store: Store, mailbox: str = MAILBOX) -> Held:
    """What the store holds of a mailbox."""
    messages = {doc.data["id"]: doc.data for doc in queries.scan(store, queries.messages_of(mailbox))}
    gaps = {doc.data["id"]: doc.data for doc in queries.scan(store, queries.gaps_of(mailbox, 100))}
    return messages, [doc.data for doc in queries.scan(store, queries.segments_after(mailbox, 0, 100))], gaps


def exported(records: list[Data], mailbox: str = MAILBOX) -> Held:
    """The same as an archive has it."""

    def latest(kind: str) -> dict[str, Data]:
        return {one["data"]["id"]: one["data"] for one in records if one["kind"] == kind and one["mailbox"] == mailbox}

    log = [one["data"] for one in records if one["kind"] == "segment" and one["stream"] == mailbox]
    return latest("message"), log, latest("gap")

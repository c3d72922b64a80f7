"""A world in which a test sees every call to Gmail, can meddle with each, and ends with the independent verdict."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import orjson
import pytest
from werkzeug.test import Client

from infra.local import world as worlds
from infra.local.collect import collect
from infra.local.google import wire
from infra.local.google.routes import Call, find
from infra.local.google.simulator import GoogleSimulator
from infra.local.simulated.answers import Answer
from infra.local.verify import Report, verify
from infra.local.world import WorldClient
from tests.world import ADDRESS, MAILBOX, World

PUSH_FAULTS = {
    "drop": 0.3, "duplicate": 0.3, "early": 0.2, "early_seconds": 1.5, "delay": 0.1, "delay_seconds": 3.0, "reorder": 0.1,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Asked:
    """One call of the Gmail API and what it was answered; ``id`` is the message's in ``messages.get``."""

    at: float
    method: str
    id: str
    query: Mapping[str, list[str]]
    body: bytes
    status: int
    answer: Any


class Case(World):
    """A world with one Gmail account; ``calls`` are all calls of its API, those within batches too.

    ``instead`` answers a method's calls in Google's place (or leaves it to Google with None); ``after`` happens when one
    has been answered.
    """

    def __init__(
        self, folder: Path, patch: pytest.MonkeyPatch, seed: int = 0, history_base: int = 0, **settings: Any
    ) -> None:
        patch.setattr(worlds, "GoogleSimulator", partial(GoogleSimulator, history_base=history_base))
        super().__init__(folder, seed, **settings)
        self.calls: list[Asked] = []
        self.instead: dict[str, Callable[[Call], Answer | None]] = {}
        self.after: dict[str, Callable[[Call], None]] = {}
        self.connected_at = 0.0
        patch.setattr(wire, "answer", partial(self._answered, wire.answer))

    def connect(self, mails: int = 0) -> None:
        """Connect the account with so many old mails in it."""
        self.connected_at = self.clock.now()
        super().connect(mails)

    def followed(self, mails: int = 0) -> None:
        """Connect, and wait until everything is there."""
        self.connect(mails)
        self.run(60)
        assert self.mailbox()["status"] == "live"
        self.calls.clear()

    def faulty(self, *rules: dict[str, Any], **pushes: float) -> None:
        """Replace the fault plan."""
        self.google.set_faults({**pushes, "calls": list(rules)})

    def deliver(self, subject: str, *labels: str, **plan: Any) -> str:
        """A mail arrives; answers its id."""
        mail = {
            "subject": subject, "sender": ["Bob", "bob@example.org"], "to": [["", ADDRESS]], "date": self.clock.now(),
            "labels": labels or ("INBOX", "UNREAD"), "body": f"{subject}.", **plan,
        }  # fmt: skip
        [id_] = self.google.add_mails(ADDRESS, [mail])
        return id_

    def draft(self, subject: str, draft: str = "", **plan: Any) -> tuple[str, str]:
        """Ann saves a draft, anew or again; answers the draft's id and that of its message."""
        mail = {"subject": subject, "sender": ["Ann", ADDRESS], "to": [["Bob", "bob@example.org"]], **plan}
        saved = self.google.save_draft(ADDRESS, mail, draft)
        return saved["id"], saved["message"]

    def gmail(self, method: str, path: str, body: Any = None) -> Any:
        """Ann's own client calls the Gmail API."""
        token = self.google.add_mailbox(ADDRESS)["access_token"]
        answer = Client(self.website).open(
            f"/gmail/v1/users/me/{path}", method=method, json=body, headers={"Authorization": f"Bearer {token}"}
        )
        assert answer.status_code < 300, answer.get_data()
        return orjson.loads(answer.get_data() or b"{}")

    def sleep(self, seconds: float) -> None:
        """Time passes while nothing of ours runs, as while a laptop is closed."""
        self.clock.advance(seconds)
        self._tick_at = self.clock.now()

    def mailbox(self) -> dict[str, Any]:
        """What the status says of the mailbox."""
        [mailbox] = self.api("GET", "/mail/status")["mailboxes"]
        return mailbox

    def gaps(self) -> dict[str, dict[str, Any]]:
        """All gaps, by message."""
        return {gap["provider_message_id"]: gap for gap in self.all("/mail/gaps", "gaps", mailbox=MAILBOX)}

    def stored(self) -> dict[str, dict[str, Any]]:
        """All messages, by id."""
        listed = self.all("/mail/messages", "messages", mailbox=MAILBOX)
        return {message["provider_message_id"]: message for message in listed}

    def told(self, message: str) -> list[str]:
        """What the stream says of one message, in order, without the ``email.`` before each word."""
        return [event["type"].removeprefix("email.") for event in self.events_of(message)]

    def events_of(self, message: str) -> list[dict[str, Any]]:
        """The events about one message."""
        return [event for event in self.events() if event["data"].get("provider_message_id") == message]

    def count(self, kind: str) -> int:
        """How many events of a type the stream has."""
        return sum(event["type"] == kind for event in self.events())

    def asked(self, method: str) -> list[Asked]:
        """The calls of one method (``messages.get``) since the account was followed."""
        return [call for call in self.calls if call.method == method]

    def report(self) -> Report:
        """The independent verdict."""
        seen, truth = collect(WorldClient(self)), self.google.truth(ADDRESS)
        return verify(
            truth, seen.messages, seen.gaps, seen.status, seen.events, self.received, seen.senders, self.connected_at
        )

    def judge(self) -> None:
        """Demand that everything is as it happened at Google, in the store, the stream, the bus and the counts."""
        report = self.report()
        assert report.ok, report

    def _answered(
        self,
        google: Callable[..., Answer],
        simulator: GoogleSimulator,
        call: Call,
        flight: list[str],
        inner: bool = False,
    ) -> Answer:
        method = find(call)[0].name.removeprefix("users.")
        instead = self.instead.get(method)
        answer = instead(call) if instead is not None else None
        if answer is None:
            answer = google(simulator, call, flight, inner)
        path, _, query = call.target.partition("?")
        shown = orjson.loads(answer.body) if answer.code == 200 and answer.body[:1] == b"{" else None
        id_ = path.rpartition("/")[2] if method == "messages.get" else ""
        self.calls.append(Asked(self.clock.now(), method, id_, parse_qs(query), call.body, answer.code, shown))
        if method in self.after:
            self.after[method](call)
        return answer


def raw(subject: str, date: str) -> str:
    """A mail of another age in base64url, as a client imports it."""
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"], mail["Date"] = "Old Bob <bob@example.org>", ADDRESS, subject, date
    mail["Message-ID"] = f"<{subject.replace(' ', '-')}@old.example>"
    mail.set_content(f"{subject}.")
    return base64.urlsafe_b64encode(mail.as_bytes()).decode()

"""A small, perfect run as ``verify`` sees it: every test takes a copy and spoils one thing."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

from infra.local.verify import Report, verify
from infra.local.verify_delivery import Delivery

MAILBOX = "user_demo:primary:GOOGLE"
CONNECTED = 1_795_183_200.0  # 2026-11-20T14:00:00Z
BEFORE, AFTER = "2026-11-01T09:00:00.000Z", "2026-11-20T14:05:00.000Z"
BEFORE_SECONDS, AFTER_SECONDS = 1_793_523_600.0, 1_795_183_500.0


def mail(id_: str, labels: list[str], received_at: float = BEFORE_SECONDS, sender: str = "ann@example.org") -> Any:
    """A mail as the simulator's truth tells it."""
    return {
        "id": id_,
        "thread_id": f"t-{id_}",
        "labels": sorted(labels),
        "subject": f"Grüße {id_}",
        "sender": sender,
        "to": ["demo@example.org"],
        "cc": ["bob@example.org", "cy@example.org"],
        "bcc": [],
        "snippet": "Until tomorrow",
        "headers": {"Subject": f"Grüße {id_}", "Message-ID": f"<{id_}@example.org>"},
        "received_at": received_at,
        "refused": False,
    }


def stored(truth: Any, announced: str | None) -> Any:
    """The same mail as ``GET /mail/messages`` shows it."""
    return {
        "mailbox": MAILBOX,
        "provider_message_id": truth["id"],
        "provider_thread_id": truth["thread_id"],
        "subject": truth["subject"],
        "sender": truth["sender"],
        "to_addrs": truth["to"],
        "cc_addrs": truth["cc"],
        "bcc_addrs": truth["bcc"],
        "snippet": truth["snippet"],
        "headers": truth["headers"],
        "labels": truth["labels"],
        "msg_date": BEFORE if truth["received_at"] == BEFORE_SECONDS else AFTER,
        "origin": "backfill" if truth["received_at"] == BEFORE_SECONDS else "live",
        "announced": announced,
    }


@dataclass
class Case:
    """The seven inputs of ``verify``."""

    truth: dict[str, Any]
    messages: list[Any]
    gaps: list[Any]
    status: dict[str, Any]
    events: dict[str, list[Any]] = field(default_factory=dict)
    delivered: list[Delivery] = field(default_factory=list)
    senders: list[Any] = field(default_factory=list)

    def verdict(self) -> Report:
        """What ``verify`` says of it."""
        return verify(
            self.truth, self.messages, self.gaps, self.status, self.events, self.delivered, self.senders, CONNECTED
        )

    def add_event(self, type_: str, message: Any | None, changed: list[str] | None = None) -> None:
        """Append an event to the stream, and deliver it."""
        log = self.events.setdefault(MAILBOX, [])
        sequence = len(log) + 1
        id_ = f"{type_}-{message['provider_message_id'] if message else ''}-{sequence if changed else 0}"
        time, origin = "2026-11-20T14:06:00.000Z", message["origin"] if message else ""
        data: dict[str, Any] = {"inbox_id": MAILBOX, "kind": "backfill"}
        if message is not None:
            data = {name: value for name, value in message.items() if name not in ("mailbox", "announced")}
            data |= {
                "event_id": id_, "ts": time, "provider": "GOOGLE", "inbox_id": MAILBOX, "user_id": "user_demo",
                "sequence": sequence, "stream": MAILBOX, "origin": origin,
            }  # fmt: skip
        if changed:
            data["changed"] = changed
        event = {
            "specversion": "1.0", "id": id_, "type": type_, "source": MAILBOX, "subject": f"user.user_demo.{type_}",
            "time": time, "datacontenttype": "application/json", "sequence": sequence, "user_id": "user_demo",
            "provider": "GOOGLE", "origin": origin, "data": copy.deepcopy(data),
        }  # fmt: skip
        log.append(event)
        self.delivered.append(push(event))


def push(event: Any) -> Delivery:
    """An event as the bus delivers it."""
    attributes = {f"ce-{name}": str(event[name]) for name in ("id", "type", "source", "subject", "time", "sequence")}
    attributes |= {name: event[name] for name in ("user_id", "provider", "origin")}
    return Delivery(AFTER_SECONDS, attributes, copy.deepcopy(event["data"]))


def perfect() -> Case:
    """Received and relabelled, sent, received live, deleted, a draft, and one that the provider refuses to serve."""
    read = mail("read", ["INBOX"])
    sent = mail("sent", ["SENT"])
    live = mail("live", ["INBOX", "UNREAD"], AFTER_SECONDS, "zed@example.org")
    draft = mail("draft", ["DRAFT"])
    refused = mail("refused", ["INBOX"]) | {"refused": True}
    gone = mail("gone", ["INBOX"])
    kept = [stored(read, "received"), stored(sent, "sent"), stored(live, "received"), stored(draft, None)]
    case = Case(
        truth={
            "mails": [read, sent, live, draft, refused],
            "deleted": ["gone"],
            "arrived": {},
            "unreadable": [],
        },
        messages=kept,
        gaps=[{"mailbox": MAILBOX, "provider_message_id": "refused", "reason": "500", "status": "open", "attempts": 2}],
        status={
            "user_id": "user_demo",
            "running_syncs": [],
            "mailboxes": [{"id": MAILBOX, "status": "live", "messages": 4, "outbox": 0, "last_error": None}],
        },
        senders=[
            {"day": "2026-11-01", "sender": "ann@example.org", "mails": 2},
            {"day": "2026-11-20", "sender": "zed@example.org", "mails": 1},
        ],
    )
    unread = stored(read | {"labels": ["INBOX", "UNREAD"]}, "received")
    case.add_event("mailbox.connected", None)
    case.add_event("email.received", unread)
    case.add_event("email.sent", kept[1])
    case.add_event("email.received", stored(gone, "received"))
    case.add_event("email.updated", kept[0], ["labels"])
    case.add_event("email.received", kept[2])
    case.add_event("email.deleted", stored(gone, "received"))
    case.add_event("sync.completed", None)
    return case

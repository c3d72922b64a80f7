"""The verdict: is what Brainstem stored, logged, delivered and counted exactly what happened at the provider?

It imports nothing of the product. Truth is the simulator's plan (the fields as they were before MIME encoding); the
result is what anyone can see: the answers of the HTTP API, and what a subscriber of the bus received. It compares id by
id and field by field, and says each difference in words. ``verify_log`` judges the streams, ``verify_delivery`` the bus
and the sample consumer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

from infra.local.simulated.canonical import text
from infra.local.verify_delivery import Delivery, check_consumer, check_delivery
from infra.local.verify_log import FIELDS, check_milestones, check_streams, fold_stream

Json: TypeAlias = dict[str, Any]

SHOWN = 40
"""So many differences are said in words; the rest are counted."""

NOT_ANNOUNCED = frozenset({"DRAFT", "CHAT", "SPAM", "TRASH"})
"""Labels under which a message is kept without having been received or sent yet."""

ORIGINS = frozenset({"live", "backfill"})

ANCHOR_TOLERANCE = 5.0
"""Mail that arrived within so many seconds of the connect may count as either live or backfill."""


@dataclass(frozen=True, slots=True)
class Report:
    """The figures of a run and the differences that were found; ``ok`` only if there are none."""

    expected: int
    stored: int
    events: int
    gaps: int
    lost: int
    duplicates: int
    contiguous: bool
    consumer_ok: bool
    differences: tuple[str, ...] = ()
    difference_count: int = 0
    shortened: int = 0
    documents: int | None = None
    pulled: int | None = None

    @property
    def ok(self) -> bool:
        """Whether everything is right."""
        return (
            self.difference_count == 0
            and self.lost == 0
            and self.duplicates == 0
            and self.contiguous
            and self.consumer_ok
        )


@dataclass(frozen=True, slots=True)
class Beside:
    """What lies in the services themselves: messages in the database, and what a pull subscription of the bus held."""

    documents: int
    pulled: Sequence[Delivery]


NEAR_BOUNDS = 10_000
"""Characters of a mail's texts below which no field may be shortened (docs/events.md, ``truncated``)."""


@dataclass(slots=True)
class Findings:
    """Differences as they are found: all are counted, the first are kept."""

    count: int = 0
    texts: list[str] = field(default_factory=list)

    def add(self, text: str) -> None:
        """Note one difference."""
        self.count += 1
        if len(self.texts) < SHOWN:
            self.texts.append(text)


def verify(
    truth: Json,
    messages: Sequence[Json],
    gaps: Sequence[Json],
    status: Json,
    events: Mapping[str, Sequence[Json]],
    delivered: Sequence[Delivery],
    senders: Sequence[Json] | None,
    anchor: float | None = None,
    beside: Beside | None = None,
) -> Report:
    """Judge one mailbox.

    ``truth`` is the simulator's ``/control/truth``; ``messages``, ``gaps``, ``status`` and ``senders`` are what the API
    lists; ``events`` maps each stream to its events in the order in which ``GET /events`` walked them; ``delivered`` is
    what the subscriber received, in order of arrival; ``senders`` is None where the counts of several mailboxes have to be
    judged together (``verify_mailboxes``); ``anchor`` is when the mailbox was connected; ``beside``
    is what was found past the API, where there is something to look into.
    """
    findings = Findings()
    mailbox = _the_mailbox(status, findings)
    real = {mail["id"]: mail for mail in truth["mails"]}
    if not real:
        findings.add("The mailbox is empty: there is nothing to judge.")
    stored = _by_id(messages, findings)
    lost = _check_presence(real, stored, gaps, findings)
    shortened = _check_fields(real, stored, events.get(mailbox, ()), findings)
    contiguous, repeated = check_streams(events, findings.add)
    check_milestones(mailbox, events.get(mailbox, ()), real.keys() | set(truth["deleted"]), findings.add)
    if contiguous:
        _check_fold(fold_stream(events.get(mailbox, ()), findings.add), stored, findings)
    _check_origins(events.get(mailbox, ()), anchor, findings)
    check_delivery(events, delivered, findings.add)
    doubled, consumer_ok = (0, True) if senders is None else check_consumer(events, senders, findings.add)
    _check_status(status, mailbox, len(stored), events, findings)
    if beside is not None:
        if beside.documents != len(stored):
            findings.add(f"The database holds {beside.documents} messages; the API lists {len(stored)}.")
        check_delivery(events, beside.pulled, lambda text: findings.add(f"Pull subscription: {text}"))
    return Report(
        expected=len(real),
        stored=len(stored),
        events=sum(len(stream) for stream in events.values()),
        gaps=sum(gap["status"] != "resolved" for gap in gaps) + len(truth["unreadable"]),
        lost=lost,
        duplicates=repeated + doubled,
        contiguous=contiguous,
        consumer_ok=consumer_ok,
        differences=tuple(findings.texts),
        difference_count=findings.count,
        shortened=shortened,
        documents=beside.documents if beside else None,
        pulled=len({push.attributes.get("ce-id", "") for push in beside.pulled}) if beside else None,
    )


def expected_message(mail: Json) -> Json:
    """What the API has to show of a mail: the truth in the API's words."""
    return {
        "provider_thread_id": mail["thread_id"],
        "subject": mail["subject"],
        "sender": mail["sender"],
        "to_addrs": mail["to"],
        "cc_addrs": mail["cc"],
        "bcc_addrs": mail["bcc"],
        "snippet": mail["snippet"],
        "headers": mail["headers"],
        "labels": sorted(mail["labels"]),
        "msg_date": mail["received_at"],
    }


def _the_mailbox(status: Json, findings: Findings) -> str:
    mailboxes = [str(entry["id"]) for entry in status["mailboxes"]]
    if len(mailboxes) != 1:
        findings.add(f"The status names {len(mailboxes)} mailboxes; there is one.")
    return mailboxes[0] if mailboxes else ""


def _by_id(messages: Sequence[Json], findings: Findings) -> dict[str, Json]:
    stored: dict[str, Json] = {}
    for message in messages:
        if message["provider_message_id"] in stored:
            findings.add(f"Message {message['provider_message_id']} is listed twice.")
        stored[message["provider_message_id"]] = message
    return stored


def _check_presence(real: dict[str, Json], stored: dict[str, Json], gaps: Sequence[Json], findings: Findings) -> int:
    missing = {gap["provider_message_id"]: gap for gap in gaps if gap["status"] != "resolved"}
    lost = 0
    for id_, mail in real.items():
        if id_ in stored:
            if id_ in missing:
                findings.add(f"Message {id_} is stored and has an unresolved gap as well.")
        elif id_ not in missing:
            lost += 1
            findings.add(f"Message {id_} ({mail['subject'][:60]!r}) is lost: neither stored nor a gap.")
        elif not mail["refused"]:
            findings.add(f"Message {id_} is a gap ({missing[id_]['reason']}), yet the provider serves it.")
    for id_ in stored.keys() - real.keys():
        findings.add(f"Message {id_} is stored, yet it is not in the mailbox any more.")
    for id_ in missing.keys() - real.keys():
        findings.add(f"Message {id_} has an unresolved gap, yet it is not in the mailbox any more.")
    return lost


def _check_fields(real: dict[str, Json], stored: dict[str, Json], events: Sequence[Json], findings: Findings) -> int:
    cut = {
        event["data"]["provider_message_id"]: event["data"]["truncated"]
        for event in events
        if "truncated" in event["data"]
    }
    shortened = 0
    for id_ in real.keys() & stored.keys():
        message = stored[id_]
        for name, value in expected_message(real[id_]).items():
            if agrees(name, value, message[name]):
                continue
            said = name in (message.get("truncated") or cut.get(id_, ()))
            if said and _may_be_cut(real[id_]) and _is_beginning(message[name], value):
                shortened += 1
                continue
            findings.add(f"Message {id_}: {name} is {_brief(message[name])}, it should be {_brief(value)}.")
        _check_announced(id_, set(real[id_]["labels"]), message["announced"], findings)
    return shortened


def _may_be_cut(mail: Json) -> bool:
    """Whether a mail is anywhere near the documented bounds; below them nothing may be shortened."""
    texts = [mail["subject"], mail["sender"], *mail["to"], *mail["cc"], *mail["bcc"], *mail["headers"].values()]
    return sum(map(len, texts)) >= NEAR_BOUNDS


def _check_announced(id_: str, labels: set[str], announced: str | None, findings: Findings) -> None:
    due = "sent" if "SENT" in labels else "received"
    if announced is None:
        if not labels & NOT_ANNOUNCED:
            findings.add(f"Message {id_} was never announced; it should be {due}.")
    elif announced != due:
        findings.add(f"Message {id_} was announced as {announced}; it should be {due}.")


def _check_fold(folded: Mapping[str, Json], stored: dict[str, Json], findings: Findings) -> None:
    announced = {id_ for id_, message in stored.items() if message["announced"]}
    for id_ in announced - folded.keys():
        findings.add(f"Message {id_} is announced in the store, but no event of the stream leads to it.")
    for id_ in folded.keys() - announced:
        findings.add(f"The events lead to message {id_}, but it is not in the store or not announced there.")
    for id_ in announced & folded.keys():
        data, message = folded[id_], stored[id_]
        for name in FIELDS:
            if not same(name, message[name], data[name]) and name not in data.get("truncated", ()):
                findings.add(
                    f"Message {id_}: the events lead to {name} {_brief(data[name])}, the store has {_brief(message[name])}."
                )
        if folded[id_]["announced"] != message["announced"]:
            findings.add(
                f"Message {id_}: announced by email.{folded[id_]['announced']}, the store says {message['announced']}."
            )


def _check_origins(events: Sequence[Json], anchor: float | None, findings: Findings) -> None:
    for event in events:
        if not event["type"].startswith("email."):
            continue
        if event["origin"] not in ORIGINS:
            findings.add(f"Event {event['sequence']} has the origin {event['origin']!r}.")
        elif anchor is not None:
            received = seconds(event["data"]["msg_date"])
            due = "live" if received >= anchor else "backfill"
            if abs(received - anchor) > ANCHOR_TOLERANCE and event["origin"] != due:
                findings.add(f"Event {event['sequence']} has the origin {event['origin']!r}; it should be {due!r}.")


def _check_status(
    status: Json, mailbox: str, stored: int, events: Mapping[str, Sequence[Json]], findings: Findings
) -> None:
    for entry in status["mailboxes"]:
        if entry["status"] != "live":
            findings.add(f"The mailbox is {entry['status']}, not live: {entry.get('last_error')}.")
        if entry["outbox"] != 0:
            findings.add(f"The outbox still holds {entry['outbox']} events.")
        if entry["messages"] != stored:
            findings.add(f"The status counts {entry['messages']} messages, the store lists {stored}.")
    if mailbox not in events:
        findings.add("The mailbox has no stream.")


def same(name: str, left: Any, right: Any) -> bool:
    """Whether two values of a field are equal; times to the millisecond, whichever way they are written."""
    if name == "msg_date":
        return abs(seconds(left) - seconds(right)) < 0.0015
    return bool(left == right)


def agrees(name: str, true: Any, shown: Any) -> bool:
    """Whether a field shows the truth; text may differ in quoting and white space, see ``simulated.canonical``."""
    if name == "headers":
        return true.keys() == shown.keys() and all(text(value) == text(shown[key]) for key, value in true.items())
    if name in ("subject", "snippet"):
        return text(true) == text(shown)
    return same(name, true, shown)


def seconds(time: str | float) -> float:
    """A time of the API (ISO 8601) or of the simulator (seconds) as seconds."""
    return datetime.fromisoformat(time).timestamp() if isinstance(time, str) else float(time)


def _is_beginning(short: Any, whole: Any) -> bool:
    if isinstance(short, dict) and isinstance(whole, dict):
        return all(name in whole and _is_beginning(value, whole[name]) for name, value in short.items())
    return isinstance(short, (str, list)) and isinstance(whole, type(short)) and whole[: len(short)] == short


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:117]}..."

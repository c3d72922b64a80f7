"""users.messages.insert, import and send: new mail that a client brings."""

from __future__ import annotations

from infra.local.google.asked import Asked, Json, Route
from infra.local.google.errors import GoogleError
from infra.local.google.mailbox import Arrival, sent_labels
from infra.local.google.methods.messages import check_labels
from infra.local.google.shown import summary
from infra.local.google.submission import Submission, sending, submitted
from infra.local.simulated.reading import Mail, date_of

SPAM_FLAG = "x-spam-flag"
"""What this simulator's spam filter goes by: a mail with ``X-Spam-Flag: YES`` is spam."""

_NOT_YOURS = frozenset({"DRAFT", "CHAT"})


def insert(asked: Asked) -> Json:
    """users.messages.insert: received now unless its own date is wanted; nobody looks into it."""
    submission = submitted(asked)
    return _keep(
        asked, submission, list(submission.labels), asked.choice("internalDateSource", "receivedTime", "dateHeader")
    )


def import_message(asked: Asked) -> Json:
    """users.messages.import: received when its own date says, unless told otherwise; spam is recognised."""
    submission = submitted(asked)
    labels = list(submission.labels)
    if _is_spam(submission.mail()) and not asked.flag("neverMarkSpam"):
        labels = [label for label in labels if label != "INBOX"] + ["SPAM"]
    return _keep(asked, submission, labels, asked.choice("internalDateSource", "dateHeader", "receivedTime"))


def send(asked: Asked) -> Json:
    """users.messages.send: to whom the header says; what goes to oneself is in the inbox, too."""
    now = asked.gmail.clock.now()
    submission = submitted(asked)
    truth = submission.mail().truth
    require_recipient(truth)
    return _add(asked, sending(submission, sent_labels(asked.address, truth), asked.address, now))


def require_recipient(truth: dict[str, object]) -> None:
    """Let a mail pass that goes to somebody. Raises ``GoogleError`` 400."""
    if not (truth["to"] or truth["cc"] or truth["bcc"]):
        raise GoogleError(400, "Recipient address required", "invalidArgument")


def _keep(asked: Asked, submission: Submission, labels: list[str], source: str) -> Json:
    check_labels(asked, labels, _NOT_YOURS)
    now = asked.gmail.clock.now()
    dated = date_of(submission.raw) if source == "dateHeader" else None
    return _add(asked, submission.arrival(labels, now if dated is None else dated))


def _add(asked: Asked, arrival: Arrival) -> Json:
    with asked.gmail.change(asked.address) as mailbox:
        if arrival.thread:
            mailbox.thread(arrival.thread)
        row = mailbox.message(mailbox.add(arrival))
    return summary(row["id"], row["thread"], row["labels"])


def _is_spam(mail: Mail) -> bool:
    return any(name.lower() == SPAM_FLAG and value.strip().upper() == "YES" for name, value in mail.headers)


ROUTES = (
    Route(
        "users.messages.insert", "POST", "messages", insert, frozenset({"deleted", "internalDateSource"}), upload=True
    ),
    Route(
        "users.messages.import", "POST", "messages/import", import_message,
        frozenset({"deleted", "internalDateSource", "neverMarkSpam", "processForCalendar"}), upload=True,
    ),
    Route("users.messages.send", "POST", "messages/send", send, upload=True),
)  # fmt: skip

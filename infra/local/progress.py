"""Progress bars of mailboxes, from what ``/mail/status`` says; a log file gets no animation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn


@dataclass(frozen=True, slots=True)
class MailboxProgress:
    """What the bars and the waiting loops need to know of one mailbox."""

    mailbox: str
    status: str
    messages: int
    outbox: int
    last_error: str | None
    total: int | None = None

    @property
    def provider(self) -> str:
        """The provider, as mailbox ids write it."""
        return self.mailbox.rpartition(":")[2]

    @property
    def backfilling(self) -> bool:
        """Whether the past is still being walked."""
        return self.status in ("connecting", "backfilling", "resyncing", "rate_limited")

    @property
    def settled(self) -> bool:
        """Whether nothing is left to be done as far as the status can tell."""
        return self.status == "live" and self.outbox == 0


def read_status(answer: Any) -> dict[str, MailboxProgress]:
    """The mailboxes of an answer of ``/mail/status``, by provider: one of each is what a local run has."""
    found = [
        MailboxProgress(
            entry["id"],
            entry["status"],
            entry["messages"],
            entry["outbox"],
            entry.get("last_error"),
            entry["backfill"]["total"],
        )
        for entry in answer["mailboxes"]
    ]
    return {mailbox.provider: mailbox for mailbox in found}


def bars(console: Console) -> Progress:
    """Bars on a terminal, silence elsewhere."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description:<12}"),
        BarColumn(bar_width=40),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
        disable=not console.is_terminal,
    )

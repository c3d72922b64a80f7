"""Watches a running Brainstem through its API: each backfill as a bar, then each event as a line."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

from rich.console import Console
from rich.progress import TaskID

from infra.local.client import JsonClient
from infra.local.progress import MailboxProgress, bars, read_status
from infra.local.sentences import ensure_room

ARRIVAL_SECONDS = 15.0
LOOK_SECONDS = 0.5
PAGE = 200


@dataclass(frozen=True, slots=True)
class Account:
    """A mailbox to follow: whose, how to connect it, whether mail can be made to come to it, how full it is.

    ``provider`` is as mailbox ids write it.
    """

    provider: str
    connect: Callable[[JsonClient], None]
    arrive: Callable[[], None] | None = None
    mails: int | None = None


class Follower:
    """Connects the mailboxes that nobody has, lets new mail arrive in one after the other, and prints what the log says."""

    def __init__(
        self,
        console: Console,
        url: str,
        token: str,
        accounts: Sequence[Account],
        folder: Path,
        stopping: threading.Event,
    ) -> None:
        self._console = console
        self._client = JsonClient(url, token)
        self._accounts = accounts
        self._folder = folder
        self._stopping = stopping
        self._place = _Place(folder / "events-cursor")

    def follow(self) -> None:
        """Go on until interrupted."""
        known = self._mailboxes()
        for account in self._accounts:
            if account.provider not in known:
                account.connect(self._client)
        # A person may connect one of several real mailboxes only; simulated ones are all connected by now.
        while not self._mailboxes():
            self._pause(LOOK_SECONDS)
        self._watch_backfill()
        arriving = cycle([account.arrive for account in self._accounts if account.arrive is not None] or [_nothing])
        due = time.monotonic() + 2.0
        while True:
            ensure_room(self._folder)
            if time.monotonic() >= due:
                due = time.monotonic() + ARRIVAL_SECONDS
                next(arriving)()
            for event in self._new_events():
                self._console.print(_line(event), markup=False, soft_wrap=True)
            self._pause(LOOK_SECONDS)

    def _mailboxes(self) -> dict[str, MailboxProgress]:
        return read_status(self._client.get("/mail/status"))

    def _watch_backfill(self) -> None:
        """Show the bars; the events of the past are read, counted and not printed."""
        started, count = time.monotonic(), 0
        loaded = {account.provider: account.mails for account in self._accounts}
        tasks: dict[str, TaskID] = {}
        with bars(self._console) as progress:
            was_backfilling = False
            while True:
                ensure_room(self._folder)
                now = self._mailboxes()
                for provider, mailbox in now.items():
                    if provider not in tasks:
                        tasks[provider] = progress.add_task(provider.title(), total=loaded.get(provider), note="")
                    total = loaded.get(provider) or mailbox.total
                    note = f"{mailbox.status}: {mailbox.last_error}" if mailbox.last_error else mailbox.status
                    completed = min(mailbox.messages, total or mailbox.messages)
                    progress.update(tasks[provider], total=total, completed=completed, note=note)
                if not any(mailbox.backfilling for mailbox in now.values()):
                    break
                was_backfilling = True
                count += len(self._new_events())
                self._pause(0.2)
        if was_backfilling:
            count += len(self._new_events())
            messages = sum(mailbox.messages for mailbox in now.values())
            self._console.print(
                f"{messages:,} mails are in, told in {count:,} events, after {time.monotonic() - started:.1f} s.\n"
            )

    def _pause(self, seconds: float) -> None:
        if self._stopping.wait(seconds):
            raise KeyboardInterrupt

    def _new_events(self) -> list[dict[str, object]]:
        events: list[dict[str, object]] = []
        while True:
            page = self._client.get("/events", after=self._place.cursor, limit=PAGE)
            events += page["events"]
            if page["next"] is not None:
                self._place.move(page["next"])
            if len(page["events"]) < PAGE:
                return events


def _nothing() -> None:
    """No mail can be made to come."""


class _Place:
    """How far the events were read, kept so that a later start does not print them again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.cursor: str | None = path.read_text(encoding="ascii") if path.exists() else None

    def move(self, cursor: str) -> None:
        if cursor != self.cursor:
            self.cursor = cursor
            self._path.write_text(cursor, encoding="ascii")


def _line(event: dict[str, object]) -> str:
    """One event; what strangers wrote must not move the cursor of a terminal."""
    data = event["data"]
    assert isinstance(data, dict)
    text = f"{data.get('sender', '')}  {data.get('subject', '')}" if "subject" in data else ""
    if "changed" in data:
        text += f"  [{', '.join(data['changed'])}]"
    line = f"{str(event['time'])[11:19]}  {event['source']} #{event['sequence']:<6} {event['type']:<18} {text}"
    return "".join(mark if mark.isprintable() else " " for mark in line)[:200]

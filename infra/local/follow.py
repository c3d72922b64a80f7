"""Watches a running Brainstem through its API: the backfill as a bar, then each event as a line."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from infra.local.client import JsonClient
from infra.local.progress import MailboxProgress, bars, read_status
from infra.local.sentences import ensure_room

ARRIVAL_SECONDS = 15.0
LOOK_SECONDS = 0.5
PAGE = 200


@dataclass(frozen=True, slots=True)
class Account:
    """What is followed: how to connect it, whether it is a simulated one to which mail can be made to come, how full it is."""

    connect: Callable[[JsonClient], None]
    arrive: Callable[[], None] | None = None
    mails: int | None = None


class Follower:
    """Connects the mailbox if nobody has, lets new mail arrive, and prints what the log says."""

    def __init__(
        self, console: Console, url: str, token: str, account: Account, folder: Path, stopping: threading.Event
    ) -> None:
        self._console = console
        self._client = JsonClient(url, token)
        self._account = account
        self._folder = folder
        self._stopping = stopping
        self._place = _Place(folder / "events-cursor")

    def follow(self) -> None:
        """Go on until interrupted."""
        if self._mailbox() is None:
            self._account.connect(self._client)
        while self._mailbox() is None:
            self._pause(LOOK_SECONDS)
        self._watch_backfill()
        due = time.monotonic() + 2.0
        while True:
            ensure_room(self._folder)
            if self._account.arrive is not None and time.monotonic() >= due:
                due = time.monotonic() + ARRIVAL_SECONDS
                self._account.arrive()
            for event in self._new_events():
                self._console.print(_line(event), markup=False, soft_wrap=True)
            self._pause(LOOK_SECONDS)

    def _mailbox(self) -> MailboxProgress | None:
        return read_status(self._client.get("/mail/status"))

    def _watch_backfill(self) -> None:
        """Show the bar; the events of the past are read, counted and not printed."""
        started, count = time.monotonic(), 0
        with bars(self._console) as progress:
            task = progress.add_task("backfill", total=self._account.mails, note="")
            was_backfilling = False
            while True:
                ensure_room(self._folder)
                now = self._mailbox()
                if now is not None:
                    total = self._account.mails or now.total
                    note = f"{now.status}: {now.last_error}" if now.last_error else now.status
                    progress.update(task, total=total, completed=min(now.messages, total or now.messages), note=note)
                    if not now.backfilling:
                        break
                    was_backfilling = True
                    count += len(self._new_events())
                self._pause(0.2)
        if was_backfilling:
            count += len(self._new_events())
            self._console.print(
                f"{now.messages:,} mails are in, told in {count:,} events, after {time.monotonic() - started:.1f} s.\n"
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

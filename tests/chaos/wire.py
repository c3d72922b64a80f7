"""The way from a ``World`` to Google with a test's hand on it, a process that starts anew, and the verdict."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson

from infra.local.collect import collect
from infra.local.verify import verify
from infra.local.world import Served, WorldClient
from shared.sets import embedded
from shared.wiring import Brainstem
from tests.world import ADDRESS, MAILBOX, InProcess, World

REGISTERED = {
    "client_id": "client",
    "client_secret": "secret",
    "redirect_uris": ["http://localhost/oauth/google/callback"],
}


@dataclass(frozen=True, slots=True)
class Asked:
    """One request on its way to Google, and when it was made."""

    at: float
    method: str
    path: str
    query: Mapping[str, list[str]]
    body: bytes
    uri: str
    headers: Mapping[str, str]

    @property
    def token(self) -> str:
        """The Authorization header."""
        return self.headers.get("authorization", "")

    @property
    def of(self) -> str:
        """The last part of the path: ``history``, ``messages``, ``watch``, ``v1`` for a batch, ``token``."""
        return self.path.rstrip("/").rpartition("/")[2]


class Wire:
    """Notes every request of the product to Google; ``hook`` may raise, answer in Google's place, or answer None."""

    def __init__(self, world: World) -> None:
        self.asked: list[Asked] = []
        self.hook: Callable[[Asked], tuple[Served, bytes] | None] = lambda _: None
        self._world = world
        self.google = InProcess(world.website)
        self.plug()

    def plug(self) -> None:
        """Have everything go through here; a process that was started anew has to be plugged in again."""
        self._world.product = Brainstem(self._world.settings, self._world.ports, lambda: self)

    def request(
        self, uri: str, method: str = "GET", body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[Served, bytes]:
        """Make one request, unless the hook does something else."""
        parts = urlsplit(uri)
        content = body.encode() if isinstance(body, str) else body or b""
        now = self._world.clock.now()
        asked = Asked(now, method, parts.path, parse_qs(parts.query), content, uri, dict(headers or {}))
        self.asked.append(asked)
        instead = self.hook(asked)
        return self.google.request(uri, method, body, headers) if instead is None else instead

    def since(self, at: float) -> list[Asked]:
        """What was asked from a time on."""
        return [asked for asked in self.asked if asked.at >= at]


def answered(body: Any, status: int = 200, **headers: str) -> tuple[Served, bytes]:
    """An answer in JSON."""
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return Served(status, {"content-type": "application/json", **fields}), orjson.dumps(body)


def restart(world: World, wire: Wire | None = None) -> None:
    """A new process on the same files: what was in memory is gone, what was in flight is delivered again."""
    world.ports = embedded(world.settings, world.clock, synchronous="OFF")
    if wire is None:
        world.product = Brainstem(world.settings, world.ports, lambda: InProcess(world.website))
    else:
        wire.plug()


def pass_by(world: World, seconds: float) -> None:
    """Let time pass in which nothing of ours runs."""
    world.clock.advance(seconds)
    world._tick_at = max(world._tick_at, world.clock.now())


def lose_tasks(world: World, kind: str | None = None) -> int:
    """The queue forgets what it was given, of one kind of step or of all; answers how much that was."""
    like = "%" if kind is None else f'%"kind":"{kind}"%'
    with closing(sqlite3.connect(Path(world.settings.data_dir) / "brainstem.sqlite")) as database, database:
        return database.execute("DELETE FROM task WHERE body LIKE ?", (like,)).rowcount


def mail(world: World, subject: str, *labels: str, address: str = ADDRESS, **plan: Any) -> str:
    """A mail arrives; answers its id."""
    [id_] = world.google.add_mails(address, [planned(subject, *labels, address=address, **plan)])
    return id_


def planned(subject: str, *labels: str, address: str = ADDRESS, **plan: Any) -> dict[str, Any]:
    """The plan of a mail; without labels it is unread in the inbox."""
    return {
        "subject": subject,
        "sender": ["Bob", "bob@example.org"],
        "to": [["Ann", address]],
        "labels": list(labels or ("INBOX", "UNREAD")),
        **plan,
    }


def status(world: World, mailbox: str = MAILBOX) -> dict[str, Any]:
    """What ``GET /mail/status`` says of a mailbox."""
    rows = {row["id"]: row for row in world.api("GET", "/mail/status")["mailboxes"]}
    found: dict[str, Any] = rows[mailbox]
    return found


def told(world: World, type_: str = "email.received", mailbox: str = MAILBOX) -> list[str]:
    """The subjects of the mail events of one type, in the order of the stream."""
    return [event["data"]["subject"] for event in world.events(mailbox) if event["type"] == type_]


def judge(world: World, gaps: int = 0, connects: int = 1) -> None:
    """The verdict that ``make demo`` gives: exact in every field, nothing lost, nothing doubled, so many gaps.

    ``connects`` is how often the mailbox was connected, which the verdict expects once.
    """
    seen = collect(WorldClient(world))
    report = verify(
        world.google.truth(ADDRESS),
        seen.messages,
        seen.gaps,
        seen.status,
        seen.events,
        world.received,
        seen.senders,
    )
    again = f"Stream {MAILBOX}: mailbox.connected comes {connects} times; once and first is right."
    assert report.differences == (() if connects == 1 else (again,))
    assert replace(report, difference_count=report.difference_count - (connects > 1)).ok, report
    assert report.gaps == gaps


def consent(world: World, address: str = ADDRESS) -> None:
    """The person walks through the consent pages, ours and Google's, with one account."""
    world.google.oauth.clients.register([REGISTERED])
    status_code, answer = world.call("oauth", "POST", "/oauth/google/start", {}, Authorization=f"Bearer {world.token}")
    assert status_code == 200, answer
    browser = world.browser()
    page = browser.press(browser.open(answer["consent_url"]), "Continue")
    page = browser.press(page, "Allow", account=address)
    browser.close()
    assert page.status == 200, page.text

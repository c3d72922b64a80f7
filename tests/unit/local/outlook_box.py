"""A simulated Outlook mailbox and a plain HTTP client for it, in one process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from werkzeug.test import Client, TestResponse

from infra.local.microsoft.app import create_app
from infra.local.microsoft.simulator import MicrosoftSimulator
from tests.unit.local.inprocess import ADDRESS, FakeClock

IMMUTABLE = 'IdType="ImmutableId"'
ROOT = "http://microsoft.test"


@dataclass
class OutlookBox:
    """One mailbox, asked as its owner's client asks: with immutable ids unless a test wants others."""

    path: Path
    seed: int = 7
    clock: FakeClock = field(default_factory=FakeClock)
    notify: Any = None

    def __post_init__(self) -> None:
        self.open()

    def open(self) -> None:
        self.sim = MicrosoftSimulator(self.path, self.clock, self.seed, notify=self.notify)
        self.app = create_app(self.sim)
        self.client = Client(self.app)
        self.token = self.sim.add_mailbox(ADDRESS)["access_token"]

    def ask(
        self, path: str, verb: str = "GET", body: Any = None, prefer: str = IMMUTABLE,
        headers: Mapping[str, str] | None = None,
    ) -> TestResponse:  # fmt: skip
        """One request; ``path`` is below /v1.0, or a whole link."""
        url = path if path.startswith("http") else f"{ROOT}/v1.0{path}"
        parts = urlsplit(url)
        fields = {"Authorization": f"Bearer {self.token}", "Prefer": prefer, **(headers or {})}
        return self.client.open(
            parts.path, base_url=ROOT, query_string=parts.query, method=verb, json=body, headers=fields, buffered=True
        )

    def get(self, path: str, prefer: str = IMMUTABLE) -> Any:
        """The JSON of a success."""
        answer = self.ask(path, prefer=prefer)
        assert answer.status_code == 200, (answer.status_code, answer.text)
        return answer.get_json()

    def post(self, path: str, body: Any = None, expected: int = 201) -> Any:
        """The JSON of a success that has one."""
        answer = self.ask(path, "POST", {} if body is None else body)
        assert answer.status_code == expected, (answer.status_code, answer.text)
        return answer.get_json() if answer.data else None

    def message(self, message_id: str, select: str = "") -> Any:
        return self.get(f"/me/messages/{message_id}" + (f"?$select={select}" if select else ""))

    def folder(self, key: str) -> str:
        return str(self.get(f"/me/mailFolders/{key}")["id"])

    def round(self, start: str, size: int = 10) -> tuple[list[dict[str, Any]], str, int]:
        """A whole delta round: its items, its delta link, and how many pages it had."""
        items: list[dict[str, Any]] = []
        pages = 0
        link = start
        while True:
            page = self.get(link, f"{IMMUTABLE}, odata.maxpagesize={size}")
            items += page["value"]
            pages += 1
            if "@odata.deltaLink" in page:
                return items, str(page["@odata.deltaLink"]), pages
            link = page["@odata.nextLink"]


def delta(folder: str, select: str = "subject,isRead,parentFolderId,categories") -> str:
    return f"/me/mailFolders/{folder}/messages/delta?$select={select}"


def error(answer: TestResponse) -> tuple[int, str]:
    """Status and code of a refusal."""
    return answer.status_code, str(answer.get_json()["error"]["code"])

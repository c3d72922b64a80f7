"""Both adapters on their simulators, in one process, as mailboxes that things happen to; see ``mail_worlds``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson

from infra.local.google.app import create_app as create_google
from infra.local.google.simulator import GoogleSimulator
from infra.local.microsoft.app import create_app as create_microsoft
from infra.local.microsoft.notifications import Heard
from infra.local.microsoft.simulator import MicrosoftSimulator
from shared.adapters.embedded.clock import VirtualClock
from shared.providers.base import FOLDER, Access, MailProvider
from shared.providers.gmail import GmailProvider
from shared.providers.graph import GraphProvider
from shared.settings import Settings
from tests.contract.mail_http import Purse, Wire
from tests.contract.mail_worlds import BOB, CHANNEL_SECRET, CLIENT_SECRET, ME, PAGE


class Simulated:
    """What both simulated providers have in common."""

    provider: MailProvider
    clock: VirtualClock
    sim: Any
    wire: Wire

    def __init__(self) -> None:
        self.purse = Purse()
        self._granted: dict[str, Any] = self.sim.add_mailbox(ME)
        self._access: Access | None = None

    def bare(self) -> Access:
        """What the first call goes out with: nothing is known yet."""
        return Access(self._granted["access_token"], self.purse)

    def access(self) -> Access:
        if self._access is None:
            profile = self.provider.profile(self.bare())
            self._access = replace(self.bare(), address=profile.address, folders=profile.folders)
        return self._access

    def grant(self) -> str:
        return str(self._granted["refresh_token"])

    def secrets(self) -> tuple[str, ...]:
        """What no message may show."""
        return (self._granted["access_token"], self.grant(), CLIENT_SECRET, CHANNEL_SECRET)

    def deliver(self, subject: str, *labels: str, place: str = "") -> str:
        self.clock.advance(60)
        where = labels or ("INBOX", "UNREAD")
        return self._add(subject, [one for one in where if not place or one != "INBOX"] + [place] * bool(place))

    def deliver_raw(self, raw: bytes) -> str:
        """Any bytes arrive as a mail."""
        self.clock.advance(60)
        [id] = self.sim.add_mails(ME, [{"raw": raw, "labels": ["INBOX", "UNREAD"]}])
        return str(id)

    def mark(self, id: str, add: Sequence[str] = (), remove: Sequence[str] = ()) -> None:
        self.sim.change_labels(ME, id, add, remove)

    def trash(self, id: str) -> None:
        self.sim.trash(ME, id)

    def untrash(self, id: str) -> None:
        self.sim.untrash(ME, id)

    def delete(self, id: str) -> None:
        self.sim.delete(ME, id)

    def draft(self, subject: str, draft: str = "") -> tuple[str, str]:
        saved = self.sim.save_draft(ME, _mail(subject, ME, BOB), draft)
        return saved["id"], saved["message"]

    def send_draft(self, draft: str) -> str:
        return str(self.sim.send_draft(ME, draft))

    def refuse(self, id: str) -> None:
        self.sim.refuse(ME, id, 500)

    def truth(self) -> dict[str, set[str]]:
        return {mail["id"]: set(mail["labels"]) for mail in self.sim.truth(ME)["mails"]}

    def revoke(self) -> None:
        self.sim.revoke(ME)

    def trouble(self, kind: str) -> None:
        rule: dict[str, Any] = {"fault": "status", "methods": ["*", "batch", "token"], "probability": 1.0}
        how = {
            "limited": {"status": 429, "retry_after": 120},
            "down": {"status": 503},
            "refused": {"status": 403},
        }.get(kind, {"fault": kind})
        self.sim.set_faults({"calls": [rule | how]})

    def lose_channels(self) -> None:
        self.clock.advance(8 * 86_400)  # no channel lives so long

    def close(self) -> None:
        self.sim.close()

    def _add(self, subject: str, labels: Sequence[str], sender: str = BOB, to: str = ME) -> str:
        [id] = self.sim.add_mails(ME, [{**_mail(subject, sender, to), "labels": list(labels)}])
        return str(id)


class Gmail(Simulated):
    tag = "Label_1"

    def __init__(self, folder: Path, adapter: type[GmailProvider] = GmailProvider) -> None:
        self.clock = VirtualClock()
        self._rung = 0
        self.sim = GoogleSimulator(
            folder / "google.sqlite", self.clock, self._ring, token_seconds=1e9, history_base=10**20
        )
        super().__init__()
        self.wire = Wire(create_google(self.sim), self.purse)
        self._adapter = adapter
        self.provider = self.made()
        self._places = 1

    def made(self, over_the_wire: bool = True, **settings: Any) -> GmailProvider:
        """Another adapter for the same mailbox."""
        chosen: dict[str, Any] = {
            "gmail_api_url": "http://google.test/",
            "google_oidc_discovery_url": "http://google.test/.well-known/openid-configuration",
            "google_client_id": "client",
            "gmail_topic": "projects/local/topics/gmail",
            "gmail_quota": "none",
            "page_size": PAGE,
        }
        factory = (lambda: self.wire) if over_the_wire else None
        return self._adapter(Settings(**(chosen | settings)), self.clock, lambda: CLIENT_SECRET, factory)

    def place(self, name: str) -> str:
        self._places += 1
        return f"Label_{self._places}"

    def move(self, id: str, place: str) -> None:
        self.sim.change_labels(ME, id, [place], ["INBOX"])

    def drop(self, place: str) -> None:
        self.sim.delete_label(ME, place)

    def send(self, subject: str, to: str) -> None:
        self.clock.advance(60)
        self._add(subject, ["SENT", "INBOX", "UNREAD"] if to == ME else ["SENT"], ME, to)

    def forget(self, label: str = "") -> None:
        self.sim.expire_history(ME)

    def bad_pages(self) -> list[str]:
        return ["nonsense", "bm9uc2Vuc2U"]

    def hinder(self) -> None:
        """Gmail's history is told in one way."""

    def channels(self) -> int:
        self.sim.pump()
        before = self._rung
        self.deliver("ring")
        self.clock.advance(5)
        self.sim.pump()
        return self._rung - before

    def unconfigured(self) -> MailProvider:
        return self.made(gmail_topic="")

    def tokens_given_and_asked(self) -> tuple[list[str], list[str]]:
        """Page tokens as they came, and as they went out again."""
        given = [orjson.loads(one.answer).get("nextPageToken") for one in self.wire.asked if one.answer[:1] == b"{"]
        asked = [token for one in self.wire.asked for token in parse_qs(urlsplit(one.uri).query).get("pageToken", ())]
        return [token for token in given if token], asked

    def _ring(self, topic: str, data: bytes) -> None:
        self._rung += 1


class Outlook(Simulated):
    tag = "category:Red"

    def __init__(self, folder: Path, adapter: type[GraphProvider] = GraphProvider) -> None:
        self.clock = VirtualClock()
        self.heard: list[bytes] = []
        self.sim = MicrosoftSimulator(
            folder / "microsoft.sqlite", self.clock, seed=5, token_seconds=1e9, notify=self._notified
        )
        super().__init__()
        self.sim.identity.tokens.rotation(living=2)
        self.wire = Wire(create_microsoft(self.sim), self.purse)
        self._adapter = adapter
        self.provider = self.made()

    def made(self, over_the_wire: bool = True, **settings: Any) -> GraphProvider:
        """Another adapter for the same mailbox."""
        chosen: dict[str, Any] = {
            "graph_api_url": "http://microsoft.test/v1.0/",
            "microsoft_login_url": "http://microsoft.test/",
            "microsoft_client_id": "client",
            "graph_notification_url": "https://bell.test/graph_push",
            "graph_page_size": PAGE,
        }
        factory = (lambda: self.wire) if over_the_wire else None
        return self._adapter(Settings(**(chosen | settings)), self.clock, lambda: CLIENT_SECRET, factory)

    def place(self, name: str, parent: str = "") -> str:
        return FOLDER + str(self.sim.create_folder(ME, name, parent.removeprefix(FOLDER)))

    def rename(self, place: str, name: str) -> None:
        """A folder gets another name."""
        self.sim.rename_folder(ME, place.removeprefix(FOLDER), name)

    def move(self, id: str, place: str) -> None:
        self.sim.move(ME, id, place.removeprefix(FOLDER))

    def drop(self, place: str) -> None:
        self.sim.delete_folder(ME, place.removeprefix(FOLDER))

    def send(self, subject: str, to: str) -> None:
        self.clock.advance(60)
        self._add(subject, ["SENT"], ME, to)
        if to == ME:
            self._add(subject, ["INBOX", "UNREAD"], ME, ME)

    def forget(self, label: str = "") -> None:
        self.sim.expire_delta(ME, label.removeprefix(FOLDER) or None)

    def bad_pages(self) -> list[str]:
        return [
            "nonsense",
            "https://elsewhere.test/v1.0/me/messages?$skiptoken=x",
            "http://microsoft.test/v1.0/me/messages?$skip=nonsense",
        ]

    def hinder(self) -> None:
        self.sim.set_faults({"replays": 0.3, "duplicates": 0.3, "empty_pages": 0.3})

    def channels(self) -> int:
        """Those that are live; what they say shows the secret that they were opened with."""
        self.deliver("ring")
        self.clock.advance(5)
        self.sim.pump()
        shown = {notice["clientState"] for body in self.heard if body for notice in orjson.loads(body)["value"]}
        assert shown <= {CHANNEL_SECRET}
        return len(self.sim.subscriptions.live(ME))

    def unconfigured(self) -> MailProvider:
        return self.made(graph_notification_url="")

    def tokens_given_and_asked(self) -> tuple[list[str], list[str]]:
        """Links as they came, and as they went out again."""
        given = [
            link
            for one in self.wire.asked
            if one.answer[:1] == b"{"
            for name, link in orjson.loads(one.answer).items()
            if name in ("@odata.nextLink", "@odata.deltaLink")
        ]
        asked = [one.uri for one in self.wire.asked if re.search("token", urlsplit(one.uri).query, re.IGNORECASE)]
        return given, asked

    def _notified(self, url: str, body: bytes, headers: Mapping[str, str], query: Mapping[str, str]) -> Heard:
        self.heard.append(body)
        return Heard(200 if query else 202, 0.1, query.get("validationToken", ""))


def _mail(subject: str, sender: str, to: str) -> dict[str, Any]:
    return {"subject": subject, "sender": ["Someone", sender], "to": [["Someone else", to]], "body": "Body-mark words."}

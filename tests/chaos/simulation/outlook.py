"""Outlook as the simulation drives it: folders with a cursor each, webhooks instead of the bus, refresh tokens that rotate.

Notifications go to an instance as calls in flight, so the simulator never waits for one: it is told 202 at once, and what
fails is delivered again here, as Graph does for four hours. The handshake of a new subscription is answered on the spot.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qs, parse_qsl, unquote, urlsplit

import orjson

from infra.local.microsoft.app import create_app
from infra.local.microsoft.notifications import Heard
from infra.local.microsoft.simulator import MicrosoftSimulator
from infra.local.world import Served
from shared.ports import Clock
from tests.chaos.simulation.host import MICROSOFT, Asked
from tests.chaos.simulation.plan import Action, Plan

Handshake = Callable[[str, Mapping[str, str]], tuple[int, str]]
"""From the path of a POST without body and its query to the status and the text of the answer."""

Deliver = Callable[[str, bytes, Mapping[str, str]], None]
"""Takes the path, the body and the headers of a notification, and sees to its delivery."""

_KEY = re.compile(r"\('([^']*)'\)")
"""The other way in which Graph writes the id of a thing behind its collection."""

LONG = 30
"""Characters that a part of a path has at least if it is an id."""

_LIFECYCLE = {"missed": "missed", "removed": "subscriptionRemoved", "reauthorize": "reauthorizationRequired"}
AT_ONCE = 4
"""Requests for one mailbox that Graph serves at a time (docs/graph.md, 11)."""

_CROWDED = orjson.dumps({"error": {"code": "ApplicationThrottled", "message": "Over its MailboxConcurrency limit."}})
LIVING = 8
"""Refresh tokens of a grant that live: more than answers are lost in a row, fewer than a run refreshes."""

EVERYTHING = 0.25
"""Below this ``pick`` the cursors of all folders expire, above it that of one."""


class Outlook:
    """The Microsoft simulator and what only it has."""

    provider, origin = "microsoft", MICROSOFT
    ways: Mapping[str, Any] = MappingProxyType({"recoverable": 1.0})

    def __init__(self, folder: Path, plan: Plan, clock: Clock, handshake: Handshake, deliver: Deliver) -> None:
        self._handshake, self._deliver = handshake, deliver
        path = folder / "microsoft.sqlite"
        self.simulator = MicrosoftSimulator(path, clock, plan.seed, plan.token_seconds, notify=self._notified)
        self.simulator.identity.tokens.rotation(LIVING, successor_kills=True)
        self.website: Any = create_app(self.simulator)
        self._addresses: dict[str, str] = {}

    def asked(self, uri: str, body: Any, headers: Mapping[str, str]) -> Asked:
        """What a request asks for; a cursor is the whole link, '' where there is none yet."""
        parts = urlsplit(uri)
        path = _KEY.sub(r"/\1", unquote(parts.path)).strip("/").split("/")
        if path[:1] != ["v1.0"]:
            form = parse_qs(body.decode() if isinstance(body, bytes) else str(body or ""))
            return Asked(path[-1], refresh=form.get("refresh_token", [""])[0])
        names = [part if len(part) < LONG else "*" for part in path[1:]]
        folder = path[3] if path[1:3] == ["me", "mailFolders"] and len(path) > 4 else ""
        cursor = None
        if path[-1] == "delta":
            tokens = {"$deltatoken", "$skiptoken"} & {name.lower() for name, _ in parse_qsl(parts.query)}
            cursor = uri if tokens else ""
        return Asked("/".join(names), self._whose(headers), folder, cursor)

    def links(self, asked: Asked, content: bytes) -> tuple[str, ...]:
        """The cursors that an answer gives out."""
        answer = orjson.loads(content) if asked.cursor is not None else {}
        return tuple(answer[name] for name in ("@odata.nextLink", "@odata.deltaLink") if name in answer)

    def crowded(self, at_once: int) -> tuple[Served, bytes] | None:
        """Four requests at a time are served, whichever instances make them; the fifth is told so."""
        if at_once <= AT_ONCE:
            return None
        return Served(429, {"retry-after": "1", "content-type": "application/json"}), _CROWDED

    def rotated(self, refresh: str, content: bytes) -> bytes:
        """The answer as it is: here every refresh brings another token."""
        return content

    def refreshed(self, refresh: str) -> None:
        """Nothing: the simulator ends a token itself once its successor is used."""

    def happen(self, address: str, action: Action, now: float) -> str | None:
        """Folders that come, go, move and are renamed; mail that is moved; cursors and subscriptions that are lost."""
        outlook = self.simulator
        folders = outlook.folders(address)
        own = [folder for folder in folders if not folder["well_known"]]
        chosen = _picked(folders, action.seed)
        match action.kind:
            case "folder":
                return str(outlook.create_folder(address, f"Folder {action.seed % 10_000}", chosen["id"]))
            case "rename_folder" if own:
                outlook.rename_folder(address, _picked(own, action.pick)["id"], f"Renamed {action.seed % 10_000}")
                return "renamed"
            case "move_folder" if own:
                outlook.move_folder(address, _picked(own, action.pick)["id"], chosen["id"])
                return "moved"
            case "drop_folder" if own:
                gone = _picked(own, action.pick)["id"]
                outlook.delete_folder(address, gone)
                return f"{gone} is gone"
            case "move":
                mails = outlook.truth(address)["mails"]
                if not mails:
                    return "nothing to move"
                mail = _picked(mails, action.pick)
                outlook.move(address, mail["id"], chosen["id"])
                if action.seed % 5 == 0:
                    return f"{mail['id']} to {chosen['name']}"
                outlook.move(address, mail["id"], mail["folder"])
                return f"{mail['id']} to {chosen['name']} and back"
            case "expire":
                folder = None if action.pick < EVERYTHING else chosen["id"]
                outlook.expire_delta(address, folder)
                return f"older cursors of {chosen['name'] if folder else 'all folders'} are forgotten"
            case "missed" | "removed" | "reauthorize":
                outlook.subscriptions.lifecycle(address, _LIFECYCLE[action.kind])
                return "told"
            case "folder" | "rename_folder" | "move_folder" | "drop_folder" | "drop_label":
                return "no folder to do it to"
        return None

    def draft_of(self, address: str, message_id: str) -> str:
        """The draft that a message is the content of: it is the message."""
        return message_id

    def is_alive(self, address: str, message_id: str) -> bool:
        """Whether the provider has a message, whatever its API shows yet."""
        return bool(self.simulator.is_alive(address, message_id))

    def ringing(self, now: float) -> Iterable[tuple[str, str]]:
        """Every subscription that is alive."""
        addresses = sorted(set(self._addresses.values()))
        return [(address, id_) for address in addresses for id_ in self.simulator.subscriptions.live(address)]

    def pump(self) -> float | None:
        """Send the notifications that are due; answer when the next one is."""
        due: float | None = self.simulator.pump()
        return due

    def faults(self) -> Mapping[str, int]:
        """How often each kind of misbehaviour has struck, by label; refusing a fifth request at once is none."""
        counts: Mapping[str, int] = self.simulator.report()["faults"]
        return counts

    def close(self) -> None:
        """Close the files."""
        self.simulator.close()

    def _whose(self, headers: Mapping[str, str]) -> str:
        fields = {name.lower(): value for name, value in headers.items()}
        token = fields.get("authorization", "").removeprefix("Bearer ")
        if token not in self._addresses:
            try:
                self._addresses[token] = self.simulator.identity.whose(token).address
            except Exception:  # an old token: whoever brings it is told so
                return ""
        return self._addresses[token]

    def _notified(self, url: str, body: bytes, headers: Mapping[str, str], query: Mapping[str, str]) -> Heard:
        path = urlsplit(url).path
        if query:
            status, text = self._handshake(path, query)
            return Heard(status, 0.0, text)
        self._deliver(path, body, headers)
        return Heard(202, 0.0)


def _picked(things: list[Any], pick: float) -> Any:
    """One of some things, by a number from 0 to 1 or by any integer."""
    return things[int(pick * len(things))] if pick < 1 else things[int(pick) % len(things)]

"""A Graph that plays scripted answers: the lowest seam of the Outlook adapter, and mails and pages in Graph's shapes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.providers.base import Access
from shared.providers.graph import GraphProvider
from shared.settings import Settings
from tests.meter import FreeMeter
from tests.unit.fakes import FakeClock
from tests.unit.providers.gmail_playback import NOW, SECRET, TOKEN, Answer

ROOT = "http://microsoft.test/v1.0/"
LOGIN = "http://microsoft.test/"
ME = "ann@example.org"
INBOX = "AAinbox="
LINK = f"{ROOT}me/mailFolders/{INBOX}/messages/delta?$deltatoken="
SUBSCRIPTION = {"id": "sub-1", "expirationDateTime": "2026-09-28T00:00:00Z"}


def access(address: str = ME, folders: Mapping[str, str] | None = None, token: str = TOKEN) -> Access:
    """What calls go out with here: a token that must never be seen again, and a meter that only counts."""
    return Access(token, FreeMeter(), address, {INBOX: "INBOX"} if folders is None else folders)


def provider(http: Any, clock: FakeClock | None = None, **settings: Any) -> GraphProvider:
    chosen = {
        "graph_api_url": ROOT,
        "microsoft_login_url": LOGIN,
        "microsoft_client_id": "client",
        "graph_notification_url": "https://bell.test/graph_push",
        **settings,
    }
    return GraphProvider(Settings(**chosen), clock or FakeClock(NOW), lambda: SECRET, lambda: http)


def error(status: int, code: str = "", message: str = "", inner: str = "", **headers: str) -> Answer:
    """An error in Graph's shape."""
    details = {"innerError": {"code": inner}} if inner else {}
    return Answer(status, {"error": {"code": code, "message": message, **details}}, headers)


def retry_after(seconds: int, status: int = 429) -> Answer:
    return Answer(status, {"error": {"code": "TooManyRequests"}}, {"retry-after": str(seconds)})


def page(*entries: Any, next: str = "", delta: str = "d1") -> Answer:
    """A page of changes: with ``next`` there is another one behind it."""
    link = {"@odata.nextLink": f"{LINK}{next}"} if next else {"@odata.deltaLink": f"{LINK}{delta}"}
    return Answer(200, {"value": list(entries), **link})


def person(address: str, name: str = "") -> dict[str, Any]:
    return {"emailAddress": {"name": name, "address": address}}


def header(name: str, value: str) -> dict[str, str]:
    return {"name": name, "value": value}


def mail(id: str, folder: str = INBOX, **fields: Any) -> dict[str, Any]:
    """A message resource as a page of changes serves it."""
    return {
        "@odata.etag": 'W/"key"',
        "id": id,
        "changeKey": f"key-{id}",
        "parentFolderId": folder,
        "conversationId": f"thread-{id}",
        "receivedDateTime": "2026-09-21T14:13:20Z",
        "sentDateTime": "2026-09-21T14:13:19Z",
        "subject": f"Mail {id}",
        "bodyPreview": "Hi",
        "from": person("bob@example.org", "Bob"),
        "sender": person("bob@example.org", "Bob"),
        "toRecipients": [person(ME, "Ann")],
        "ccRecipients": [],
        "bccRecipients": [],
        "replyTo": [],
        "isRead": True,
        "isDraft": False,
        "importance": "normal",
        "flag": {"flagStatus": "notFlagged"},
        "categories": [],
        "internetMessageId": f"<{id}@example.org>",
        "internetMessageHeaders": [
            header("Received", "from mx.example.org"),
            header("From", "Bob <bob@example.org>"),
            header("To", f"Ann <{ME}>"),
            header("Subject", f"Mail {id}"),
        ],
        **fields,
    }


def removed(id: str, reason: str = "changed") -> dict[str, Any]:
    return {"id": id, "@removed": {"reason": reason}}

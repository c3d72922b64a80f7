"""Every simulated Gmail method, driven by Google's own client and held against Google's own description of its answer.

Both come from the document that google-api-python-client carries with it, so what the simulator answers is shaped by
Google and not by whoever reads it.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest
from googleapiclient.discovery import build_from_document
from googleapiclient.discovery_cache import get_static_doc
from googleapiclient.http import MediaIoBaseUpload

from infra.local.google.routes import ROUTES
from tests.unit.local.conftest import World
from tests.unit.local.inprocess import ADDRESS, TOPIC, InProcessHttp, plan

DOCUMENT: dict[str, Any] = orjson.loads(get_static_doc("gmail", "v1"))
ROOT = "http://simulator.test/"

MIXED = b"""From: Bob <bob@example.net>
To: Ann <ann@example.org>
Subject: Two files
Message-ID: <mixed@x>
Content-Type: multipart/mixed; boundary=b

--b
Content-Type: text/plain; charset="iso-8859-1"
Content-Transfer-Encoding: quoted-printable

Gr=FC=DFe
--b
Content-Type: application/pdf; name="a.pdf"
Content-Disposition: attachment; filename="a.pdf"
Content-Transfer-Encoding: base64

JVBERg==
--b--
""".replace(b"\n", b"\r\n")


def encoded(raw: bytes = MIXED) -> str:
    return base64.urlsafe_b64encode(raw).decode()


def uploaded(raw: bytes = MIXED) -> MediaIoBaseUpload:
    return MediaIoBaseUpload(io.BytesIO(raw), "message/rfc822")


def methods(resource: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from resource.get("methods", {}).values()
    for inner in resource.get("resources", {}).values():
        yield from methods(inner)


DESCRIBED = {method["id"].removeprefix("gmail."): method for method in methods(DOCUMENT)}

FORMATS: dict[str, Callable[[Any], bool]] = {
    "int64": lambda value: isinstance(value, str) and re.fullmatch(r"-?\d+", value) is not None,
    "uint64": lambda value: isinstance(value, str) and re.fullmatch(r"\d+", value) is not None,
    "int32": lambda value: isinstance(value, int) and -(2**31) <= value < 2**31,
    "uint32": lambda value: isinstance(value, int) and 0 <= value < 2**32,
    "byte": lambda value: isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9_-]*={0,2}", value) is not None,
}
TYPES: dict[str, type] = {"string": str, "integer": int, "boolean": bool, "array": list, "object": dict}


def faults(value: Any, schema: dict[str, Any], where: str) -> Iterator[str]:
    """What is wrong with a value by a schema of the document."""
    if "$ref" in schema:
        schema = DOCUMENT["schemas"][schema["$ref"]]
    kind = TYPES[schema["type"]]
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        yield f"{where}: {value!r} is no {schema['type']}"
        return
    if "format" in schema and not FORMATS[schema["format"]](value):
        yield f"{where}: {value!r} is no {schema['format']}"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{where}: {value!r} is not one of {schema['enum']}"
    if kind is list:
        for position, item in enumerate(value):
            yield from faults(item, schema["items"], f"{where}[{position}]")
    if kind is dict:
        for name, item in value.items():
            if name not in schema["properties"]:
                yield f"{where}.{name} is not described"
            else:
                yield from faults(item, schema["properties"][name], f"{where}.{name}")


@pytest.fixture
def users(world: World) -> Any:
    document = orjson.loads(get_static_doc("gmail", "v1")) | {
        "rootUrl": ROOT,
        "baseUrl": ROOT,
    }  # the client writes in it
    return build_from_document(document, http=InProcessHttp(world.app, world.tokens["access_token"])).users()


class Stage:
    """A mailbox with something of everything in it."""

    def __init__(self, world: World, users: Any) -> None:
        self.users = users
        self.start = users.getProfile(userId="me").execute()["historyId"]
        self.raw, self.planned, self.spare = world.sim.add_mails(
            ADDRESS,
            [
                {"raw": MIXED, "labels": ["INBOX", "UNREAD", "Work"]},
                plan("Grüße", thread="t", labels=["INBOX"]),
                plan(thread="t", labels=["INBOX"]),
            ],
        )
        self.draft, self.another_draft = (
            world.sim.save_draft(ADDRESS, plan(subject, labels=[]))["id"] for subject in ("One", "Two")
        )
        self.thread = world.get(self.planned, format="minimal")["threadId"]

    def attachment(self) -> str:
        payload = self.users.messages().get(userId="me", id=self.raw).execute()["payload"]
        return str(payload["parts"][1]["body"]["attachmentId"])

    def history(self) -> Any:
        messages = self.users.messages()
        messages.modify(
            userId="me", id=self.planned, body={"addLabelIds": ["STARRED"], "removeLabelIds": ["INBOX"]}
        ).execute()
        messages.delete(userId="me", id=self.spare).execute()
        return self.users.history().list(userId="me", startHistoryId=self.start)


Step = Callable[[Stage], Any]
ME = {"userId": "me"}

CALLS: dict[str, list[Step]] = {
    "users.getProfile": [lambda at: at.users.getProfile(**ME)],
    "users.watch": [lambda at: at.users.watch(**ME, body={"topicName": TOPIC})],
    "users.stop": [lambda at: at.users.stop(**ME)],
    "users.history.list": [lambda at: at.history()],
    "users.messages.list": [
        lambda at: at.users.messages().list(**ME),
        lambda at: at.users.messages().list(**ME, maxResults=1, labelIds=["INBOX"], includeSpamTrash=True),
    ],
    "users.messages.get": [
        *(
            lambda at, form=form: at.users.messages().get(**ME, id=at.raw, format=form)
            for form in ("minimal", "full", "raw", "metadata")
        ),
        lambda at: at.users.messages().get(**ME, id=at.planned, format="metadata", metadataHeaders=["Subject"]),
        lambda at: at.users.messages().get(**ME, id=at.planned),
    ],
    "users.messages.attachments.get": [
        lambda at: at.users.messages().attachments().get(**ME, messageId=at.raw, id=at.attachment())
    ],
    "users.messages.insert": [
        lambda at: at.users.messages().insert(**ME, body={"raw": encoded(), "labelIds": ["INBOX"]}),
        lambda at: at.users.messages().insert(**ME, body={"labelIds": ["INBOX"]}, media_body=uploaded()),
        lambda at: at.users.messages().insert(**ME, media_body=uploaded(), internalDateSource="dateHeader"),
    ],
    "users.messages.import": [
        lambda at: at.users.messages().import_(**ME, body={"raw": encoded()}, neverMarkSpam=True),
        lambda at: at.users.messages().import_(**ME, media_body=uploaded()),
    ],
    "users.messages.send": [
        lambda at: at.users.messages().send(**ME, body={"raw": encoded(), "threadId": at.thread}),
        lambda at: at.users.messages().send(**ME, media_body=uploaded()),
    ],
    "users.messages.modify": [
        lambda at: at.users.messages().modify(**ME, id=at.raw, body={"addLabelIds": ["STARRED"]})
    ],
    "users.messages.batchModify": [
        lambda at: at.users.messages().batchModify(**ME, body={"ids": [at.raw], "removeLabelIds": ["UNREAD"]})
    ],
    "users.messages.trash": [lambda at: at.users.messages().trash(**ME, id=at.raw)],
    "users.messages.untrash": [lambda at: at.users.messages().untrash(**ME, id=at.raw)],
    "users.messages.delete": [lambda at: at.users.messages().delete(**ME, id=at.raw)],
    "users.messages.batchDelete": [lambda at: at.users.messages().batchDelete(**ME, body={"ids": [at.raw]})],
    "users.threads.list": [
        lambda at: at.users.threads().list(**ME),
        lambda at: at.users.threads().list(**ME, maxResults=1),
    ],
    "users.threads.get": [
        lambda at, form=form: at.users.threads().get(**ME, id=at.thread, format=form)
        for form in ("minimal", "full", "metadata")
    ],
    "users.threads.modify": [
        lambda at: at.users.threads().modify(**ME, id=at.thread, body={"removeLabelIds": ["INBOX"]})
    ],
    "users.threads.trash": [lambda at: at.users.threads().trash(**ME, id=at.thread)],
    "users.threads.untrash": [lambda at: at.users.threads().untrash(**ME, id=at.thread)],
    "users.threads.delete": [lambda at: at.users.threads().delete(**ME, id=at.thread)],
    "users.drafts.create": [
        lambda at: at.users.drafts().create(**ME, body={"message": {"raw": encoded(), "threadId": at.thread}}),
        lambda at: at.users.drafts().create(**ME, body={}, media_body=uploaded()),
    ],
    "users.drafts.get": [
        lambda at, form=form: at.users.drafts().get(**ME, id=at.draft, format=form)
        for form in ("minimal", "full", "raw", "metadata")
    ],
    "users.drafts.list": [lambda at: at.users.drafts().list(**ME, maxResults=5)],
    "users.drafts.update": [
        lambda at: at.users.drafts().update(**ME, id=at.draft, body={"message": {"raw": encoded()}})
    ],
    "users.drafts.send": [
        lambda at: at.users.drafts().send(**ME, body={"id": at.draft}),
        lambda at: at.users.drafts().send(**ME, body={"id": at.another_draft, "message": {"raw": encoded()}}),
    ],
    "users.drafts.delete": [lambda at: at.users.drafts().delete(**ME, id=at.draft)],
    "users.labels.list": [lambda at: at.users.labels().list(**ME)],
    "users.labels.get": [lambda at, name=name: at.users.labels().get(**ME, id=name) for name in ("INBOX", "Label_1")],
    "users.labels.create": [
        lambda at: at.users.labels().create(
            **ME,
            body={
                "name": "New",
                "messageListVisibility": "hide",
                "labelListVisibility": "labelShowIfUnread",
                "color": {"textColor": "#000000", "backgroundColor": "#ffffff"},
            },
        )
    ],
    "users.labels.update": [lambda at: at.users.labels().update(**ME, id="Label_1", body={"name": "Other"})],
    "users.labels.patch": [
        lambda at: at.users.labels().patch(**ME, id="Label_1", body={"labelListVisibility": "labelHide"})
    ],
    "users.labels.delete": [lambda at: at.users.labels().delete(**ME, id="Label_1")],
}  # fmt: skip


@pytest.mark.parametrize("name", sorted({route.name for route in ROUTES} | set(CALLS)))
def test_a_method_answers_as_google_describes_it(world: World, users: Any, name: str) -> None:
    assert name in {route.name for route in ROUTES}, "it is not simulated"
    assert name in CALLS, "no call drives it"
    stage = Stage(world, users)
    described = DESCRIBED[name]
    for step in CALLS[name]:
        request = step(stage)
        before = world.sim.report()["requests"].get(name, 0)
        answer = request.execute()
        assert request.methodId == f"gmail.{name}"
        assert world.sim.report()["requests"][name] == before + 1
        if "response" in described:
            assert answer
            assert list(faults(answer, described["response"], name)) == []
        else:
            assert answer in ("", b"")


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_a_route_is_where_google_describes_it_with_its_parameters(route: Any) -> None:
    described = DESCRIBED[route.name]
    path = re.sub(r"\{\w+\}", "{id}", described["path"].removeprefix("gmail/v1/users/{userId}/"))
    assert (route.verb, route.path) == (described["httpMethod"], path)
    in_query = {name for name, spec in described["parameters"].items() if spec["location"] == "query"}
    assert route.parameters <= in_query
    assert in_query - route.parameters <= {"temporaryGmailParameter"}
    assert route.upload is ("mediaUpload" in described)


@pytest.mark.parametrize(
    ("value", "schema"),
    [
        ({"historyId": 7}, "Message"),
        ({"historyId": "-7"}, "Message"),
        ({"internalDate": "soon"}, "Message"),
        ({"sizeEstimate": "7"}, "Message"),
        ({"raw": "+/"}, "Message"),
        ({"labelIds": [7]}, "Message"),
        ({"id": "1", "typo": 1}, "Message"),
        ({"payload": {"parts": [{"body": {"size": True}}]}}, "Message"),
        ({"type": "mine"}, "Label"),
        ([], "Label"),
    ],
)
def test_the_check_itself_finds_what_is_wrong(value: Any, schema: str) -> None:
    assert len(list(faults(value, {"$ref": schema}, "it"))) == 1

"""Webhooks that Microsoft did not send, sent before, or sent for somebody else: answered alike, and nothing changes."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest
from flask import Request
from werkzeug.test import Client, TestResponse
from werkzeug.wrappers import Response

from infra.local.world import Heard
from shared import refs
from shared.mail.doorbell import digest
from shared.ports import Put
from tests.world import ADDRESS, World

URLS = ("/graph_push", "/graph_push/lifecycle")
PLAN = {"subject": "s", "sender": ["Bob", "bob@example.org"], "to": [["Ann", ADDRESS]]}


class Overheard(World):
    """A followed Outlook mailbox; ``heard`` is every body that Microsoft has posted."""

    def __init__(self, folder: Path) -> None:
        self.heard: list[dict[str, Any]] = []
        super().__init__(folder)
        self.connect_outlook()
        self.run(60)
        self.outlook.add_mails(ADDRESS, [PLAN])
        self.run(120)
        self.genuine = next(body for body in reversed(self.heard) if body["value"][0].get("resourceData"))

    def _notified(self, url: str, body: bytes, headers: Mapping[str, str], query: Mapping[str, str]) -> Heard:
        if body:
            self.heard.append(orjson.loads(body))
        return super()._notified(url, body, headers, query)

    def post(self, body: Any, url: str = URLS[0]) -> TestResponse:
        def app(environ: dict[str, Any], start_response: Any) -> Any:
            return self.product.graph_push(Request(environ))(environ, start_response)

        return Client(app, Response).post(url, data=orjson.dumps(body), content_type="application/json")

    def everything(self) -> dict[str, list[Any]]:
        """Every row of every table: documents, tasks, messages on the bus."""
        names = [name for (name,) in self.database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: sorted(map(repr, self.database.execute(f"SELECT * FROM {name}"))) for name in names}

    def kept(self) -> list[Any]:
        """What there is of mail, of events and of grants; a look may note in the mailbox how far it has seen."""
        rows = self.database.execute(
            "SELECT parent, key, data FROM doc WHERE grp IN ('messages', 'log', 'grants', 'gaps', 'cursors', 'effects')"
        )
        return sorted(rows)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Overheard]:
    world = Overheard(Path(tmp_path_factory.mktemp("world")))
    yield world
    world.close()


def changed(body: dict[str, Any], **fields: Any) -> dict[str, Any]:
    body = copy.deepcopy(body)
    for notice in body["value"]:
        notice.update(fields)
        for name in [name for name, value in notice.items() if value is ...]:
            del notice[name]
    return body


def told(answer: TestResponse) -> tuple[int, bytes, str]:
    return answer.status_code, answer.get_data(), answer.mimetype


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize(
    "fields",
    [
        {"clientState": "forged"},
        {"clientState": ""},
        {"clientState": ...},
        {"clientState": None},
        {"clientState": ["x"]},
        {"clientState": {"$ne": ""}},
        {"clientState": "x" * 10_000},
        {"subscriptionId": "00000000-0000-0000-0000-000000000000"},
        {"subscriptionId": "../../users/ann"},
        {"subscriptionId": ADDRESS},
        {"clientState": "forged", "lifecycleEvent": "subscriptionRemoved"},
        {"clientState": "forged", "lifecycleEvent": "reauthorizationRequired", "resourceData": ...},
        {"clientState": "forged", "tenantId": "84bd8158-6d4d-4958-8b9f-9d6445542f95"},
    ],
    ids=str,
)
def test_a_forged_webhook_changes_nothing_and_is_told_nothing(
    world: Overheard, url: str, fields: dict[str, Any]
) -> None:
    before = world.everything()
    assert told(world.post(changed(world.genuine, **fields), url)) == (202, b"", "text/plain")
    assert world.everything() == before


def test_the_secret_of_one_tenant_opens_nothing_of_another(world: Overheard) -> None:
    other = {"mailboxes": ["user_bob:primary:MICROSOFT"], "secret": digest("the secret of bob")}
    world.ports.store.commit([Put(refs.route("MICROSOFT", "sub-bob"), other)])
    before = world.everything()
    for fields in ({"clientState": "the secret of bob"}, {"subscriptionId": "sub-bob"}):
        assert told(world.post(changed(world.genuine, **fields))) == (202, b"", "text/plain")
    assert world.everything() == before


def test_a_webhook_that_is_replayed_is_one_more_look_that_writes_nothing(tmp_path: Path) -> None:
    world = Overheard(tmp_path)
    before = world.kept()
    for _ in range(50):
        assert told(world.post(world.genuine)) == (202, b"", "text/plain")
    world.run(1)
    assert world.kept() == before
    world.clock.advance(10 * 86_400.0)
    assert told(world.post(world.genuine)) == (202, b"", "text/plain")
    assert world.kept() == before, "what it says is not used: a task looks at the mailbox itself"
    world.close()


def test_what_a_webhook_claims_of_a_message_is_not_believed(world: Overheard) -> None:
    stored = world.kept()
    lies = changed(world.genuine, changeType="deleted", resource="Users/eve/Messages/1", tenantId="t")
    assert told(world.post(lies)) == (202, b"", "text/plain")
    world.run(1)
    assert world.kept() == stored

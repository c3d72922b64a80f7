"""Which scopes open which method, held against Google's own description of the API."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import orjson
import pytest

from infra.local.google import scopes
from infra.local.google.errors import GoogleError
from tests.unit.local.conftest import World
from tests.unit.local.inprocess import ADDRESS
from tests.unit.local.person import READONLY, Visitor

METADATA = "https://www.googleapis.com/auth/gmail.metadata"
_PATH = "discovery_cache/documents/gmail.v1.json"


def _described() -> dict[str, Any]:
    described: dict[str, Any] = orjson.loads(files("googleapiclient").joinpath(_PATH).read_bytes())
    return described


def _methods(resource: dict[str, Any]) -> Iterator[tuple[str, frozenset[str]]]:
    for method in resource.get("methods", {}).values():
        yield method["id"].removeprefix("gmail."), frozenset(method["scopes"])
    for inner in resource.get("resources", {}).values():
        yield from _methods(inner)


def test_every_method_takes_the_scopes_that_google_lists_for_it() -> None:
    offered = set(scopes.DESCRIPTIONS)
    described = {
        name: wanted & offered for name, wanted in _methods(_described()) if not name.startswith("users.settings.")
    }
    assert described == scopes.METHODS


def test_scopes_are_described_in_googles_words() -> None:
    described = _described()["auth"]["oauth2"]["scopes"]
    assert {name: described[name]["description"] for name in scopes.DESCRIPTIONS} == scopes.DESCRIPTIONS


def test_a_token_that_reads_may_not_write(world: World) -> None:
    reader = f"Bearer {Visitor(world.app).connect()['access_token']}"
    owner = world.sim.accounts.owner
    assert owner(reader, "me", "users.messages.get") == ADDRESS
    assert owner(f"Bearer {world.tokens['access_token']}", "me", "users.messages.delete") == ADDRESS
    for method in ("users.messages.modify", "users.messages.send", "users.messages.delete", "users.labels.create"):
        with pytest.raises(GoogleError) as caught:
            owner(reader, "me", method)
        assert (caught.value.code, caught.value.reason) == (403, "insufficientPermissions")


@pytest.mark.parametrize(
    ("method", "query", "allowed"),
    [
        ("users.messages.get", {"format": ["metadata"]}, True),
        ("users.messages.get", {"format": ["MINIMAL"]}, True),
        ("users.messages.get", {"format": ["raw"]}, False),
        ("users.threads.get", {"format": ["full"]}, False),
        ("users.messages.get", {}, False),
        ("users.messages.list", {}, True),
        ("users.messages.list", {"q": ["in:inbox"]}, False),
        ("users.messages.attachments.get", {}, False),
        ("users.history.list", {}, True),
    ],
)
def test_the_metadata_scope_sees_neither_bodies_nor_searches(
    method: str, query: dict[str, list[str]], allowed: bool
) -> None:
    scopes.require(READONLY, method, query)
    if allowed:
        scopes.require(METADATA, method, query)
    else:
        with pytest.raises(GoogleError) as caught:
            scopes.require(METADATA, method, query)
        assert caught.value.code == 403


def test_a_token_without_any_gmail_scope_opens_no_method() -> None:
    for scope in ("openid", "https://www.googleapis.com/auth/calendar"):
        with pytest.raises(GoogleError, match="insufficient authentication scopes"):
            scopes.require(scope, "")

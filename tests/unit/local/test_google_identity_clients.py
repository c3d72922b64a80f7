"""Registered clients: how they prove themselves at the token endpoint, and what happens while there are none."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.unit.local.conftest import World
from tests.unit.local.person import BACK, Visitor


def _basic(name: str, secret: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode()}


@pytest.fixture
def registered(world: World) -> Visitor:
    visitor = Visitor(world.app)
    clients = [{"client_id": "client-1", "client_secret": "se:cret/+", "redirect_uris": [BACK]}]
    answer = visitor.call("PUT", "/control/clients", json={"clients": clients})
    assert answer.get_json() == {"clients": [{"client_id": "client-1", "redirect_uris": [BACK]}]}
    return visitor


@pytest.mark.parametrize(
    ("form", "header", "refusal"),
    [
        ({"client_secret": "wrong"}, {}, (401, "invalid_client")),
        ({"client_secret": None}, {}, (400, "invalid_request")),
        ({"client_id": "client-2"}, {}, (401, "invalid_client")),
        ({"client_id": None, "client_secret": None}, _basic("client-1", "wrong"), (401, "invalid_client")),
        ({"client_secret": "se:cret/+"}, _basic("client-1", "se:cret/%2B"), (400, "invalid_request")),
        ({"client_secret": None}, {"Authorization": "Basic ???"}, (401, "invalid_client")),
        ({"client_secret": None}, {"Authorization": "Bearer x"}, (401, "invalid_client")),
    ],
)
def test_a_registered_client_has_to_prove_itself(
    registered: Visitor, form: dict[str, Any], header: dict[str, str], refusal: tuple[int, str]
) -> None:
    data = {"grant_type": "refresh_token", "refresh_token": "x", "client_id": "client-1", "client_secret": "s"} | form
    answer = registered.call(
        "POST", "/token", data={name: value for name, value in data.items() if value is not None}, headers=header
    )
    assert (answer.status_code, answer.get_json()["error"]) == refusal
    assert ("WWW-Authenticate" in answer.headers) == (refusal[0] == 401 and bool(header))


def test_a_registered_client_proves_itself_by_form_or_by_header(registered: Visitor) -> None:
    code = registered.consent()["code"]
    tokens = registered.exchange(code, client_secret="se:cret/+").get_json()
    data = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    answer = registered.call("POST", "/token", data=data, headers=_basic("client-1", "se:cret/%2B"))
    assert answer.status_code == 200


def test_registering_nobody_lets_everybody_in_again(registered: Visitor) -> None:
    assert registered.ask(client_id="client-9").status_code == 400
    assert registered.call("PUT", "/control/clients", json={"clients": []}).get_json() == {"clients": []}
    assert registered.ask(client_id="client-9").status_code == 200

"""What the first release has stored opens for good: these texts were written by it, under keys that are written here."""

from __future__ import annotations

import pytest

from shared.ports import Create, Data
from shared.providers.base import Tokens
from shared.vault.grants import Grants
from shared.vault.master import SECRET
from shared.vault.rewrap import rewrap
from shared.vault.rotation import rotate
from shared.vault.seal import Vault
from tests.unit.fakes import FakeClock, FakeSecrets, Listed

DATA_KEY: Data = {
    "created_at": 1790000000.0,
    "id": "fa1cf9610201a6d5",
    "rev": 1,
    "wrapped": "v1.a295a402479440c0.Lxafm05qECR1IgnN4mxibbfwGCRUWlnRfKURs9Jxf-2h4XI4ZKQoKPLSHknlUdlTYuEsFUwg1eahA37i",
}
GRANT: Data = {
    "claim": "",
    "created_at": 1790000000.0,
    "expires_at": 1790003600.0,
    "provider": "google",
    "refreshing_until": 0.0,
    "rev": 1,
    "scopes": ["mail"],
    "sealed": {
        "access": "v1.fa1cf9610201a6d5.paTwB6vE3-HrGfaFi1d1TdG1g5765IdMIv1bxRiBi4l778LGQT3N",
        "refresh": "v1.fa1cf9610201a6d5.CJRs1JSiwAsOkyGvTXYSAaLG6VBQwsx3eLMzX7q8FSX0LsPSPDg=",
    },
    "status": "active",
    "subject": "1",
    "updated_at": 1790000000.0,
    "version": 1,
}
REF = "users/ann/grants/google:1"


class World:
    def __init__(self) -> None:
        self.store, self.keys, self.secrets, self.clock = Listed(), Listed(), FakeSecrets(), FakeClock()
        self.secrets.add(SECRET, bytes(range(32)))
        self.keys.commit([Create("keys/ann", DATA_KEY)])
        self.store.commit([Create(REF, GRANT)])

    def grants(self) -> Grants:
        return Grants(self.store, Vault(self.keys, self.secrets, self.clock), self.clock)

    def token(self) -> str:
        return self.grants().access_token("ann", "google:1", self._refresh)

    def _refresh(self, refresh: str) -> Tokens:
        return Tokens(f"traded for {refresh}", self.clock.now() + 3600, "2//refresh")


@pytest.fixture
def world() -> World:
    return World()


def test_a_token_of_then_is_handed_out_and_refreshed_now(world: World) -> None:
    assert world.token() == "ya29.access"
    world.clock.time += 3600
    assert world.token() == "traded for 1//refresh"
    world.clock.time += 3600
    assert world.token() == "traded for 2//refresh"


def test_keys_of_then_are_rotated_and_wrapped_anew(world: World) -> None:
    assert rotate(world.grants(), "ann")
    assert world.token() == "ya29.access"
    world.secrets.add(SECRET, bytes(range(1, 33)))
    keys = world.grants().vault.keys
    assert rewrap(world.keys, keys._wrapping, keys, lambda _: None).changed == 1
    world.secrets.disabled.add((SECRET, 1))
    world.clock.time += 3600
    assert world.token() == "traded for 1//refresh"


def test_a_refresh_that_began_under_the_first_format_survives_a_rotation_in_between(world: World) -> None:
    """Rows of then have no ``set``: the token set is known by its number and the age of the grant."""

    def refresh(token: str) -> Tokens:
        rotate(world.grants(), "ann")
        return world._refresh(token)

    world.clock.time += 3600
    assert world.grants().access_token("ann", "google:1", refresh) == "traded for 1//refresh"
    assert world.token() == "traded for 1//refresh"

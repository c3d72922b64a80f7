"""What an attacker who can write to the store may try: a sealed token opens where it was sealed, and nowhere else."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from shared import refs
from shared.errors import ReauthRequired
from shared.ports import Data, Put
from shared.providers.base import Tokens
from shared.vault import grants as grants_module
from shared.vault.grants import Grants
from shared.vault.seal import Vault
from shared.vault.texts import FORMAT, bound, compose, parse
from tests.unit.fakes import FakeClock, FakeSecrets, FakeStore

ANN, BOB = "ann", "bob"
GOOGLE, OTHER, MICROSOFT = "google:1", "google:2", "microsoft:1"


class World:
    """Two people, of whom one has three grants."""

    def __init__(self) -> None:
        self.store, self.keys, self.clock = FakeStore(), FakeStore(), FakeClock()
        self.vault = Vault(self.keys, FakeSecrets(), self.clock)
        self.grants = Grants(self.store, self.vault, self.clock)
        for uid, grant_id in ((ANN, GOOGLE), (ANN, OTHER), (ANN, MICROSOFT), (BOB, GOOGLE)):
            provider = grant_id.partition(":")[0]
            self.grants.put(uid, grant_id, provider, f"access {uid} {grant_id}", f"refresh {uid} {grant_id}", 3600)

    def row(self, uid: str, grant_id: str) -> Data:
        return self.store.data(refs.grant(uid, grant_id))

    def put(self, uid: str, grant_id: str, **changed: Any) -> None:
        self.store.commit([Put(refs.grant(uid, grant_id), {**self.row(uid, grant_id), **changed})])

    def token(self, uid: str = ANN, grant_id: str = GOOGLE) -> str:
        """As an instance that starts now gets it."""
        grants = Grants(self.store, Vault(self.keys, self.vault_secrets, self.clock), self.clock)
        return grants.access_token(uid, grant_id, self._never)

    @property
    def vault_secrets(self) -> Any:
        return self.vault.keys._wrapping._secrets  # type: ignore[attr-defined]

    def _never(self, refresh: str) -> Tokens:
        raise AssertionError(f"the provider was given {refresh}")


def another_user(world: World) -> None:
    world.put(ANN, GOOGLE, sealed=world.row(BOB, GOOGLE)["sealed"])


def another_user_whose_key_came_along(world: World) -> None:
    world.keys.commit([Put(refs.data_key(ANN), world.keys.data(refs.data_key(BOB)))])
    another_user(world)


def another_grant(world: World) -> None:
    world.put(ANN, GOOGLE, sealed=world.row(ANN, OTHER)["sealed"])


def another_providers_grant(world: World) -> None:
    world.put(ANN, GOOGLE, sealed=world.row(ANN, MICROSOFT)["sealed"])


def another_field(world: World) -> None:
    sealed = world.row(ANN, GOOGLE)["sealed"]
    world.put(ANN, GOOGLE, sealed={**sealed, "access": sealed["refresh"]})


def another_provider_in_the_row(world: World) -> None:
    world.put(ANN, GOOGLE, provider="microsoft")


def another_format(world: World) -> None:
    sealed = world.row(ANN, GOOGLE)["sealed"]
    world.put(ANN, GOOGLE, sealed={**sealed, "access": sealed["access"].replace(f"{FORMAT}.", "v2.", 1)})


def another_schema_under_our_name(world: World) -> None:
    """Sealed under the right key for the right place, as another format would bind it."""
    keys = world.vault.keys.read(ANN)
    assert keys is not None
    purpose = grants_module._purpose("google", refs.grant(ANN, GOOGLE), "access")
    nonce = bytes(12)
    blob = AESGCM(keys.keys[keys.current]).encrypt(nonce, b"forged", bound("sealed", ANN, purpose, "v2"))
    sealed = world.row(ANN, GOOGLE)["sealed"]
    world.put(ANN, GOOGLE, sealed={**sealed, "access": compose(keys.current, nonce + blob)})


def a_wrapped_key_as_a_token(world: World) -> None:
    sealed = world.row(ANN, GOOGLE)["sealed"]
    world.put(ANN, GOOGLE, sealed={**sealed, "access": world.keys.data(refs.data_key(ANN))["wrapped"]})


@pytest.mark.parametrize(
    "attack",
    [
        another_user,
        another_user_whose_key_came_along,
        another_grant,
        another_providers_grant,
        another_field,
        another_provider_in_the_row,
        another_format,
        another_schema_under_our_name,
        a_wrapped_key_as_a_token,
    ],
)
def test_what_was_moved_is_refused_and_nothing_is_changed(attack: Callable[[World], None]) -> None:
    world = World()
    assert world.token() == "access ann google:1"
    attack(world)
    before = (dict(world.store.documents), dict(world.keys.documents))
    with pytest.raises(ReauthRequired, match="cannot be opened"):
        world.token()
    assert (world.store.documents, world.keys.documents) == before


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/"), min_size=1, max_size=8)
PLACES = st.tuples(NAMES, st.sampled_from(["google", "microsoft", "x"]), NAMES, st.sampled_from(["access", "refresh"]))


@settings(max_examples=300, deadline=None)
@given(PLACES, PLACES, st.sampled_from(["v1", "v2", "v1 "]))
def test_a_text_opens_in_its_own_place_alone(
    here: tuple[str, str, str, str], there: tuple[str, str, str, str], format: str
) -> None:
    """Over user, provider, document, field and format: whatever differs, nothing opens."""
    clock = FakeClock()
    keys, secrets = FakeStore(), FakeSecrets()
    vault = Vault(keys, secrets, clock)
    uid, provider, grant, field = here
    sealed = vault.seal(uid, grants_module._purpose(provider, refs.grant(uid, grant), field), b"token")
    uid, provider, grant, field = there
    moved = (*there, format) != (*here, FORMAT)
    if moved and there[0] != here[0]:
        # The strongest form: the other user's document of keys is the first one's too.
        keys.commit([Put(refs.data_key(uid), keys.data(refs.data_key(here[0])))])
    text = compose(*parse(sealed), format)
    purpose = grants_module._purpose(provider, refs.grant(uid, grant), field)
    if not moved:
        assert vault.open(uid, purpose, text) == b"token"
        return
    with pytest.raises(ReauthRequired, match="cannot be opened"):
        vault.open(uid, purpose, text)


def test_a_text_has_one_spelling() -> None:
    """The last character of base64 has bits to spare; those of another spelling are refused as well."""
    spare = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    world = World()
    for length in range(1, 7):
        sealed = world.vault.seal(ANN, "p", b"x" * length)
        body = sealed.rstrip("=")
        others = [body[:-1] + last + "=" * (len(sealed) - len(body)) for last in spare if last != body[-1]]
        blob = parse(sealed)[1]
        same = [text for text in others if base64.urlsafe_b64decode(text.rpartition(".")[2]) == blob]
        assert bool(same) == (len(blob) % 3 > 0)
        for text in same:
            with pytest.raises(ReauthRequired, match="known format"):
                world.vault.open(ANN, "p", text)

"""Access tokens of provider accounts: who may have one, of which account, that it is fresh, and that it is written down."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from werkzeug.test import Client, TestResponse
from werkzeug.wrappers import Response

from shared import refs
from shared.errors import ConfigurationError, ProviderUnavailable, ReauthRequired, Retry
from shared.events.envelope import iso
from shared.identity.sessions import Sessions
from shared.identity.tokens import TokenVerifier
from shared.identity.trail import Trail
from shared.ports import Create, Delete, Update
from shared.providers.base import Tokens
from tests.unit.identity.test_issuers import jwk
from tests.unit.oauth.consent_world import ConsentWorld

ANN, BOB = "ann", "bob"
MAIL = "https://www.googleapis.com/auth/gmail.readonly"
TOKEN = "/api/auth/accounts/google/token"
OWN = "https://brain.example"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


class World(ConsentWorld):
    """Ann has one Google account; ``refresh`` is what the provider's token endpoint does."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        super().__init__(folder, **settings)
        self.calls: list[str] = []
        self.during: Callable[[], Any] = lambda: None
        self.failure: Exception | None = None
        for provider in ("google", "microsoft"):
            self.product._refreshing[provider] = self._refresh
        for uid in (ANN, BOB):
            self.ports.store.commit([Create(refs.user(uid), {"uid": uid, "rev": 1})])
        self.connected_at = self.clock.now()
        self.grant("google:1101")

    def _refresh(self, token: str) -> Tokens:
        self.calls.append(token)
        self.during()
        if self.failure is not None:
            raise self.failure
        number = len(self.calls)
        return Tokens(f"fresh-{number}", self.clock.now() + 3_600, f"refresh-{number}")

    def grant(self, name: str, uid: str = ANN, lasts: float = 3_600.0, refresh: str | None = "refresh-0") -> None:
        self.product._grants.put(uid, name, name.partition(":")[0], f"access of {name}", refresh, lasts, (MAIL,))

    def get(
        self, path: str = TOKEN, uid: str | None = ANN, token: str | None = None, **parameters: str
    ) -> TestResponse:
        self.clock.advance(0.01)  # one entry of a trail after the other
        headers = {"Authorization": f"Bearer {token or self.token(uid)}"} if uid or token else {}
        return Client(self.oauth_app, Response).get(
            path, query_string=parameters, headers=headers, base_url=self.origin
        )

    def trail(self, uid: str = ANN) -> list[dict[str, Any]]:
        entries, _ = Trail(self.ports.store, self.clock).page(uid, None, 100)
        return [{"action": entry["action"], "by": entry["by"], **entry["about"]} for entry in entries]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def code(answer: TestResponse) -> tuple[int, str]:
    return answer.status_code, answer.json["error"]["code"]


GIVEN = {"action": "token_access", "by": ANN, "provider": "google", "account": "1101", "outcome": "given"}


def test_a_person_gets_the_token_of_their_account_and_it_is_written_down(world: World) -> None:
    answer = world.get()
    assert (answer.status_code, answer.json) == (
        200,
        {
            "provider": "google",
            "account": "1101",
            "access_token": "access of google:1101",
            "expires_at": iso(world.connected_at + 3_600),
            "scopes": [MAIL],
        },
    )
    assert answer.headers["Cache-Control"] == "no-store"
    assert world.trail() == [GIVEN]
    assert world.calls == []


@pytest.mark.parametrize(("lasts", "calls"), [(301.0, 0), (300.0, 1), (0.0, 1)])
def test_the_token_is_fresh(world: World, lasts: float, calls: int) -> None:
    world.grant("google:1101", lasts=lasts)
    assert world.get().json["access_token"] == ("fresh-1" if calls else "access of google:1101")
    assert len(world.calls) == calls


def test_no_answer_and_no_trail_holds_a_refresh_token(world: World) -> None:
    world.grant("google:1101", lasts=0.0)
    said = [world.get().text, world.get("/api/auth/accounts").text, str(world.trail())]
    assert not any("refresh-" in text for text in said)
    assert "fresh-1" not in said[1] + said[2]


def test_a_grant_that_died_is_never_served_from_memory(world: World) -> None:
    assert world.get().status_code == 200
    world.product._grants.revoked(ANN, "google:1101")
    assert code(world.get()) == (401, "reauth_required")


def test_without_a_token_of_ours_there_is_none(world: World) -> None:
    for path in (TOKEN, "/api/auth/accounts"):
        assert code(world.get(path, uid=None)) == (401, "unauthorized")
    assert world.trail() == []


def test_what_is_somebody_elses_is_absent(world: World) -> None:
    assert code(world.get(uid=BOB)) == (404, "not_found")
    assert code(world.get(uid=BOB, account="1101")) == (404, "not_found")
    assert world.get("/api/auth/accounts", uid=BOB).json == {"accounts": []}
    assert world.trail() == []
    assert {entry["reason"] for entry in world.trail(BOB)} == {"not_found"}


@pytest.mark.parametrize(
    "path", ["/api/auth/accounts/yahoo/token", "/api/auth/accounts/google", "/api/auth/accounts/google/x"]
)
def test_there_is_nothing_at_other_paths(world: World, path: str) -> None:
    assert code(world.get(path)) == (404, "not_found")


def test_an_account_that_is_not_there_is_a_404_that_is_written_down(world: World) -> None:
    assert code(world.get("/api/auth/accounts/microsoft/token")) == (404, "not_found")
    assert code(world.get(account="1102")) == (404, "not_found")
    assert [entry["outcome"] for entry in world.trail()] == ["refused", "refused"]


def test_of_several_accounts_one_has_to_be_named(world: World) -> None:
    world.grant("google:1102")
    world.grant("microsoft:t.o")
    answer = world.get()
    assert code(answer) == (409, "account_required")
    assert answer.json["error"]["details"] == {"field": "account", "known": ["1101", "1102"]}
    assert world.get(account="1102").json["access_token"] == "access of google:1102"
    assert world.get("/api/auth/accounts/microsoft/token").json["account"] == "t.o"
    assert [entry.get("reason") for entry in world.trail()] == ["account_required", None, None]


def test_an_account_is_known_by_its_mailbox_and_its_address_too(world: World) -> None:
    browser = world.browser()
    world.walk(browser)
    world.grant("google:1102")
    [mailbox] = world.mailboxes()
    ref = refs.stream(mailbox["id"])
    doc = world.ports.store.get([ref])[ref]
    world.ports.store.commit([Update(ref, {"address": "ann@gmail.example"}, doc.version)])
    subject = mailbox["grant_id"].partition(":")[2]
    for name in (subject, mailbox["id"], "ann@gmail.example"):
        assert world.get(account=name).json["account"] == subject
    assert code(world.get(account="bob@gmail.example")) == (404, "not_found")


@pytest.mark.parametrize("name", ["../google:1101", "1101/", "", "x" * 9_000, "google:1101", "é", "1101\0"])
def test_hostile_names_find_nothing(world: World, name: str) -> None:
    world.grant("google:1102")
    assert code(world.get(account=name))[0] in (400, 404, 409)


def test_a_grant_that_the_provider_refuses_needs_consent_again(world: World) -> None:
    world.grant("google:1101", lasts=0.0)
    world.failure = ReauthRequired()
    for _ in range(2):
        assert code(world.get()) == (401, "reauth_required")
    assert len(world.calls) == 1
    assert [entry["reason"] for entry in world.trail()] == ["reauth_required"] * 2
    assert world.get("/api/auth/accounts").json["accounts"][0]["status"] == "reauth_required"


def test_while_somebody_else_refreshes_the_caller_is_told_to_come_again(world: World) -> None:
    world.grant("google:1101", lasts=0.0)
    others: list[TestResponse] = []
    world.during = lambda: others.append(world.get())
    assert world.get().json["access_token"] == "fresh-1"
    assert (code(others[0]), others[0].headers["Retry-After"]) == ((409, "busy"), "2")
    assert len(world.calls) == 1


def test_a_provider_that_is_away_gives_nothing_and_is_no_refusal(world: World) -> None:
    world.grant("google:1101", lasts=0.0)
    world.failure = ProviderUnavailable()
    assert code(world.get()) == (503, "provider_unavailable")
    assert world.trail() == []


def test_what_cannot_be_written_down_is_not_given(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise Retry

    monkeypatch.setattr(Trail, "demand", away)
    answer = world.get()
    assert code(answer) == (503, "unavailable")
    assert "access of" not in answer.text


# Whom the setting lets


def serviced(folder: Path, **settings: Any) -> tuple[World, Callable[..., str]]:
    """A world with an issuer of its own that gives roles, and what makes its tokens."""
    world = World(folder, auth_issuer=OWN, **settings)
    served = {"keys": [jwk(KEY, "o1")]}
    verifier = TokenVerifier(world.settings, world.clock, lambda _: served)
    world.product.__dict__.pop("oauth", None)
    patched = pytest.MonkeyPatch()
    patched.setattr("shared.identity.tokens.TokenVerifier", lambda *_, **__: verifier)
    try:
        assert world.product.oauth
    finally:
        patched.undo()

    def token(role: str, uid: str = "u_" + "s" * 26, **more: str) -> str:
        now = int(world.clock.now())
        claims = {"iss": OWN, "aud": "brainstem", "sub": uid, "role": role, "iat": now, "exp": now + 900, **more}
        return jwt.encode(claims, KEY, "RS256", headers={"kid": "o1"})

    return world, token


SERVICE = "u_" + "s" * 26


@pytest.mark.parametrize("whose", ["owner", "service"])
def test_a_service_gets_tokens_on_behalf_and_its_name_is_on_the_persons_trail(tmp_path: Path, whose: str) -> None:
    world, token = serviced(tmp_path, account_tokens=whose)
    assert world.get(token=token("service"), user=ANN).json["access_token"] == "access of google:1101"
    assert world.trail() == [{**GIVEN, "by": SERVICE}]
    assert code(world.get(token=token("service"), user="nobody")) == (404, "not_found")
    assert code(world.get(token=token("service"), user="../ann")) == (404, "not_found")
    assert world.trail("nobody") == []


@pytest.mark.parametrize("role", ["owner", "admin"])
def test_nobody_but_a_service_gets_what_is_somebody_elses(tmp_path: Path, role: str) -> None:
    world, token = serviced(tmp_path)
    answer = world.get(token=token(role), user=ANN)
    assert code(answer) == (403, "forbidden")
    assert code(world.get(token=token(role), user="nobody")) == (403, "forbidden"), "which tells nobody who exists"
    assert world.trail() == []
    assert world.trail(SERVICE) == [], "nor is anything written of somebody who has no profile"
    world.ports.store.commit([Create(refs.user(SERVICE), {"uid": SERVICE, "rev": 1})])
    assert code(world.get(token=token(role), user=ANN)) == (403, "forbidden")
    assert world.trail(SERVICE)[0] == {
        "action": "token_access", "by": SERVICE, "provider": "google", "outcome": "refused", "reason": "not_yours",
        "whose": ANN,
    }  # fmt: skip


def test_a_setting_restricts_it_to_services(tmp_path: Path) -> None:
    world, token = serviced(tmp_path, account_tokens="service")
    for answer in (world.get(), world.get(token=token("admin"), user=ANN), world.get(user=ANN)):
        assert code(answer) == (403, "forbidden")
    assert [entry["reason"] for entry in world.trail()] == ["services_only"] * 2
    assert world.get(token=token("service"), user=ANN).status_code == 200


def test_an_access_token_whose_session_is_over_gets_none_any_more(tmp_path: Path) -> None:
    world, token = serviced(tmp_path)
    world.ports.store.commit([Create(refs.user(SERVICE), {"uid": SERVICE, "rev": 1})])
    world.grant("google:1101", uid=SERVICE)
    sessions = Sessions(world.ports.store, world.clock, Trail(world.ports.store, world.clock))
    opened = sessions.open(SERVICE, "email", "")
    own, service = (token(role, sid=opened.id) for role in ("owner", "service"))
    assert world.get(token=own).status_code == 200
    assert world.get(token=service, user=ANN).status_code == 200
    assert sessions.end(SERVICE, opened.id, "sign_out")
    for answer in (world.get(token=own), world.get(token=service, user=ANN)):
        assert code(answer) == (401, "unauthorized")
        assert answer.json["error"]["details"]["reason"] == "session_over"
    assert world.trail() == [{**GIVEN, "by": SERVICE}]
    refused = [entry for entry in world.trail(SERVICE) if entry.get("outcome") == "refused"]
    assert [(entry["reason"], entry.get("whose")) for entry in refused] == [
        ("session_over", None),
        ("session_over", ANN),
    ]
    assert world.get("/api/auth/accounts", token=own).status_code == 200, "which tells no token"


def test_a_setting_switches_it_off_for_everybody(tmp_path: Path) -> None:
    world, token = serviced(tmp_path, account_tokens="off")
    assert code(world.get()) == (403, "forbidden")
    assert code(world.get(token=token("service"), user=ANN)) == (403, "forbidden")
    assert [entry["reason"] for entry in world.trail()] == ["account_tokens_off"]
    assert world.get("/api/auth/accounts").status_code == 200


def test_a_role_that_the_issuer_may_not_give_opens_nothing(tmp_path: Path) -> None:
    world = World(tmp_path, account_tokens="service")
    assert code(world.get(token=world.token(ANN, role="service"))) == (403, "forbidden")


@pytest.mark.parametrize("whose", ["", "everybody", "Owner"])
def test_the_setting_is_one_of_three(tmp_path: Path, whose: str) -> None:
    world = ConsentWorld(tmp_path, account_tokens=whose)
    with pytest.raises(ConfigurationError, match="ACCOUNT_TOKENS"):
        assert world.product.oauth


# The list


def test_the_list_shows_what_is_connected_and_no_token(world: World) -> None:
    world.walk(world.browser())
    [mailbox] = world.mailboxes()
    world.grant("microsoft:t.o", lasts=0.0, refresh=None)
    accounts = world.get("/api/auth/accounts").json["accounts"]
    shown = {(one["provider"], one["account"]): one for one in accounts}
    subject = mailbox["grant_id"].partition(":")[2]
    assert set(shown) == {("google", "1101"), ("google", subject), ("microsoft", "t.o")}
    assert shown["google", subject]["mailbox"] == mailbox["id"]
    assert shown["google", "1101"] | {"connected_at": ""} == {
        "provider": "google", "account": "1101", "mailbox": None, "address": None, "scopes": [MAIL], "status": "active",
        "connected_at": "",
    }  # fmt: skip
    assert shown["microsoft", "t.o"]["status"] == "reauth_required"
    assert all(set(one) == set(shown["google", "1101"]) for one in accounts)


@pytest.mark.parametrize("path", [TOKEN, "/api/auth/accounts"])
@pytest.mark.parametrize("whose", ["owner", "service"])
def test_who_is_being_deleted_gets_nothing(tmp_path: Path, path: str, whose: str) -> None:
    world = World(tmp_path, account_tokens=whose)
    doc = world.ports.store.get([refs.user(ANN)])[refs.user(ANN)]
    world.ports.store.commit([Update(doc.ref, {"erasing": 1.0}, doc.version)])
    assert code(world.get(path)) == (410, "account_deleted")
    assert world.trail() == []


def test_who_has_never_been_here_has_nothing_and_gets_no_profile(world: World) -> None:
    world.ports.store.commit([Delete(refs.user(BOB))])
    assert world.get("/api/auth/accounts", uid=BOB).json == {"accounts": []}
    assert code(world.get(uid=BOB)) == (404, "not_found")
    assert world.ports.store.get([refs.user(BOB)]) == {}
    assert world.trail(BOB) == []

"""An API over fakes, and a caller with a key of its own; what the tests of this folder start from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from shared.errors import ConsentRequired, Forbidden, InvalidRequest, NotFound
from shared.http.api import ApiDeps, Listed, create_api
from shared.identity.tokens import TokenVerifier
from shared.ports import Data, Enqueued
from shared.privacy.deletion import Deletion
from shared.privacy.tombstones import TombstoneKey, Tombstones
from shared.settings import Settings
from shared.vault.grants import Grants
from shared.vault.seal import Vault
from tests.unit.fakes import FakeClock, FakeSecrets, FakeStore

ISSUER = "https://issuer.example"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PEM = (
    KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
)
MAILBOX = "ann:primary:GOOGLE"
CONSENT_URL = "https://brain.example/oauth/google/consent?state=eyJ-canary-state-that-looks-like-a-secret"


class FakeAccounts:
    """One mailbox of Ann's; records what it is asked."""

    def __init__(self, grants: Grants) -> None:
        self.grants = grants
        self.calls: list[tuple[Any, ...]] = []
        self.answer: Listed = ([], None)

    def grant_id(self, uid: str, provider: str) -> str:
        return f"{provider}:primary"

    def connect(self, uid: str, provider: str, grant_id: str | None) -> None:
        if grant_id is None and not self.grants.usable(uid, f"{provider}:primary"):
            raise ConsentRequired("Grant access to the google mailbox first.", provider=provider)
        self.calls.append(("connect", uid, provider, grant_id))

    def disconnect(self, uid: str, provider: str) -> None:
        self.calls.append(("disconnect", uid, provider))

    def status(self, uid: str) -> dict[str, Any]:
        return {"running_syncs": [MAILBOX], "mailboxes": [{"id": MAILBOX, "status": "live"}]}

    def messages(self, uid: str, mailbox: str, after: str | None, limit: int) -> Listed:
        return self._listed("messages", uid, mailbox, after, limit)

    def gaps(self, uid: str, mailbox: str, after: str | None, limit: int) -> Listed:
        return self._listed("gaps", uid, mailbox, after, limit)

    def _listed(self, name: str, uid: str, mailbox: str, after: str | None, limit: int) -> Listed:
        if mailbox != MAILBOX:
            raise NotFound("There is no such mailbox.")
        self.calls.append((name, uid, mailbox, after, limit))
        return self.answer


class FakeEvents:
    """Records what it is asked."""

    def __init__(self) -> None:
        self.posted: list[tuple[str, str, dict[str, Any]]] = []
        self.calls: list[tuple[Any, ...]] = []
        self.answer: Listed = ([], None)
        self.failure: Exception | None = None

    def post(self, uid: str, type: str, data: dict[str, Any]) -> dict[str, Any]:
        self.posted.append((uid, type, data))
        return {"event_id": "e1", "stream": f"{uid}:app", "sequence": len(self.posted)}

    def read(self, uid: str, type: str | None, stream: str | None, after: str | None, limit: int) -> Listed:
        if self.failure is not None:
            raise self.failure
        self.calls.append((uid, type, stream, after, limit))
        return self.answer


class FakeSenders:
    """Records what it is asked."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.answer: Listed = ([], None)

    def page(self, uid: str, after: str | None, limit: int) -> Listed:
        self.calls.append((uid, after, limit))
        return self.answer


class FakeTasks:
    """Keeps what is enqueued."""

    def __init__(self) -> None:
        self.enqueued: list[tuple[str, str, Data, str | None]] = []

    def enqueue(
        self, queue: str, path: str, body: Data, name: str | None = None, not_before: float | None = None
    ) -> Enqueued:
        self.enqueued.append((queue, path, body, name))
        return Enqueued.CREATED


class FakeExports:
    """One finished export of Ann's; records what it is asked."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def start(self, uid: str) -> Data:
        self.calls.append(("start", uid))
        return {"export_id": "e1", "status": "running", "progress": 0.0}

    def page(self, uid: str, after: str | None, limit: int) -> Listed:
        self.calls.append(("page", uid, after, limit))
        return [{"export_id": "e1"}], "e1"

    def show(self, uid: str, export_id: str) -> Data:
        self.calls.append(("show", uid, export_id))
        return {"export_id": export_id, "status": "done", "link": "/me/exports/e1/archive?signature=s"}

    def open(self, uid: str, export_id: str, expires: str, signature: str) -> tuple[str, Iterator[bytes]]:
        if signature != "right":
            raise Forbidden("The link is not one that was given out.")
        self.calls.append(("open", uid, export_id, expires))
        return "brainstem.ndjson.gz", iter([b"one", b"two"])


class FakeConsents:
    """Makes links that say what they are for."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def check(self, return_to: str | None, scopes: Sequence[str]) -> None:
        if return_to is not None and not return_to.startswith("https://app.example/"):
            raise InvalidRequest("return_to is not one of the pages.", field="return_to")
        if not set(scopes) <= {"send"}:
            raise InvalidRequest("scopes may not be asked for.", field="scopes")

    def lacks(self, uid: str, login_hint: str | None, scopes: Sequence[str]) -> bool:
        return bool(scopes)

    def connect(self, uid: str, return_to: str | None, login_hint: str | None, scopes: Sequence[str]) -> str:
        self.calls.append((uid, return_to, login_hint, tuple(scopes)))
        return CONSENT_URL


class ApiWorld:
    """The API, everything it stands on, and a client that presents Ann's token."""

    def __init__(self, consents: bool = True) -> None:
        self.settings = Settings(jwt_issuer=ISSUER, jwt_public_key=PEM, version="1.2.3")
        self.clock, self.store, self.keys = FakeClock(), FakeStore(), FakeStore()
        self.grants = Grants(self.store, Vault(self.keys, FakeSecrets(), self.clock), self.clock)
        self.accounts, self.events, self.senders = FakeAccounts(self.grants), FakeEvents(), FakeSenders()
        self.consents, self.exports = FakeConsents(), FakeExports()
        self.verifier = TokenVerifier(self.settings, self.clock)
        self.tasks = FakeTasks()
        self.tombstones = Tombstones(self.store, TombstoneKey(FakeSecrets(), self.clock, may_create=True))
        self.app = create_api(
            ApiDeps(
                self.settings,
                self.clock,
                self.store,
                self.verifier,
                self.grants,
                self.accounts,
                self.events,
                self.senders,
                self.tombstones,
                Deletion(self.store, self.tasks, self.clock, self.tombstones),
                self.exports,
                {"google": lambda: self.consents} if consents else {},
            )
        )
        self.client: FlaskClient = self.app.test_client()

    def token(self, key: Any = KEY, algorithm: str = "RS256", **changes: Any) -> str:
        now = int(self.clock.now())
        claims = {"iss": ISSUER, "aud": "brainstem", "sub": "ann", "email": "ann@example.org", "name": "Ann"}
        return jwt.encode({**claims, "iat": now, "exp": now + 600, **changes}, key, algorithm)

    def headers(self, token: str | None = None) -> dict[str, str]:
        return {"Authorization": f"Bearer {token or self.token()}"}

    def get(self, path: str, **parameters: str) -> TestResponse:
        return self.client.get(path, query_string=parameters, headers=self.headers())

    def post(self, path: str, body: Any, **more: Any) -> TestResponse:
        content = {"data": body} if isinstance(body, (bytes, str)) else {"json": body}
        return self.client.post(path, headers=self.headers(), content_type="application/json", **content, **more)

    def nothing_written(self) -> bool:
        written = self.store.commits or self.keys.commits or self.events.posted
        return not written and not self.accounts.calls


def code_of(response: TestResponse) -> str:
    """The error's code, once its envelope is seen to be whole."""
    envelope = response.get_json()
    assert set(envelope) == {"success", "error", "meta"}
    assert envelope["success"] is False
    assert set(envelope["error"]) == {"code", "message", "details"}
    assert set(envelope["meta"]) == {"timestamp", "version"}
    assert envelope["meta"]["version"] == "1.2.3"
    assert response.content_type == "application/json"
    return str(envelope["error"]["code"])

"""Our own sign-in on embedded adapters and a virtual clock, with passwords that cost next to nothing and are counted."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import jwt
from argon2 import PasswordHasher
from werkzeug.test import Client, TestResponse
from werkzeug.wrappers import Response

from shared import refs
from shared.adapters.embedded.clock import VirtualClock
from shared.http.auth_api import AuthDeps, create_auth
from shared.identity.accounts import Accounts, Origin
from shared.identity.attempts import Attempts
from shared.identity.issuing import Issuing
from shared.identity.passwords import Passwords
from shared.identity.sessions import Sessions
from shared.identity.signing import Signing
from shared.identity.tokens import TokenVerifier
from shared.identity.trail import Trail
from shared.ports import Store, Update
from shared.sets import embedded
from shared.settings import Settings

ISSUER = "https://brain.example"
EMAIL, PASSWORD = "ann@example.org", "correct horse battery"
HERE = Origin("192.0.2.1", "Firefox on Linux")


class CountingHasher(PasswordHasher):
    """Argon2id with the least it can do; counts what it is asked for."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**{"time_cost": 1, "memory_cost": 8, "parallelism": 1, **more})
        self.computed = 0
        self._lock = threading.Lock()

    def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
        self._count()
        return super().hash(password, salt=salt)

    def verify(self, hash: str | bytes, password: str | bytes) -> Any:
        self._count()
        return super().verify(hash, password)

    def _count(self) -> None:
        with self._lock:
            self.computed += 1


class Instance:
    """One instance of the function ``auth``, with a memory of its own."""

    def __init__(self, world: AuthWorld, store: Store | None = None) -> None:
        clock, settings = world.clock, world.settings
        store = store or world.store
        trail = Trail(store, clock)
        self.signing = Signing(world.ports.secrets, clock, may_create=True)
        self.sessions = Sessions(store, clock, trail)
        self.attempts = Attempts(store, clock)
        self.accounts = Accounts(store, clock, Passwords(clock, world.hasher), self.attempts, self.sessions, trail)
        self.verifier = TokenVerifier(settings, clock, own=self.signing)
        issuing = Issuing(self.signing, clock, settings.auth_issuer, settings.jwt_audience)
        self.app = create_auth(AuthDeps(settings, clock, store, self.verifier, self.accounts, self.sessions, issuing))
        self.client = Client(self.app, Response)


class AuthWorld:
    """A store, a clock, and as many instances as a test makes."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.clock = VirtualClock()
        self.hasher = CountingHasher()
        self.settings = Settings(data_dir=str(folder / "data"), auth_issuer=ISSUER, version="1.2.3", **settings)
        self.ports = embedded(self.settings, self.clock, synchronous="OFF")
        self.store = self.ports.store
        self.first = Instance(self)

    def call(self, method: str, path: str, body: Any = None, token: str = "", **headers: str) -> TestResponse:
        self.clock.advance(0.01)
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if token:
            given["Authorization"] = f"Bearer {token}"
        return self.first.client.open(path, method=method, json=body, headers=given)

    def sign_up(self, email: str = EMAIL, password: str = PASSWORD, name: str | None = "Ann") -> dict[str, Any]:
        answer = self.call("POST", "/api/auth/sign-up/email", {"email": email, "password": password, "name": name})
        assert answer.status_code == 201, answer.text
        assert answer.json is not None
        return answer.json

    def sign_in(self, email: str = EMAIL, password: str = PASSWORD) -> TestResponse:
        return self.call("POST", "/api/auth/sign-in/email", {"email": email, "password": password})

    def refresh(self, token: str) -> TestResponse:
        return self.call("POST", "/api/v1/auth/refresh", {"refresh_token": token})

    def trail(self, uid: str) -> list[dict[str, Any]]:
        return Trail(self.store, self.clock).page(uid, None, 100)[0]

    def fence(self, uid: str) -> None:
        """As a deletion begins."""
        doc = self.store.get([refs.user(uid)])[refs.user(uid)]
        self.store.commit([Update(doc.ref, {"erasing": self.clock.now()}, doc.version)])


def claims_of(token: str) -> dict[str, Any]:
    """What a token says, unverified."""
    return jwt.decode(token, options={"verify_signature": False})

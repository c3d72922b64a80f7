"""The routes for admins over fakes, called by whoever a test says."""

from __future__ import annotations

from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from shared.errors import AccountDeleted
from shared.http.admin import admin_routes
from shared.http.app import create_app
from shared.http.auth import require_token
from shared.identity.sessions import Sessions
from shared.identity.tokens import Principal
from shared.identity.trail import Trail
from shared.ports import Create, Data, Doc, Query
from shared.settings import Settings
from tests.unit.fakes import FakeClock, FakeStore

STATUS = {"running_syncs": [], "mailboxes": [{"id": "ann:primary:GOOGLE"}]}


class Listing(FakeStore):
    """A store that can list a trail."""

    def query(self, query: Query) -> list[Doc]:
        start = "" if query.start_after is None else query.start_after.ref
        below = f"{query.parent}/{query.group}/"
        found = [doc for ref, doc in sorted(self.documents.items()) if ref.startswith(below) and ref > start]
        return found[: query.limit]


class Admins:
    """An app with the routes, whose caller is whoever ``principal`` is."""

    def __init__(self) -> None:
        self.clock, self.store = FakeClock(), Listing()
        self.store.commit([Create("users/ann", {"uid": "ann"}), Create("users/eve", {"uid": "eve"})])
        self.principal = Principal("eve", role="admin")
        self.asked: list[str] = []
        self.left: set[str] = set()
        app = create_app(Settings(version="1.2.3"), self.clock)
        require_token(app, self, public=frozenset())
        admin_routes(app, self.store, self.clock, self._status, self._living)
        self.client: FlaskClient = app.test_client()

    def verify(self, authorization: str | None) -> Principal:
        return self.principal

    def _living(self, uid: str) -> str:
        if uid in self.left:
            raise AccountDeleted
        return uid

    def _status(self, uid: str) -> Data:
        self.asked.append(uid)
        return dict(STATUS)

    def trail(self, uid: str = "ann") -> list[Data]:
        return Trail(self.store, self.clock).page(uid, None, 100)[0]

    def signed_in(self, uid: str = "ann") -> str:
        """Open a session; answers its id."""
        return Sessions(self.store, self.clock, Trail(self.store, self.clock)).open(uid, "email", "a browser").id

    def get(self, path: str, **parameters: Any) -> TestResponse:
        return self.client.get(path, query_string=parameters)

"""The routes of exports and of the audit trail: what a person may ask for about themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from flask import Flask, Response

from shared.events.envelope import iso
from shared.http import fields
from shared.http.app import json_answer
from shared.http.auth import caller
from shared.http.lists import Listed, page, position
from shared.identity.tokens import Principal
from shared.identity.trail import Trail
from shared.ports import Data


class Exports(Protocol):
    """The exports of users; ``privacy.export.Exports`` knows them."""

    def start(self, uid: str) -> Data:
        """Begin one, or answer the one that is running. Raises ``errors.TooManyRequests``."""

    def page(self, uid: str, after: str | None, limit: int) -> Listed:
        """Those that are not forgotten."""

    def show(self, uid: str, export_id: str) -> Data:
        """One, with a link once it is done. Raises ``errors.NotFound``."""

    def open(self, uid: str, export_id: str, expires: str, signature: str) -> tuple[str, Iterator[bytes]]:
        """A file name and an archive, for whoever has its link. Raises ``errors.Forbidden``, ``errors.NotFound``."""


def export_routes(
    app: Flask, exports: Exports, known: Callable[[Principal], object], living: Callable[[str], str]
) -> None:
    """``/me/exports``; the endpoint ``archive`` is for those who have a link, so it asks for no token.

    ``known`` makes the caller's profile where there is none, ``living`` answers the user id; both raise
    ``errors.AccountDeleted``.
    """

    @app.post("/me/export")
    def start_export() -> Response:
        principal = caller()
        known(principal)
        begun = exports.start(principal.uid)
        return json_answer({name: begun[name] for name in ("export_id", "status")}, 202)

    @app.get("/me/exports")
    def list_exports() -> Response:
        uid = living(caller().uid)
        scope = f"exports\n{uid}"
        return page("exports", scope, exports.page(uid, position(scope), fields.limit()))

    @app.get("/me/exports/<export_id>")
    def show_export(export_id: str) -> Response:
        return json_answer(exports.show(living(caller().uid), export_id))

    @app.get("/me/exports/<export_id>/archive")
    def archive(export_id: str) -> Response:
        given = [fields.parameter(name) or "" for name in ("user", "expires", "signature")]
        name, parts = exports.open(given[0], export_id, given[1], given[2])
        living(given[0])  # once the signature has vouched for the name
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return Response(parts, 200, headers, mimetype="application/gzip")


def trail_routes(app: Flask, trail: Trail, living: Callable[[str], str]) -> None:
    """``GET /me/audit``; ``living`` as for ``export_routes``."""

    @app.get("/me/audit")
    def audit() -> Response:
        uid = living(caller().uid)
        scope = f"audit\n{uid}"
        entries, behind = trail.page(uid, position(scope), fields.limit())
        shown: list[dict[str, Any]] = [{**entry, "at": iso(entry["at"])} for entry in entries]
        return page("entries", scope, (shown, behind))

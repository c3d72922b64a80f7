"""The routes of the API: ``/health``, ``/me``, ``/mail/*`` and ``/events``.

Each route validates, asks one capability, and answers with the plain documented object. Whose data it is comes from the
token alone: a mailbox or stream of somebody else is answered like one that does not exist, and before anything is read. Then
each asks whether its caller is still there, which costs one read: a token outlives its person by a while.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import orjson
from flask import Flask, Response

from shared import refs
from shared.errors import ConfigurationError, ConsentRequired, Hole, InvalidRequest, NotFound
from shared.events.envelope import iso
from shared.http import cursors, errors, fields
from shared.http.admin import admin_routes
from shared.http.app import create_app, json_answer
from shared.http.auth import Verifier, caller, require_token
from shared.http.exports import Exports, export_routes, trail_routes
from shared.http.lists import Listed, page, position
from shared.identity.tokens import Principal
from shared.identity.trail import Trail
from shared.identity.users import ensure_user, known_user
from shared.oauth.client import needed
from shared.ports import Clock, Data, Store
from shared.privacy.deletion import Deletion
from shared.privacy.tombstones import Tombstones
from shared.settings import Settings
from shared.vault.grants import Grants

MAX_NAME = 200
"""Characters of a mailbox id or stream; none of ours is longer."""


class Accounts(Protocol):
    """Mailboxes, as the API sees them."""

    def grant_id(self, uid: str, provider: str) -> str:
        """Where tokens that come with the request are to be kept."""

    def connect(self, uid: str, provider: str, grant_id: str | None) -> None:
        """Start the sync, with this grant or those there are. Raises ``errors.ConsentRequired``."""

    def disconnect(self, uid: str, provider: str) -> None:
        """Stop the sync; grant and data stay."""

    def status(self, uid: str) -> dict[str, Any]:
        """``running_syncs`` and ``mailboxes``."""

    def messages(self, uid: str, mailbox: str, after: str | None, limit: int) -> Listed:
        """The messages of a mailbox. Raises ``errors.NotFound``."""

    def gaps(self, uid: str, mailbox: str, after: str | None, limit: int) -> Listed:
        """The gaps of a mailbox. Raises ``errors.NotFound``."""


class Events(Protocol):
    """The user's streams."""

    def post(self, uid: str, type: str, data: dict[str, Any]) -> dict[str, Any]:
        """Append to the user's own stream; answers ``event_id``, ``stream``, ``sequence``."""

    def read(self, uid: str, type: str | None, stream: str | None, after: str | None, limit: int) -> Listed:
        """Events after a position. Raises ``errors.NotFound``, ``errors.Hole``."""


class Consents(Protocol):
    """Where a consent begins; ``oauth.links.Links`` knows."""

    def check(self, return_to: str | None, scopes: Sequence[str]) -> None:
        """Raise ``errors.InvalidRequest`` for a page that may not be returned to, or scopes that may not be asked for."""

    def lacks(self, uid: str, login_hint: str | None, scopes: Sequence[str]) -> bool:
        """Whether no grant of the mailbox has all these scopes."""

    def connect(self, uid: str, return_to: str | None, login_hint: str | None, scopes: Sequence[str]) -> str:
        """The link to the page of a fresh consent."""


class Senders(Protocol):
    """The sample consumer's result."""

    def page(self, uid: str, after: str | None, limit: int) -> Listed:
        """Mails per day and sender."""


@dataclass(frozen=True, slots=True)
class ApiDeps:
    """What the routes need."""

    settings: Settings
    clock: Clock
    store: Store
    verifier: Verifier
    grants: Grants
    accounts: Accounts
    events: Events
    senders: Senders
    tombstones: Tombstones
    deletion: Deletion
    exports: Exports
    consents: Mapping[str, Callable[[], Consents]]
    """Of each provider where consent is set up; made when first asked for, since it raises ``ConfigurationError``."""

    def profile(self, principal: Principal) -> Data:
        """The profile, made where there is none. Raises ``AccountDeleted``, ``Retry``."""
        return ensure_user(self.store, self.clock, principal, self.tombstones)

    def living(self, uid: str) -> str:
        """The user id; nothing is made of somebody who was never seen. Raises ``AccountDeleted``, ``Retry``."""
        known_user(self.store, uid, self.tombstones)
        return uid


def create_api(deps: ApiDeps) -> Flask:
    """The API as a Flask app."""
    app = create_app(deps.settings, deps.clock)
    require_token(app, deps.verifier, public=frozenset({"health", "archive"}))

    @app.get("/health")
    def health() -> Response:
        return json_answer({"status": "ok", "version": deps.settings.version})

    @app.get("/me")
    def me() -> Response:
        profile = deps.profile(caller())
        return json_answer(
            {
                "user_id": profile["uid"],
                "email": profile["email"],
                "name": profile["name"],
                "created_at": iso(profile["created_at"]),
            }
        )

    @app.delete("/me")
    def delete_me() -> Response:
        principal = caller()
        deps.deletion.begin(principal)
        return json_answer({"message": "account deletion started", "user_id": principal.uid}, 202)

    _mail_routes(app, deps)
    _event_routes(app, deps)
    trail_routes(app, Trail(deps.store, deps.clock), deps.living)
    export_routes(app, deps.exports, deps.profile, deps.living)
    admin_routes(app, deps.store, deps.clock, deps.accounts.status, deps.living)
    return app


def _mail_routes(app: Flask, deps: ApiDeps) -> None:
    @app.post("/mail/connect")
    def connect() -> Response:
        wanted = fields.body(fields.Connect)
        provider, tokens = fields.provider(wanted.provider), fields.tokens(wanted)
        hint, scopes = fields.login_hint(wanted.login_hint), fields.scopes(wanted.scopes)
        consents = deps.consents.get(provider)
        if wanted.return_to is not None or scopes:
            if consents is None:
                raise ConfigurationError(_set_up(provider))
            consents().check(wanted.return_to, scopes)
        principal = caller()
        deps.profile(principal)
        grant_id = None
        try:
            # First: what is brought is kept only for a mailbox that then has it.
            _demand(consents, principal.uid, provider, hint, scopes)
            if tokens is not None:
                access, refresh, expires_in = tokens
                grant_id = deps.accounts.grant_id(principal.uid, provider)
                deps.grants.put(principal.uid, grant_id, provider, access, refresh, expires_in)
            deps.accounts.connect(principal.uid, provider, grant_id)
        except ConsentRequired as refusal:
            if consents is None:
                raise ConsentRequired(f"{refusal.message} {_set_up(provider)}", provider=provider) from None
            return _consent_required(deps, refusal, consents().connect(principal.uid, wanted.return_to, hint, scopes))
        Trail(deps.store, deps.clock).add(principal.uid, "connect", provider=provider)
        return json_answer({"message": "mail sync started", "provider": provider, "user_id": principal.uid})

    @app.post("/mail/disconnect")
    def disconnect() -> Response:
        provider = fields.provider(fields.body(fields.Disconnect).provider)
        uid = deps.living(caller().uid)
        deps.accounts.disconnect(uid, provider)
        Trail(deps.store, deps.clock).add(uid, "disconnect", provider=provider)
        return json_answer({"message": "mail sync stopped"})

    @app.get("/mail/status")
    def status() -> Response:
        uid = deps.living(caller().uid)
        return json_answer({**deps.accounts.status(uid), "user_id": uid})

    @app.get("/mail/messages")
    def messages() -> Response:
        mailbox, uid = _mailbox(), deps.living(caller().uid)
        scope = f"messages\n{mailbox}"
        return page("messages", scope, deps.accounts.messages(uid, mailbox, position(scope), fields.limit()))

    @app.get("/mail/gaps")
    def gaps() -> Response:
        mailbox, uid = _mailbox(), deps.living(caller().uid)
        scope = f"gaps\n{mailbox}"
        return page("gaps", scope, deps.accounts.gaps(uid, mailbox, position(scope), fields.limit()))

    @app.get("/mail/senders")
    def senders() -> Response:
        uid = deps.living(caller().uid)
        scope = f"senders\n{uid}"
        return page("senders", scope, deps.senders.page(uid, position(scope), fields.limit()))


def _demand(
    consents: Callable[[], Consents] | None, uid: str, provider: str, hint: str | None, scopes: Sequence[str]
) -> None:
    """Raise ``ConsentRequired`` while no grant of the mailbox has all scopes."""
    if consents is not None and scopes and consents().lacks(uid, hint, scopes):
        raise ConsentRequired("The person has to grant more access to the mailbox first.", provider=provider)


def _set_up(provider: str) -> str:
    return f"Set {needed(provider)} to ask people for their consent."


def _consent_required(deps: ApiDeps, needed: ConsentRequired, url: str) -> Response:
    """The error as everywhere, with the one secret that an error may hold: the caller's own link.

    Details are searched for secrets before they are answered, and a link with a state looks like one.
    """
    response = errors.answer(needed, now=deps.clock.now(), version=deps.settings.version)
    envelope = orjson.loads(response.get_data())
    envelope["error"]["details"]["consent_url"] = url
    response.set_data(orjson.dumps(envelope))
    return response


def _event_routes(app: Flask, deps: ApiDeps) -> None:
    @app.post("/events")
    def post_event() -> Response:
        kind, data = fields.event(fields.body(fields.Post))
        principal = caller()
        deps.profile(principal)
        return json_answer(deps.events.post(principal.uid, kind, data), 201)

    @app.get("/events")
    def read_events() -> Response:
        uid, kind, stream = caller().uid, fields.parameter("type"), fields.parameter("stream")
        if kind is not None:
            fields.event_type(kind)
        if stream is not None:
            _own(stream, "stream")
        deps.living(uid)
        scope = f"events\n{uid}\n{stream or ''}"
        try:
            return page("events", scope, deps.events.read(uid, kind, stream, position(scope), fields.limit()))
        except Hole as hole:
            if (beginning := hole.details.pop("position", None)) is not None:
                hole.details["after"] = cursors.encode(scope, beginning)
            raise


def _mailbox() -> str:
    mailbox = fields.parameter("mailbox")
    if mailbox is None:
        raise InvalidRequest("mailbox is required.", field="mailbox")
    return _own(mailbox, "mailbox")


def _own(name: str, kind: str) -> str:
    """The name, if it is of the caller's; what is somebody else's cannot be told from what does not exist."""
    uid = caller().uid
    is_stream = name.startswith(f"{uid}:") and f"{uid}:" != name and "/" not in name and len(name) <= MAX_NAME
    if not is_stream or (kind == "mailbox" and name == refs.app_stream(uid)):
        raise NotFound(f"There is no such {kind}.")
    return name

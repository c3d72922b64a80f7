"""From settings to working functions: the only place that chooses adapters and hands providers to the engine.

Each function builds just what it needs, once, when it is first asked for: ``api`` never loads a provider, and only
``sync`` is given one.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from flask import Flask, Request
from werkzeug.wrappers import Response

from shared.conversion import convertible
from shared.errors import Busy, ConfigurationError, InvalidRequest, NotFound
from shared.events.app import AppStream
from shared.events.consume import Harness
from shared.events.push import pushed
from shared.events.senders import NAME, SenderCounts, Senders
from shared.events.streams import UserStreams
from shared.http import errors
from shared.http.app import as_function, secured
from shared.http.triggers import create_trigger
from shared.mail.context import Context
from shared.mail.schedule import Schedule
from shared.observability import logs
from shared.ports import Store
from shared.providers.base import PROVIDERS, MailProvider, Tokens
from shared.sets import CloudPorts, Ports, embedded, emulators, key_in_kms
from shared.settings import Settings
from shared.vault.choice import chosen
from shared.vault.grants import Grants
from shared.vault.seal import Vault

if TYPE_CHECKING:
    from shared.http.oauth import OAuthParts
    from shared.identity.allowance import Allowances
    from shared.mail.accounts import Accounts
    from shared.oauth.links import Links
    from shared.oauth.provider import Endpoints
    from shared.privacy.export import Exports
    from shared.privacy.restore import Restored
    from shared.privacy.tombstones import Tombstones
    from shared.providers.http.wire import HttpFactory

Handler = Callable[[Request], Response]

CONSUMERS = (NAME,)
"""Our own consumers; what they keep of a mailbox is erased with it."""

_BUILDING = threading.Lock()
_LOG = logs.named(__name__)


class Brainstem:
    """The functions of one process on one set of adapters."""

    def __init__(
        self,
        settings: Settings,
        ports: Ports | CloudPorts,
        google_http: HttpFactory | None = None,
        microsoft_http: HttpFactory | None = None,
    ) -> None:
        """``google_http`` makes the client for all that goes to Google; by default one that goes over the network.

        ``microsoft_http`` is the same for Microsoft.
        """
        self.settings = settings
        self.ports, self.clock = ports, ports.clock
        self._google_http, self._microsoft_http = google_http, microsoft_http
        self._oauth: dict[str, OAuthParts] = {}
        self._refreshing: dict[str, Callable[[str], Tokens]] = {}

    @cached_property
    def store(self) -> Store:
        """Documents."""
        return self.ports.store

    @cached_property
    def api(self) -> Handler:
        """The HTTP API."""
        from shared.http.api import ApiDeps, create_api
        from shared.identity.tokens import TokenVerifier
        from shared.oauth.client import is_configured
        from shared.privacy.deletion import Deletion

        deps = ApiDeps(
            settings=self.settings,
            clock=self.clock,
            store=self.store,
            verifier=TokenVerifier(self.settings, self.clock),
            grants=self._grants,
            accounts=self.accounts,
            events=UserStreams(AppStream(self.store, self.ports.bus, self.clock)),
            senders=SenderCounts(self.store),
            tombstones=self._tombstones,
            deletion=Deletion(self.store, self.ports.tasks, self.clock, self._tombstones),
            exports=self._exports,
            consents={name: partial(self._links, name) for name in PROVIDERS if is_configured(self.settings, name)},
        )
        return self._opened(create_api(deps))

    @cached_property
    def auth(self) -> Handler:
        """Our own sign-in."""
        from shared.http.auth_api import AuthDeps, create_auth
        from shared.identity.accounts import Accounts
        from shared.identity.attempts import Attempts
        from shared.identity.issuing import Issuing
        from shared.identity.passwords import Passwords
        from shared.identity.sessions import Sessions
        from shared.identity.signing import Signing
        from shared.identity.tokens import TokenVerifier
        from shared.identity.trail import Trail

        settings, store, clock = self.settings, self.store, self.clock
        if not settings.auth_issuer:
            raise ConfigurationError("AUTH_ISSUER must be set for people to sign in here.")
        signing = Signing(self.ports.secrets, clock, may_create=settings.backend != "cloud")
        trail = Trail(store, clock)
        sessions = Sessions(store, clock, trail)
        deps = AuthDeps(
            settings,
            clock,
            store,
            verifier=TokenVerifier(settings, clock, own=signing),
            accounts=Accounts(store, clock, Passwords(clock), Attempts(store, clock), sessions, trail),
            sessions=sessions,
            issuing=Issuing(signing, clock, settings.auth_issuer, settings.jwt_audience),
        )
        return self._opened(create_auth(deps))

    @cached_property
    def oauth(self) -> Handler:
        """The consent flow."""
        from shared.http.oauth import OAuthDeps, create_oauth
        from shared.identity.tokens import TokenVerifier
        from shared.identity.trail import Trail
        from shared.mail.provider_accounts import ProviderAccounts

        verifier = TokenVerifier(self.settings, self.clock)
        accounts = ProviderAccounts(
            self.store,
            self._grants,
            Trail(self.store, self.clock),
            self._tombstones,
            self._refresh,
            self.settings.account_tokens,
        )
        deps = OAuthDeps(self.settings, self.clock, self.store, verifier, self._tombstones, self._oauth_parts, accounts)
        return self._opened(create_oauth(deps))

    @cached_property
    def sync(self) -> Handler:
        """One step of one mailbox."""
        from shared.mail.sync import step
        from shared.mail.tasks import parse

        ctx = self._context(self._mail_providers())

        def take(body: Any) -> dict[str, Any]:
            task = parse(body)
            logs.bind(mailbox_id=task.mailbox, kind=task.kind)
            step(ctx, task)
            _LOG.debug("step_taken", "A step was taken.")
            return {"done": True}

        return self._trigger({"": take})

    @cached_property
    def privacy(self) -> Handler:
        """One step of a deletion or an export."""
        from shared.mail.accounts import Accounts
        from shared.privacy.erasure import Erasure
        from shared.privacy.tasks import parse, parse_export
        from shared.privacy.writing import Writing

        store, clock = self.store, self.clock
        erasure = Erasure(
            store,
            self.ports.tasks,
            clock,
            self._tombstones,
            Accounts(self._context(self._mail_providers())),
            self._grants,
            AppStream(store, self.ports.bus, clock),
            revoke={"google": lambda token: self._google_endpoints().revoke(token)},
            forget=(self._exports.forget,),
            consumers=CONSUMERS,
        )

        def delete(body: Any) -> dict[str, Any]:
            erasure.step(parse(body))
            return {"done": True}

        def export(body: Any) -> dict[str, Any]:
            task = parse_export(body)
            Writing(store, self.ports.tasks, clock, self.ports.blobs, self.settings.export_days).step(task)
            return {"done": True}

        return self._trigger({"delete": delete, "export": export, "": _nowhere})

    @cached_property
    def gmail_push(self) -> Handler:
        """Gmail's doorbell."""
        from shared.mail.doorbell import gmail_push

        store, tasks, clock = self.store, self.ports.tasks, self.clock
        return self._trigger({"": lambda body: {"rung": gmail_push(store, tasks, clock, body)}})

    @cached_property
    def graph_push(self) -> Handler:
        """Microsoft Graph's doorbell."""
        from shared.http.graph_push import create_graph_push
        from shared.mail.doorbell import graph_push

        store, tasks, clock = self.store, self.ports.tasks, self.clock
        return as_function(create_graph_push(self.settings, clock, lambda body: graph_push(store, tasks, clock, body)))

    @cached_property
    def tick(self) -> Handler:
        """What is due."""
        from shared.identity import allowance, sweeping
        from shared.mail.tick import tick
        from shared.oauth.tickets import sweep
        from shared.privacy import deletion, writing
        from shared.privacy.retention import Retention

        ctx, retention = self._context({}), Retention.of(self.settings)

        def take(_: Any) -> dict[str, Any]:
            ticked = dataclasses.asdict(tick(ctx, ctx.schedule))
            now = self.clock.now()
            swept = {
                "consents": sweep(self.store, now),
                "deletions": deletion.rescue(self.store, self.ports.tasks, now),
                "expired": retention.sweep(self.store, now),
                "exports": writing.rescue(self.store, self.ports.tasks, now),
                "limits": allowance.sweep(self.store, now, self.settings.tick_seconds),
                "sign_ins": sweeping.sweep(self.store, now, self.settings.tick_seconds),
            }
            return {**ticked, **swept}

        return self._trigger({"": take})

    @cached_property
    def senders(self) -> Handler:
        """The sample consumer: rung by ``segments``, rebuilt on demand."""
        harness = Harness(self.store, self.ports.tasks, self.clock, Senders())

        def follow(body: Any) -> dict[str, Any]:
            bell = _converted(pushed(body), _Bell)
            return {"watermark": harness.follow(bell.stream, bell.last)}

        def rebuild(body: Any) -> dict[str, Any]:
            stream = _converted(body, _Rebuild).stream
            harness.rebuild(stream)
            return build(body)

        def build(body: Any) -> dict[str, Any]:
            if not harness.build(_converted(body, _Rebuild).stream):
                raise Busy("The rebuild goes on; call build until it is done.", retry_after=1)
            return {"rebuilt": True}

        return self._trigger({"": follow, "rebuild": rebuild, "build": build})

    @cached_property
    def accounts(self) -> Accounts:
        """The mailboxes of users."""
        from shared.mail.accounts import Accounts

        return Accounts(self._context({}))

    def restore(self, archive: Path) -> Restored:
        """Put an archive into the store. Raises ``InvalidRequest``, ``Retry``."""
        from shared.mail.imported import imported
        from shared.privacy.restore import restore

        return restore(self.store, archive, imported, self._tombstones, self.clock)

    def _links(self, provider: str) -> Links:
        """Where consents at a provider begin. Raises ``ConfigurationError``."""
        from shared.oauth.client import Client
        from shared.oauth.consents import Consents
        from shared.oauth.links import Links
        from shared.oauth.tickets import Tickets

        consents = Consents(Tickets(self.store, self.clock), provider)
        return Links(Client.of(self.settings, provider), consents, self.accounts, self.store)

    def _oauth_parts(self, provider: str) -> OAuthParts:
        """The flow at a provider, made once. Raises ``ConfigurationError``."""
        from shared.http.oauth import OAuthParts
        from shared.identity.keys import PublishedKeys
        from shared.oauth.callback import Callback
        from shared.oauth.flow import Flow
        from shared.oauth.id_tokens import IdTokens
        from shared.oauth.identities import Identities

        if provider in self._oauth:
            return self._oauth[provider]
        links = self._links(provider)
        client = links.client
        endpoints = self._microsoft_endpoints() if provider == "microsoft" else self._google_endpoints()
        flow = Flow(client, links.consents, endpoints, self.store)
        id_tokens = IdTokens(client.provider, PublishedKeys(endpoints.keys, self.clock), self.clock, client.client_id)
        identities = Identities(links.consents.tickets, provider)
        callback = Callback(flow, links, id_tokens, identities, self._grants, self.clock)
        return self._oauth.setdefault(provider, OAuthParts(client, links, callback, identities))

    def _refresh(self, provider: str) -> Callable[[str], Tokens]:
        """What refreshes grants of a provider, made once. Raises ``ConfigurationError``."""
        if provider not in self._refreshing:
            endpoints = self._microsoft_endpoints() if provider == "microsoft" else self._google_endpoints()
            self._refreshing[provider] = endpoints.refresh
        return self._refreshing[provider]

    @cached_property
    def _grants(self) -> Grants:
        keys, secrets = self.ports.keys, self.ports.secrets
        wrapping = chosen(self.settings, keys, secrets, self.clock, key_in_kms)
        return Grants(self.store, Vault(keys, secrets, self.clock, wrapping=wrapping), self.clock)

    @cached_property
    def _exports(self) -> Exports:
        from shared.privacy.export import Exports
        from shared.privacy.links import ArchiveLinks

        cloud = self.settings.backend == "cloud"
        links = ArchiveLinks(self.ports.secrets, self.clock, may_create=not cloud)
        blobs = None if cloud and not self.settings.blobs_url else lambda: self.ports.blobs
        return Exports(self.store, self.ports.tasks, self.clock, links, blobs)

    @cached_property
    def _tombstones(self) -> Tombstones:
        from shared.privacy.tombstones import TombstoneKey, Tombstones

        may_create = self.settings.backend != "cloud"
        return Tombstones(self.store, TombstoneKey(self.ports.secrets, self.clock, may_create=may_create))

    def _context(self, providers: Mapping[str, MailProvider]) -> Context:
        page = self.settings.page_size
        if not 1 <= page <= 500:
            raise ConfigurationError("PAGE_SIZE must be from 1 to 500.")
        schedule = Schedule.of(self.settings)
        return Context(
            self.store, self.ports.bus, self.ports.tasks, self.clock, self._grants, providers, page, CONSUMERS, schedule
        )

    def _mail_providers(self) -> Mapping[str, MailProvider]:
        """Gmail always; Outlook, whose adapter is only loaded then, where a client at Microsoft is set up."""
        from shared.providers.gmail.provider import GmailProvider

        settings, clock = self.settings, self.clock
        gmail = GmailProvider(settings, clock, self._google_client_secret, self._google_http)
        if not settings.microsoft_client_id:
            return {"GOOGLE": gmail}
        from shared.providers.graph.provider import GraphProvider

        outlook = GraphProvider(settings, clock, self._microsoft_client_secret, self._microsoft_http)
        return {"GOOGLE": gmail, "MICROSOFT": outlook}

    def _google_endpoints(self) -> Endpoints:
        from shared.providers.gmail.tokens import TokenEndpoint
        from shared.providers.http.transport import Transport

        settings = self.settings
        transport = Transport(self.clock, settings.provider_timeout, self._google_http, "Google")
        return TokenEndpoint(
            settings.google_oidc_discovery_url,
            settings.google_client_id,
            self._google_client_secret,
            transport,
            self.clock,
        )

    def _microsoft_endpoints(self) -> Endpoints:
        from shared.providers.graph.tokens import TokenEndpoint
        from shared.providers.http.transport import Transport

        transport = Transport(self.clock, self.settings.provider_timeout, self._microsoft_http, "Microsoft")
        return TokenEndpoint(self.settings, self._microsoft_client_secret, transport, self.clock)

    def _microsoft_client_secret(self) -> str:
        return self.settings.microsoft_client_secret or self.ports.secrets.get("microsoft-client-secret").decode()

    def _google_client_secret(self) -> str:
        return self.settings.google_client_secret or self.ports.secrets.get("google-client-secret").decode()

    @cached_property
    def _allowances(self) -> Allowances:
        from shared.identity.allowance import Allowances

        return Allowances(self.store, self.clock)

    def _opened(self, app: Flask) -> Handler:
        """A function that people and their applications call: within rates, and from the origins that are listed."""
        from shared.http.cors import share_with
        from shared.http.limits import limit_requests

        share_with(app, self.settings.cors_origins)
        limit_requests(app, self._allowances, self.settings, self.clock)
        return as_function(app)

    def _trigger(self, actions: Mapping[str, Callable[[Any], dict[str, Any]]]) -> Handler:
        app: Flask = create_trigger(self.settings, self.clock, actions)
        return as_function(app)


@convertible
@dataclass(frozen=True, slots=True)
class _Bell:
    stream: str
    last: int


@convertible
@dataclass(frozen=True, slots=True)
class _Rebuild:
    stream: str


def prepare(function: str) -> None:
    """Make a function ready, now: while a function starts, the platform gives it more CPU than its first request gets.

    What the settings lack is not said here but to everyone who asks (``answer``), since it may yet be put right.
    """
    with suppress(ConfigurationError):
        _built(function)


def answer(function: str, request: Request) -> Response:
    """What a function of this process answers; a process whose settings are wrong says so, to every request."""
    try:
        handle = _built(function)
    except ConfigurationError as error:
        from shared.adapters.embedded.clock import SystemClock

        clock, unset = SystemClock(), Settings()
        logs.configure(clock, unset.log_level)
        return secured(errors.answer(error, now=clock.now(), version=unset.version))
    return handle(request)


def _built(function: str) -> Handler:
    """A function's handler, made once however many ask for it at once. Raises ``ConfigurationError``."""
    with _BUILDING:
        handler: Handler = getattr(from_env(), function)
        return handler


@cache
def from_env() -> Brainstem:
    """The functions as the environment configures them, once per process. Raises ``ConfigurationError``."""
    settings = Settings.from_env()
    sets: Mapping[str, Callable[[Settings], Ports | CloudPorts]]
    sets = {"embedded": embedded, "cloud": CloudPorts, "emulators": emulators}
    if settings.backend not in sets:
        raise ConfigurationError(f"BACKEND must be one of {', '.join(sets)}.")
    ports = sets[settings.backend](settings)
    logs.configure(ports.clock, settings.log_level)
    return Brainstem(settings, ports)


def _nowhere(_: Any) -> dict[str, Any]:
    raise NotFound


def _converted(body: Any, into: type[Any]) -> Any:
    try:
        return msgspec.convert(body, into)
    except msgspec.ValidationError:
        raise InvalidRequest("The body has not the documented form.") from None

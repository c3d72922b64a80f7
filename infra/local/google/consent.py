"""The person at the consent page: shown what a client asks for, allowing all or some of it, or denying it.

A page can be answered once, within an hour. With ``auto`` nobody is asked: the answer is the one that was set
beforehand. What was granted is remembered per account and client, across all consents.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from infra.local.google import scopes
from infra.local.google.accounts import Accounts
from infra.local.google.authorization import Authorization, PageError, read
from infra.local.google.chance import digest
from infra.local.google.clients import Clients
from infra.local.google.errors import ControlError, UnknownThing
from infra.local.google.identity import subject
from infra.local.google.state import State
from shared.ports import Clock

CODE_SECONDS = 600
PAGE_SECONDS = 3600
_USED_CODES_KEPT = 3600  # seconds beyond a code's life in which its reuse is still recognised


@dataclass(frozen=True, slots=True)
class Page:
    """What the consent page shows; ``chosen`` is the account that is ticked, if any."""

    id: str
    asked: Authorization
    addresses: Sequence[str]
    chosen: str | None


@dataclass(frozen=True, slots=True)
class Automation:
    """How an absent person answers: for which account (None: the hinted or oldest one), with which of the scopes."""

    auto: bool = False
    account: str | None = None
    scopes: Sequence[str] | None = None
    deny: bool = False


class Consent:
    """The authorization endpoint and the form behind it."""

    def __init__(self, state: State, clock: Clock, seed: int, accounts: Accounts, clients: Clients) -> None:
        self._state = state
        self._clock = clock
        self._seed = seed
        self._accounts = accounts
        self._clients = clients

    def automate(self, settings: Any) -> dict[str, Any]:
        """Replace ``{"auto", "account", "scopes", "deny"}``; what is absent has its default. Answers all four.

        Raises ``ControlError``.
        """
        automation = _automation(settings)
        if automation.account is not None and automation.account not in self._accounts.addresses():
            raise UnknownThing("There is no such account.")
        self._state.remember("consent", asdict(automation))
        return asdict(automation)

    def begin(self, query: Mapping[str, Sequence[str]]) -> Page | str:
        """Answer an authorization request: a page to show, or the address to return to at once.

        Raises ``PageError`` and ``Refused``.
        """
        asked = read(query, self._clients)
        addresses = self._accounts.addresses()
        hint = asked.login_hint.lower()
        hinted = next((one for one in addresses if hint in (one.lower(), subject(one))), None)
        chosen = hinted or (addresses[0] if len(addresses) == 1 else None)
        if asked.prompt == "none":
            return self._silent(asked, chosen)
        if not addresses:
            raise PageError("invalid_request", "There is no account to sign in with; create a mailbox first.")
        automation = _automation(self._state.setting("consent") or {})
        if not automation.auto:
            return self._page(asked, addresses, chosen)
        if automation.deny:
            return denial(asked)
        allowed = asked.services if automation.scopes is None else scopes.canonical(" ".join(automation.scopes))[0]
        with self._state.transaction() as db:
            return self._grant(db, asked, automation.account or hinted or addresses[0], allowed)

    def decide(self, page_id: str, address: str, allowed: Collection[str], allow: bool) -> str:
        """Answer a page; the address to return to. Raises ``PageError`` for a page that is unknown, old or answered."""
        with self._state.transaction() as db:
            row = db.execute(
                "DELETE FROM consent_pages WHERE id = ? AND until > ? RETURNING asked", (page_id, self._clock.now())
            ).fetchone()
            if row is None:
                raise PageError("invalid_request", "This page was answered already or is too old; start again.")
            asked = Authorization.from_json(orjson.loads(row["asked"]))
            if not allow:
                return denial(asked)
            if address not in self._accounts.addresses():
                raise PageError("invalid_request", "Choose an account.")
            return self._grant(db, asked, address, allowed)

    def _page(self, asked: Authorization, addresses: Sequence[str], chosen: str | None) -> Page:
        now = self._clock.now()
        with self._state.transaction() as db:
            db.execute("DELETE FROM consent_pages WHERE until <= ?", (now,))
            number = db.execute(
                "INSERT INTO consent_pages (asked, until) VALUES (?, ?)",
                (orjson.dumps(asked.to_json()), now + PAGE_SECONDS),
            ).lastrowid
            page_id = digest(self._seed, "page", number).hex()
            db.execute("UPDATE consent_pages SET id = ? WHERE number = ?", (page_id, number))
        return Page(page_id, asked, addresses, chosen)

    def _silent(self, asked: Authorization, address: str | None) -> str:
        """``prompt=none``: a code if nothing has to be asked, else the reason why something has to."""
        if address is None:
            return asked.answer(error="login_required")
        with self._state.transaction() as db:
            if not set(asked.scopes.split()) <= _granted(db, address, asked.client_id):
                return asked.answer(error="consent_required")
            return self._grant(db, asked, address, asked.services)

    def _grant(self, db: sqlite3.Connection, asked: Authorization, address: str, allowed: Collection[str]) -> str:
        """Inside a transaction: remember what was allowed and answer the address with a code."""
        given = {scope for scope in asked.scopes.split() if scope in scopes.IDENTITY or scope in allowed}
        if not given:
            return denial(asked)
        before = _granted(db, address, asked.client_id)
        db.execute(
            "INSERT INTO grants (address, client, scopes) VALUES (?, ?, ?)"
            " ON CONFLICT (address, client) DO UPDATE SET scopes = excluded.scopes",
            (address, asked.client_id, scopes.joined(before | given)),
        )
        if asked.include_granted:
            given |= before
        granted, now = scopes.joined(given), self._clock.now()
        db.execute("DELETE FROM codes WHERE until <= ?", (now - _USED_CODES_KEPT,))
        number = db.execute(
            "INSERT INTO codes (address, client, scopes, asked, until) VALUES (?, ?, ?, ?, ?)",
            (address, asked.client_id, granted, orjson.dumps(asked.to_json()), now + CODE_SECONDS),
        ).lastrowid
        code = f"4/0{digest(self._seed, 'code', number).hex()}"
        db.execute("UPDATE codes SET code = ? WHERE number = ?", (code, number))
        return asked.answer(code=code, scope=granted, authuser="0", prompt=asked.prompt or "consent")


def denial(asked: Authorization) -> str:
    """Where a person returns to who denied everything."""
    return asked.answer(error="access_denied")


def _granted(db: sqlite3.Connection, address: str, client: str) -> set[str]:
    row = db.execute("SELECT scopes FROM grants WHERE address = ? AND client = ?", (address, client)).fetchone()
    return set() if row is None else set(row["scopes"].split())


def _automation(settings: Any) -> Automation:
    if not isinstance(settings, dict) or not set(settings) <= {"auto", "account", "scopes", "deny"}:
        raise ControlError("The body must be an object with auto, account, scopes and deny.")
    account, names = settings.get("account"), settings.get("scopes")
    if not all(isinstance(settings.get(name, False), bool) for name in ("auto", "deny")):
        raise ControlError("auto and deny must be true or false.")
    if account is not None and not isinstance(account, str):
        raise ControlError("account must be an address or null.")
    if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise ControlError("scopes must be a list of scopes or null.")
    return Automation(settings.get("auto", False), account, names, settings.get("deny", False))

"""The person at the consent page: shown what a client asks for, allowing all or some of it, or denying it.

A page can be answered once, within an hour. With ``auto`` nobody is asked: the answer is the one that was set
beforehand. What was granted is remembered per account and client, across all consents. How requests, scopes and
answers are worded is the provider's ``Custom``.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import orjson

from infra.local.simulated.authorization import Authorization, PageError
from infra.local.simulated.chance import digest
from infra.local.simulated.errors import ControlError, UnknownThing
from infra.local.simulated.state import State
from shared.ports import Clock

CODE_SECONDS = 600
PAGE_SECONDS = 3600
_USED_CODES_KEPT = 3600  # seconds beyond a code's life in which its reuse is still recognised


class Custom(Protocol):
    """What differs between providers."""

    beginning: str
    """With which every code starts."""

    basic: frozenset[str]
    """Scopes that are granted with every consent; there is no box to untick."""

    def addresses(self) -> Sequence[str]:
        """All accounts, the oldest first."""

    def candidates(self, asked: Authorization) -> Sequence[str]:
        """The accounts that may answer a request, the oldest first."""

    def hints(self, address: str) -> Collection[str]:
        """The login hints in lower case that mean an account."""

    def canonical(self, scopes: Collection[str]) -> Collection[str]:
        """Scopes under the names under which they are granted."""

    def denied(self, asked: Authorization) -> str:
        """Where a person returns to who denied everything."""

    def unattended(self, asked: Authorization, error: str) -> str:
        """Where a person returns to who may not be asked: ``login_required`` or ``consent_required``."""

    def returned(self, asked: Authorization, code: str, granted: str) -> str:
        """Where a person returns to with a code."""


@dataclass(frozen=True, slots=True)
class Page:
    """What the consent page shows; ``chosen`` is the account that is ticked, if any; ``services`` are not basic."""

    id: str
    asked: Authorization
    addresses: Sequence[str]
    chosen: str | None
    services: Sequence[str]


@dataclass(frozen=True, slots=True)
class Automation:
    """How an absent person answers: for which account (None: the hinted or oldest one), with which of the scopes."""

    auto: bool = False
    account: str | None = None
    scopes: Sequence[str] | None = None
    deny: bool = False


class Consent:
    """The authorization endpoint and the form behind it."""

    def __init__(self, state: State, clock: Clock, seed: int, custom: Custom) -> None:
        self._state = state
        self._clock = clock
        self._seed = seed
        self._custom = custom

    def automate(self, settings: Any) -> dict[str, Any]:
        """Replace ``{"auto", "account", "scopes", "deny"}``; what is absent has its default. Answers all four.

        Raises ``ControlError``.
        """
        automation = _automation(settings)
        if automation.account is not None and automation.account not in self._custom.addresses():
            raise UnknownThing("There is no such account.")
        self._state.remember("consent", asdict(automation))
        return asdict(automation)

    def begin(self, asked: Authorization) -> Page | str:
        """Answer an authorization request: a page to show, or the address to return to at once. Raises ``PageError``."""
        addresses = self._custom.candidates(asked)
        hint = asked.login_hint.lower()
        hinted = next((one for one in addresses if hint in self._custom.hints(one)), None)
        chosen = hinted or (addresses[0] if len(addresses) == 1 else None)
        if asked.prompt == "none":
            return self._silent(asked, chosen)
        if not addresses:
            raise PageError("invalid_request", "There is no account to sign in with; create a mailbox first.")
        automation = _automation(self._state.setting("consent") or {})
        if not automation.auto:
            return self._page(asked, addresses, chosen)
        if automation.deny:
            return self._custom.denied(asked)
        names = self._services(asked) if automation.scopes is None else self._custom.canonical(automation.scopes)
        with self._state.transaction() as db:
            return self._grant(db, asked, automation.account or hinted or addresses[0], names)

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
                return self._custom.denied(asked)
            if address not in self._custom.candidates(asked):
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
        return Page(page_id, asked, addresses, chosen, self._services(asked))

    def _silent(self, asked: Authorization, address: str | None) -> str:
        """``prompt=none``: a code if nothing has to be asked, else the reason why something has to."""
        if address is None:
            return self._custom.unattended(asked, "login_required")
        with self._state.transaction() as db:
            if not set(asked.scopes.split()) <= _granted(db, address, asked.client_id):
                return self._custom.unattended(asked, "consent_required")
            return self._grant(db, asked, address, self._services(asked))

    def _services(self, asked: Authorization) -> list[str]:
        return [scope for scope in asked.scopes.split() if scope not in self._custom.basic]

    def _grant(self, db: sqlite3.Connection, asked: Authorization, address: str, allowed: Collection[str]) -> str:
        """Inside a transaction: remember what was allowed and answer the address with a code."""
        given = {scope for scope in asked.scopes.split() if scope in self._custom.basic or scope in allowed}
        if not given:
            return self._custom.denied(asked)
        before = _granted(db, address, asked.client_id)
        db.execute(
            "INSERT INTO grants (address, client, scopes) VALUES (?, ?, ?)"
            " ON CONFLICT (address, client) DO UPDATE SET scopes = excluded.scopes",
            (address, asked.client_id, " ".join(sorted(before | given))),
        )
        if asked.include_granted:
            given |= before
        granted, now = " ".join(sorted(given)), self._clock.now()
        db.execute("DELETE FROM codes WHERE until <= ?", (now - _USED_CODES_KEPT,))
        number = db.execute(
            "INSERT INTO codes (address, client, scopes, asked, until) VALUES (?, ?, ?, ?, ?)",
            (address, asked.client_id, granted, orjson.dumps(asked.to_json()), now + CODE_SECONDS),
        ).lastrowid
        code = self._custom.beginning + digest(self._seed, "code", number).hex()
        db.execute("UPDATE codes SET code = ? WHERE number = ?", (code, number))
        return self._custom.returned(asked, code, granted)


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

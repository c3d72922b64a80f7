"""Consents under way: one single-use document each, known by its ``state``, bound to a browser before the provider is asked."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import msgspec

from shared.cas import amend
from shared.conversion import convertible
from shared.oauth.browser import Browser
from shared.oauth.stopped import Stopped, Why
from shared.oauth.tickets import Tickets
from shared.ports import Data, Doc

LIFETIME = 600.0
"""Seconds from the link to the callback."""

KIND = "consent"


class Purpose(StrEnum):
    """What a consent is for."""

    CONNECT = "connect"
    SIGNIN = "signin"


class Prompt(StrEnum):
    """What the provider shows even where it need not: the full consent, or the choice of account."""

    CONSENT = "consent"
    SELECT_ACCOUNT = "select_account"


@convertible
@dataclass(frozen=True, slots=True)
class Consent:
    """What was asked for, by whom, and where it leads.

    ``uid`` is None where somebody signs in; ``challenge`` is then that of the application. ``browser`` is the digest of the
    one that it is bound to. ``again`` marks the second round that a missing refresh token has cost. ``scopes`` are asked for
    beyond those that every mailbox needs, and need not be granted.
    """

    purpose: Purpose
    prompt: Prompt
    uid: str | None = None
    return_to: str | None = None
    login_hint: str | None = None
    challenge: str | None = None
    browser: str | None = None
    again: bool = False
    scopes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Consents:
    """The consents of everybody at one provider; a state of another's is unknown here."""

    tickets: Tickets
    provider: str

    def open(self, consent: Consent) -> str:
        """Write a new one down; answers its state. Raises ``Retry``."""
        about = {**msgspec.to_builtins(consent), "scopes": list(consent.scopes)}
        return self.tickets.issue(self._kind, about, LIFETIME)

    def find(self, state: str) -> tuple[Consent, Doc]:
        """The consent of a state. Raises ``Stopped`` when it is unknown, used or too old."""
        doc = self.tickets.find(self._kind, state)
        if doc is None:
            raise Stopped(Why.UNKNOWN)
        return _read(doc), doc

    def bind(self, state: str, browser: Browser) -> Consent:
        """Bind a consent to a browser, for good. Raises ``Stopped`` where it belongs to another, ``Retry``."""
        _, doc = self.find(state)

        def bound(current: Doc) -> Data | None:
            if current.data["browser"] is not None:
                return None
            return {"browser": browser.digest, "rev": current.data["rev"] + 1}

        stored = amend(self.tickets.store, doc.ref, bound, doc)
        if stored is None:
            raise Stopped(Why.UNKNOWN)
        if not browser.is_the_one(stored.data["browser"]):
            raise Stopped(Why.OTHER_BROWSER)
        return _read(stored)

    def use(self, doc: Doc) -> None:
        """Use a consent up. Raises ``Stopped`` for everybody but one, ``Retry``."""
        if not self.tickets.spend(doc):
            raise Stopped(Why.UNKNOWN)

    @property
    def _kind(self) -> str:
        return f"{KIND}:{self.provider}"


def _read(doc: Doc) -> Consent:
    return msgspec.convert(doc.data, Consent)

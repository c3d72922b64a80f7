"""Accounts at Microsoft: work and school ones live in the tenant of their domain, personal ones all in the same.

Everything but the address and the kind is made from them, so an account has the same ids in every simulator.
"""

from __future__ import annotations

import base64
import sqlite3
import uuid
from dataclasses import dataclass
from typing import Any, Literal

from infra.local.microsoft.identity_scopes import EVERYTHING
from infra.local.microsoft.state import State
from infra.local.microsoft.tokens import RotatingTokens
from infra.local.simulated.chance import digest
from infra.local.simulated.errors import ControlError, UnknownThing
from infra.local.simulated.people import display_name
from infra.local.simulated.tokens import Token

Kind = Literal["work", "personal"]
PERSONAL = "9188040d-6c67-4c5b-b112-36a304b66dad"
"""The tenant of all personal accounts."""

_CONSUMER_DOMAINS = frozenset({"outlook.com", "hotmail.com", "live.com", "msn.com"})
TABLES = "CREATE TABLE IF NOT EXISTS accounts (address TEXT PRIMARY KEY, kind TEXT NOT NULL);"


@dataclass(frozen=True, slots=True)
class Account:
    """One account; ``id`` is its id in Graph, ``object_id`` the claim ``oid`` (the same for work accounts)."""

    address: str
    kind: str
    tenant: str
    id: str
    object_id: str
    name: str

    def subject(self, client: str) -> str:
        """The claim ``sub``: another one for every client."""
        return base64.urlsafe_b64encode(digest("sub", client, self.object_id)).rstrip(b"=").decode()

    def belongs_to(self, tenant: str) -> bool:
        """Whether the account may sign in at this tenant of the address: an id, a domain, or one of the three words."""
        match tenant.lower():
            case "common":
                return True
            case "organizations":
                return self.kind == "work"
            case "consumers":
                return self.kind == "personal"
            case named:
                domain = self.address.rpartition("@")[2].lower()
                return named == self.tenant or (self.kind == "work" and named == domain)


class Accounts:
    """The accounts that exist. A row of ``mailboxes`` has to be there before its account is added."""

    def __init__(self, state: State, tokens: RotatingTokens) -> None:
        self._state = state
        self._tokens = tokens

    def add(self, address: str, kind: Kind | None = None) -> dict[str, Any]:
        """Create an account unless it exists, and answer fresh tokens for all of its mail; older ones stay valid.

        Without a ``kind`` the domain decides, as it does at Microsoft: its own consumer domains are personal.
        """
        if kind is None:
            kind = "personal" if address.rpartition("@")[2].lower() in _CONSUMER_DOMAINS else "work"
        if kind not in ("work", "personal"):
            raise ControlError("kind must be work or personal.")
        with self._state.transaction() as db:
            db.execute("INSERT OR IGNORE INTO accounts VALUES (?, ?)", (address, kind))
            token = Token(address, "", EVERYTHING, self._tokens.new_family(db, address))
            refresh = self._tokens.issue_refresh(db, token)
            access = self._tokens.issue_access(db, token)
        return {
            "address": address,
            "access_token": access,
            "refresh_token": refresh,
            "expires_in": int(self._tokens.seconds),
        }

    def addresses(self, tenant: str = "common") -> list[str]:
        """All accounts that belong to a tenant, the oldest first."""
        with self._state.reading() as db:
            rows = db.execute("SELECT address, kind FROM accounts ORDER BY rowid").fetchall()
        return [row["address"] for row in rows if _account(*row).belongs_to(tenant)]

    def find(self, address: str) -> Account:
        """An account. Raises ``UnknownThing``."""
        with self._state.reading() as db:
            return find_account(db, address)

    def revoke(self, address: str) -> None:
        """Withdraw every token of an account, as when its owner or an administrator removes the grant."""
        self.find(address)
        with self._state.transaction() as db:
            self._tokens.withdraw_all(db, address)


def find_account(db: sqlite3.Connection, address: str) -> Account:
    """An account. Raises ``UnknownThing``."""
    row = db.execute("SELECT address, kind FROM accounts WHERE address = ?", (address,)).fetchone()
    if row is None:
        raise UnknownThing(f"There is no mailbox {address}.")
    return _account(*row)


def _account(address: str, kind: str) -> Account:
    own = digest("account", address.lower())
    name = display_name(address)
    if kind == "personal":
        number = own[:8].hex()
        return Account(address, kind, PERSONAL, number, f"00000000-0000-0000-{number[:4]}-{number[4:]}", name)
    tenant = uuid.UUID(bytes=digest("tenant", address.rpartition("@")[2].lower())[:16], version=4)
    object_id = str(uuid.UUID(bytes=own[:16], version=4))
    return Account(address, kind, str(tenant), object_id, object_id, name)

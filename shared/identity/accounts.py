"""Signing up and signing in, with a password or as a provider has vouched for.

Whatever is wrong is answered alike: nobody has the address, the password is another one, there were too many attempts, the
account is being deleted. Each costs one computation of a password, or none where attempts ran out, which is decided by the
typed address alone, whether anybody has it or not. Signing up with an address that is taken is signing in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared import refs
from shared.cas import amend
from shared.errors import Busy, Conflict, StoreError, TooManyRequests, Unauthorized, Unknown
from shared.identity import logins, passwords
from shared.identity.attempts import Attempt, Attempts, Held
from shared.identity.passwords import Passwords
from shared.identity.sessions import Opened, Sessions
from shared.identity.trail import Trail
from shared.observability import logs
from shared.ports import Clock, Create, Data, Doc, Store

TRIES = 5

_LOG = logs.named(__name__)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request comes from: the remote address, None where nobody can tell, and what the client calls itself."""

    address: str | None
    client: str


@dataclass(frozen=True, slots=True)
class Accounts:
    """The accounts of people who sign in here."""

    store: Store
    clock: Clock
    passwords: Passwords
    attempts: Attempts
    sessions: Sessions
    trail: Trail

    def sign_up(self, email: str, password: str, name: str | None, origin: Origin) -> Opened:
        """A session of a new account, or of the one that has this address and password.

        Raises ``InvalidRequest``; ``Unauthorized`` where the address is taken; ``TooManyRequests``; ``Retry``.
        """
        address, written = logins.normalised(email), passwords.checked(password, new=True)
        shown = logins.display_name(name)
        ref = logins.by_email(address)
        attempt = self._attempt(address, origin)
        known = self._login(ref)
        if known is None:
            kept = self.passwords.hash(written)
            uid = self._create(ref, logins.EMAIL, address, shown, password=kept)
            if uid is not None:
                return self._opened(uid, logins.EMAIL, origin, attempt, is_new=True)
            known = self._login(ref)  # somebody else was faster
        return self._verified(ref, known, written, origin, attempt)

    def sign_in(self, email: str, password: str, origin: Origin) -> Opened:
        """A session of the account with this address and password.

        Raises ``InvalidRequest``, ``Unauthorized``, ``TooManyRequests``, ``Retry``.
        """
        address, written = logins.normalised(email), passwords.checked(password)
        ref = logins.by_email(address)
        attempt = self._attempt(address, origin)
        return self._verified(ref, self._login(ref), written, origin, attempt)

    def sign_in_with(self, identity: Mapping[str, Any], origin: Origin) -> Opened:
        """A session of the account that belongs to a proven ``oauth.identities`` identity, made at the first time.

        Raises ``Unauthorized`` where that account is being deleted, ``Retry``.
        """
        provider, subject = str(identity["provider"]), str(identity["subject"])
        ref = logins.by_subject(provider, subject)
        for _ in range(TRIES):
            known = self._login(ref)
            if known is not None:
                return self._opened(str(known.data["uid"]), provider, origin)
            email = logins.told(identity["email"]) if identity["email_verified"] else None
            uid = self._create(ref, provider, email, logins.told(identity["name"]))
            if uid is not None:
                return self._opened(uid, provider, origin, is_new=True)
        raise Busy("The account could not be written; try again.", retry_after=2)

    def _attempt(self, address: str, origin: Origin) -> Attempt:
        taken = self.attempts.take(address, origin.address)
        if not isinstance(taken, Held):
            return taken
        if taken.by_account:
            raise refusal()
        raise TooManyRequests(
            "There were too many attempts to sign in from your network.", retry_after=taken.until - self.clock.now()
        )

    def _login(self, ref: str) -> Doc | None:
        return self.store.get([ref]).get(ref)

    def _verified(self, ref: str, known: Doc | None, written: bytes, origin: Origin, attempt: Attempt) -> Opened:
        kept = None if known is None else str(known.data["password"])
        if not self.passwords.verify(kept, written) or known is None or kept is None:
            raise refusal()
        opened = self._opened(str(known.data["uid"]), logins.EMAIL, origin, attempt)
        if self.passwords.is_outdated(kept):
            self._renew(ref, kept, written)
        return opened

    def _renew(self, ref: str, kept: str, written: bytes) -> None:
        """Keep the password as a new one would be kept; should that fail, the next sign-in does it."""
        renewed = self.passwords.hash(written)
        try:
            amend(self.store, ref, lambda doc: {"password": renewed} if doc.data["password"] == kept else None)
        except StoreError as error:
            _LOG.warning("login_not_renewed", "A password is still kept with outdated parameters.", error)

    def _create(self, ref: str, method: str, email: str | None, name: str | None, **more: Any) -> str | None:
        """The uid of a new account with this login; None where somebody has it now. Raises ``Retry``."""
        uid, now = logins.new_uid(self.clock), self.clock.now()
        profile: Data = {"uid": uid, "email": email, "name": name, "role": "owner", "created_at": now, "rev": 1}
        for _ in range(TRIES):
            try:
                self.store.commit(
                    [Create(ref, logins.login(uid, method, now, **more)), Create(refs.user(uid), profile)]
                )
                return uid
            except (Conflict, Unknown):
                known = self._login(ref)
                if known is not None:
                    return uid if known.data["uid"] == uid else None
        raise Busy("The account could not be written; try again.", retry_after=2)

    def _opened(
        self, uid: str, method: str, origin: Origin, attempt: Attempt | None = None, *, is_new: bool = False
    ) -> Opened:
        try:
            opened = self.sessions.open(uid, method, origin.client)
        except Unauthorized:
            raise refusal() from None
        if attempt is not None:
            self.attempts.succeeded(attempt)
        self.trail.add(uid, "sign_up" if is_new else "sign_in", method=method, session=opened.id)
        return opened


def refusal() -> Unauthorized:
    """What everybody is told who may not sign in, whyever."""
    return Unauthorized(
        "The address or the password is wrong, or there were too many attempts: try again later.",
        reason="sign_in_refused",
    )

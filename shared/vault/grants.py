"""Grants: the sealed tokens of one provider account, handed out fresh, refreshed by one step at a time.

::

    fresh (expires in more than 5 min) --> the token                     one read, then remembered by the instance
    ageing, or refused by the provider -->
               claim free?   yes: compare-and-set `refreshing_until`, call the provider, save by compare-and-set
                             no:  the old token while it lasts 30 s more, else Retry in 2 s

The claim is taken before the call, so that many steps make one call; its deadline lets another take over from a holder
that died. ``version`` counts token sets: whoever finds another one after his own call, by a reconnect or by a faster
refresh, uses the row instead of his answer. A refused refresh token kills the grant only if it is still the current one
and nobody can hold its successor: not while another has the claim, and not where the claim was taken over from somebody
who never reported back, until that one has had as long again to do so. A dead grant comes back by ``put`` alone.

A data key may be replaced at any moment (``rotation.py``). So that no token is ever sealed under one that is gone, whoever
writes a token first reads the row, then has it sealed, then writes on the version that was read: a rotation touches each row
before it drops a key. ``set`` names a token set, whatever it is sealed under. A row that was read before and opened after a
rotation is read again.

Over 300 lines: everything that writes a grant guards the same few fields, and has to be read together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from shared import refs
from shared.cas import amend
from shared.errors import Busy, Conflict, ReauthRequired, Retry, StoreError, Unknown
from shared.observability import logs
from shared.ports import Clock, Create, Data, Doc, Store, Update
from shared.providers.base import Tokens
from shared.vault.memory import TokenMemory
from shared.vault.seal import Vault
from shared.vault.texts import Unopenable, made_by

REFRESH_AHEAD = 300.0
STILL_GOOD = 30.0
CLAIM_SECONDS = 60.0
ATTEMPTS = 8
SAVE_PAUSES = (0.2, 0.5, 1.0, 2.0)
"""Seconds between attempts to save a rotated token while the store is out of reach: it exists nowhere else."""

ACTIVE, DEAD = "active", "dead"

_LOG = logs.named(__name__)


@dataclass(frozen=True, slots=True)
class Lease:
    """An access token, when it expires, and what it is good for at its provider."""

    access: str = field(repr=False)
    expires_at: float
    scopes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Grants:
    """The grants of all users."""

    store: Store
    vault: Vault
    clock: Clock
    _memory: TokenMemory = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_memory", TokenMemory(self.clock))

    def put(
        self,
        uid: str,
        grant_id: str,
        provider: str,
        access: str,
        refresh: str | None,
        expires_in: float,
        scopes: Sequence[str] = (),
        extra: Sequence[str] = (),
    ) -> None:
        """Keep the tokens of a new or reconnected grant, which is active from then on.

        A reconnect that brings no refresh token keeps the one of a grant that is not dead: Google hands it out at the
        first consent only. Scopes that such a grant has had stay, for later consents add to them.
        ``extra`` are those beyond what every mailbox needs, to be named at each refresh. Raises ``Retry``.
        """
        ref, token_set = refs.grant(uid, grant_id), self._token_set()
        for _ in range(ATTEMPTS):
            now = self.clock.now()
            row = self._row(ref)
            if row is not None and row.data.get("set") == token_set and self._stays_open(uid, row.data["sealed"]):
                return  # our own write, whose answer was lost
            brought = self._sealed(uid, ref, provider, access, refresh, begins=True)
            keeps = row is not None and row.data["status"] == ACTIVE and row.data["provider"] == provider
            kept = row.data["sealed"]["refresh"] if row is not None and keeps else None
            tokens: Data = {
                "provider": provider,
                "set": token_set,
                "sealed": {**brought, "refresh": brought["refresh"] or kept},
                "expires_at": now + expires_in,
                "scopes": _union(row.data["scopes"] if row is not None and keeps else (), scopes),
                "extra": _union(row.data.get("extra", ()) if row is not None and keeps else (), extra),
                "status": ACTIVE,
                "version": row.data["version"] + 1 if row else 1,
                "refreshing_until": 0.0,
                "claim": "",
                "rev": row.data["rev"] + 1 if row else 1,
                "updated_at": now,
            }
            try:
                if row is None:
                    subject = grant_id.partition(":")[2]
                    self.store.commit([Create(ref, {**tokens, "subject": subject, "created_at": now})])
                else:
                    self.store.commit([Update(ref, tokens, row.version)])
            except (Conflict, Unknown):
                continue
            # A rotation that looked for grants before there was this one may have dropped the key meanwhile.
            if row is not None or self._stays_open(uid, brought):
                return
        raise Busy("The grant is being written too often; try again.", retry_after=2)

    def usable(self, uid: str, grant_id: str) -> bool:
        """Whether there is an active grant that has, or can get, a valid token. Opens nothing."""
        row = self._row(refs.grant(uid, grant_id))
        return row is not None and self.works(row)

    def works(self, row: Doc) -> bool:
        """The same of a grant that was read."""
        if row.data["status"] != ACTIVE:
            return False
        return row.data["sealed"]["refresh"] is not None or self._lasts(row.data, STILL_GOOD)

    def access_token(
        self,
        uid: str,
        grant_id: str,
        refresh: Callable[..., Tokens],
        *,
        rejected: str | None = None,
        epoch: int = 0,
    ) -> str:
        """A token that is valid for at least 30 s, refreshed if need be by ``refresh(refresh_token)``.

        ``rejected`` is a token that the provider has just refused: it is not handed out again, whatever its expiry.
        ``epoch`` is the mailbox's: a connection made anew, perhaps with other tokens, never gets a remembered one.
        Raises ``ReauthRequired`` when the grant is gone, dead or cannot be opened, ``Retry`` when another step is
        refreshing an expired token, and whatever ``refresh`` raises.
        """
        ref = refs.grant(uid, grant_id)
        token = self._memory.recall(ref, epoch)
        if token is not None and token != rejected:
            return token
        lease = self.lease(uid, grant_id, refresh, rejected=rejected)
        self._memory.keep(ref, epoch, lease.access, lease.expires_at - REFRESH_AHEAD)
        return lease.access

    def lease(self, uid: str, grant_id: str, refresh: Callable[..., Tokens], *, rejected: str | None = None) -> Lease:
        """As ``access_token``, with what there is to know of the token, and never one that is only remembered."""
        ref = refs.grant(uid, grant_id)
        for _ in range(ATTEMPTS):
            row = self._live(ref)
            access = self._open(uid, row, "access")
            accepted = access != rejected
            if accepted and self._lasts(row.data, REFRESH_AHEAD):
                return Lease(access, row.data["expires_at"], tuple(row.data["scopes"]))
            claimed_by_another = row.data["refreshing_until"] > self.clock.now()
            if claimed_by_another or row.data["sealed"]["refresh"] is None:
                if accepted and self._lasts(row.data, STILL_GOOD):
                    return Lease(access, row.data["expires_at"], tuple(row.data["scopes"]))
                if claimed_by_another:
                    raise Busy("The access token is being refreshed.", retry_after=2)
                if self.revoked(uid, grant_id, access):
                    raise ReauthRequired("The access token no longer works and there is no refresh token.")
                continue
            old = self._open(uid, row, "refresh")
            held = self._claim(row)
            if held is None:
                continue
            fresh = self._call(refresh, old, held, taken_over=row.data["claim"] != "")
            if fresh is not None and self._save(uid, held, fresh):
                return Lease(fresh.access, fresh.expires_at, tuple(row.data["scopes"]))
        raise Busy("The grant is being written too often; try again.", retry_after=2)

    def inherit(self, uid: str, grant_id: str, old_id: str) -> None:
        """Let a grant that came without a refresh token have the one of the grant it replaces, of the same account.

        Google hands a refresh token out at the first consent only. Raises ``ReauthRequired`` if it cannot be opened.
        """
        ref, old_ref = refs.grant(uid, grant_id), refs.grant(uid, old_id)
        rows = self.store.get([ref, old_ref])
        row, old = rows.get(ref), rows.get(old_ref)
        if row is None or old is None or row.data["sealed"]["refresh"] is not None:
            return
        if old.data["status"] != ACTIVE or old.data["sealed"]["refresh"] is None:
            return
        token = self._open(uid, old, "refresh")

        def kept(row: Doc) -> Data | None:
            if row.data["sealed"]["refresh"] is not None:
                return None
            sealed = self.vault.seal(uid, _purpose(row.data["provider"], ref, "refresh"), token.encode(), begins=False)
            return {"sealed": {**row.data["sealed"], "refresh": sealed}, "rev": row.data["rev"] + 1}

        amend(self.store, ref, kept, row)

    def reseal(self, uid: str, row: Doc) -> bool:
        """Seal the tokens of a grant under the current data key, if they are not; answers whether they can be opened.

        Raises ``Retry``, ``ConfigurationError``.
        """

        def resealed(row: Doc) -> Data | None:
            sealed: Data = row.data["sealed"]
            if self._stays_open(uid, sealed):
                return None
            provider = row.data["provider"]
            opened = {
                kind: self.vault.open(uid, _purpose(provider, row.ref, kind), text).decode()
                for kind, text in sealed.items()
                if text is not None
            }
            fresh = self._sealed(uid, row.ref, provider, opened["access"], opened.get("refresh"))
            return {"sealed": fresh, "rev": row.data["rev"] + 1}

        try:
            amend(self.store, row.ref, resealed, row)
        except Unopenable as error:
            _LOG.warning("grant_not_resealed", "A grant cannot be opened, and is left as it is.", error)
            return False
        return True

    def revoked(self, uid: str, grant_id: str, token: str | None = None) -> bool:
        """Mark a grant dead because the provider refused a token that should be valid; answer whether it is dead.

        With ``token``, only if it is still the grant's current one: a reconnect or refresh may have overtaken the call.
        """

        def decide(row: Doc) -> Data | None:
            if row.data["status"] == DEAD:
                return None
            if token is not None and self._open(uid, row, "access") != token:
                return None
            return self._dead(row)

        row = amend(self.store, refs.grant(uid, grant_id), decide)
        return row is None or row.data["status"] == DEAD

    def last_token(self, uid: str, grant_id: str) -> str | None:
        """What to give back to the provider so that the grant ends there; None where none can be opened. Raises ``Retry``."""
        row = self._row(refs.grant(uid, grant_id))
        if row is None:
            return None
        try:
            return self._open(uid, row, "refresh" if row.data["sealed"]["refresh"] is not None else "access")
        except ReauthRequired:
            return None

    def _row(self, ref: str) -> Doc | None:
        return self.store.get([ref]).get(ref)

    def _live(self, ref: str) -> Doc:
        row = self._row(ref)
        if row is None:
            raise ReauthRequired("There is no grant for this account.")
        if row.data["status"] != ACTIVE:
            raise ReauthRequired("The provider no longer accepts the grant.")
        return row

    def _lasts(self, data: Data, seconds: float) -> bool:
        return bool(data["expires_at"] - self.clock.now() > seconds)

    def _claim(self, row: Doc) -> Doc | None:
        """Take the claim; None if the row changed meanwhile. A lost answer is settled by the claim's own name."""
        claim: Data = {
            "refreshing_until": self.clock.now() + CLAIM_SECONDS,
            "claim": self.clock.entropy(8).hex(),
            "rev": row.data["rev"] + 1,
        }
        try:
            version = self.store.commit([Update(row.ref, claim, row.version)])[0]
        except Conflict:
            return None
        except Unknown:
            found = self._row(row.ref)
            return found if found is not None and found.data["claim"] == claim["claim"] else None
        return Doc(row.ref, {**row.data, **claim}, version or "")

    def _call(self, refresh: Callable[..., Tokens], old: str, held: Doc, *, taken_over: bool) -> Tokens | None:
        """Ask the provider; None if it refused a token that may have, or has, a successor."""

        def refused(row: Doc) -> Data | None:
            if not _same(row, held) or row.data["claim"] != held.data["claim"]:
                return None
            return self._waiting(row) if taken_over else self._dead(row)

        try:
            # Some providers give a token for the scopes that are named alone; others are not bothered with them.
            extra = held.data.get("extra")
            return refresh(old, extra) if extra else refresh(old)
        except ReauthRequired:
            row = amend(self.store, held.ref, refused)
            if row is not None and row.data["status"] == ACTIVE:
                return None
            _LOG.warning("grant_dead", "The provider no longer accepts the grant.", provider=held.data["provider"])
            raise
        except Exception:
            self._release(held)
            raise

    def _release(self, held: Doc) -> None:
        """Give the claim back; if that fails its deadline will, so the caller hears of the first error, not of this."""
        try:
            amend(
                self.store,
                held.ref,
                lambda row: (
                    {"refreshing_until": 0.0, "claim": "", "rev": row.data["rev"] + 1}
                    if row.data["claim"] == held.data["claim"]
                    else None
                ),
                held,
            )
        except StoreError as error:
            _LOG.warning("claim_not_released", "A refresh claim will run into its deadline.", error=error)

    def _save(self, uid: str, held: Doc, fresh: Tokens) -> bool:
        """Save a token set over the one that it replaces; False if the row has another by now.

        That somebody else has claimed the row since does not matter: what we hold is newer than what it has.
        """
        pauses = iter(SAVE_PAUSES)
        token_set = self._token_set()

        def decide(row: Doc) -> Data | None:
            if not _same(row, held) or row.data["status"] != ACTIVE:
                return None
            sealed = self._sealed(uid, row.ref, row.data["provider"], fresh.access, fresh.refresh)
            # A token endpoint that names no new refresh token leaves the old one in use.
            sealed["refresh"] = sealed["refresh"] or row.data["sealed"]["refresh"]
            return {
                "set": token_set,
                "sealed": sealed,
                "expires_at": fresh.expires_at,
                "version": row.data["version"] + 1,
                "refreshing_until": 0.0,
                "claim": "",
                "rev": row.data["rev"] + 1,
                "updated_at": self.clock.now(),
            }

        known: Doc | None = held
        while True:
            try:
                row = amend(self.store, held.ref, decide, known)
            except Retry:
                if (pause := next(pauses, None)) is None:
                    raise
                self.clock.sleep(pause)
                known = None
                continue
            return row is not None and row.data.get("set") == token_set

    def _waiting(self, row: Doc) -> Data:
        """Nobody's claim: whoever had it before the last may yet save what the refused token was traded for."""
        return {
            "refreshing_until": self.clock.now() + CLAIM_SECONDS,
            "claim": "",
            "rev": row.data["rev"] + 1,
        }

    def _dead(self, row: Doc) -> Data:
        return {
            "status": DEAD,
            "refreshing_until": 0.0,
            "claim": "",
            "rev": row.data["rev"] + 1,
            "updated_at": self.clock.now(),
        }

    def _sealed(
        self, uid: str, ref: str, provider: str, access: str, refresh: str | None, *, begins: bool = False
    ) -> dict[str, Any]:
        """Seal tokens; only what a person has just granted ``begins`` a data key, or an erased one would come back."""

        def sealed(kind: str, token: str) -> str:
            return self.vault.seal(uid, _purpose(provider, ref, kind), token.encode(), begins=begins)

        return {"access": sealed("access", access), "refresh": sealed("refresh", refresh) if refresh else None}

    def _open(self, uid: str, row: Doc, kind: str) -> str:
        """A token of a row; where its key was dropped since the row was read, of the row as it is now."""
        for _ in range(ATTEMPTS):
            try:
                return self.vault.open(
                    uid, _purpose(row.data["provider"], row.ref, kind), row.data["sealed"][kind]
                ).decode()
            except Unopenable:
                now = self._row(row.ref)
                if now is None or now.version == row.version:
                    raise
                row = now
        raise Busy("The grant is being written too often; try again.", retry_after=2)

    def _stays_open(self, uid: str, sealed: Data) -> bool:
        """Whether tokens are sealed under the key that seals now; where there is none any more, nothing has to stay open."""
        current = self.vault.current(uid)
        return not current or all(text is None or made_by(text) == current for text in sealed.values())

    def _token_set(self) -> str:
        return self.clock.entropy(8).hex()


def _union(*lists: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(name for names in lists for name in names))


def _same(row: Doc, held: Doc) -> bool:
    """Whether the row still has the token set that was read.

    A grant that was deleted and made anew counts from 1 again; and rows of before rotations have no ``set``.
    """
    return all(row.data.get(name) == held.data.get(name) for name in ("set", "version", "created_at"))


def _purpose(provider: str, ref: str, kind: str) -> str:
    return f"{provider} {ref} {kind}"

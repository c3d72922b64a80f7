"""All data keys wrapped anew under the newest version of the key-encryption key, while everything goes on.

Each document is one compare-and-set, so a crash leaves some keys under the old version and some under the new, and both open.
How far a run has come is written down after each page, for the next to go on from; a run for another version starts over.
A walk is only done when a whole one has found nothing to wrap: while it ran, an instance that had not noticed the new version
may have made a key under the old one behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from shared import queries, refs
from shared.cas import amend
from shared.errors import Busy, Conflict, Unknown
from shared.observability import logs
from shared.ports import Create, Data, Store
from shared.vault.datakeys import DataKeys
from shared.vault.texts import KeyLost, Unopenable, bound, made_by
from shared.vault.wrapping import PROBE, Wrapping

POSITION = "claims/rewrap"
PAGE = 100
WALKS = 10

_LOG = logs.named(__name__)


@dataclass(frozen=True, slots=True)
class Rewrapped:
    """What a run has done, in documents: ``lost`` says by what they were wrapped whose vault key is missing or disabled."""

    target: str
    seen: int = 0
    changed: int = 0
    lost: Mapping[str, int] = field(default_factory=dict)
    unopenable: int = 0


def target_of(wrapping: Wrapping) -> str:
    """What ``made_by`` says of texts that are wrapped now. Raises ``Retry``, ``ConfigurationError``."""
    return made_by(wrapping.wrap(PROBE, bound("probe", "", "")))


def rewrap(
    store: Store,
    wrapping: Wrapping,
    keys: DataKeys,
    said: Callable[[Rewrapped], None],
    *,
    forget: str = "",
) -> Rewrapped:
    """Wrap every data key under the newest version; ``said`` is told after each page.

    ``forget`` is one of ``Rewrapped.lost``: what was wrapped by it, and still does not open, is deleted for good, and its
    people are asked to connect again. May be repeated after any failure. Raises ``Retry``, ``ConfigurationError``.
    """
    target = target_of(wrapping)
    after = _begun(store, target)
    changed = 0
    for _ in range(WALKS):
        whole = after is None
        done = _walk(store, keys, Rewrapped(target, changed=changed), after, said, forget)
        after, before, changed = None, changed, done.changed
        if whole and done.changed == before:
            return done
    raise Busy("Data keys keep being made under an older vault key.")


def _walk(
    store: Store,
    keys: DataKeys,
    run: Rewrapped,
    after: str | None,
    said: Callable[[Rewrapped], None],
    forget: str,
) -> Rewrapped:
    while True:
        page = store.query(queries.data_keys(PAGE, after))
        for doc in page:
            uid = refs.key(doc.ref)
            run = replace(run, seen=run.seen + 1)
            try:
                if keys.rewrap(uid, doc, run.target):
                    run = replace(run, changed=run.changed + 1)
            except KeyLost:
                by, seals = keys.lost(uid, doc)
                if by != forget:
                    run = replace(run, lost={**run.lost, by: run.lost.get(by, 0) + 1})
                elif seals:
                    keys.forget(uid)
                else:
                    keys.retire(doc)
            except Unopenable as error:
                _LOG.warning("key_not_rewrapped", "A data key cannot be opened, and is left as it is.", error)
                run = replace(run, unopenable=run.unopenable + 1)
        after = refs.key(page[-1].ref) if len(page) == PAGE else None
        _write_down(store, run.target, after)
        said(run)
        if after is None:
            return run


def _begun(store: Store, target: str) -> str | None:
    """The uid that a run for the same version has come to; None for a start."""
    found = store.get([POSITION]).get(POSITION)
    return found.data["after"] if found is not None and found.data["target"] == target else None


def _write_down(store: Store, target: str, after: str | None) -> None:
    position: Data = {"target": target, "after": after}
    found = amend(
        store, POSITION, lambda row: None if all(row.data[name] == position[name] for name in position) else position
    )
    if found is None:
        try:
            store.commit([Create(POSITION, position)])
        except (Conflict, Unknown):
            return  # a position that is not kept costs a walk over what is done

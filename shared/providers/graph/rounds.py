"""Rounds of changes, as Graph tells of them for one folder or for all folders: pages joined by links, each read one by one.

A first round brings everything and ends in a link that brings what has changed since. What to tell of is fixed by the
first request of a round and baked into its links. Changes are never filtered: with a filter a round ends after 5,000
messages and says nothing of the rest (docs/graph.md, 1 to 3).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared.errors import CursorExpired, ProviderUnavailable
from shared.providers.base import FOLDER, Left
from shared.providers.graph.links import may_follow, resolved
from shared.providers.graph.normalise import identifier

NEXT = "@odata.nextLink"
_DELTA = "@odata.deltaLink"
_REMOVED = "@removed"


@dataclass(frozen=True, slots=True)
class Round:
    """One page of a round: its entries, each with a usable id, the link that follows, and whether that is another page."""

    entries: tuple[Mapping[str, Any], ...]
    link: str
    more: bool


def read_round(answer: Mapping[str, Any], asked: str) -> Round:
    """Read the answer to a request for ``asked``.

    Raises ``ProviderUnavailable`` where it does not name its entries or does not lead on: to go on would skip something.
    """
    following, final = answer.get(NEXT), answer.get(_DELTA)
    link = resolved(following if following is not None else final, asked)
    if link is None:
        raise ProviderUnavailable("Outlook's answer does not say where to go on from.")
    if following is not None and link == asked:
        raise ProviderUnavailable("Outlook's pages go in a circle.")
    return Round(entries(answer), link, more=following is not None)


def entries(answer: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """The entries of a page. Raises ``ProviderUnavailable`` for one without a usable id."""
    found = answer.get("value")
    if not isinstance(found, list) or not all(
        isinstance(entry, Mapping) and identifier(entry.get("id")) for entry in found
    ):
        raise ProviderUnavailable("Outlook's answer has an entry without a usable id.")
    return tuple(found)


def is_removed(entry: Mapping[str, Any]) -> bool:
    """Whether an entry says that something is no longer here."""
    return _REMOVED in entry


def left(entry: Mapping[str, Any], folder: str) -> Left:
    """A removed message: moved or deleted, whatever reason is given (docs/graph.md, 5)."""
    return Left(str(entry["id"]), FOLDER + folder)


def followed(cursor: str, root: str) -> str:
    """A link that was kept. Raises ``CursorExpired`` for one to another server than that which is asked now."""
    if not may_follow(cursor, root):
        raise CursorExpired("The stored link leads to another server than GRAPH_API_URL.")
    return cursor

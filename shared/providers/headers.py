"""Header fields as every provider serves them, a list of names and values by strangers: collected, decoded, bounded."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TypeAlias

from shared.providers import words
from shared.providers.addresses import bare
from shared.providers.bounds import MAX_HEADER
from shared.providers.text import clean, unfold

STRUCTURAL = ("From", "To", "Cc", "Bcc", "Subject", "Date")
"""The headers that a ``Message`` is made of; they have to be asked for whatever the allow-list says."""

Fields: TypeAlias = dict[str, list[str]]
"""Raw values, unfolded, by the lower-case name of their header."""

_ADDRESSES = frozenset(("from", "to", "cc", "bcc", "reply-to", "sender"))
_SHORT = 200  # characters of an address header that is worth remembering


@lru_cache(maxsize=16)
def canonical(headers: tuple[str, ...]) -> tuple[tuple[tuple[str, str], ...], dict[str, str]]:
    """The allow-list as (lower-case name, name), and the lower-case name of every header that is kept.

    The latter is by the usual spellings as well, which spares most headers the conversion.
    """
    allowed = {name.lower(): name for name in headers}
    return tuple(allowed.items()), {
        spelling: name.lower() for name in (*STRUCTURAL, *headers) for spelling in (name, name.lower())
    }


def collect(entries: object, wanted: Mapping[str, str]) -> Fields:
    """Collect the values that matter from a list of ``{"name": ..., "value": ...}``; whatever is none is left out."""
    fields: Fields = {}
    for entry in entries if isinstance(entries, list) else ():
        if not isinstance(entry, dict):
            continue
        name, value = entry.get("name"), entry.get("value")
        if not isinstance(name, str) or not isinstance(value, str):
            continue
        key = wanted.get(name) or wanted.get(name.lower())
        if key is None:
            continue
        # Most values are printable: nothing in them is folded, and nothing has to be replaced.
        text = value.lstrip(" ") if value.isprintable() else unfold(clean(value))
        if key in fields:
            fields[key].append(text)
        else:
            fields[key] = [text]
    return fields


def kept(fields: Fields, allowed: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """The allow-listed headers that are there, as people read them, by their canonical names."""
    return {
        name: _addressed(fields[key]) if key in _ADDRESSES else ", ".join(decoded(fields[key]))
        for key, name in allowed
        if key in fields
    }


def decoded(values: list[str]) -> list[str]:
    """Values with their encoded words decoded."""
    if len(values) == 1 and "=?" not in values[0]:
        return values
    return [words.decode(value, enough=MAX_HEADER) for value in values]


def recipients(values: list[str]) -> tuple[str, ...]:
    """The bare addresses in the values of an address header."""
    if len(values) == 1 and len(values[0]) <= _SHORT:
        return _remembered(values[0])[1]
    return tuple([address for value in values for address in bare(value)])


def _addressed(values: list[str]) -> str:
    """An address header as people read it."""
    if len(values) == 1 and len(values[0]) <= _SHORT:
        return _remembered(values[0])[0]
    return ", ".join([words.decode(value, quote=True, enough=MAX_HEADER) for value in values])


@lru_cache(maxsize=1024)
def _remembered(value: str) -> tuple[str, tuple[str, ...]]:
    """An address header as people read it, and its addresses: the same few are in most of a mailbox."""
    return words.decode(value, quote=True, enough=MAX_HEADER), tuple(bare(value))

"""Replacing one function of the product, everywhere it is known by its name, and counting who calls it.

A name that is gone fails at once (``Stale``), and a replacement that nobody has called proves nothing (``Unused``).
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import shared.events
import shared.mail
import shared.providers
import shared.vault

Make = Callable[[Any], Callable[..., Any]]
"""From the function as it is to the one that takes its place."""


class Stale(Exception):
    """The product has no such function any more."""


class Unused(Exception):
    """Nobody has called the function that was replaced."""


@dataclass(slots=True)
class Calls:
    """How often the replacement was called."""

    number: int = 0


@contextmanager
def replaced(target: str, make: Make) -> Iterator[Calls]:
    """Put another function in the place of ``module:function`` or ``module:Class.method``. Raises ``Stale``."""
    _load_everything()
    module_name, _, path = target.partition(":")
    owner_name, _, name = path.rpartition(".")
    module = importlib.import_module(module_name)
    owner = getattr(module, owner_name, None) if owner_name else module
    original = vars(owner).get(name) if owner is not None else None
    if not callable(original):
        raise Stale(f"There is no function {target}.")
    calls, mutated = Calls(), make(original)

    def counted(*args: Any, **kwargs: Any) -> Any:
        calls.number += 1
        return mutated(*args, **kwargs)

    places: list[tuple[Any, str]] = [(owner, name)] if owner_name else list(_places(original))
    tables = [(table, key) for table in _tables() for key, value in table.items() if value is original]
    for place, known_as in places:
        setattr(place, known_as, counted)
    for table, key in tables:
        table[key] = counted
    try:
        yield calls
    finally:
        for place, known_as in places:
            setattr(place, known_as, original)
        for table, key in tables:
            table[key] = original


def _places(function: Any) -> Iterator[tuple[Any, str]]:
    """Where a function is known: its module, and whoever has imported it by name."""
    for module in _modules():
        for name, value in list(vars(module).items()):
            if value is function:
                yield module, name


def _tables() -> Iterator[dict[Any, Any]]:
    """The dictionaries in which the product keeps functions to choose from."""
    for module in _modules():
        for name, value in list(vars(module).items()):
            if isinstance(value, dict) and name.isupper():
                yield value


def _modules() -> list[Any]:
    """The product's modules, and that of the machine, which drives it by functions that it has imported."""
    loaded = list(sys.modules.items())
    return [module for name, module in loaded if name.startswith("shared.") or name == "tests.machine"]


def _load_everything() -> None:
    """What is first imported while a function is replaced would keep the replacement."""
    for package in (shared.mail, shared.events, shared.providers, shared.vault):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(found.name)

"""The functions of ``infra/functions.yaml``, read and checked."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
TRIGGERS = ("http", "topic", "queue", "schedule")
LONGEST = 4
"""Segments that a prefix may have."""

_GRANTS = ("none", "seal", "open")
_PREFIX = re.compile(rf"/|(?:/[a-z0-9_-]+){{1,{LONGEST}}}")


class CatalogueError(ValueError):
    """The file of functions does not say what it has to say."""


@dataclass(frozen=True, slots=True)
class Function:
    """One deployable function; ``trigger`` is a pair such as ``("topic", "gmail")``."""

    name: str
    source: Path
    entry_point: str
    trigger: tuple[str, str]
    path: str
    public: tuple[str, ...]
    identity: str
    concurrency: int
    timeout_seconds: int
    memory: str
    min_instances: int
    secrets: tuple[str, ...]
    grants: str
    publishes: tuple[str, ...]
    also: tuple[str, ...] = ()

    @property
    def prefixes(self) -> tuple[str, ...]:
        """All paths below which the function is found."""
        return (self.path, *self.also)

    def is_public(self, path: str) -> bool:
        """Whether anyone may call this path of the function."""
        return any(path == rule or (rule.endswith("*") and path.startswith(rule[:-1])) for rule in self.public)


def load(path: Path = ROOT / "infra" / "functions.yaml") -> tuple[Function, ...]:
    """Read the functions in the order of the file. Raises ``CatalogueError`` naming the entry that is wrong."""
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    functions = tuple(_function(name, entry) for name, entry in document["functions"].items())
    for attribute, values in (
        ("path", [prefix for function in functions for prefix in function.prefixes]),
        ("identity", [function.identity for function in functions]),
    ):
        if len(values) != len(set(values)):
            raise CatalogueError(f"Two functions share the same {attribute}.")
    return functions


def routed(prefixes: Container[str], path: str) -> str | None:
    """The longest of the prefixes that holds a path, by whole segments; "/" holds every path. None where none does."""
    segments = path.lstrip("/").split("/", LONGEST)[:LONGEST]
    for count in range(len(segments), -1, -1):
        prefix = "/" + "/".join(segments[:count])
        if prefix in prefixes:
            return prefix
    return None


def topics(functions: Iterable[Function]) -> list[str]:
    """The topics of the product: those it publishes to and those its functions listen to."""
    heard = {value for function in functions for kind, value in [function.trigger] if kind == "topic"}
    return sorted(heard.union(*(function.publishes for function in functions)))


def _function(name: str, entry: dict[str, Any]) -> Function:
    known = {spec.name for spec in fields(Function)} - {"name"}
    needed = known - {spec.name for spec in fields(Function) if spec.default is not MISSING}
    if wrong := (set(entry) - known) | (needed - set(entry)):
        raise CatalogueError(f"{name}: these fields are missing or unknown: {sorted(wrong)}.")
    also = tuple(entry.get("also", ()))
    if not all(_PREFIX.fullmatch(prefix) for prefix in (entry["path"], *also)):
        raise CatalogueError(f"{name}: a path is / or up to {LONGEST} segments of a-z, 0-9, - and _.")
    trigger = entry["trigger"]
    if len(trigger) != 1 or next(iter(trigger)) not in TRIGGERS:
        raise CatalogueError(f"{name}: the trigger must be exactly one of {', '.join(TRIGGERS)}.")
    if entry["grants"] not in _GRANTS:
        raise CatalogueError(f"{name}: grants must be one of {', '.join(_GRANTS)}.")
    kind, value = next(iter(trigger.items()))
    return Function(
        name=name,
        source=ROOT / entry["source"],
        entry_point=entry["entry_point"],
        trigger=(kind, str(value)),
        path=entry["path"],
        public=tuple(entry["public"]),
        identity=entry["identity"],
        concurrency=int(entry["concurrency"]),
        timeout_seconds=int(entry["timeout_seconds"]),
        memory=entry["memory"],
        min_instances=int(entry["min_instances"]),
        secrets=tuple(entry["secrets"]),
        grants=entry["grants"],
        publishes=tuple(entry["publishes"]),
        also=also,
    )

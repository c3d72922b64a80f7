"""``infra/firestore.indexes.json``, worked out from the query shapes that the product declares.

Firestore indexes every field of every document unless told otherwise, and what is never asked for would cost more than the
documents themselves. So each collection is exempt as a whole, and what a query needs is given back: a single-field index
where it filters or orders by one field, a composite one where it filters by some and orders by another. A collection-group
query needs an index of that scope.

``python -m infra.cloud.indexes`` writes the file, in the form that ``firebase deploy`` reads; ``infra/deploy.sh`` makes the
same with ``gcloud``. There is no TTL in it: see ``docs/decisions/firestore-indexes.md``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from shared.ports import Shape
from shared.queries import SHAPES

PATH = Path(__file__).resolve().parents[1] / "firestore.indexes.json"

COLLECTIONS = (
    "users", "grants", "mailboxes", "messages", "log", "gaps", "cursors", "resync", "streams", "watermarks", "effects",
    "intents", "routes", "oauth", "limits", "audit", "logins", "sessions", "attempts", "tombstones", "exports",
)  # fmt: skip
"""Every collection id below which the product writes documents (``shared/refs.py``); a test records them."""

KEY_COLLECTIONS = ("keys", "claims")
"""The same in the database of keys, which is only ever walked from end to end."""


def configuration(shapes: Iterable[Shape], collections: Iterable[str] = COLLECTIONS) -> dict[str, Any]:
    """The file's content for a set of shapes, in a stable order."""
    ordered = sorted(shapes, key=lambda shape: (shape.group, shape.scoped, shape.equal, shape.order or ""))
    composite = [_composite(shape) for shape in ordered if len(_fields(shape)) > 1]
    single: dict[tuple[str, str], list[dict[str, str]]] = {}
    for shape in ordered:
        if len(fields := _fields(shape)) == 1:
            indexes = single.setdefault((shape.group, fields[0]), [])
            index = {"order": "ASCENDING", "queryScope": _scope(shape)}
            if index not in indexes:
                indexes.append(index)
    overrides: list[dict[str, Any]] = [
        {"collectionGroup": name, "fieldPath": "*", "indexes": []} for name in sorted(collections)
    ]
    overrides += [
        {"collectionGroup": group, "fieldPath": name, "indexes": indexes}
        for (group, name), indexes in sorted(single.items())
    ]
    return {"indexes": composite, "fieldOverrides": overrides}


def _composite(shape: Shape) -> dict[str, Any]:
    fields = [{"fieldPath": name, "order": "ASCENDING"} for name in _fields(shape)]
    return {"collectionGroup": shape.group, "queryScope": _scope(shape), "fields": fields}


def _fields(shape: Shape) -> tuple[str, ...]:
    """What a query filters or orders by; the name of the document, which comes last everywhere, needs no index."""
    return (*sorted(shape.equal), *((shape.order,) if shape.order is not None else ()))


def _scope(shape: Shape) -> str:
    return "COLLECTION" if shape.scoped else "COLLECTION_GROUP"


def text() -> str:
    """The file as it has to be."""
    return json.dumps(configuration(SHAPES), indent=2) + "\n"


if __name__ == "__main__":
    PATH.write_text(text(), encoding="utf-8")
    sys.exit(0)

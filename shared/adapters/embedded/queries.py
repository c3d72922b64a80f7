"""How queries become SQL, and declared shapes the partial indexes that serve them.

Fields are read out of the JSON by expressions, and an index serves a query only when both spell an expression alike;
therefore both are spelt here. Two expressions are needed, because equality and order see types differently:

* equality compares numbers as numbers and everything else as JSON text, so ``true``, ``1`` and ``"1"`` stay apart;
* order takes the plain value of numbers and strings, and wraps booleans as blobs, which SQLite sorts after both.
  ``null``, lists and objects count as absent. A bound keeps only values of its own type.

References are ordered segment by segment, as Firestore orders them: the separator sorts below every character that a
segment may hold. A value bound to a statement is sent as JSON and read by the same function as the stored one, so both
are rounded, and cut at a NUL character, alike.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from shared.adapters import documents
from shared.ports import Doc, Query, Scalar, Shape

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PATH = "replace(parent, '/', char(1))"
_BOUND = "(? ->> '$')"
_TEXTS, _BLOBS = "''", "x''"  # the least values of the classes that sort after numbers


def normal(shape: Shape) -> Shape:
    """The shape with its equal fields sorted: their order means nothing. Raises ``ValueError`` for unsafe names."""
    for name in (shape.group, *shape.equal, *((shape.order,) if shape.order else ())):
        if not _NAME.fullmatch(name):
            raise ValueError("A shape names a field or a collection that cannot be indexed.")
    return Shape(shape.group, shape.scoped, tuple(sorted(shape.equal)), shape.order)


def indexes(shapes: Iterable[Shape]) -> list[str]:
    """The statements that create what the shapes need; below one parent, by reference, the unique index is enough."""
    statements = []
    for shape in shapes:
        columns = [_equality(name) for name in shape.equal]
        columns += [_ordering(shape.order)] if shape.order else []
        if shape.scoped and not columns:
            continue
        columns = ["parent", *columns, "key"] if shape.scoped else [*columns, _PATH, "key"]
        label = (
            f"{shape.group} {'below' if shape.scoped else 'all'} {','.join(shape.equal)} {shape.order or ''}".strip()
        )
        on = f"doc({', '.join(columns)}) WHERE grp = '{shape.group}'"
        statements.append(f'CREATE INDEX IF NOT EXISTS "doc {label}" ON {on}')
    return statements


def select(query: Query) -> tuple[str, list[Any]]:
    """The statement and its values. The query's shape must be a declared one: its names are spelt into the text."""
    if query.limit < 1:
        raise ValueError("A query asks for at least one document.")
    terms, values = [f"grp = '{query.group}'"], []
    if query.parent is not None:
        if query.parent:
            documents.split(query.parent)
        terms.append("parent = ?")
        values.append(query.parent)
    for name, value in query.equal:
        expression, bound = (_BOUND, documents.scalar(value)) if _is_number(value) else ("?", documents.scalar(value))
        terms.append(f"{_equality(name)} = {expression}")
        values.append(bound)
    order = _within(query, terms, values)
    order += ["key"] if query.parent is not None else [_PATH, "key"]
    if query.start_after:
        _resume(query, query.start_after, order, terms, values)
    text = f"SELECT parent, key, version, data FROM doc WHERE {' AND '.join(terms)} ORDER BY {', '.join(order)} LIMIT ?"  # noqa: S608 - names of declared shapes only
    return text, [*values, query.limit]


def _within(query: Query, terms: list[str], values: list[Any]) -> list[str]:
    if query.range is None:
        return []
    field = _ordering(query.range.field)
    bounds = (("after", ">", query.range.after), ("up_to", "<=", query.range.up_to))
    if query.range.after is None and query.range.up_to is None:
        terms.append(f"{field} IS NOT NULL")
    for _, operator, bound in bounds:
        if bound is not None:
            least, beyond = _class(bound)
            terms.extend(f"{field} >= {floor}" for floor in least)
            terms.extend(f"{field} < {ceiling}" for ceiling in beyond)
            terms.append(f"{field} {operator} {_ordered(bound)}")
            values.append(documents.scalar(bound))
    return [field]


def _resume(query: Query, last: Doc, order: list[str], terms: list[str], values: list[Any]) -> None:
    parent, group, key = documents.split(last.ref)
    if group != query.group or (query.parent is not None and parent != query.parent):
        raise ValueError("The last document of the page before is not of this query.")
    row: list[str] = []
    if query.range:
        value = last.data.get(query.range.field)
        if not isinstance(value, str | int | float):
            raise ValueError("The last document of the page before lacks the field that is ordered by.")
        row.append(_ordered(value))
        values.append(documents.scalar(value))
    if query.parent is None:
        row.append("?")
        values.append(parent.replace("/", "\x01"))
    values.append(key)
    terms.append(f"({', '.join(order)}) > ({', '.join([*row, '?'])})")
    if row:
        # SQLite does not seek by a row that starts with an expression; this says the same of its first part alone.
        terms.append(f"{order[0]} >= {row[0]}")
        values.append(values[-1 - len(row)])


def _equality(name: str) -> str:
    path = f"'$.{name}'"
    return f"CASE WHEN json_type(data, {path}) IN ('integer', 'real') THEN data ->> {path} ELSE data -> {path} END"


def _ordering(name: str) -> str:
    return (
        f"CASE json_type(data, '$.{name}') WHEN 'false' THEN x'30' WHEN 'true' THEN x'31' "
        f"WHEN 'object' THEN NULL WHEN 'array' THEN NULL ELSE data ->> '$.{name}' END"
    )


def _class(value: Scalar) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """From where and up to where values of this type sort."""
    if isinstance(value, bool):
        return (_BLOBS,), ()
    return ((_TEXTS,), (_BLOBS,)) if isinstance(value, str) else ((), (_TEXTS,))


def _ordered(value: Scalar) -> str:
    return f"CAST({_BOUND} AS BLOB)" if isinstance(value, bool) else _BOUND


def _is_number(value: Scalar) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)

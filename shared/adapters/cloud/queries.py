"""How a query becomes Firestore's; a declared shape is one whose index ``infra/firestore.indexes.json`` has.

A bound keeps only values of its own type by itself. Without one, Firestore would also order by ``null``, lists and
objects, which count as absent here: a filter leaves out ``null``, and ``shared.adapters.cloud.store`` cuts the rest off,
because they sort after every scalar.
"""

from __future__ import annotations

from google.cloud.firestore_v1 import types

from shared.adapters import documents
from shared.adapters.cloud.encode import Raw, document_name, field_path, stored_name, value_of
from shared.ports import Doc, Query, Scalar, Shape

_Filter = types.StructuredQuery.Filter.pb()
_ASCENDING = types.StructuredQuery.Direction.ASCENDING
_EQUAL = types.StructuredQuery.FieldFilter.Operator.EQUAL
_AFTER = types.StructuredQuery.FieldFilter.Operator.GREATER_THAN
_UP_TO = types.StructuredQuery.FieldFilter.Operator.LESS_THAN_OR_EQUAL
_NOT_NULL = types.StructuredQuery.UnaryFilter.Operator.IS_NOT_NULL
_AND = types.StructuredQuery.CompositeFilter.Operator.AND
_NAME = "__name__"


def normal(shape: Shape) -> Shape:
    """The shape with its equal fields sorted: their order means nothing."""
    return Shape(shape.group, shape.scoped, tuple(sorted(shape.equal)), shape.order)


def build(query: Query, root: str, request: Raw) -> None:
    """Put a query into a protobuf ``RunQueryRequest``. Raises ``ValueError`` for one that makes no sense."""
    if query.limit < 1:
        raise ValueError("A query asks for at least one document.")
    request.parent = document_name(root, query.parent) if query.parent else root
    structured = request.structured_query
    structured.from_.add(collection_id=query.group, all_descendants=query.parent is None)
    filters = [_compare(name, _EQUAL, value) for name, value in query.equal]
    if query.range:
        filters += _within(query.range.field, query.range.after, query.range.up_to)
        structured.order_by.add(direction=_ASCENDING).field.field_path = _path(query.range.field)
    structured.order_by.add(direction=_ASCENDING).field.field_path = _NAME
    if len(filters) == 1:
        structured.where.CopyFrom(filters[0])
    elif filters:
        structured.where.composite_filter.op = _AND
        structured.where.composite_filter.filters.extend(filters)
    structured.limit.value = query.limit
    if query.start_after:
        _resume(query, query.start_after, root, structured.start_at)


def _within(field: str, after: Scalar | None, up_to: Scalar | None) -> list[Raw]:
    filters = []
    if after is not None:
        filters.append(_compare(field, _AFTER, after))
    if up_to is not None:
        filters.append(_compare(field, _UP_TO, up_to))
    if not filters:
        some = _Filter()
        some.unary_filter.op = _NOT_NULL
        some.unary_filter.field.field_path = _path(field)
        filters.append(some)
    return filters


def _compare(field: str, operator: int, value: Scalar) -> Raw:
    documents.scalar(value)
    term = _Filter()
    term.field_filter.field.field_path = _path(field)
    term.field_filter.op = operator
    term.field_filter.value.CopyFrom(value_of(value))
    return term


def _resume(query: Query, last: Doc, root: str, cursor: Raw) -> None:
    parent, group, _ = documents.split(last.ref)
    if group != query.group or (query.parent is not None and parent != query.parent):
        raise ValueError("The last document of the page before is not of this query.")
    if query.range:
        value = last.data.get(query.range.field)
        if not isinstance(value, str | int | float):
            raise ValueError("The last document of the page before lacks the field that is ordered by.")
        cursor.values.append(value_of(value))
    cursor.values.add(reference_value=document_name(root, last.ref))
    cursor.before = False


def _path(field: str) -> str:
    return field_path(stored_name(field))

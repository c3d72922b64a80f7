"""What any store takes for a document."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.adapters import documents


def allowed(value: Any, depth: int = 1) -> bool:
    """The rule as it is written in the port, one value at a time."""
    if isinstance(value, str) or value is None or isinstance(value, bool):
        return True
    if isinstance(value, int):
        return -(2**63) <= value < 2**63
    if isinstance(value, float):
        return math.isfinite(value)
    if type(value) is list:
        return depth <= documents.MAX_DEPTH and all(allowed(item, depth + 1) for item in value)
    if type(value) is dict:
        fine = depth <= documents.MAX_DEPTH and all(isinstance(name, str) for name in value)
        return fine and all(allowed(item, depth + 1) for item in value.values())
    return False


def judged(value: Any) -> bool:
    try:
        documents.dump({"x": value})
    except ValueError:
        return False
    return True


ODD = st.sampled_from([(), b"", {1}, 2**63, -(2**63) - 1, math.nan, math.inf, {1: 1}, {None: []}, [(1,)]])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec="utf-8")) | ODD,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(VALUES)
def test_every_value_is_judged_as_the_rule_says(value: Any) -> None:
    assert judged(value) == allowed({"x": value})


@pytest.mark.parametrize("empty", [[], {}, "x"])
def test_a_document_is_a_hundred_levels_deep_at_most(empty: Any) -> None:
    for levels in (documents.MAX_DEPTH - 2, documents.MAX_DEPTH - 1, documents.MAX_DEPTH):
        deep = empty
        for level in range(levels):
            deep = [deep] if level % 2 else {"y": deep}
        assert judged(deep) == allowed({"x": deep})


@given(st.lists(VALUES, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8")), VALUES, max_size=3))
def test_a_field_is_judged_alone_as_it_is_within_its_document(value: Any) -> None:
    try:
        alone = documents.dump_nested(value)
    except ValueError:
        assert not judged(value)
    else:
        assert documents.dump({"x": value}) == b'{"x":' + alone + b"}"

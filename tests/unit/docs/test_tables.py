"""What the documentation says of settings, errors and functions is what the code says."""

from __future__ import annotations

import pytest

from shared import errors
from tests.unit.docs.pages import page
from tests.unit.docs.tables import TABLES, error_tree, part


@pytest.mark.parametrize("name", TABLES)
def test_a_generated_table_is_as_the_code_has_it(name: str) -> None:
    path, write = TABLES[name]
    assert part(page(path), name)[2] == write(), "run: python -m tests.unit.docs.tables"


def test_the_table_of_errors_holds_every_class() -> None:
    classes = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)}
    assert classes == {kind for _, kind in error_tree()}


def test_the_drawn_tree_of_errors_names_every_class_with_its_status_and_code() -> None:
    drawn = errors.__doc__ or ""
    for depth, kind in error_tree():
        assert kind.__name__ in drawn
        if kind.code not in ("internal", "provider_error") and not (kind.__subclasses__() and depth == 1):
            assert f"{kind.__name__:<20}" in drawn or f"{kind.__name__} " in drawn
            assert f"{kind.status} {kind.code}" in drawn, kind

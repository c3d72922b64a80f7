"""Cursors: back comes what was put in, and nothing else is taken."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InvalidRequest
from shared.http.cursors import decode, encode

TEXT = st.text(st.characters(codec="utf-8"), max_size=200)


@given(TEXT, TEXT)
def test_a_position_comes_back_for_its_own_list(scope: str, position: str) -> None:
    cursor = encode(scope, position)
    assert decode(scope, cursor) == position
    assert cursor.replace("-", "").replace("_", "").isalnum()


@given(TEXT, TEXT, TEXT)
def test_it_does_not_come_back_for_another_list(scope: str, other: str, position: str) -> None:
    if scope != other:
        with pytest.raises(InvalidRequest):
            decode(other, encode(scope, position))


@given(st.text())
def test_nothing_made_up_is_taken_or_raises_anything_else(text: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        decode("events", text)
    assert len(text) < 3 or text not in caught.value.message


def test_every_single_altered_character_is_noticed() -> None:
    cursor = encode("events", '{"ann:app":12}')
    for place in range(len(cursor)):
        for character in "A9_":
            altered = cursor[:place] + character + cursor[place + 1 :]
            if altered != cursor:
                with pytest.raises(InvalidRequest):
                    decode("events", altered)
        with pytest.raises(InvalidRequest):
            decode("events", cursor[:place])

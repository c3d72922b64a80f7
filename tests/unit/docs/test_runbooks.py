"""What the runbooks tell people to type works: their SQL runs on the file that the product makes."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import pytest

from infra.local import sentences
from shared.sets import embedded
from shared.settings import Settings
from tests.unit.docs.pages import page

PAGE = page("docs/runbooks/local.md")
QUERIES = re.findall(r'brainstem\.sqlite" "([^"]+)"', PAGE)


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_runs_on_a_fresh_database(tmp_path: Path, query: str) -> None:
    embedded(Settings(data_dir=str(tmp_path)), synchronous="OFF")
    with sqlite3.connect(f"file:{tmp_path / 'brainstem.sqlite'}?mode=ro", uri=True) as connection:
        assert connection.execute(query).fetchall() == []


def test_there_are_queries_and_they_only_read() -> None:
    assert len(QUERIES) >= 3
    assert all(query.startswith("SELECT ") for query in QUERIES)


def test_the_sentences_are_those_that_the_commands_say() -> None:
    for error in (sentences.port_in_use(8080), sentences.data_in_use("..."), sentences.disk_full("...")):
        assert str(error) in PAGE

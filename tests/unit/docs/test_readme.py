"""The README shows what the code is and what the commands print."""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from io import StringIO
from pathlib import Path

from rich.console import Console

from infra.local.catalogue import ROOT
from infra.local.report import Figures, Result, as_json, show
from infra.local.verify import Report
from infra.local.welcome import welcome
from tests.unit.docs.pages import blocks, name_in, page, pages, table

README = page("README.md")

REPORT = Report(1, 1, 1, 0, 0, 0, True, True)
FIGURES = Figures(REPORT, 1.0, 1.0, 1, Counter({"mail": 1}), pushes={}, requests={}, faults={})
RESULT = Result(
    report=REPORT,
    seconds=1.0,
    p50_ms=1.0,
    p95_ms=1.0,
    measured=1,
    kills=0,
    mailboxes={"GOOGLE": FIGURES, "MICROSOFT": FIGURES},
    backend="embedded",
    clean_stop=True,
)


def test_a_snippet_is_verbatim_in_the_file_that_it_says() -> None:
    found = 0
    for path in pages():
        text = path.read_text(encoding="utf-8")
        for source, snippet in re.findall(r"<!-- from (\S+) -->\n```\w*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            found += 1
            assert snippet in page(source), f"{path}: not as in {source}"
    assert found


def test_what_make_run_prints_is_shown_as_it_prints_it() -> None:
    said = StringIO()
    welcome(
        Console(file=said, width=200),
        "http://127.0.0.1:8080",
        "eyJ...",
        Path(".data/run"),
        "A new mail arrives every 15 seconds.",
    )
    assert said.getvalue().strip() in README


def test_the_lines_of_the_verdict_are_explained() -> None:
    said = StringIO()
    show(Console(file=said, width=300, no_color=True), RESULT)
    printed = re.findall(r"^  (\w+) {2,}\S", said.getvalue(), re.MULTILINE)
    assert [name_in(row[0]) for row in table(README, "Line")] == printed


def test_the_keys_of_the_json_verdict_exist() -> None:
    named = re.search(r"JSON=1.*?has at least (.*?)\.\n", README, re.DOTALL)
    assert named
    keys = set(re.findall(r"`(\w+)`", named[1]))
    assert {"expected", "stored", "events", "gaps", "lost", "duplicates", "contiguous", "consumer_ok"} <= keys
    assert keys <= json.loads(as_json(RESULT)).keys()


def test_python_in_the_documentation_can_be_parsed() -> None:
    for path in pages():
        for block in blocks(path.read_text(encoding="utf-8"), "python"):
            ast.parse(block)


def test_there_are_pictures_to_look_at() -> None:
    drawn = blocks(README, "mermaid")
    assert drawn
    assert all(re.match(r"(flowchart|sequenceDiagram|stateDiagram-v2)", picture) for picture in drawn)
    assert (ROOT / "docs/architecture.md").read_text(encoding="utf-8").count("```mermaid") >= 2

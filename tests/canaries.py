"""The secrets that tests seed, and the watch that fails the test in which one of them is logged.

Some are known by a mark that nothing else has (``canary``); what the simulators, the generated mail and the product itself
make up is known by its shape: tokens and codes by their beginnings, JWTs and keys by theirs, 256 random bits by their length.
Every line of the log is looked at as it is rendered, whether a test has asked for a log or not, at every level; of child
processes the log files. What is found is named by its kind and never shown.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.local.generator_words import SENTENCES, TOPICS
from shared.observability import logs

MARK = "knry5e"
LOG_FILES = ("log.jsonl", "log")
MAX_FOUND = 20

_TOKENS = {
    "ya29.": "token of Google's",
    "1//": "token of Google's",
    "4/0": "code of Google's",
    "EwB": "token of Microsoft's",
    "M.C5_": "token of Microsoft's",
    "eyJ": "JWT",
}
"""What tokens begin with; in the middle of a longer word it means nothing."""

_PARTS = {
    MARK: "canary",
    "canary-": "canary",
    "-----BEGIN": "key",
    "$argon2": "password",
    "correct horse": "password",
    '.example"': "address",
    ".example>": "address",
    **{text[:24]: "mail" for text in SENTENCES if text.isascii()},
    **{text: "mail" for text in TOPICS if len(text) > 10},
}
"""What secrets hold; looked for one by one, which takes a tenth of what an expression of them all would."""

_STARTS = {text: re.compile(rf"(?<![A-Za-z0-9_+/.-]){re.escape(text)}[A-Za-z0-9_-]{{4}}") for text in _TOKENS}
_LONG = re.compile(r"[A-Za-z0-9_-]{43,}")
_OPAQUE = 43  # characters of 256 bits in base64url: every state, code, verifier and session of ours
_RANDOM = re.compile(r"(?=.*[A-Z])(?=.*[a-z])(?=.*[0-9])")


def canary(name: str) -> str:
    """A secret that nothing else resembles, the same for the same name."""
    return f"{MARK}{hashlib.sha256(name.encode()).hexdigest()[:40]}"


def leaks(line: str) -> list[str]:
    """The kinds of secrets in a line of a log."""
    found = [kind for text, kind in _PARTS.items() if text in line]
    found += [kind for text, kind in _TOKENS.items() if text in line and _STARTS[text].search(line)]
    found += ["random" for text in _LONG.findall(line) if len(text) == _OPAQUE and _RANDOM.match(text)]
    return found


def watch(config: pytest.Config) -> None:
    """Let a run of pytest be watched, in each of its processes."""
    handler = Watch()
    handler.start()
    config.pluginmanager.register(handler, "canaries")


class Watch(logging.Handler):
    """A plugin of pytest and a handler of logging: whatever is logged in this process is looked at once."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.lines = 0
        self._read: dict[Path, int] = {}
        self._seen: set[Path] = set()

    def look(self, line: str) -> None:
        """Remember what kinds of secrets a line holds, and which event it tells of."""
        self.lines += 1
        kinds = leaks(line)
        if kinds and len(self.found) < MAX_FOUND:
            event = re.search(r'"event":"(\w+)"', line)
            self.found.append(f"{', '.join(sorted(set(kinds)))} in {event[1] if event else 'a line'}")

    def look_through(self, folder: Path) -> None:
        """Look at what child processes have logged below a folder since the last time."""
        for path in (found for name in LOG_FILES for found in folder.rglob(name) if found.is_file()):
            with path.open("rb") as log:
                log.seek(self._read.get(path, 0))
                for line in log:
                    self.look(line.decode("utf-8", "replace"))
                self._read[path] = log.tell()

    def emit(self, record: logging.LogRecord) -> None:
        """Render what no handler of the product does."""
        if not any(isinstance(handler, logs._Lines) for handler in logging.getLogger().handlers):
            logs._line(record, 0.0)

    def start(self) -> None:
        """From now on nothing is rendered unseen."""
        render = logs._line

        def watched(record: logging.LogRecord, now: float) -> str:
            line = render(record, now)
            self.look(line)
            return line

        logs._line = watched
        self.pytest_runtest_setup()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self) -> None:
        """Listen to everything, also after a test that has set the logs up in its own way."""
        root = logging.getLogger()
        if self not in root.handlers:
            root.addHandler(self)
        logging.getLogger(logs.ROOT).setLevel(logging.DEBUG)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self, item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
        """After each test, and what was made for it alone, is over."""
        yield
        if nextitem is None or nextitem.path != item.path:
            folders = set(item.config._tmp_path_factory.getbasetemp().iterdir())  # type: ignore[attr-defined]
            # What the tests of a file have written they have written when it is over; what a session has, at its end.
            for folder in folders if nextitem is None else folders - self._seen:
                self.look_through(folder)
            self._seen |= folders
        found, self.found = self.found, []
        if found:
            pytest.fail(f"Secrets were logged: {'; '.join(found)}.", pytrace=False)

"""What holds for every test: sockets only over loopback and only where a test needs them, and no verdict on speed.

Nothing that is secret may be logged (``tests/canaries.py``). The run owns the emulators that its tests start, and names at its
end every test that was skipped.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import pytest_socket
from hypothesis import settings

from infra.local import emulators
from tests import canaries

settings.register_profile("steady", deadline=None)
settings.load_profile("steady")

_TESTS = Path(__file__).parent
_RUN = pytest.StashKey[Path | None]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_RUN] = emulators.own_run()
    canaries.watch(config)


def pytest_unconfigure(config: pytest.Config) -> None:
    folder = config.stash.get(_RUN, None)
    if folder:
        emulators.end_run(folder)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Iterator[None]:
    """Below everything else, so that nobody overlooks what was not tested."""
    yield
    skipped = terminalreporter.stats.get("skipped", [])
    if skipped:
        terminalreporter.section("not tested here", sep="-", yellow=True)
        for report in skipped:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
            terminalreporter.line(f"{report.nodeid}  {reason.removeprefix('Skipped: ')}")


@pytest.fixture(autouse=True)
def _no_sockets(request: pytest.FixtureRequest) -> Iterator[None]:
    """Only ``tests/pipeline`` and tests that are marked talk over loopback; everything else is in one process."""
    marked = any(request.node.get_closest_marker(name) for name in ("emulators", "loopback"))
    if marked or request.path.is_relative_to(_TESTS / "pipeline"):
        pytest_socket.socket_allow_hosts(["127.0.0.1", "localhost", "::1"], allow_unix_socket=True)
    else:
        pytest_socket.disable_socket(allow_unix_socket=True)
    yield
    pytest_socket.enable_socket()
    pytest_socket._remove_restrictions()

"""What holds for every test: no test but those of the laptop's pipeline opens a socket, and no verdict depends on speed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import pytest_socket
from hypothesis import settings

settings.register_profile("steady", deadline=None)
settings.load_profile("steady")

_TESTS = Path(__file__).parent


@pytest.fixture(autouse=True)
def _no_sockets(request: pytest.FixtureRequest) -> Iterator[None]:
    """Only ``tests/pipeline`` talks over loopback; everything else is in one process."""
    if request.path.is_relative_to(_TESTS / "pipeline"):
        pytest_socket.socket_allow_hosts(["127.0.0.1", "localhost", "::1"], allow_unix_socket=True)
    else:
        pytest_socket.disable_socket(allow_unix_socket=True)
    yield
    pytest_socket.enable_socket()
    pytest_socket._remove_restrictions()

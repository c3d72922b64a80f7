"""A WSGI app on a port of this machine, served by waitress from a thread of its own, that stops when told to."""

from __future__ import annotations

import errno
import logging
import socket
import threading
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from waitress import wasyncore
from waitress.server import create_server

from infra.local.sentences import CannotRun, port_in_use

WSGIApp: TypeAlias = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

MAX_REQUEST_BYTES = 32 * 1024 * 1024
"""What Cloud Run accepts too; the functions have smaller limits of their own."""


class WebServer:
    """One listening port. ``start`` returns once it accepts connections; ``stop`` lets running requests finish."""

    def __init__(self, app: WSGIApp, port: int, threads: int, host: str = "127.0.0.1") -> None:
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # a queue of requests is how a burst should look
        self._sockets: dict[int, Any] = {}
        self._server = create_server(
            app,
            map=self._sockets,
            sockets=[_listening(host, port)],
            threads=threads,
            ident=None,
            asyncore_use_poll=True,
            max_request_body_size=MAX_REQUEST_BYTES,
            connection_limit=500,
        )
        self.port = int(self._server.effective_port)
        self.url = f"http://{host}:{self.port}"
        self._thread = threading.Thread(target=self._server.run, name=f"web-{self.port}", daemon=True)

    def start(self) -> None:
        """Serve."""
        self._thread.start()

    def stop(self, timeout: float = 3.0) -> None:
        """Finish the running requests within ``timeout`` seconds, then close every connection and the port."""
        if not self._thread.is_alive():
            wasyncore.close_all(self._sockets)
            return
        self._server.task_dispatcher.shutdown(timeout=timeout)
        self._server.trigger.pull_trigger(self._leave)
        self._thread.join(timeout=2.0)
        self._server.trigger.close()

    def _leave(self) -> None:
        """Close what is polled, from the thread that polls it, and so end its loop.

        Only the trigger stays open: another thread may be between handing this over and writing to it.
        """
        trigger = self._server.trigger
        trigger.del_channel()
        wasyncore.close_all(self._sockets)


def _listening(host: str, port: int) -> socket.socket:
    """The bound socket; waitress would leave one open that it cannot bind."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        listener.close()
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            raise port_in_use(port) from None
        raise CannotRun(f"Port {port} cannot be used here: choose another with PORT=8080.") from None
    return listener

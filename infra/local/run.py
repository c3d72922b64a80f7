"""``make run``: everything in one process on one port, followed live; Ctrl-C ends it, the next start goes on.

The first start fills the simulated mailbox (generated mail, or the person's own) and connects it; later ones load nothing.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console

from infra.local.environment import AUDIENCE, apply, local_environment
from infra.local.follow import Follower
from infra.local.google.app import create_app
from infra.local.google.pump import PushPump
from infra.local.google.simulator import GoogleSimulator
from infra.local.lock import DataLock
from infra.local.mailbox import Mailbox
from infra.local.publisher import HttpPublisher
from infra.local.sentences import CannotRun, disk_full, is_disk_full
from infra.local.tokens import development_token, invoker_secret, write_private
from infra.local.welcome import welcome
from shared.adapters.embedded.clock import SystemClock

MAILS = 500


def main() -> int:
    """Run until Ctrl-C; the exit status is 0, or 2 after a sentence."""
    parser = argparse.ArgumentParser(prog="make run", description="Start Brainstem here and follow a mailbox.")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--data", type=Path, default=Path(".data/run"))
    parser.add_argument("--mbox", default="")
    parser.add_argument("--mails", type=int, default=MAILS)
    options = parser.parse_args()
    console = Console(highlight=False)
    folder = options.data.resolve()
    stopping = threading.Event()

    def interrupt(*_: object) -> None:
        stopping.set()  # an exception alone could be raised, and lost, inside a destructor
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    try:
        with DataLock(folder):
            _run(console, folder, options, stopping)
    except CannotRun as error:
        console.print(str(error), markup=False, soft_wrap=True)
        return 2
    except KeyboardInterrupt:
        console.print("\nStopped; nothing is left running. The next `make run` goes on from here.", markup=False)
        return 0
    except Exception as error:
        if not is_disk_full(error):
            raise
        console.print(str(disk_full(str(folder))), markup=False, soft_wrap=True)
        return 2
    return 0


def _run(console: Console, folder: Path, options: argparse.Namespace, stopping: threading.Event) -> None:
    base = f"http://127.0.0.1:{options.port}"
    apply(local_environment(folder, f"{base}/google"))
    with ExitStack() as stack:
        log = stack.enter_context((folder / "log.jsonl").open("a", encoding="utf-8"))
        mailbox = Mailbox(folder)
        mailbox.drop_half_filled()
        publisher = HttpPublisher(invoker_secret(folder))
        publisher.aim(base)
        simulator = GoogleSimulator(mailbox.path, SystemClock(), publisher)
        stack.callback(simulator.close)
        # Only now: wiring reads the settings that were just put into the environment.
        from infra.local.machine import Machine, log_to

        log_to(log)
        machine = Machine(folder, options.port, {"google": create_app(simulator)})
        stack.callback(_undisturbed, machine.stop)
        mailbox.fill(simulator, options.mbox, options.mails, console)
        machine.start()
        pump = PushPump(simulator)
        pump.start()
        stack.callback(pump.stop)
        token = development_token(folder, AUDIENCE)
        write_private(folder / "token", token.encode())
        welcome(console, machine.url, token, folder)
        Follower(console, machine.url, token, simulator, mailbox, stopping).follow()


def _undisturbed(stop: Callable[[], None]) -> None:
    """Stop without being interrupted by an impatient second Ctrl-C; it takes a few seconds at most."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        stop()
    finally:
        signal.signal(signal.SIGINT, before)


if __name__ == "__main__":
    sys.exit(main())

"""``make run``: everything in one process on one port, followed live; Ctrl-C ends it, the next start goes on.

The first start fills simulated mailboxes, a Gmail and an Outlook one, with generated mail or the person's own, and connects
them; later ones load nothing. With ``BACKEND=emulators`` the store and the bus are Google's emulators, which forget everything
when they end: it starts afresh each time. With GOOGLE_CLIENT_ID or MICROSOFT_CLIENT_ID in ``.env`` there is no simulator: the
person connects real mailboxes in the browser.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from infra.local.browser import Browser
from infra.local.client import JsonClient
from infra.local.connecting import connect_through, consent_url
from infra.local.environment import AUDIENCE, REAL, apply, dotenv, local_environment, on_emulators, real_environment
from infra.local.follow import Account, Follower
from infra.local.lock import DataLock
from infra.local.mailbox import Mailbox
from infra.local.options import BACKENDS, providers_of
from infra.local.publisher import HttpPublisher
from infra.local.sentences import CannotRun, disk_full, is_disk_full
from infra.local.sides import PROVIDERS, TITLES, open_sides
from infra.local.simulated.pump import PushPump
from infra.local.simulated.state import OtherVersion
from infra.local.tokens import development_token, invoker_secret, write_private
from infra.local.web import WSGIApp
from infra.local.welcome import welcome

if TYPE_CHECKING:
    from infra.local.infrastructure import Emulated
    from infra.local.machine import Machine

MAILS = 500

AFRESH = (
    "BACKEND=emulators: store and bus are Google's emulators, which keep nothing; everything starts afresh each time."
)


def main() -> int:
    """Run until Ctrl-C; the exit status is 0, or 2 after a sentence."""
    parser = argparse.ArgumentParser(prog="make run", description="Start Brainstem here and follow mailboxes.")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--data", type=_folder, default=None)
    parser.add_argument("--mbox", default="")
    parser.add_argument("--mails", type=int, default=MAILS)
    parser.add_argument("--backend", choices=BACKENDS, default=BACKENDS[0])
    parser.add_argument("--provider", choices=("", *PROVIDERS), default="")
    options = parser.parse_args()
    emulators = options.backend == "emulators"
    if emulators and options.data:
        parser.error("DATA names what a next start goes on with; with BACKEND=emulators each starts afresh")
    console = Console(highlight=False)
    chosen = {} if options.mbox or emulators else dotenv()
    providers = providers_of(options.provider)
    real = [provider for provider in providers if REAL[provider] in chosen]
    name = "emulators" if emulators else real[0] if real else "run"
    folder = (options.data or Path(".data") / name).resolve()
    stopping = threading.Event()

    def interrupt(*_: object) -> None:
        stopping.set()  # an exception alone could be raised, and lost, inside a destructor
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    try:
        with DataLock(folder):
            if real:
                _run_real(console, folder, options.port, chosen, real, stopping)
            elif emulators:
                _run_emulated(console, folder, options, stopping)
            else:
                _run_simulated(console, folder, options, stopping)
    except CannotRun as error:
        console.print(str(error), markup=False, soft_wrap=True)
        return 2
    except KeyboardInterrupt:
        next_time = "starts afresh" if emulators else "goes on from here"
        console.print(f"\nStopped; nothing is left running. The next `make run` {next_time}.", markup=False)
        return 0
    except Exception as error:
        if not is_disk_full(error):
            raise
        console.print(str(disk_full(str(folder))), markup=False, soft_wrap=True)
        return 2
    return 0


def _run_emulated(console: Console, folder: Path, options: argparse.Namespace, stopping: threading.Event) -> None:
    # Only here: the embedded machine never loads a client of Google's.
    from infra.local.infrastructure import emulated

    console.print(AFRESH, markup=False, soft_wrap=True)
    _empty(folder)
    with emulated() as found:
        _run_simulated(console, folder, options, stopping, found)


def _run_simulated(
    console: Console,
    folder: Path,
    options: argparse.Namespace,
    stopping: threading.Event,
    emulated: Emulated | None = None,
) -> None:
    home = f"http://127.0.0.1:{options.port}"
    providers = providers_of(options.provider)
    apply(local_environment(folder, home, f"{home}/google", f"{home}/microsoft" if "microsoft" in providers else ""))
    if emulated:
        apply(on_emulators(emulated.where, emulated.project))
    with ExitStack() as stack:
        mailboxes = {provider: Mailbox(folder, provider) for provider in providers}
        for mailbox in mailboxes.values():
            mailbox.drop_half_filled()
        publisher = HttpPublisher("" if emulated else invoker_secret(folder))
        publisher.aim(f"http://{emulated.where.pubsub}" if emulated else home)
        try:
            sides = open_sides(providers, folder, publisher, 0, stack)
        except OtherVersion:
            raise CannotRun(
                f"A mailbox in {folder} was made by another version: remove that folder, or choose another with DATA=path."
            ) from None
        machine = _machine(stack, folder, options.port, {side.provider: side.app for side in sides})
        for side in sides:
            mailboxes[side.provider].fill(side, options.mbox, options.mails, console)
        if emulated:
            _prepare(stack, emulated, machine.url, folder)
        machine.start()
        for side in sides:
            pump = PushPump(side.simulator)
            pump.start()
            stack.callback(pump.stop)
        browser = Browser()
        stack.callback(browser.close)
        accounts = [
            Account(
                provider=side.name,
                connect=partial(connect_through, side.provider, browser=browser, address=side.address),
                arrive=side.arrive,
                mails=mailboxes[side.provider].loaded,
            )
            for side in sides
        ]
        _follow(console, machine.url, folder, accounts, stopping, "A new mail arrives every 15 seconds.")


def _prepare(stack: ExitStack, emulated: Emulated, home: str, folder: Path) -> None:
    from infra.local.infrastructure import Infrastructure

    infrastructure = Infrastructure(emulated, home, invoker_secret(folder))
    stack.callback(infrastructure.stop)
    infrastructure.start()


def _empty(folder: Path) -> None:
    """Remove what an earlier run left in our own folder, but for the lock that we hold."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != "lock":
            path.unlink()


def _run_real(
    console: Console,
    folder: Path,
    port: int,
    chosen: Mapping[str, str],
    providers: Sequence[str],
    stopping: threading.Event,
) -> None:
    apply(real_environment(folder, port, chosen))

    def ask(client: JsonClient, provider: str) -> None:
        url = consent_url(client, provider)
        if url is not None:
            console.print(
                f"Connect your {TITLES[provider]} mailbox: open this page in a browser on this machine, within ten minutes."
                f"\n\n  {url}\n",
                markup=False,
                soft_wrap=True,
            )

    with ExitStack() as stack:
        machine = _machine(stack, folder, port, {})
        machine.start()
        accounts = [Account(provider.upper(), partial(ask, provider=provider)) for provider in providers]
        _follow(console, machine.url, folder, accounts, stopping, "This is your real mail.")


def _machine(stack: ExitStack, folder: Path, port: int, mounts: Mapping[str, WSGIApp]) -> Machine:
    # Only now: wiring reads the settings that were just put into the environment.
    from infra.local.machine import Machine, log_to

    log_to(stack.enter_context((folder / "log.jsonl").open("a", encoding="utf-8")))
    machine = Machine(folder, port, mounts)
    stack.callback(_undisturbed, machine.stop)
    return machine


def _follow(
    console: Console, url: str, folder: Path, accounts: Sequence[Account], stopping: threading.Event, sentence: str
) -> None:
    token = development_token(folder, AUDIENCE)
    write_private(folder / "token", token.encode())
    welcome(console, url, token, folder, sentence)
    Follower(console, url, token, accounts, folder, stopping).follow()


def _folder(text: str) -> Path | None:
    return Path(text) if text else None


def _undisturbed(stop: Callable[[], None]) -> None:
    """Stop without being interrupted by an impatient second Ctrl-C; it takes a few seconds at most."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        stop()
    finally:
        signal.signal(signal.SIGINT, before)


if __name__ == "__main__":
    sys.exit(main())

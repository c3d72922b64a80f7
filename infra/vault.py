"""``make rewrap`` and ``make rotate-data-keys``: replace the keys of the vault while everything goes on.

``rewrap`` wraps all data keys under the newest version of the vault key, ``rotate`` gives people new data keys. Both may be
ended and started again at any moment. What they need is described in ``docs/decisions/vault.md``.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace

from infra.opened import opened
from shared.errors import BrainstemError, ConfigurationError
from shared.sets import CloudPorts, Ports, key_in_kms
from shared.settings import Settings
from shared.vault.choice import chosen
from shared.vault.grants import Grants
from shared.vault.master import KEY_BYTES, SECRET
from shared.vault.rewrap import Rewrapped, rewrap
from shared.vault.rotation import Rotated, rotate_all
from shared.vault.seal import Vault

DAY = 86_400.0


def run(given: argparse.Namespace, settings: Settings, ports: Ports | CloudPorts) -> int:
    """Do what a command line asks for; answers the exit status. Raises what the ports raise."""
    wrapping = chosen(settings, ports.keys, ports.secrets, ports.clock, key_in_kms)
    vault = Vault(ports.keys, ports.secrets, ports.clock, wrapping=wrapping)
    if given.command == "rotate":
        before = ports.clock.now() - given.days * DAY
        rotated = rotate_all(Grants(ports.store, vault, ports.clock), ports.keys, before, _rotated)
        return 1 if rotated.failed else 0
    if given.new:
        if "secret" not in settings.vault_key:
            raise ConfigurationError("VAULT_KEY names no secret; a key in Cloud KMS is rotated there.")
        key = ports.clock.entropy(KEY_BYTES)
        print(f"Version {ports.secrets.add(SECRET, key)} of the secret {SECRET} was added.")
        if ports.secrets.get(SECRET) != key:
            print("Secret Manager does not tell of it yet. Run this again in some minutes, without --new.")
            return 1
    done = rewrap(ports.keys, wrapping, vault.keys, _rewrapped, forget=given.forget)
    for name, documents in done.lost.items():
        print(
            f"{documents} of them are wrapped by {name}, whose vault key is missing or disabled. Restore it, or run"
            f" this with --forget {name}: these people will be asked to connect again."
        )
    if not done.lost and not done.unopenable:
        print(f"All are wrapped by {done.target} now.")
    return 1 if done.lost or done.unopenable else 0


def _rewrapped(run: Rewrapped) -> None:
    print(f"{run.seen} data keys seen, {run.changed} wrapped anew, {run.unopenable} that do not open.", flush=True)


def _rotated(run: Rotated) -> None:
    print(f"{run.seen} people seen, {run.rotated} with a new data key, {run.failed} failed.", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m infra.vault", description="Replace the keys of the vault.")
    parser.add_argument("--data", default="", help="the data folder; without it that of the settings")
    commands = parser.add_subparsers(dest="command", required=True)
    wrapping = commands.add_parser("rewrap", help="wrap all data keys under the newest vault key")
    wrapping.add_argument("--new", action="store_true", help="add a version of the secret first")
    wrapping.add_argument("--forget", default="", metavar="NAME", help="delete what a lost vault key has wrapped")
    rotating = commands.add_parser("rotate", help="give people new data keys")
    rotating.add_argument("--days", type=float, default=0.0, help="only where the key is so many days old")
    return parser


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """The command line; the exit status is 0 if nothing is left to be done."""
    given = _parser().parse_args(arguments)
    try:
        settings = Settings.from_env(environ)
        settings = replace(settings, data_dir=given.data or settings.data_dir)
        return run(given, settings, opened(settings))
    except BrainstemError as error:
        print(f"{error.message} What was done stays done; run it again.", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))

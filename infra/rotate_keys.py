"""``make rotate-keys``: a new key for our own access tokens, in a data folder or, with ``BACKEND=cloud``, in Secret Manager.

Nobody is signed out. Whoever keeps our key set learns of the new key before it signs; the one before stays published until
nothing that it has signed is good any more. A running Brainstem notices by itself. With ``--now``, for a key that was stolen,
the new key is the only one at once: access tokens are refused until they are refreshed, refresh tokens go on. What the stolen
key signs is refused everywhere within five minutes, or within ten by a function that cannot reach ``auth``.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from infra.opened import opened
from shared.errors import BrainstemError
from shared.identity.signing import SETTLE, rotate
from shared.ports import Clock, Secrets
from shared.settings import Settings


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Rotate; the exit status is 0, or 2 after a sentence on standard error."""
    parser = argparse.ArgumentParser(prog="make rotate-keys", description="Make a new key for our own access tokens.")
    parser.add_argument("--data", default="", help="the data folder; without it that of the settings")
    parser.add_argument("--now", action="store_true", help="the new key signs at once, and no other is published")
    options = parser.parse_args(arguments)
    try:
        settings = Settings.from_env(environ)
        ports = opened(replace(settings, data_dir=options.data or settings.data_dir))
        print(_rotated(ports.secrets, ports.clock, at_once=options.now))
    except BrainstemError as error:
        print(error.message, file=sys.stderr)
        return 2
    return 0


def _rotated(secrets: Secrets, clock: Clock, *, at_once: bool) -> str:
    ring = rotate(secrets, clock, at_once=at_once)
    key, now = ring.keys[-1], clock.now()
    if at_once:
        return (
            f"Key {key.kid} signs from now on, and what others have signed is refused everywhere within five minutes."
        )
    if ring.signing(now) is key:
        return f"Key {key.kid} signs from now on."
    signs_at = datetime.fromtimestamp(key.created_at + SETTLE, UTC)
    return f"Key {key.kid} is published now and signs from {signs_at:%H:%M} UTC on."


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))

"""``make role``: make somebody who signs in with us an admin or a service, or an owner again.

Whom other issuers sign in has the role that their token says, where that issuer may give one (docs/decisions/issuers.md).
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace

from infra.opened import opened
from shared.errors import BrainstemError, NotFound
from shared.identity import logins, roles
from shared.identity.trail import Trail
from shared.ports import Store
from shared.settings import Settings


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Give the role; the exit status is 0, or 2 after a sentence on standard error."""
    parser = argparse.ArgumentParser(prog="make role", description="Give somebody a role.")
    parser.add_argument("who", help="a user_id, or the address that somebody signs in with")
    parser.add_argument("role", help=", ".join(sorted(roles.ROLES)))
    parser.add_argument("--data", default="", help="the data folder; without it that of the settings")
    options = parser.parse_args(arguments)
    try:
        settings = Settings.from_env(environ)
        ports = opened(replace(settings, data_dir=options.data or settings.data_dir))
        uid = _uid(ports.store, options.who)
        given = roles.give(Trail(ports.store, ports.clock), uid, options.role)
    except BrainstemError as error:
        print(error.message, file=sys.stderr)
        return 2
    print(f"{uid} is {options.role} {'from the next access token on' if given else 'already'}.")
    return 0


def _uid(store: Store, who: str) -> str:
    if "@" not in who:
        return who
    ref = logins.by_email(logins.normalised(who))
    login = store.get([ref]).get(ref)
    if login is None:
        raise NotFound("Nobody signs in with this address.")
    return str(login.data["uid"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))

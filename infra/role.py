"""``make role``: make somebody who signs in with us an admin or a service, or an owner again.

By their user id alone, which ``GET /me`` tells its person. An address would not do: whoever signs up first with an address
has it, and nobody proves one here. So what is known of the person is printed before anything is given. Whom other issuers
sign in has the role that their token says, where that issuer may give one (docs/decisions/issuers.md), and is refused here.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from infra.opened import opened
from shared import queries, refs
from shared.errors import BrainstemError, NotFound
from shared.identity import roles
from shared.identity.trail import Trail
from shared.identity.uids import is_uid
from shared.ports import Store
from shared.settings import Settings

MOST = 20
"""Ways to sign in that are named."""


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Give the role; the exit status is 0, or 2 after a sentence on standard error."""
    parser = argparse.ArgumentParser(prog="make role", description="Give somebody a role.")
    parser.add_argument("who", help="a user_id, which GET /me tells its person")
    parser.add_argument("role", help=", ".join(sorted(roles.ROLES)))
    parser.add_argument("--data", default="", help="the data folder; without it that of the settings")
    options = parser.parse_args(arguments)
    try:
        settings = Settings.from_env(environ)
        ports = opened(replace(settings, data_dir=options.data or settings.data_dir))
        print("\n".join(_about(ports.store, options.who)))
        given = roles.give(Trail(ports.store, ports.clock), options.who, options.role)
    except BrainstemError as error:
        print(error.message, file=sys.stderr)
        return 2
    print(f"{options.who} is {options.role} {'from the next access token on' if given else 'already'}.")
    return 0


def _about(store: Store, uid: str) -> list[str]:
    """Who this is, as far as anybody knows. Raises ``NotFound``, ``StoreError``."""
    if "@" in uid:
        raise NotFound("Name a user_id: an address says nothing of who has it, since nobody proves one here.")
    ref = refs.user(uid)
    profile = store.get([ref]).get(ref) if is_uid(uid) else None
    if profile is None:
        raise NotFound("There is no such user.")
    methods = sorted(str(login.data["method"]) for login in store.query(queries.kept_of(uid, "logins", MOST)))
    made = datetime.fromtimestamp(profile.data["created_at"], UTC)
    # Of their own choosing, so as a literal: whatever it holds, it stays on its line.
    email = profile.data.get("email")
    return [
        f"User     {uid}",
        f"Signs in {', '.join(methods) or 'not here'}",
        f"Since    {made:%Y-%m-%d %H:%M} UTC",
        "Email    none" if email is None else f"Email    {email!a}, which nobody has proven here",
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))

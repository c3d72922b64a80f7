"""What a person can ask of ``make demo``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

MAILS, QUOTA_MAILS = 2_000, 20_000
BACKENDS = ("embedded", "emulators")


@dataclass(frozen=True, slots=True)
class Options:
    """What the person asked for."""

    mails: int
    changes: int
    kills: int
    refuse: int
    seed: int
    mbox: str
    faults: str
    quota: str
    backend: str
    outage: int
    json: bool


def read_options() -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="make demo", description="Backfill and follow a mailbox, then judge the result."
    )
    parser.add_argument("--mails", type=_at_least(1), default=None)
    parser.add_argument("--changes", type=_at_least(0), default=100)
    parser.add_argument("--kills", type=_at_least(0), default=0)
    parser.add_argument("--refuse", type=_at_least(0), default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--mbox", default="")
    parser.add_argument("--faults", choices=("", "all"), default="")
    parser.add_argument("--quota", choices=("", "2026", "2025"), default="")
    parser.add_argument("--backend", choices=BACKENDS, default=BACKENDS[0])
    parser.add_argument("--outage", type=_at_least(0), default=0)
    parser.add_argument("--json", action="store_true")
    given = vars(parser.parse_args())
    if given["mails"] is None:
        given["mails"] = QUOTA_MAILS if given["quota"] else MAILS
    if given["quota"] and (given["faults"] or given["kills"] or given["refuse"] or given["mbox"]):
        parser.error("QUOTA goes with MAILS, CHANGES, SEED and JSON only")
    if given["quota"] and given["backend"] != "embedded":
        parser.error("QUOTA runs under virtual time, which emulators know nothing of")
    if given["outage"] and given["backend"] != "emulators":
        parser.error("OUTAGE takes the Pub/Sub emulator away: it goes with BACKEND=emulators only")
    return Options(**given)


def _at_least(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"a whole number from {least} on is wanted, not {text!r}")
        return int(text)

    return number

"""What a person can ask of ``make demo``."""

from __future__ import annotations

import argparse
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Options:
    """What the person asked for."""

    mails: int
    changes: int
    kills: int
    refuse: int
    seed: int
    mbox: str
    json: bool


def read_options() -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="make demo", description="Backfill and follow a mailbox, then judge the result."
    )
    parser.add_argument("--mails", type=int, default=2000)
    parser.add_argument("--changes", type=int, default=100)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--refuse", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--mbox", default="")
    parser.add_argument("--json", action="store_true")
    return Options(**vars(parser.parse_args()))

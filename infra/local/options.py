"""What a person can ask of ``make demo``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

from infra.local.sides import PROVIDERS

MAILS, QUOTA_MAILS = 2_000, 20_000
BACKENDS = ("embedded", "emulators")


@dataclass(frozen=True, slots=True)
class Options:
    """What the person asked for; what is not said is as it is here."""

    mails: int = MAILS
    changes: int = 100
    kills: int = 0
    refuse: int = 0
    seed: int = 1
    mbox: str = ""
    faults: str = ""
    quota: str = ""
    backend: str = BACKENDS[0]
    outage: int = 0
    provider: str = ""
    json: bool = False

    @property
    def providers(self) -> tuple[str, ...]:
        """Whose mailboxes it is about."""
        return providers_of(self.provider)


def providers_of(provider: str) -> tuple[str, ...]:
    """The one that was named, or all."""
    return (provider,) if provider else PROVIDERS


def read_options() -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="make demo",
        description="Backfill and follow two mailboxes side by side, then judge the result.",
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument("--mails", type=_at_least(1))
    parser.add_argument("--changes", type=_at_least(0))
    parser.add_argument("--kills", type=_at_least(0))
    parser.add_argument("--refuse", type=_at_least(0))
    parser.add_argument("--seed", type=int)
    parser.add_argument("--mbox")
    parser.add_argument("--faults", choices=("", "all"))
    parser.add_argument("--quota", choices=("", "2026", "2025"))
    parser.add_argument("--backend", choices=BACKENDS)
    parser.add_argument("--outage", type=_at_least(0))
    parser.add_argument("--provider", choices=("", *PROVIDERS))
    parser.add_argument("--json", action="store_true")
    given = vars(parser.parse_args())
    if given.get("quota"):
        given.setdefault("mails", QUOTA_MAILS)
    options = Options(**given)
    if options.quota and (options.faults or options.kills or options.refuse or options.mbox):
        parser.error("QUOTA goes with MAILS, CHANGES, SEED and JSON only")
    if options.quota and options.provider == "microsoft":
        parser.error("QUOTA is about Gmail's: it does not go with PROVIDER=microsoft")
    if options.quota and options.backend != "embedded":
        parser.error("QUOTA runs under virtual time, which emulators know nothing of")
    if options.outage and options.backend != "emulators":
        parser.error("OUTAGE takes the Pub/Sub emulator away: it goes with BACKEND=emulators only")
    return options


def _at_least(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"a whole number from {least} on is wanted, not {text!r}")
        return int(text)

    return number

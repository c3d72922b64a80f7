"""Scopes at Microsoft: their names, what the consent page says, and which of them open a mailbox.

A scope may be asked for by its short name or in full (``https://graph.microsoft.com/Mail.Read``), in any case; it is
granted and answered under its short name. ``offline_access`` is granted but never answered: the refresh token shows it.
"""

from __future__ import annotations

from collections.abc import Collection

GRAPH = "https://graph.microsoft.com/"
OFFLINE = "offline_access"
OPENID = "openid"
BASIC = frozenset({OPENID, "profile", "email", OFFLINE})
"""Who somebody is, and that the client may come back; every consent grants them."""

DESCRIPTIONS = {
    "User.Read": "Sign you in and read your profile",
    "Mail.ReadBasic": "Read your mail, but not its bodies and attachments",
    "Mail.Read": "Read your mail",
    "Mail.ReadWrite": "Read and write access to your mail",
    "Mail.Send": "Send mail as you",
}
READS = frozenset({"Mail.Read", "Mail.ReadWrite"})
LOOKS = READS | {"Mail.ReadBasic"}
"""What opens metadata, folders, changes and subscriptions; bodies take one of ``READS``."""

EVERYTHING = " ".join(sorted({*BASIC, *DESCRIPTIONS}))
_NAMES = {name.lower(): name for name in (*BASIC, *DESCRIPTIONS)}


def canonical(asked: Collection[str]) -> tuple[list[str], list[str]]:
    """The scopes of a request under their short names, sorted, and those that do not exist."""
    names: set[str] = set()
    invalid: set[str] = set()
    for scope in asked:
        short = scope.lower().removeprefix(GRAPH)
        if short == ".default":
            names.update(DESCRIPTIONS)
        elif short in _NAMES:
            names.add(_NAMES[short])
        else:
            invalid.add(scope)
    return sorted(names), sorted(invalid)


def answered(granted: Collection[str]) -> str:
    """Granted scopes as a token answer shows them."""
    return " ".join(sorted(scope for scope in granted if scope != OFFLINE))

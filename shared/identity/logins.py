"""Ways to sign in: ``logins/{digest}`` says who has an address and a password, or an account at a provider.

An address that a provider names never leads to the account of a password: whoever signs up first with a stranger's address
would wait there for its owner to come. Nobody here has proven an address, so it is a name to sign in with and nothing more.
"""

from __future__ import annotations

import base64
import unicodedata
from typing import Any

from shared import refs
from shared.errors import InvalidRequest
from shared.ports import Clock, Data

EMAIL = "email"
MAX_EMAIL = 254
MAX_NAME = 200

_UID_BYTES = 16


def normalised(email: str) -> str:
    """The address as it is looked up, whatever its case, its composition and the space around it.

    Raises ``InvalidRequest`` for what is none.
    """
    refusal = InvalidRequest(f"email must be an address of up to {MAX_EMAIL} characters.", field="email")
    if len(email) > 4 * MAX_EMAIL:
        raise refusal
    # Folding undoes composition in places and composing undoes folding in others; after the second turn nothing moves.
    text = email.strip()
    for _ in range(2):
        text = unicodedata.normalize("NFC", text).casefold()
    text = unicodedata.normalize("NFC", text)
    local, _, domain = text.partition("@")
    if not (local and domain) or "@" in domain or len(text) > MAX_EMAIL or not _plain(text) or " " in text:
        raise refusal
    return text


def display_name(name: str | None) -> str | None:
    """A name as it is kept. Raises ``InvalidRequest``."""
    text = (name or "").strip()
    if len(text) > MAX_NAME or not _plain(text):
        raise InvalidRequest(f"name must have at most {MAX_NAME} printable characters.", field="name")
    return text or None


def told(text: str | None) -> str | None:
    """What a provider says of a person, as far as it can be shown."""
    return "".join(character for character in (text or "")[:MAX_EMAIL] if _plain(character)) or None


def new_uid(clock: Clock) -> str:
    """A uid of our own giving: plain in any path, and nobody's yet."""
    return f"u_{base64.b32encode(clock.entropy(_UID_BYTES)).decode().rstrip('=').lower()}"


def by_email(email: str) -> str:
    """Where the login of a normalised address is."""
    return refs.login(EMAIL, email)


def by_subject(provider: str, subject: str) -> str:
    """Where the login of an account at a provider is."""
    return refs.login(provider, subject)


def login(uid: str, method: str, now: float, **more: Any) -> Data:
    """A login document."""
    return {"uid": uid, "method": method, "created_at": now, "rev": 1, **more}


def _plain(text: str) -> bool:
    # Half a surrogate, which nothing could store, does not count as printable either.
    return text.isprintable()

"""The form of what the vault writes down, sealed or wrapped: ``{format}.{key id}.{base64url(bytes)}``.

The format says how to read the rest and what is bound to it, and is bound itself: a text of one format under the name of
another does not open. The key id says which key opens it, so that a key can be replaced while texts of the old one exist.
"""

from __future__ import annotations

import base64
import binascii

import orjson

from shared.errors import ConfigurationError, ReauthRequired

FORMAT = "v1"


class Unopenable(ReauthRequired):
    """What was stored for the grant cannot be opened; only connecting it again helps."""


class KeyLost(ConfigurationError):
    """The vault key that the stored keys are wrapped under is missing or disabled."""


def bound(kind: str, uid: str, purpose: object, format: str = FORMAT) -> bytes:
    """The associated data; as JSON, so that no two lists of parts look alike."""
    return orjson.dumps(["brainstem", format, kind, uid, purpose])


def compose(key_id: str, blob: bytes, format: str = FORMAT) -> str:
    """Write down what a key has made."""
    return f"{format}.{key_id}.{base64.urlsafe_b64encode(blob).decode()}"


def parse(text: object, format: str = FORMAT) -> tuple[str, bytes]:
    """Key id and bytes. Raises ``Unopenable`` for anything that is not of the format."""
    try:
        said, key_id, encoded = text.split(".") if isinstance(text, str) else ("", "", "")
        blob = base64.b64decode(encoded, altchars=b"-_", validate=True)
        # The last character has bits to spare, which decoding ignores: one text, not several, is what was sealed.
        if said == format and base64.urlsafe_b64encode(blob).decode() == encoded:
            return key_id, blob
    except (ValueError, binascii.Error):
        pass  # not of our making; said below like any other form that is not ours
    raise Unopenable("The stored grant cannot be opened: it is not in a known format.")


def made_by(text: object) -> str:
    """Format and key of a text, to be compared with those of another; '' for what is no text."""
    return text.rpartition(".")[0] if isinstance(text, str) else ""

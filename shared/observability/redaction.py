"""Nothing secret leaves through a log line: fields are judged by name and type, texts by what they look like.

Three nets, each for its own kind of mistake. A string or a container under a suspicious name (``token``, ``headers``,
``body``, ``subject`` ...) is replaced. A value whose type is not plain JSON appears as the name of its type, since a
``repr`` would show fields; bytes appear as their number. Whatever text remains is searched for the shapes of tokens. An
exception is shown as its stack; its message only if it is one of ours, because other messages quote their input.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Mapping
from typing import Any

from shared.errors import BrainstemError

HIDDEN = "[redacted]"
MAX_TEXT = 2_000
MAX_ITEMS = 50
MAX_DEPTH = 4
MAX_STACK = 16_000
MAX_CHAIN = 5
MAX_FRAMES = 30

_ANYWHERE = re.compile(
    r"token|secret|authorization|password|passwd|cookie|credential|assertion|signature", re.IGNORECASE
)
_WORDS = frozenset(
    re.findall(
        r"\w+",
        "body bodies header headers jwt bearer pem plaintext sealed payload raw subject snippet sender addrs email",
    )
)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_SHAPES = re.compile(
    r"eyJ[\w-]{8,}(?:\.[\w-]*){0,4}"  # a JWT or JWE: the base64url of '{"'
    r"|\b(?:Bearer|Basic)\s+[^\s\"',;]+"
    r"|\bya29\.[\w.-]+"  # Google's access tokens
    r"|\b1//[\w-]{8,}"  # Google's refresh tokens
    r"|\bEw[\w+/=-]{40,}"  # access tokens of Microsoft's personal accounts
    r"|\bM\.C[0-9A-Z]+_[\w.!*$-]{8,}"  # their refresh tokens
    r"|\b[01]\.A[\w-]{20,}"  # refresh tokens of Microsoft's work and school accounts
    r"|\bu_[a-z2-7]{26}\.[a-z2-7]{26}\.[0-9]+\.[\w-]+"  # our own
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|\b(?:access_token|refresh_token|id_token|client_secret|code|state)=[^\s&\"']+",
    re.IGNORECASE | re.DOTALL,
)


def clean(value: Any, name: str = "", depth: int = 0) -> Any:
    """The value as it may be shown under this name: plain JSON, bounded, without secrets."""
    if value is None or isinstance(value, (bool, int, float)):
        return value if not isinstance(value, int) or -(2**63) <= value < 2**63 else str(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"[{len(value)} bytes]"
    if name and suspicious(name):
        return HIDDEN
    if isinstance(value, str):
        return scrub(value)
    if depth >= MAX_DEPTH:
        return "[nested]"
    if isinstance(value, Mapping):
        items = list(value.items())[:MAX_ITEMS]
        return {scrub(str(key)): clean(item, str(key), depth + 1) for key, item in items}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [clean(item, name, depth + 1) for item in list(value)[:MAX_ITEMS]]
    return f"[{type(value).__name__}]"


def suspicious(name: str) -> bool:
    """Whether a field of this name may hold a secret or a piece of a mail."""
    return bool(_ANYWHERE.search(name)) or any(word.lower() in _WORDS for word in _WORD.findall(name))


def scrub(text: str, limit: int = MAX_TEXT) -> str:
    """The text without what looks like a token, as valid UTF-8, cut to the limit."""
    # A bounded margin past the limit, so that a token across it is recognised before it is cut.
    shown = _SHAPES.sub(HIDDEN, text[: limit + 8_192])[:limit]
    return shown.encode("utf-8", "replace").decode("utf-8")


def stack(error: BaseException) -> str:
    """The traceback in Python's own layout, causes first; messages only of our own errors."""
    parts: list[str] = []
    current: BaseException | None = error
    while current is not None and len(parts) < MAX_CHAIN:
        frames = traceback.extract_tb(current.__traceback__)[-MAX_FRAMES:]
        shown = "".join(traceback.format_list(frames))
        parts.append(f"Traceback (most recent call last):\n{shown}{describe(current)}\n")
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return scrub("\nwhich led to:\n\n".join(reversed(parts)), MAX_STACK)


def describe(error: BaseException) -> str:
    """An exception in one line: its class, and its message if we wrote it."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    if isinstance(error, BrainstemError):
        return f"{name}: {scrub(error.message)}"
    if isinstance(error, OSError) and isinstance(error.strerror, str):
        return f"{name}: {scrub(error.strerror)}"
    return name

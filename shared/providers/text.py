"""Turn any string that JSON can carry into valid UTF-8 on one line, without NUL."""

from __future__ import annotations

import re

_LINE_BREAK = re.compile(r"\r\n|\r|\n")


def clean(text: str) -> str:
    """Replace lone surrogates by U+FFFD (pairs become the character they mean) and remove NULs."""
    if text.isascii():
        return text.replace("\0", "") if "\0" in text else text
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text.replace("\0", "")


def unfold(value: str) -> str:
    """Undo header folding: the line break goes, the white space after it stays (RFC 5322, 2.2.3).

    A line break with no white space after it is not folding; it becomes a space, so that a value can never start a
    header of its own further down the road.
    """
    if "\n" in value or "\r" in value:
        value = _LINE_BREAK.sub(_join, value)
    return value.lstrip(" \t")


def _join(found: re.Match[str]) -> str:
    following = found.string[found.end() : found.end() + 1]
    return "" if following in (" ", "\t", "") else " "

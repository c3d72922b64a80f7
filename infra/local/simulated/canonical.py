"""What may differ between the truth and a faithful client's answer: quoting, control characters, white space.

And the choice of replacement for bytes that no charset explains: where the truth has U+FFFD, anything may stand.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1f\x7f\ud800-\udfff]")
_ESCAPED = re.compile(r'\\(["\\])')
_LONE_ADDRESS = re.compile(r"(^|, )<([^<>,]*)>(?=$|,)")


def text(value: str) -> str:
    """Reduce a string to what has to agree.

    Control characters and lone surrogates are dropped, white space collapses to single spaces, double quotes and the
    backslashes that escape them vanish (so ``"Doe, Jo" <a@b>`` equals ``Doe, Jo <a@b>``), a bare ``<a@b>`` equals
    ``a@b``, and a comma is followed by exactly one space.
    """
    plain = _CONTROLS.sub("", _ESCAPED.sub(r"\1", value)).replace('"', "")
    spaced = ", ".join(part.strip() for part in " ".join(plain.split()).split(","))
    return _LONE_ADDRESS.sub(r"\1\2", spaced)


def same_text(truth: str, answer: str) -> bool:
    """Whether an answer says what the truth says."""
    expected, found = text(truth), text(answer)
    if "\ufffd" not in expected:
        return expected == found
    position = 0
    first, *rest = re.split("\ufffd+", expected)
    if not found.startswith(first):
        return False
    position = len(first)
    for part in rest[:-1]:
        position = found.find(part, position)
        if position < 0:
            return False
        position += len(part)
    return found.endswith(rest[-1]) and len(found) - len(rest[-1]) >= position


def same_headers(truth: Mapping[str, str], answer: Mapping[str, str]) -> bool:
    """Whether both have the same headers with the same values; an empty one is as good as none."""
    expected = {name: value for name, value in truth.items() if text(value)}
    found = {name: value for name, value in answer.items() if text(value)}
    return expected.keys() == found.keys() and all(same_text(value, found[name]) for name, value in expected.items())

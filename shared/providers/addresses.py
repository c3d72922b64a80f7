"""Split an address header (RFC 5322, 3.4) into its bare addresses.

``email.utils.getaddresses`` gives different answers in different patch versions of Python (its ``strict`` mode drops a
whole header over one odd member) and takes quadratic time on some input. This one is linear, keeps what it can, and
never raises. Names are dropped without being decoded: an encoded word is never parsed as syntax.
"""

from __future__ import annotations

import re

_ATOM = r'[^\s"(),:;<>@\[\]\\]'
# One whole member of the ordinary kinds, "name <address>" or a bare address, up to its separator.
_ORDINARY = re.compile(
    rf"""(?:(?:\s*+"(?:[^"\\]++|\\.)*+"\s*+|[^"(),:;<>@\[\]\\]*+)<\s*+({_ATOM}++@{_ATOM}++)\s*+>|\s*+({_ATOM}++@{_ATOM}++))"""
    r"\s*+(?:[,;]|\Z)",
    re.DOTALL,
)
_SPACE = re.compile(r"\s++")
_QUOTED = re.compile(r'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_SPACE_OR_QUOTED = re.compile(rf"{_SPACE.pattern}|{_QUOTED.pattern}", re.DOTALL)
_LITERAL = re.compile(r"\[[^\[\]\\<>,;]*+\]?+")
_WORD = re.compile(rf"{_ATOM}++")
_COMMENT_MARK = re.compile(r"\\.|[()]", re.DOTALL)
# An angle bracket may begin with an obsolete route; what follows is the address, with comments anywhere in it.
_OPENING = re.compile(r'<\s*+(?:@[^<>:"]*+:)?+')
_INSIDE = re.compile(r'(?:[^<>",;\\()]++|"(?:[^"\\]++|\\.)*+")++', re.DOTALL)


def bare(value: str) -> list[str]:
    """Answer the addresses of a header value in order, repeats kept; members of groups count, display names do not.

    ``"Doe, Jo" <jo@x.org>, team: a@x.org, b@x.org;`` gives ``jo@x.org``, ``a@x.org``, ``b@x.org``. Something without an
    ``@`` counts as an address only in angle brackets, or as a single word where nothing in the value has one (``root``).
    """
    addresses: list[str] = []
    reader: _Reader | None = None
    position, end = 0, len(value)
    while position < end:
        if ordinary := _ORDINARY.match(value, position):
            addresses.append(ordinary[1] or ordinary[2])
            position = ordinary.end()
        else:
            reader = reader or _Reader(value, addresses)
            position = reader.member(position)
    return addresses or (reader.words if reader else [])


class _Reader:
    """Reads the members of a value that are out of the ordinary, each into ``addresses`` or ``words``.

    Quotes and comments that never close are skipped as if they were not there, from the first such one on.
    """

    def __init__(self, value: str, addresses: list[str]) -> None:
        self.addresses = addresses
        self.words: list[str] = []
        self._value = value
        self._quotes = self._comments = True

    def member(self, position: int) -> int:
        """Read one member, and answer where the next one starts."""
        value, end = self._value, len(self._value)
        tokens: list[str] = []
        found = False
        while position < end:
            mark = value[position]
            if mark in ",;":
                position += 1
                break
            if mark == ":":  # what came before is the name of a group
                tokens.clear()
                position += 1
            elif mark == "<":
                address, position = self._bracketed(position)
                if address:
                    self.addresses.append(address)
                    found = True
            else:
                token, position = self._token(position)
                if token:
                    tokens.append(token)
        if not found:
            self._unbracketed(tokens)
        return position

    def _bracketed(self, position: int) -> tuple[str, int]:
        """Read what stands in angle brackets, of which the closing one may be missing."""
        value, parts = self._value, list[str]()
        opening = _OPENING.match(value, position)
        assert opening is not None  # everything after the bracket is optional
        position = opening.end()
        while True:
            if inside := _INSIDE.match(value, position):
                parts.append(inside[0])
                position = inside.end()
            elif value.startswith("(", position) and self._comments and (closed := _after_comment(value, position)):
                position = closed
            else:
                break
        return _compact(" ".join(parts)), position + value.startswith(">", position)

    def _token(self, position: int) -> tuple[str, int]:
        """Read a word, a quoted string, a domain literal or an ``@``; '' for what has no meaning in an address."""
        value, mark = self._value, self._value[position]
        if mark == '"' and self._quotes:
            quoted = _QUOTED.match(value, position)
            if quoted:
                return quoted[0], quoted.end()
            self._quotes = False
        elif mark == "(" and self._comments:
            closed = _after_comment(value, position)
            if closed:
                return "", closed
            self._comments = False
        elif mark == "@":
            return mark, position + 1
        for pattern in (_WORD, _LITERAL):
            if token := pattern.match(value, position):
                return token[0], token.end()
        space = _SPACE.match(value, position)
        return "", space.end() if space else position + 1

    def _unbracketed(self, tokens: list[str]) -> None:
        """Find ``local @ domain`` among the tokens; obsolete syntax allows space around every dot and the ``@``."""
        if "@" not in tokens:
            if len(tokens) == 1 and tokens[0].isascii() and "=?" not in tokens[0] and tokens[0][0] not in '"[':
                self.words.append(tokens[0])
            return
        used = 0
        for at in range(len(tokens)):
            if tokens[at] != "@":
                continue
            first, last = at - 1, at + 1
            while first > used and _dotted(tokens[first - 1], tokens[first]):
                first -= 1
            while last + 1 < len(tokens) and _dotted(tokens[last], tokens[last + 1]):
                last += 1
            if used <= first and last < len(tokens) and "@" not in (tokens[first], tokens[last]):
                self.addresses.append("".join(tokens[first : last + 1]))
                used = last + 1


def _dotted(left: str, right: str) -> bool:
    """Whether a dot joins two tokens."""
    return "@" not in (left, right) and (left.endswith(".") or right.startswith("."))


def _after_comment(value: str, position: int) -> int:
    """Answer where the (perhaps nested) comment that starts here has ended, 0 if it never does."""
    depth = 0
    for mark in _COMMENT_MARK.finditer(value, position):
        depth += {"(": 1, ")": -1}.get(mark[0], 0)
        if depth == 0:
            return mark.end()
    return 0


def _compact(inside: str) -> str:
    """Drop white space around the parts of an address; '' for words without an ``@``, which are no address."""
    if '"' in inside:
        return _SPACE_OR_QUOTED.sub(_drop_space, inside)
    words = inside.split()
    return "".join(words) if "@" in inside or len(words) == 1 else ""


def _drop_space(found: re.Match[str]) -> str:
    return "" if found[0].isspace() else found[0]

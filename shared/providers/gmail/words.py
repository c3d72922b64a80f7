"""Decode the encoded words of RFC 2047 (``=?utf-8?q?Gr=C3=BC=C3=9Fe?=``) in header values, however broken they are.

Python's own decoders raise on some input and differ between patch versions, hence this one. It is linear in the length
of the value, and it only ever uses charsets that Python ships with: the name in an encoded word is the sender's choice,
and codec lookups by name would import modules and fill a cache that nobody empties.
"""

from __future__ import annotations

import binascii
import encodings.aliases
import re
import sys
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from shared.providers.gmail.text import clean

_START = re.compile(r"=\?([^?\s]{1,64})\?([bBqQ])\?")
_HEX = re.compile(rb"(?:=[0-9A-Fa-f]{2})++")
_NOT_BASE64 = bytes(set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"))
_LINEAR_SPACE = " \t\r\n"  # RFC 5322's white space; a no-break space between two encoded words is text
_SPECIALS = frozenset('()<>@,:;.[]"\\')

_NO_CHARSETS = {"base64_codec", "bz2_codec", "hex_codec", "quopri_codec", "rot_13", "uu_codec", "zlib_codec", "mbcs"}
_UNALIASED = (
    "utf_8_sig cp720 cp737 cp856 cp874 cp875 cp1006 koi8_r koi8_t koi8_u mac_arabic mac_croatian mac_farsi"
    " mac_romanian palmos"
)
_CHARSETS = {
    **{name: codec for name, codec in encodings.aliases.aliases.items() if codec not in _NO_CHARSETS},
    **{codec: codec for codec in encodings.aliases.aliases.values() if codec not in _NO_CHARSETS},
    **{name: name for name in _UNALIASED.split()},
}
# What senders mean when their bytes do not fit the charset that they name.
_MEANT = {"ascii": "utf_8", "latin_1": "cp1252", "gb2312": "gb18030", "gbk": "gb18030", "shift_jis": "cp932",
          "euc_kr": "cp949", "big5": "big5hkscs"}  # fmt: skip


class _Word(NamedTuple):
    charset: str
    octets: bytes


def decode(value: str, *, quote: bool = False, enough: int = sys.maxsize) -> str:
    """Decode every encoded word and keep the rest; white space between two encoded words goes. Never raises.

    Bytes of neighbouring words in one charset are joined before they are decoded, since many senders cut characters in
    half. With ``quote``, for headers that hold addresses, decoded text with a comma or the like is put in quotes, so
    that what was one name is still one name to whoever splits the value later.
    """
    if "=?" not in value:
        return value
    parts: list[str] = []
    run: list[_Word] = []
    blank = ""
    length = 0
    for piece in _pieces(value):
        if length > enough:
            break
        if isinstance(piece, _Word):
            run.append(piece)
            blank = ""
        elif run and not blank and not piece.strip(_LINEAR_SPACE):
            blank = piece
        else:
            length += _settle(parts, run, quote) + len(piece)
            parts.append(blank + piece)
            blank = ""
    _settle(parts, run, quote)
    return clean("".join(parts) + blank)


def _pieces(value: str) -> Iterator[str | _Word]:
    position = 0
    while found := _START.search(value, position):
        start, payload = found.span()
        end = value.find("?=", payload)
        if end < 0:
            break  # no encoded word can end from here on
        if start > position:
            yield value[position:start]
        charset, encoding = found.groups()
        yield _Word(_charset(charset), _octets(encoding, value[payload:end]))
        position = end + 2
    if position < len(value):
        yield value[position:]


def _settle(parts: list[str], run: list[_Word], quote: bool) -> int:
    """Append the decoded run of neighbouring words, empty it, and answer how many characters it gave."""
    if not run:
        return 0
    texts: list[str] = []
    octets, charset = [run[0].octets], run[0].charset
    for word in run[1:]:
        if word.charset != charset:
            texts.append(_text(b"".join(octets), charset))
            octets, charset = [], word.charset
        octets.append(word.octets)
    texts.append(_text(b"".join(octets), charset))
    run.clear()
    text = "".join(texts).replace("\r", " ").replace("\n", " ")
    if quote and not _SPECIALS.isdisjoint(text) and not (parts and parts[-1].endswith('"')):
        text = '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    parts.append(text)
    return len(text)


@lru_cache(maxsize=256)
def _charset(name: str) -> str:
    """Answer Python's codec of this name ('' if there is none); RFC 2231 allows a language after an asterisk."""
    return _CHARSETS.get(encodings.normalize_encoding(name.partition("*")[0]).lower(), "")


def _octets(encoding: str, payload: str) -> bytes:
    raw = clean(payload).encode()
    if encoding in "qQ":
        return _HEX.sub(_bytes, raw.replace(b"_", b" "))
    digits = raw.translate(None, _NOT_BASE64)
    usable = digits[: len(digits) - (len(digits) % 4 == 1)]  # one digit too many holds no whole byte
    return binascii.a2b_base64(usable + b"=" * (-len(usable) % 4))


def _bytes(found: re.Match[bytes]) -> bytes:
    return binascii.a2b_hex(found[0].replace(b"=", b""))


def _text(octets: bytes, charset: str) -> str:
    """Decode strictly as declared, then as meant, then as UTF-8; at last as declared with replacements."""
    for codec in (charset, _MEANT.get(charset, ""), "utf_8"):
        if codec:
            try:
                return octets.decode(codec)
            except UnicodeError:
                continue
    return octets.decode(charset or "latin_1", "replace")

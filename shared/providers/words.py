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
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import TypeAlias

from shared.providers.text import clean

_ENCODED = re.compile(r"=\?([^?\s]{1,64})\?([bBqQ])\?(.*?)\?=", re.DOTALL)
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

_Word: TypeAlias = tuple[str, bytes]
"""The codec of an encoded word ('' for none that is known), and its octets."""


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
    position = length = 0
    # Behind the last end of a word no word can end; looking for one from every start there would not be linear.
    for found in _ENCODED.finditer(value, 0, value.rfind("?=") + 2):
        start, end = found.span()
        text = value[position:start]
        if text and not (run and not text.strip(_LINEAR_SPACE)):
            length += _settle(parts, run, quote) + len(text)
            parts.append(text)
            if length > enough:
                break
        charset, encoding, payload = found.groups()
        run.append((_charset(charset), _octets(encoding, payload)))
        position = end
    else:
        _settle(parts, run, quote)
        parts.append(value[position:])
    return clean("".join(parts))


def quoted(text: str) -> str:
    """A name, in quotes where it holds what means something in an address header."""
    if _SPECIALS.isdisjoint(text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _settle(parts: list[str], run: list[_Word], quote: bool) -> int:
    """Append the decoded run of neighbouring words, empty it, and answer how many characters it gave."""
    if not run:
        return 0
    if len(run) == 1:
        text = _text(run[0][1], run[0][0])
    else:
        joined = [(charset, b"".join([word[1] for word in words])) for charset, words in groupby(run, itemgetter(0))]
        text = "".join([_text(octets, charset) for charset, octets in joined])
    run.clear()
    text = text.replace("\r", " ").replace("\n", " ")
    if quote and not (parts and parts[-1].endswith('"')):
        text = quoted(text)
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

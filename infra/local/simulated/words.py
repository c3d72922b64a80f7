"""Encoded words (RFC 2047): written in many charsets for planned mail, read leniently for imported mail.

Writing and reading are inverse to each other for every text that has no surrounding, doubled or exotic whitespace.
"""

from __future__ import annotations

import base64
import random
from collections.abc import Iterator
from email.errors import HeaderParseError
from email.header import decode_header

_LONGEST_WORD = 64  # 75 are allowed; a line of 76 has to hold the name of the header as well
_Q_SAFE = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!*+-/")
_CHARSETS = (("utf-8", "B"), ("utf-8", "Q"), ("iso-8859-1", "Q"), ("windows-1252", "Q"), ("shift_jis", "B"))


def needs_encoding(text: str) -> bool:
    """Whether a text cannot stand in a header as it is."""
    plain = text.isascii() and text.isprintable()
    return not plain or "=?" in text or text != " ".join(text.split())


def encode_words(text: str, chance: random.Random) -> list[str]:
    """Write a text as header words, to be joined by single spaces or folds; ``chance`` picks charset and style."""
    if not needs_encoding(text):
        return text.split(" ") if text else []
    charset, encoding = chance.choice(_fitting(text))
    words = text.split(" ")
    if text != " ".join(text.split()) or chance.random() < 0.5:
        return list(_pieces(text, charset, encoding))
    encoded: list[str] = []
    run: list[str] = []
    for word in words:
        if needs_encoding(word):
            run.append(word)
            continue
        encoded.extend(_pieces(" ".join(run), charset, encoding) if run else ())
        encoded.append(word)
        run = []
    encoded.extend(_pieces(" ".join(run), charset, encoding) if run else ())
    return encoded


def encode_phrase(text: str, chance: random.Random) -> list[str]:
    """Write a display name as header words: an atom sequence, a quoted string or encoded words, never a mixture."""
    if needs_encoding(text):
        return list(_pieces(text, *chance.choice(_fitting(text))))
    if all(character.isalnum() or character in " !#$%&'*+-/=?^_`{|}~" for character in text):
        return text.split(" ")
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'.split(" ")


def decode_words(value: str) -> str:
    """Read a header value as Python's email package does; what cannot be decoded stays as it is."""
    if "=?" not in value:
        return value
    try:
        chunks = decode_header(value)
    except (HeaderParseError, ValueError):
        return value
    text = "".join(_decoded(chunk, charset, value.isascii()) for chunk, charset in chunks)
    # Some charsets can spell half of a character; what is left alone of one is no text.
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _decoded(chunk: bytes | str, charset: str | None, plain: bool) -> str:
    if isinstance(chunk, str):
        return chunk
    # decode_header escapes raw characters beyond Latin-1 in what stands between encoded words.
    declared = charset or ("ascii" if plain else "raw-unicode-escape")
    for candidate in (declared, "utf-8"):
        try:
            return chunk.decode(candidate)
        except (LookupError, ValueError):
            continue
    try:
        return chunk.decode(declared, "replace")
    except (LookupError, ValueError):
        return chunk.decode("latin-1")


def _fitting(text: str) -> list[tuple[str, str]]:
    return [(charset, encoding) for charset, encoding in _CHARSETS if _fits(text, charset)]


def _fits(text: str, charset: str) -> bool:
    try:
        return text.encode(charset).decode(charset) == text
    except UnicodeError:
        return False


def _pieces(text: str, charset: str, encoding: str) -> Iterator[str]:
    """Encoded words of bounded length; no character is split between two of them."""
    room = _LONGEST_WORD - len(f"=?{charset}?{encoding}??=")
    piece = ""
    for character in text:
        if len(_payload(piece + character, charset, encoding)) > room:
            yield f"=?{charset}?{encoding}?{_payload(piece, charset, encoding)}?="
            piece = ""
        piece += character
    yield f"=?{charset}?{encoding}?{_payload(piece, charset, encoding)}?="


def _payload(text: str, charset: str, encoding: str) -> str:
    raw = text.encode(charset)
    if encoding == "B":
        return base64.b64encode(raw).decode()
    return "".join(chr(byte) if byte in _Q_SAFE else "_" if byte == 0x20 else f"={byte:02X}" for byte in raw)

"""The bytes of a mail as they are kept: compressed, by a small compressor, since most mails are small.

A usual one would spend more time on clearing its 256 KiB of memory than on the mail.
"""

from __future__ import annotations

import zlib

_LEVEL = 1
_WINDOW_BITS = 13
_MEMORY_LEVEL = 5


def pack(raw: bytes) -> bytes:
    """Compress a mail."""
    compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, _WINDOW_BITS, _MEMORY_LEVEL)
    return compressor.compress(raw) + compressor.flush()


def unpack(stored: bytes) -> bytes:
    """The mail that was packed."""
    return zlib.decompress(stored)

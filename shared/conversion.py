"""Typed values out of documents and bodies, by msgspec: which classes may be asked for."""

from __future__ import annotations

from typing import TypeVar

import msgspec

Class = TypeVar("Class", bound=type)


def convertible(kind: Class) -> Class:
    """A class decorator: have msgspec learn the class now, while one thread imports its module.

    Else it learns it at the first conversion, and where several threads come to that at once the process dies: what it keeps
    on the class is not guarded (msgspec 0.22.0; ``tests/unit/test_conversion.py`` shows it).
    """
    msgspec.json.Decoder(kind)
    return kind

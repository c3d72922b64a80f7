"""Identifiers as Outlook makes them: long, URL-safe base64 with padding, and told apart by their case alone.

A message has two: an immutable one, and one that is another after every move. Folders have one that stays.
"""

from __future__ import annotations

import base64

from infra.local.simulated.chance import digest

_LENGTH = 34  # so that the base64 ends with padding, which clients have to carry through


def immutable_id(seed: int, address: str, number: int) -> str:
    """The id that a message keeps wherever it goes."""
    return _made("AAkALgAAAAAAHYQD", seed, address, "message", number)


def mutable_id(seed: int, address: str, message_id: str, moves: int) -> str:
    """The id that a message has until it is moved again."""
    return _made("AAMkAGI2", seed, address, "place", message_id, moves)


def folder_id(seed: int, address: str, number: int | str) -> str:
    """The id of a folder, by its number or by a name that it always has."""
    return _made("AQMkADAw", seed, address, "folder", number)


def conversation_id(seed: int, address: str, number: int) -> str:
    """The id of a conversation."""
    return _made("AAQkAGI2", seed, address, "conversation", number)


def change_key(seed: int, message_id: str, number: int) -> str:
    """The version of a message."""
    return "CQAAABYAAAC" + base64.b64encode(digest(seed, "key", message_id, number)[:14]).decode().rstrip("=")


def _made(beginning: str, *parts: object) -> str:
    data = digest(*parts) + digest(*parts, "tail")
    return beginning + base64.urlsafe_b64encode(data[:_LENGTH]).decode()

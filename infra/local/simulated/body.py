"""The text of a mail's parts, and its first words."""

from __future__ import annotations

import re
from contextlib import suppress
from email.message import Message
from html.parser import HTMLParser

SNIPPET = 200
_READ = 65_536
_SILENT_TAGS = frozenset({"style", "script", "head", "title"})
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")


def squeeze(text: str, length: int = SNIPPET) -> str:
    """Collapse whitespace, drop control characters and keep the first characters."""
    return " ".join(_CONTROLS.sub("", text[: 20 * length]).split())[:length].rstrip()


def snippet_of(message: Message, length: int = SNIPPET) -> str:
    """Read the beginning of the first text part, plain text preferred."""
    texts: dict[str, Message] = {}
    for part in message.walk():
        if not part.is_multipart() and part.get_content_maintype() == "text":
            texts.setdefault(part.get_content_subtype(), part)
    if "plain" in texts:
        return squeeze(text_of(texts["plain"], _READ), length)
    if "html" in texts:
        return squeeze(_visible(text_of(texts["html"], _READ)), length)
    return ""


def content_of(part: Message) -> bytes:
    """The bytes of a part that has none inside it, whatever they travelled as."""
    payload = part.get_payload(decode=True)
    return payload if isinstance(payload, bytes) else b""


def text_of(part: Message, limit: int | None = None) -> str:
    """Read a text part, or as many bytes of it, in the charset that it names or else in UTF-8."""
    raw = content_of(part)[:limit]
    try:
        return raw.decode(str(part.get_content_charset("utf-8")), "replace")
    except (LookupError, ValueError):
        return raw.decode("utf-8", "replace")


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.words: list[str] = []
        self._silent = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        self._silent += tag in _SILENT_TAGS

    def handle_endtag(self, tag: str) -> None:
        self._silent = max(0, self._silent - (tag in _SILENT_TAGS))

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.words.append(data)


def _visible(markup: str) -> str:
    parser = _Text()
    with suppress(AssertionError):  # html.parser's word for a declaration that it does not know: what came before stays
        parser.feed(markup)
        parser.close()
    return " ".join(parser.words)

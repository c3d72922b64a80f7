"""A plan as the bytes that would travel: encoded words in several charsets, folded lines, quoted names."""

from __future__ import annotations

import base64
import random
from collections.abc import Sequence
from email.utils import formatdate

from infra.local.simulated.plan import Person, Plan
from infra.local.simulated.words import encode_phrase, encode_words

_LINE = 76


def render(plan: Plan, message_id: str, chance: random.Random) -> bytes:
    """Render a plan; ``chance`` (seeded) decides charsets and styles. A field that is empty is not written."""
    fields: list[tuple[str, list[str]]] = [
        ("From", _person(plan.sender, chance)),
        ("To", _people(plan.to, chance)),
        ("Cc", _people(plan.cc, chance)),
        ("Bcc", _people(plan.bcc, chance)),
        ("Subject", encode_words(plan.subject, chance)),
        ("Date", [] if plan.date is None else formatdate(plan.date).split(" ")),
    ]
    given = {name.lower() for name, _ in plan.headers}
    if "message-id" not in given:
        fields.append(("Message-ID", [message_id]))
    fields.extend((name, value.split(" ")) for name, value in plan.headers)
    fields.append(("MIME-Version", ["1.0"]))
    fields.append(("Content-Type", ["text/plain;", "charset=utf-8"]))
    fields.append(("Content-Transfer-Encoding", ["base64"]))
    head = "".join(_fold(name, words) for name, words in fields if words)
    return head.encode("ascii") + b"\r\n" + base64.encodebytes(plan.body.encode()).replace(b"\n", b"\r\n")


def _people(people: Sequence[Person], chance: random.Random) -> list[str]:
    words: list[str] = []
    for position, person in enumerate(people):
        words.extend(_person(person, chance))
        if position < len(people) - 1:
            words[-1] += ","
    return words


def _person(person: Person, chance: random.Random) -> list[str]:
    name, address = person
    if not name:
        return [address if chance.random() < 0.5 else f"<{address}>"]
    return [*encode_phrase(name, chance), f"<{address}>"]


def _fold(name: str, words: Sequence[str]) -> str:
    lines = [f"{name}:"]
    for word in words:
        if len(lines[-1]) + 1 + len(word) > _LINE and lines[-1] != f"{name}:" and word:
            lines.append("")
        lines[-1] += f" {word}"
    return "\r\n".join(lines) + "\r\n"

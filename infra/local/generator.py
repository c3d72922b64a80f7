"""Mail that could have been somebody's: people, threads, newsletters, notes to self, drafts, spam, two years of it.

Everything follows from the seed. ``generate`` fills a mailbox with mail plans (``infra.local.simulated.plan`` has their
shape); ``traffic`` scripts what happens to it afterwards, without knowing its message ids.
"""

from __future__ import annotations

import heapq
import math
import random
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from infra.local.generator_words import PEOPLE, PLACES, SENTENCES, SUBJECTS, TOPICS

Plan: TypeAlias = dict[str, Any]
Person: TypeAlias = tuple[str, str]

SPAN_SECONDS = 2 * 365 * 86_400
_HOUR = 3600.0
_KINDS = {"conversation": 52, "newsletter": 27, "notice": 10, "spam": 5, "note": 3, "draft": 3}
_OPERATIONS = {"mail": 47, "labels": 25, "trash": 10, "untrash": 3, "delete": 10, "rescue": 2, "sent": 3}


def generate(seed: int, count: int, address: str, now: float, mean_thread: float | None = None) -> Iterator[Plan]:
    """Yield ``count`` plans, oldest first, received over the two years before ``now``; lazily, in little memory.

    With ``mean_thread`` there is nothing but conversations, of so many mails on average.
    """
    chance = _chance(seed, "mailbox")
    me = (_name_of(address), address)
    waiting: list[tuple[float, int, Plan]] = []
    made = 0
    while made < count:
        start = now - SPAN_SECONDS * (1 - made / count) * 0.999 - 1
        while waiting and waiting[0][0] <= start:
            yield heapq.heappop(waiting)[2]
        key = f"{seed}-{made}"
        thread = (
            _thread(chance, me, start, now, key)
            if mean_thread is None
            else _conversation(chance, me, start, now, key, mean_thread)
        )
        for plan in thread[: count - made]:
            heapq.heappush(waiting, (plan["received_at"], made, plan))
            made += 1
    while waiting:
        yield heapq.heappop(waiting)[2]


@dataclass(frozen=True, slots=True)
class Operation:
    """Something that happens: its kind, which of the fitting mails it hits (0 to 1), and the seed of a new mail."""

    kind: str
    pick: float
    seed: int

    def request(self, address: str, now: float, mails: Sequence[dict[str, Any]]) -> tuple[str, dict[str, Any]]:
        """Make it concrete: the control endpoint below ``/control/mailboxes/{address}/`` and the body to post there.

        ``mails`` are those alive now, each with ``id`` and ``labels``, in a stable order. Where none fits the kind, a
        new one arrives instead.
        """
        chance = _chance(self.seed, self.kind)
        mail = self._target(mails)
        if mail is None or self.kind in ("mail", "sent"):
            return "mails", {"mails": [self._arrival(chance, (_name_of(address), address), now)], "silent": False}
        if self.kind == "rescue":
            return "labels", {"id": mail["id"], "add": ["INBOX"], "remove": ["SPAM"]}
        if self.kind == "labels":
            label = chance.choice(("UNREAD", "UNREAD", "STARRED", "IMPORTANT", "INBOX", "Later"))
            return "labels", {"id": mail["id"]} | _flip(label, mail["labels"])
        return self.kind, {"id": mail["id"]}

    def _target(self, mails: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
        needed = {"untrash": "TRASH", "rescue": "SPAM"}.get(self.kind)
        fitting = [
            mail
            for mail in mails
            if (needed in mail["labels"] if needed else self.kind != "trash" or "TRASH" not in mail["labels"])
        ]
        return fitting[int(self.pick * len(fitting))] if fitting else None

    def _arrival(self, chance: random.Random, me: Person, now: float) -> Plan:
        other = chance.choice(PEOPLE)
        key = f"live-{self.seed}"
        if self.kind == "sent":
            return _mail(chance, me, [other], _subject(chance), now, ["SENT"], key, 0) | {"received_at": None}
        labels = ["SPAM" if chance.random() < 0.05 else "INBOX", "UNREAD"]
        return _mail(chance, other, [me], _subject(chance), now, labels, key, 0) | {"received_at": None}


def traffic(seed: int, count: int) -> list[Operation]:
    """Script ``count`` operations: about half new mail, a quarter label changes, then trash, deletions and the rest."""
    chance = _chance(seed, "traffic")
    kinds = chance.choices(list(_OPERATIONS), list(_OPERATIONS.values()), k=count)
    return [Operation(kind, chance.random(), chance.getrandbits(48)) for kind in kinds]


def _thread(chance: random.Random, me: Person, start: float, now: float, key: str) -> list[Plan]:
    kind = chance.choices(list(_KINDS), list(_KINDS.values()))[0]
    if kind == "conversation":
        return _conversation(chance, me, start, now, key)
    subject = _subject(chance)
    other = chance.choice(PEOPLE)
    if kind == "note":
        return [_mail(chance, me, [me], subject, start, ["INBOX", "SENT"], key, 0)]
    if kind == "draft":
        return [_mail(chance, me, [other] if chance.random() < 0.7 else [], subject, start, ["DRAFT"], key, 0)]
    if kind == "spam":
        return [_mail(chance, other, [me], f"{subject} !!!".strip(), start, ["SPAM", "UNREAD"], key, 0)]
    return [_bulk(chance, me, start, key, kind)]


def _conversation(
    chance: random.Random, me: Person, start: float, now: float, key: str, mean: float | None = None
) -> list[Plan]:
    """A few people answering each other; all mails share a thread, each answers the one before."""
    others = chance.sample(PEOPLE, chance.choices((1, 2, 4), (6, 3, 1))[0])
    subject = _subject(chance)
    length = min(12, 1 + int(chance.expovariate(1 / 4.2))) if mean is None else _length(chance, mean)
    labels = ["Later"] if chance.random() < 0.05 else []
    labels += ["TRASH"] if chance.random() < 0.04 else ["INBOX"] if chance.random() < 0.6 else []
    plans: list[Plan] = []
    moment = start
    for position in range(length):
        mine = chance.random() < 0.35
        sender = me if mine else chance.choice(others)
        to = [person for person in (*others[:2], me) if person != sender] or [me]
        mail_labels = [label for label in labels if not mine or label != "INBOX"] + (["SENT"] if mine else [])
        if not mine and chance.random() < 0.15:
            mail_labels.append("UNREAD")
        if chance.random() < 0.04:
            mail_labels.append("STARRED")
        line = subject if position == 0 or not subject else f"Re: {subject}"
        plan = _mail(chance, sender, to, line, moment, mail_labels, key, position)
        if len(others) > 2:
            plan["cc"] = [list(person) for person in others[2:] if person != sender]
        if mine and chance.random() < 0.08:
            plan["bcc"] = [list(chance.choice(PEOPLE))]
        plans.append(plan)
        moment = min(now - 1, moment + chance.expovariate(1 / (9 * _HOUR)) + 60)
    return plans


def _length(chance: random.Random, mean: float) -> int:
    """A geometric number of this mean; Gmail cuts conversations at 100 mails."""
    return 1 if mean <= 1 else min(100, 1 + int(chance.expovariate(-math.log1p(-1 / mean))))


def _bulk(chance: random.Random, me: Person, start: float, key: str, kind: str) -> Plan:
    place = chance.choice(PLACES)
    plain = unicodedata.normalize("NFKD", place).encode("ascii", "ignore").decode()
    domain = plain.lower().replace(" ", "-").replace("&", "and") + ".example"
    sender = (
        f"{place} News" if kind == "newsletter" else place,
        f"{'news' if kind == 'newsletter' else 'no-reply'}@{domain}",
    )
    labels = ["CATEGORY_PROMOTIONS" if kind == "newsletter" else "CATEGORY_UPDATES"]
    labels += ["INBOX"] if chance.random() < 0.7 else []
    labels += ["UNREAD"] if chance.random() < 0.5 else []
    plan = _mail(
        chance, sender, [me], f"{place}: {chance.choice(TOPICS)} #{chance.randrange(1, 900)}", start, labels, key, 0
    )
    if kind == "newsletter":
        plan["headers"]["List-Id"] = f"{plain} News <news.{domain}>"
        plan["headers"]["List-Unsubscribe"] = f"<mailto:leave@{domain}>, <https://{domain}/leave?u={key}>"
        plan["headers"]["Reply-To"] = f"editors@{domain}"
    else:
        plan["headers"]["Auto-Submitted"] = "auto-generated"
    return plan


def _mail(
    chance: random.Random, sender: Person, to: Sequence[Person], subject: str, moment: float, labels: list[str],
    key: str, position: int,
) -> Plan:  # fmt: skip
    headers = {"Message-ID": f"<{key}.{position}@mail.example>"}
    if position:
        headers["In-Reply-To"] = f"<{key}.{position - 1}@mail.example>"
        headers["References"] = " ".join(f"<{key}.{before}@mail.example>" for before in range(position))
    moment = round(moment, 3)
    return {
        "subject": subject,
        "sender": list(sender),
        "to": [list(person) for person in to],
        "cc": [],
        "bcc": [],
        # Clocks differ, so the sender's date is near the time of receipt; a few senders write none at all.
        "date": None if chance.random() < 0.02 else float(int(moment) - chance.randrange(90)),
        "received_at": moment,
        "labels": labels,
        "body": "\n\n".join(chance.sample(SENTENCES, chance.randrange(1, 5))),
        "headers": headers,
        "thread": key,
    }


def _subject(chance: random.Random) -> str:
    if chance.random() < 0.01:
        return ""
    subject = chance.choice(SUBJECTS).format(topic=chance.choice(TOPICS), place=chance.choice(PLACES))
    if chance.random() < 0.03:
        subject = " · ".join([subject, *chance.sample(SENTENCES, 4)])
    return subject


def _flip(label: str, present: Sequence[str]) -> dict[str, list[str]]:
    # A person's own label is listed by its id, so whether "Later" is there cannot be told by name: it is added.
    return {"add": [], "remove": [label]} if label in present else {"add": [label], "remove": []}


def _name_of(address: str) -> str:
    return address.partition("@")[0].replace(".", " ").title()


def _chance(*parts: object) -> random.Random:
    return random.Random("/".join(map(str, parts)))  # noqa: S311 - plausible mail, not secrets

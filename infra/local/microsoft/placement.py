"""Where a mail lies and how it is marked, from the labels that plans and importers speak of, and back to labels.

Outlook has no labels: a mail is in one folder, is read or not, may be flagged, be important and have categories. A label of
Gmail that names a place decides the folder; any other name is a category.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from infra.local.microsoft.folders import LABELS

_PLACES = {"TRASH": "deleteditems", "SPAM": "junkemail", "DRAFT": "drafts", "INBOX": "inbox", "SENT": "sentitems"}
"""Which folder a label means; where there are several the first decides."""

_MARKS = frozenset({*_PLACES, "UNREAD", "STARRED", "IMPORTANT", "CHAT"})
FOLDER = "folder:"
CATEGORY = "category:"


@dataclass(frozen=True, slots=True)
class Placement:
    """``folder`` is an id or a well-known name; ``inbound`` says whether it came in from outside."""

    folder: str
    read: bool = True
    flagged: bool = False
    important: bool = False
    categories: tuple[str, ...] = ()
    draft: bool = False
    inbound: bool = True


def place(labels: Collection[str], categories: Sequence[str] = (), folder: str = "") -> Placement:
    """Where a new mail with these labels goes; one that no label places was archived."""
    usual = next((known for label, known in _PLACES.items() if label in labels), "archive")
    # Gmail has a note to oneself once, in the inbox and among the sent; here it lies among the sent.
    if "SENT" in labels and not {"TRASH", "SPAM", "DRAFT"} & set(labels):
        usual = "sentitems"
    named = [_category(label) for label in labels if label not in _MARKS and not label.startswith(FOLDER)]
    return Placement(
        folder=folder or next((label[len(FOLDER) :] for label in labels if label.startswith(FOLDER)), usual),
        read="UNREAD" not in labels,
        flagged="STARRED" in labels,
        important="IMPORTANT" in labels,
        categories=tuple(dict.fromkeys((*named, *categories))),
        draft="DRAFT" in labels,
        inbound="SENT" not in labels and "DRAFT" not in labels,
    )


def relabelled(now: Placement, known: str, add: Sequence[str], remove: Sequence[str]) -> Placement:
    """What adding and removing labels makes of a mail that lies in a folder of this well-known name ('' for none)."""
    folder = now.folder
    places = [label for label in _PLACES if label in add and label != "DRAFT"]
    if named := [label[len(FOLDER) :] for label in add if label.startswith(FOLDER)]:
        folder = named[0]
    elif places:
        folder = _PLACES[places[0]]
    elif known and LABELS.get(known) in remove and known != "drafts":
        folder = "archive" if known == "inbox" else "inbox"
    gone = {_category(label) for label in remove if label not in _MARKS}
    new = [_category(label) for label in add if label not in _MARKS and not label.startswith(FOLDER)]
    return replace(
        now,
        folder=folder,
        read=_marked(now.read, "UNREAD", remove, add),
        flagged=_marked(now.flagged, "STARRED", add, remove),
        important=_marked(now.important, "IMPORTANT", add, remove),
        categories=tuple(dict.fromkeys(one for one in (*now.categories, *new) if one not in gone)),
    )


def labels_of(state: Mapping[str, Any], known: str, from_self: bool) -> list[str]:
    """What a faithful client labels a message by: its folder, its marks, and whether it was sent from here."""
    labels = {FOLDER + state["folder"], *(CATEGORY + one for one in state["categories"])}
    if known in LABELS:
        labels.add(LABELS[known])
    if not state["isRead"]:
        labels.add("UNREAD")
    if state["flag"] == "flagged":
        labels.add("STARRED")
    if state["importance"] == "high":
        labels.add("IMPORTANT")
    if state["isDraft"]:
        labels.add("DRAFT")
    elif from_self and not state["inbound"]:
        labels.add("SENT")
    return sorted(labels)


def _marked(now: bool, label: str, on: Sequence[str], off: Sequence[str]) -> bool:
    return True if label in on else False if label in off else now


def _category(label: str) -> str:
    if label.startswith("CATEGORY_"):
        return label.removeprefix("CATEGORY_").title()
    return label.removeprefix(CATEGORY)

"""mailFolders/delta and messages/delta: a first round of everything, then rounds of what changed, page by page.

A message's round belongs to one folder. What left it is ``@removed``: ``changed`` if it was moved, ``deleted`` if it is
gone. A first round ends with the changes since it began still to come, so what changed meanwhile comes twice.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from infra.local.microsoft import folders, rounds
from infra.local.microsoft.asked import Asked, Json, Route
from infra.local.microsoft.errors import GraphError, invalid
from infra.local.microsoft.ledger import find_mailbox
from infra.local.microsoft.listing import conditions, direction
from infra.local.microsoft.methods.folders import narrowed
from infra.local.microsoft.rounds import HIERARCHY, Round
from infra.local.microsoft.shown import message, selected
from infra.local.simulated.chance import stream

FILTERED_AT_MOST = 5_000
"""So many messages a first round with a $filter lists; the rest is left out without a word."""

_EMPTY_IN_A_ROW = 2

Page = tuple[list[Json], Round, bool]
"""Items, the place behind them, and whether the round goes on there."""


def of_messages(asked: Asked) -> Json:
    """GET /me/mailFolders/{id}/messages/delta."""
    options: Json = {"select": selected(asked.one("select")), "filter": asked.one("filter")}
    conditions(options["filter"], only=("ge", "gt"))
    if asked.one("orderby") and direction(asked.one("orderby")) != "DESC":
        raise invalid("Only receivedDateTime desc is supported.", "ErrorInvalidUrlQuery")

    def note(db: sqlite3.Connection) -> Json | GraphError:
        folder = folders.find(db, asked.address, asked.words[0])
        if folder["search"]:
            raise invalid("Change tracking is not supported against a search folder.", "ErrorInvalidRequest")
        begin = Round(True, find_mailbox(db, asked.address)["shown"], options=options)
        path = f"me/mailFolders('{folder['id']}')/messages/delta"
        return _answer(db, asked, folder["id"], path, begin, _messages)

    return _settled(asked.outlook.write(asked.address, note))


def of_folders(asked: Asked) -> Json:
    """GET /me/mailFolders/delta."""

    def note(db: sqlite3.Connection) -> Json | GraphError:
        begin = Round(True, find_mailbox(db, asked.address)["change"], options={"select": asked.one("select")})
        return _answer(db, asked, HIERARCHY, "me/mailFolders/delta", begin, _folders)

    return _settled(asked.outlook.write(asked.address, note))


def _settled(answer: Json | GraphError) -> Json:
    """Raise outside of the transaction what it has to outlast."""
    if isinstance(answer, GraphError):
        raise answer
    return answer


def _answer(
    db: sqlite3.Connection, asked: Asked, scope: str, path: str, begin: Round,
    page: Callable[[sqlite3.Connection, Asked, str, Round], Page],
) -> Json | GraphError:  # fmt: skip
    token = asked.one("skiptoken") or asked.one("deltatoken")
    seed, hindrances = asked.outlook.changes.seed, asked.outlook.hindrances
    place = begin
    if token:
        if hindrances.strikes("token_eviction", token):
            rounds.forget(db, asked.address, scope)
        known = rounds.read(db, asked.address, scope, token)
        if known is None:
            return rounds.dead(seed, token, f"{asked.call.root}/v1.0/{path}")
        place = known
    if place.empty < _EMPTY_IN_A_ROW and hindrances.strikes("empty_pages", scope, token, place.after, place.at):
        items: list[Json] = []
        behind, more = replace(place, empty=place.empty + 1), True
    else:
        items, behind, more = page(db, asked, scope, replace(place, empty=0))
        if items and hindrances.strikes("duplicates", scope, token, place.after, place.at):
            items.append(items[stream(seed, "twice", scope, token).randrange(len(items))])
    made = rounds.issue(db, seed, asked.address, scope, behind)
    link = asked.link(path, {"$skiptoken" if more else "$deltatoken": made})
    return {
        "@odata.context": f"{asked.call.root}/v1.0/$metadata#Collection(microsoft.graph.{_KINDS[scope == HIERARCHY]})",
        "@odata.nextLink" if more else "@odata.deltaLink": link,
        "value": items,
    }


_KINDS = ("message", "mailFolder")


def _messages(db: sqlite3.Connection, asked: Asked, folder: str, place: Round) -> Page:
    return _first_messages(db, asked, folder, place) if place.first else _changed_messages(db, asked, folder, place)


def _first_messages(db: sqlite3.Connection, asked: Asked, folder: str, place: Round) -> Page:
    size = asked.page_size()
    where, values = conditions(place.options["filter"])
    if where:
        size = min(size, FILTERED_AT_MOST - place.given)
    behind: Sequence[Any] = ()
    if place.at is not None:
        where, behind = f"{where} AND (received, id) < (?, ?)", place.at
    rows = db.execute(
        f"SELECT rowid, * FROM messages WHERE address = ? AND shown_folder = ?{where}"
        " ORDER BY received DESC, id DESC LIMIT ?",
        (asked.address, folder, *values, *behind, size + 1),
    ).fetchall()
    items = [_item(db, asked, row, place) for row in rows[:size]]
    given = place.given + len(items)
    if len(rows) <= size or (place.options["filter"] and given >= FILTERED_AT_MOST):
        return items, Round(False, place.after, options=place.options), False
    last = rows[size - 1]
    return items, replace(place, at=(last["received"], last["id"]), given=given), True


def _changed_messages(db: sqlite3.Connection, asked: Asked, folder: str, place: Round) -> Page:
    size = asked.page_size()
    until = find_mailbox(db, asked.address)["shown"] if place.until is None else place.until
    rows = db.execute(
        "SELECT message, left, mutable, MAX(change) AS change FROM folder_log WHERE address = ? AND folder = ?"
        " AND change > ? AND change <= ? GROUP BY message ORDER BY change LIMIT ?",
        (asked.address, folder, place.after, until, size + 1),
    ).fetchall()
    where, values = conditions(place.options["filter"])
    items: list[Json] = []
    for row in rows[:size]:
        here = db.execute(
            f"SELECT rowid, * FROM messages WHERE address = ? AND id = ? AND shown_folder = ?{where}",
            (asked.address, row["message"], folder, *values),
        ).fetchone()
        if here is not None:
            items.append(_item(db, asked, here, place))
        elif row["left"]:
            id_ = row["message"] if asked.immutable else row["mutable"]
            items.append({"id": id_, "@removed": {"reason": row["left"]}})
        # What left only after this round began comes as removed in the next one.
    items += _replayed(db, asked, folder, place)
    if len(rows) > size:
        return items, replace(place, after=rows[size - 1]["change"], until=until), True
    return items, Round(False, until, options=place.options), False


def _item(db: sqlite3.Connection, asked: Asked, row: sqlite3.Row, place: Round) -> Json:
    whole = message(db, asked, row, place.options["select"])
    # What cannot be read cannot be listed either: Graph leaves out what it fails to make out.
    return {"id": whole["id"]} if row["refused"] else whole


def _replayed(db: sqlite3.Connection, asked: Asked, folder: str, place: Round) -> list[Json]:
    hindrances = asked.outlook.hindrances
    parts = (folder, asked.one("skiptoken"), asked.one("deltatoken"))
    if not hindrances.strikes("replays", *parts):
        return []
    count = db.execute(
        "SELECT COUNT(*) FROM messages WHERE address = ? AND shown_folder = ?", (asked.address, folder)
    ).fetchone()[0]
    if not count:
        return []
    row = db.execute(
        "SELECT rowid, * FROM messages WHERE address = ? AND shown_folder = ? ORDER BY received DESC, id DESC"
        " LIMIT 1 OFFSET ?",
        (asked.address, folder, stream(hindrances.plan.seed, "replay", *parts).randrange(count)),
    ).fetchone()
    return [_item(db, asked, row, place)]


def _folders(db: sqlite3.Connection, asked: Asked, _: str, place: Round) -> Page:
    size = asked.page_size()
    if place.first:
        start = 0 if place.at is None else place.at[0]
        rows = [row for row in folders.everyone(db, asked.address) if row["number"] > start]
        items = [narrowed(folders.shown(db, row), place.options["select"]) for row in rows[:size]]
        if len(rows) > size:
            return items, replace(place, at=(rows[size - 1]["number"], "")), True
        return items, Round(False, place.after, options=place.options), False
    until = find_mailbox(db, asked.address)["change"] if place.until is None else place.until
    changed = db.execute(
        "SELECT folder, MAX(change) AS change FROM hierarchy_log WHERE address = ? AND change > ? AND change <= ?"
        " GROUP BY folder ORDER BY change LIMIT ?",
        (asked.address, place.after, until, size + 1),
    ).fetchall()
    items = [_folder_now(db, asked, row["folder"], place) for row in changed[:size]]
    items += _replayed_folder(db, asked, place)
    if len(changed) > size:
        return items, replace(place, after=changed[size - 1]["change"], until=until), True
    return items, Round(False, until, options=place.options), False


def _folder_now(db: sqlite3.Connection, asked: Asked, folder: str, place: Round) -> Json:
    row = db.execute("SELECT * FROM folders WHERE address = ? AND id = ?", (asked.address, folder)).fetchone()
    if row["gone"]:
        return {"id": folder, "@removed": {"reason": "deleted"}}
    return narrowed(folders.shown(db, row), place.options["select"])


def _replayed_folder(db: sqlite3.Connection, asked: Asked, place: Round) -> list[Json]:
    """A folder comes again when only its counts are others, and at times for no reason."""
    hindrances, token = asked.outlook.hindrances, asked.one("deltatoken")
    if not hindrances.strikes("replays", "hierarchy", token):
        return []
    rows = folders.everyone(db, asked.address)
    row = rows[stream(hindrances.plan.seed, "replay", token).randrange(len(rows))]
    return [narrowed(folders.shown(db, row), place.options["select"])]


ROUTES = (
    Route("mailFolders.delta", "GET", "mailFolders/delta", of_folders),
    Route("messages.delta", "GET", "mailFolders/{id}/messages/delta", of_messages),
)

"""mailFolders/delta and messages/delta: a first round of everything, then rounds of what changed, page by page.

A message's round belongs to one folder. What left it is ``@removed``: ``changed`` if it was moved, ``deleted`` if it is
gone; what the client was never given is not named (``given``). A first round ends with the changes since it began still to
come, so what changed meanwhile comes twice.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from infra.local.microsoft import folders, given, rounds
from infra.local.microsoft.asked import Asked, Json, Route
from infra.local.microsoft.errors import GraphError, invalid, refused
from infra.local.microsoft.ledger import find_mailbox
from infra.local.microsoft.listing import conditions, direction
from infra.local.microsoft.methods.folders import narrowed
from infra.local.microsoft.rounds import HIERARCHY, Round
from infra.local.microsoft.shown import message, selected
from infra.local.simulated.chance import digest, stream

FILTERED_AT_MOST = 5_000
"""So many messages a first round with a $filter lists; the rest is left out without a word."""

_EMPTY_IN_A_ROW = 2
_HALF = ("@odata.etag", "id", "changeKey", "parentFolderId", "isRead", "flag", "importance", "categories")
"""What a half tells at most; in two of three not its version, and in one of three not where it is either."""

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
        if known is not None and hindrances.strikes("dead_cursor", token):
            return refused(500 if digest(seed, "dead cursor", token)[0] % 2 else 400)
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
    listed = place.given + len(items)
    ended = len(rows) <= size or (place.options["filter"] and listed >= FILTERED_AT_MOST)
    last = None if ended else (rows[size - 1]["received"], rows[size - 1]["id"])
    there = {row["id"] for row in rows[:size]}
    told = {
        one: one in there
        for one in given.changed_since(db, asked.address, folder, place.after)
        if one in there or _within(db, asked.address, one, place.at, last)
    }
    place = given.noted(db, asked.address, folder, place, place.after, told)
    if last is None:
        return items, Round(False, place.after, options=place.options, odd=place.next_odd), False
    return items, replace(place, at=last, given=listed), True


def _within(
    db: sqlite3.Connection,
    address: str,
    message_id: str,
    newest: tuple[int, str] | None,
    oldest: tuple[int, str] | None,
) -> bool:
    """Whether a message would have come on the page behind one message and down to another, if it were there."""
    row = db.execute("SELECT received, id FROM messages WHERE address = ? AND id = ?", (address, message_id)).fetchone()
    own = (row["received"], row["id"])
    return (newest is None or own < newest) and (oldest is None or own >= oldest)


def _changed_messages(db: sqlite3.Connection, asked: Asked, folder: str, place: Round) -> Page:
    size = asked.page_size()
    until = find_mailbox(db, asked.address)["shown"] if place.until is None else place.until
    rows = db.execute(
        "SELECT message, left, mutable, MAX(change) AS change FROM folder_log WHERE address = ? AND folder = ?"
        " AND change > ? AND change <= ? GROUP BY message ORDER BY change LIMIT ?",
        (asked.address, folder, place.after, until, size + 1),
    ).fetchall()
    where, values = conditions(place.options["filter"])
    place = replace(place, since=place.after) if place.since is None else place
    items: list[Json] = []
    told: dict[str, bool] = {}
    for row in rows[:size]:
        message_id = row["message"]
        had = given.was_given(db, asked.address, folder, message_id, place)
        here = db.execute(
            f"SELECT rowid, * FROM messages WHERE address = ? AND id = ? AND shown_folder = ?{where}",
            (asked.address, message_id, folder, *values),
        ).fetchone()
        if here is not None and _lost(db, asked, folder, row, place, until):
            items.append({"id": message_id, "@removed": {"reason": "deleted"}})
            told[message_id] = False
        elif here is not None:
            whole = _item(db, asked, here, place)
            half = had and asked.outlook.hindrances.strikes("halves", folder, message_id, row["change"])
            items.append(_half(whole, row["change"]) if half else whole)
            told[message_id] = True
        elif row["left"] and had:
            id_ = message_id if asked.immutable else row["mutable"]
            items.append({"id": id_, "@removed": {"reason": row["left"]}})
        else:  # what left only after this round began comes as removed in the next one, if the client has it
            told[message_id] = had
    if (again := _replayed(db, asked, folder)) is not None:
        items.append(_item(db, asked, again, place))
        told[again["id"]] = True
    place = given.noted(db, asked.address, folder, place, until, told)
    if len(rows) > size:
        return items, replace(place, after=rows[size - 1]["change"], until=until), True
    return items, Round(False, until, options=place.options, odd=place.next_odd), False


def _lost(db: sqlite3.Connection, asked: Asked, folder: str, row: sqlite3.Row, place: Round, until: int) -> bool:
    """Whether a message that came back is told of as removed only; its id is another one where ids are not immutable."""
    return (
        asked.immutable
        and given.returned(db, asked.address, folder, row["message"], place, until)
        and asked.outlook.hindrances.strikes("lost_returns", folder, row["message"], row["change"])
    )


def _half(whole: Json, change: int) -> Json:
    left_out = ((), _HALF[2:3], (*_HALF[:1], *_HALF[2:4]))[change % 3]
    return {name: whole[name] for name in _HALF if name in whole and name not in left_out}


def _item(db: sqlite3.Connection, asked: Asked, row: sqlite3.Row, place: Round) -> Json:
    whole = message(db, asked, row, place.options["select"])
    # What cannot be read cannot be listed either: Graph leaves out what it fails to make out.
    return {"id": whole["id"]} if row["refused"] else whole


def _replayed(db: sqlite3.Connection, asked: Asked, folder: str) -> sqlite3.Row | None:
    hindrances = asked.outlook.hindrances
    parts = (folder, asked.one("skiptoken"), asked.one("deltatoken"))
    if not hindrances.strikes("replays", *parts):
        return None
    count = db.execute(
        "SELECT COUNT(*) FROM messages WHERE address = ? AND shown_folder = ?", (asked.address, folder)
    ).fetchone()[0]
    if not count:
        return None
    row: sqlite3.Row = db.execute(
        "SELECT rowid, * FROM messages WHERE address = ? AND shown_folder = ? ORDER BY received DESC, id DESC"
        " LIMIT 1 OFFSET ?",
        (asked.address, folder, stream(hindrances.plan.seed, "replay", *parts).randrange(count)),
    ).fetchone()
    return row


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

"""Read the folders of a mailbox and what has become of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.errors import CursorExpired, ProviderRefused, ProviderUnavailable
from shared.providers.base import Access, Folder, Folders
from shared.providers.graph.api import GraphApi, Request
from shared.providers.graph.failures import Where, absent, error_for
from shared.providers.graph.normalise import MAX_FOLDER_ID, RECOVERABLE, identifier
from shared.providers.graph.rounds import followed, is_removed, read_round
from shared.providers.http.failure import Failure
from shared.providers.text import clean

WELL_KNOWN = {
    "inbox": "INBOX",
    "sentitems": "SENT",
    "drafts": "DRAFT",
    "junkemail": "SPAM",
    "deleteditems": "TRASH",
}
DISCARDED = (
    "recoverableitemsdeletions",
    "recoverableitemspurges",
    "recoverableitemsversions",
    "recoverableitemsroot",
)
"""Where deleted messages are kept for a while; a mailbox need not have them all (docs/graph.md, 23)."""

_SEARCH = "mailSearchFolder"
_PAGE_SIZE = 200
_MAX_PAGES = 200
_MAX_NAME = 256


def read_folders(api: GraphApi, access: Access, cursor: str) -> Folders:
    """Read one whole round; of a folder that comes several times the last word counts. Raises ``CursorExpired``."""
    url = followed(cursor, api.root) if cursor else _first(api)
    said: dict[str, Folder | None] = {}
    for _ in range(_MAX_PAGES):
        answer = _ask(api, access, url, began=bool(cursor))
        page = read_round(answer, url)
        for entry in page.entries:
            id = str(entry["id"])
            said.pop(id, None)
            if is_removed(entry):
                said[id] = None
            elif not _is_search(entry) and not _is_discarded(entry, access.folders):
                said[id] = _folder(entry, id)
        if not page.more:
            changed = tuple([folder for folder in said.values() if folder is not None])
            gone = tuple([id for id, folder in said.items() if folder is None]) if cursor else ()
            return Folders(changed, gone, page.link)
        url = page.link
    raise ProviderUnavailable(f"Outlook's folders do not end within {_MAX_PAGES} pages.")


def well_known(api: GraphApi, access: Access) -> dict[str, str]:
    """The labels of the folders that every mailbox has, by their ids; one that this mailbox lacks is left out.

    Those of deleted messages are ``RECOVERABLE``; a folder is never taken for one of them that has another name as well.
    """
    found: dict[str, str] = {}
    for name, label in (*WELL_KNOWN.items(), *((name, RECOVERABLE) for name in DISCARDED)):
        answer = api.ask(access, Request("GET", api.url("me", "mailFolders", name, select="id")))
        if isinstance(answer, Failure):
            error = error_for(answer, Where.FOLDERS)
            # A name that a mailbox does not know is taken for an id, and a malformed one.
            if absent(answer) or (label == RECOVERABLE and isinstance(error, ProviderRefused)):
                continue
            raise error
        if id := identifier(answer.get("id")):
            found.setdefault(id, label)
    return found


def _first(api: GraphApi) -> str:
    return api.url("me", "mailFolders", "delta", select="displayName,parentFolderId,totalItemCount")


def _ask(api: GraphApi, access: Access, url: str, began: bool) -> dict[str, Any]:
    try:
        return api.call(access, Request("GET", url, page_size=_PAGE_SIZE), Where.FOLDERS)
    except CursorExpired as error:
        if began:
            raise
        # There is nothing to begin anew with.
        raise ProviderUnavailable(error.message) from None


def _is_search(entry: Mapping[str, Any]) -> bool:
    """Whether it is no folder but a search that looks like one: what is in it is in a folder as well (docs/graph.md, 18)."""
    kind = entry.get("@odata.type")
    return isinstance(kind, str) and kind.rpartition(".")[2] == _SEARCH


def _is_discarded(entry: Mapping[str, Any], folders: Mapping[str, str]) -> bool:
    """Whether it is a folder of deleted messages, or in one: what is in it is gone."""
    ids = (identifier(entry.get("id")), identifier(entry.get("parentFolderId")))
    return any(folders.get(id) == RECOVERABLE for id in ids)


def _folder(entry: Mapping[str, Any], id: str) -> Folder:
    if len(id) > MAX_FOLDER_ID:
        raise ProviderUnavailable("Outlook's answer has a folder without a usable id.")
    name, total = entry.get("displayName"), entry.get("totalItemCount")
    return Folder(
        id,
        " ".join(clean(name).split())[:_MAX_NAME] if isinstance(name, str) else "",
        identifier(entry.get("parentFolderId")),
        count(total) or 0,
    )


def count(value: object) -> int | None:
    """A number of things; None for what is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53 else None

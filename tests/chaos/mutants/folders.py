"""Mutants of what only a provider has that tells of changes by folder: of its cursors, ids, tokens and removals."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from shared.mail import message as mail
from shared.mail.tasks import page_of
from shared.providers.base import Deleted, Left
from tests.chaos.mutants.registry import mutant


@mutant(
    "shared.mail.fold:_apply",
    "A message that is no longer in a folder is taken for deleted.",
    "Where it still has the label of that folder; a move that a push has told of has another, and so passes without faults.",
)
def removed_is_deleted(original: Any) -> Any:
    def apply(mailbox: Any, work: Any, item: Any, change: Any) -> None:
        if not isinstance(change, Left):
            original(mailbox, work, item, change)
        elif item.now is not None and item.now["state"] == mail.PRESENT and change.folder in item.now["labels"]:
            item.now = mail.tombstone(change.id, item.now["version"], item.now)

    return apply


@mutant("shared.mail.folders.rounds:look", "Whoever comes while the folders are walked walks on with them.")
def two_workers_per_folder(original: Any) -> Any:
    def look(ctx: Any, loaded: Any, task: Any) -> bool:
        if loaded.state.walk is not None and not task.hints:
            task = replace(task, page=page_of(loaded.state, "live"))
        return bool(original(ctx, loaded, task))

    return look


@mutant(
    "shared.vault.grants:Grants._save", "A refresh token of Microsoft's that came with an access token is not saved."
)
def unsaved_rotated_token(original: Any) -> Any:
    def save(grants: Any, uid: str, held: Any, fresh: Any) -> bool:
        rotates = held.data["provider"] == "microsoft"
        return bool(original(grants, uid, held, replace(fresh, refresh=None) if rotates else fresh))

    return save


@mutant(
    "shared.providers.graph.provider:GraphProvider._first",
    "A folder's changes are asked for with a filter, which ends a round after 5,000 messages.",
)
def filtered_delta(original: Any) -> Any:
    return lambda provider, folder: f"{original(provider, folder)}&$filter=receivedDateTime ge 1990-01-01T00:00:00Z"


@mutant(
    "shared.providers.graph.api:_headers",
    "Requests do not ask for ids that outlast a move.",
    shows="the_store_equals_the_truth",
)
def mutable_ids(original: Any) -> Any:
    def headers(access: Any, request: Any) -> dict[str, str]:
        asked = original(access, request)
        rest = [part for part in asked.pop("prefer").split(", ") if not part.startswith("IdType")]
        return {**asked, "prefer": ", ".join(rest)} if rest else dict(asked)

    return headers


@mutant("shared.mail.folders.resync:_answers", "What was in a folder that is gone, or was not listed again, is gone.")
def sweep_of_a_folder_without_404(original: Any) -> Any:
    return lambda _account, docs, _at: tuple(Deleted(doc.data["id"], doc.data["version"]) for doc in docs)

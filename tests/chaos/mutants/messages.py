"""Mutants of what changes mean for messages, and of reading them."""

from __future__ import annotations

import re
from copy import copy
from dataclasses import replace
from typing import Any

from shared import refs
from shared.mail import message as mail
from shared.mail.gaps import _closed, _Verdict
from shared.ports import Put
from shared.providers.base import Deleted, Missing, Upsert
from shared.providers.gmail.batch import MESSAGE
from tests.chaos.mutants.registry import mutant


@mutant(
    "shared.providers.gmail.batch:BatchReader.many",
    "The parts of a batch's answer are taken in the order of the calls.",
    "Each is then taken for the message that was asked for: what compares their ids is a second protection.",
)
def batch_parts_by_index(original: Any) -> Any:
    def many(self: Any, access: Any, reads: Any) -> Any:
        blind = copy(self)
        blind._transport = _Nameless(self._transport)
        results = original(blind, access, reads)
        return results and [
            {**result, "id": read.id} if isinstance(result, dict) and read.method == MESSAGE else result
            for read, result in zip(reads, results, strict=True)
        ]

    return many


class _Nameless:
    """A transport that does not see which call a part answers."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def send(self, *args: Any) -> Any:
        sent = self._inner.send(*args)
        if not isinstance(sent, tuple) or isinstance(sent[1], str):
            return sent
        answer, content = sent
        return answer, re.sub(rb"(?i)\ncontent-id:[^\r\n]*", b"\nX-Name: none", content)


@mutant("shared.mail.fold:_relabel", "A change of labels of an unknown message is ignored.")
def change_to_an_unknown_message_ignored(original: Any) -> Any:
    def relabel(mailbox: Any, work: Any, item: Any, change: Any) -> None:
        if item.now is not None:
            original(mailbox, work, item, change)

    return relabel


@mutant("shared.mail.fold:_apply", "The deletion of an unknown message leaves nothing behind.")
def no_tombstone_for_an_unknown_delete(original: Any) -> Any:
    def apply(mailbox: Any, work: Any, item: Any, change: Any) -> None:
        if not isinstance(change, Deleted) or item.now is not None:
            original(mailbox, work, item, change)

    return apply


@mutant("shared.mail.fold:_upsert", "What was read is stored over a document of any version.")
def version_guard_removed(original: Any) -> Any:
    def upsert(work: Any, item: Any, message: Any) -> None:
        item.fresh, item.wanted, item.trouble = True, False, None
        item.now = mail.present(message, item.now)

    return upsert


@mutant("shared.mail.fold:_write", "A document is written whatever has become of it since it was read.")
def document_written_unguarded(original: Any) -> Any:
    def write(mailbox: Any, doc: Any, id_: str, now: Any) -> Put:
        return Put(refs.message(mailbox.id, id_), now)

    return write


@mutant("shared.mail.resync:_sweep", "A resync deletes what no listing has named, whether or not the provider has it.")
def sweep_without_404(original: Any) -> Any:
    def sweep(ctx: Any, account: Any, state: Any, resync: Any, *args: Any) -> Any:
        work = original(ctx, account, state, resync, *args)
        stored = ctx.store.get([refs.message(state.id, change.id) for change in work.changes])
        present = {doc.data["id"] for doc in stored.values() if doc.data["state"] == mail.PRESENT}
        changes = tuple(
            Deleted(change.id, resync.floor) if isinstance(change, Upsert) and change.id in present else change
            for change in work.changes
        )
        return replace(work, changes=changes)

    return sweep


@mutant("shared.mail.gaps:_judge", "The first 404 for a message is believed, however young the message.")
def first_404_believed(original: Any) -> Any:
    def judge(gap: Any, answer: Any, message: Any, at: float) -> Any:
        if isinstance(answer, Missing):
            gone = Deleted(answer.id, message.data["version"]) if message is not None else None
            return _Verdict(_closed(gap.data["attempts"] + 1, "resolved"), gone)
        return original(gap, answer, message, at)

    return judge


@mutant("shared.mail.fold:_gap", "A message that could not be read is passed over.")
def unreadable_message_passed_over(original: Any) -> Any:
    return lambda *_: None


@mutant(
    "shared.mail.fold:_weight",
    "A page is one commit, whatever it weighs.",
)
def oversized_page_unsplit(original: Any) -> Any:
    return lambda *_: 0

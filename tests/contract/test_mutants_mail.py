"""The contract catches broken adapters: each of these breaks one promise of ``MailProvider``, and fails.

It is long because it is one list. The mutants are the real adapters on the simulators, changed in one place. That the
sound ones keep the same promises is what ``test_mail_provider`` shows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from infra.local.microsoft.methods import deltas
from shared.errors import BrainstemError, CursorExpired, ProviderRefused, ReauthRequired
from shared.providers.base import (
    Access,
    Channel,
    Deleted,
    Fetched,
    Folders,
    LabelsChanged,
    Left,
    Listing,
    Missing,
    Page,
    Profile,
    Refused,
    Span,
    Tokens,
    Upsert,
)
from shared.providers.gmail import GmailProvider
from shared.providers.graph import GraphProvider
from tests.contract import test_mail_provider as promises
from tests.contract.mail_simulated import Gmail, Outlook
from tests.meter import FreeMeter

Promise: TypeAlias = Callable[[Any], None]


class FilteredDelta(GraphProvider):
    """Asks only for changes of a certain time, with which a round ends silently after so many messages."""

    def _first(self, folder: str) -> str:
        return f"{super()._first(folder)}&$filter=receivedDateTime%20ge%202000-01-01T00:00:00Z"


class RemovedIsDeleted(GraphProvider):
    def changes(self, access: Access, cursor: str, folder: str = "") -> Page:
        page = super().changes(access, cursor, folder)
        return replace(
            page, changes=tuple(Deleted(one.id, "v") if isinstance(one, Left) else one for one in page.changes)
        )


class ReassembledLinks(GraphProvider):
    """Keeps the token and makes a link of its own of it."""

    def changes(self, access: Access, cursor: str, folder: str = "") -> Page:
        page = super().changes(access, cursor, folder)
        return replace(page, cursor=page.cursor.replace("$", "%24"))


class UnsavedRotation(GraphProvider):
    def refresh(self, refresh_token: str) -> Tokens:
        return replace(super().refresh(refresh_token), refresh=None)


class SilentRestart(GraphProvider):
    """Takes a forgotten cursor for an invitation to begin anew by itself."""

    def changes(self, access: Access, cursor: str, folder: str = "") -> Page:
        try:
            return super().changes(access, cursor, folder)
        except CursorExpired:
            return super().changes(access, "", folder)


class ForgottenFolderIsMailbox(GraphProvider):
    """Refuses all folders once the cursor of one was forgotten."""

    _dead = False

    def changes(self, access: Access, cursor: str, folder: str = "") -> Page:
        if self._dead and cursor:
            raise CursorExpired
        try:
            return super().changes(access, cursor, folder)
        except CursorExpired:
            self._dead = True
            raise


class AbsentIsEmpty(GraphProvider):
    def changes(self, access: Access, cursor: str, folder: str = "") -> Page:
        try:
            return super().changes(access, cursor, folder)
        except BrainstemError as error:
            if error.code == "folder_absent":
                return Page((), "gone")
            raise


class GoneFoldersUntold(GraphProvider):
    def folders(self, access: Access, cursor: str) -> Folders:
        return replace(super().folders(access, cursor), gone=())


class VersionsOfTheMailbox(GraphProvider):
    """Says the same version of every message in a listing."""

    def list_ids(
        self, access: Access, page: str | None, limit: int, label: str | None = None, within: Span | None = None
    ) -> Listing:
        listing = super().list_ids(access, page, limit, label, within)
        return replace(listing, versions=listing.versions[:1] * len(listing.ids))


class SecondChannel(GraphProvider):
    """Opens another channel beside what it has lost sight of."""

    def open_channel(self, access: Access, current: str, secret: str) -> Channel | None:
        self._subscriptions._delete_all = lambda access: None  # type: ignore[method-assign]
        return super().open_channel(access, current, secret)


class ChannelOfNoReturn(GraphProvider):
    """Prolongs by id, and has no other idea where that is gone."""

    def open_channel(self, access: Access, current: str, secret: str) -> Channel | None:
        opened = super().open_channel(access, current, secret)
        if opened is not None and current and opened.id != current:
            raise ProviderRefused
        return opened


class SecretiveChannel(GraphProvider):
    def open_channel(self, access: Access, current: str, secret: str) -> Channel | None:
        return super().open_channel(access, current, "another")


class CutShort(GraphProvider):
    """Says that nothing waits behind a page where something does."""

    def changes(self, access: Access, cursor: str, folder: str = "") -> Page:
        return replace(super().changes(access, cursor, folder), more=False)


class Circle(GraphProvider):
    """Leads from a page to the same page."""

    def changes(self, access: Access, cursor: str, folder: str = "") -> Page:
        page = super().changes(access, cursor, folder)
        return replace(page, cursor=cursor) if cursor and page.more else page


def dropping(adapter: Any) -> Any:
    """The last item of every page but the shortest is lost."""

    class Dropping(adapter):  # type: ignore[misc]
        def changes(self, access: Access, cursor: str, folder: str = "") -> Page:
            page = super().changes(access, cursor, folder)
            return replace(page, changes=page.changes[:-1] if len(page.changes) > 2 else page.changes)

    return Dropping


def unmetered(adapter: Any) -> Any:
    """One call goes out without asking."""

    class Unmetered(adapter):  # type: ignore[misc]
        def profile(self, access: Access) -> Profile:
            return super().profile(replace(access, meter=FreeMeter()))

    return Unmetered


def talkative(adapter: Any) -> Any:
    """An error quotes what went out."""

    class Talkative(adapter):  # type: ignore[misc]
        def profile(self, access: Access) -> Profile:
            try:
                return super().profile(access)
            except BrainstemError as error:
                raise type(error)(f"{error.message} ({access.token})") from None

    return Talkative


def unordered(adapter: Any) -> Any:
    """Answers come as it suits the provider."""

    class Unordered(adapter):  # type: ignore[misc]
        def fetch(self, access: Access, ids: Sequence[str], threads: Sequence[str] = ()) -> tuple[Fetched, ...]:
            return tuple(sorted(super().fetch(access, ids, threads), key=lambda answer: answer.id))

    return Unordered


def swallowing(adapter: Any) -> Any:
    """What is refused counts as gone."""

    class Swallowing(adapter):  # type: ignore[misc]
        def changes(self, access: Access, cursor: str, folder: str = "") -> Page:
            page = super().changes(access, cursor, folder)
            changes = [Missing(one.id) if isinstance(one, Refused) else one for one in page.changes]
            return replace(page, changes=tuple(changes))

    return Swallowing


def careless(adapter: Any) -> Any:
    """Any failure at all is for the person."""

    class Careless(adapter):  # type: ignore[misc]
        def list_ids(self, access: Access, *which: Any) -> Listing:
            try:
                return super().list_ids(access, *which)
            except BrainstemError:
                raise ReauthRequired from None

    return Careless


def forgetful(adapter: Any) -> Any:
    """A listing ends after its second page."""

    class Forgetful(adapter):  # type: ignore[misc]
        def list_ids(self, access: Access, page: str | None, limit: int, *which: Any) -> Listing:
            listing = super().list_ids(access, page, limit, *which)
            return listing if page is None else replace(listing, next=None)

    return Forgetful


class AheadOfItself(GmailProvider):
    """Goes on from the mailbox's own id, which is ahead of what a page has told."""

    def changes(self, access: Access, cursor: str, folder: str = "") -> Page:
        page = super().changes(access, cursor, folder)
        return replace(page, cursor=self.profile(access).cursor, more=False)


class LabelsOnly(GmailProvider):
    """Loses what a change took away."""

    def changes(self, access: Access, cursor: str, folder: str = "") -> Page:
        page = super().changes(access, cursor, folder)
        changes = [replace(one, removed=()) if isinstance(one, LabelsChanged) else one for one in page.changes]
        return replace(page, changes=tuple(changes))


class OldVersions(GmailProvider):
    """Tells of every message under a version that never changes."""

    def changes(self, access: Access, cursor: str, folder: str = "") -> Page:
        page = super().changes(access, cursor, folder)
        changes = [replace(one, version="1") if isinstance(one, LabelsChanged) else one for one in page.changes]
        return replace(page, changes=tuple(changes))


class DoneDeletions(GmailProvider):
    """Leaves deletions out."""

    def changes(self, access: Access, cursor: str, folder: str = "") -> Page:
        page = super().changes(access, cursor, folder)
        return replace(page, changes=tuple(one for one in page.changes if not isinstance(one, Deleted)))


class NewestAnchor(GmailProvider):
    """Names an anchor that is yet to come."""

    def profile(self, access: Access) -> Profile:
        profile = super().profile(access)
        return replace(profile, cursor=str(int(profile.cursor) + 10**6))


class Unthreaded(GmailProvider):
    def list_ids(self, access: Access, *which: Any) -> Listing:
        return replace(super().list_ids(access, *which), threads=())


class OnlyUpserts(GmailProvider):
    """Takes every message that cannot be read now for gone."""

    def fetch(self, access: Access, ids: Sequence[str], threads: Sequence[str] = ()) -> tuple[Fetched, ...]:
        return tuple(one for one in super().fetch(access, ids, threads) if isinstance(one, Upsert))


moved = promises.test_a_message_that_is_moved_is_the_same_message_elsewhere
whole = promises.test_all_that_is_there_is_read_however_many_pages_that_takes
reopened = promises.test_a_channel_that_the_provider_lost_is_opened_anew
replaced = promises.test_a_channel_that_we_lost_sight_of_does_not_ring_beside_the_next
resumed = promises.test_a_walk_is_taken_up_at_the_page_where_it_was_left
refused = promises.test_a_message_that_is_refused_does_not_stop_the_others
fetched = promises.test_fetch_answers_in_the_order_asked_and_says_what_is_not_served
parallel = promises.test_threads_and_versions_of_a_listing_stand_beside_the_ids
forgotten = promises.test_a_cursor_that_the_provider_forgot_is_expired_and_reading_anew_is_whole
limits = promises.test_a_limit_says_how_long_it_lasts
metered = promises.test_every_call_asks_the_meter_before_each_request
silent = partial(promises.test_no_error_shows_a_token_a_header_or_a_body, status=403)
read = partial(promises.test_a_mark_comes_as_a_change_of_that_message_with_another_version, add=(), remove=("UNREAD",))

GRAPH: list[tuple[Any, Promise]] = [
    (RemovedIsDeleted, moved),
    (RemovedIsDeleted, promises.test_a_deletion_is_told),
    (ReassembledLinks, promises.test_tokens_and_links_go_back_letter_for_letter),
    (UnsavedRotation, promises.test_tokens_are_good_as_long_as_the_newest_refresh_token_is_kept),
    (SilentRestart, forgotten),
    (SilentRestart, promises.test_only_the_folder_whose_cursor_is_forgotten_is_begun_anew),
    (ForgottenFolderIsMailbox, promises.test_only_the_folder_whose_cursor_is_forgotten_is_begun_anew),
    (AbsentIsEmpty, promises.test_a_folder_that_is_gone_is_absent_and_takes_its_messages_along),
    (GoneFoldersUntold, promises.test_folders_are_told_of_when_they_are_new_renamed_or_gone),
    (VersionsOfTheMailbox, parallel),
    (SecondChannel, replaced),
    (ChannelOfNoReturn, reopened),
    (SecretiveChannel, promises.test_a_channel_is_opened_prolonged_and_closed),
    (CutShort, whole),
    (Circle, whole),
]
GMAIL: list[tuple[Any, Promise]] = [
    (AheadOfItself, resumed),
    (LabelsOnly, read),
    (OldVersions, read),
    (DoneDeletions, promises.test_a_deletion_is_told),
    (NewestAnchor, promises.test_an_anchor_taken_before_a_change_leads_to_that_change),
    (Unthreaded, parallel),
    (OnlyUpserts, fetched),
]
BOTH: list[tuple[Callable[[Any], Any], Promise]] = [
    (dropping, whole),
    (dropping, promises.test_a_walk_is_taken_up_at_the_page_where_it_was_left),
    (unmetered, metered),
    (talkative, silent),
    (unordered, fetched),
    (swallowing, refused),
    (careless, limits),
    (forgetful, promises.test_a_listing_is_newest_first_and_comes_to_its_end),
]
MUTANTS = [
    *[pytest.param(Outlook, adapter, promise, id=f"{adapter.__name__}") for adapter, promise in GRAPH],
    *[pytest.param(Gmail, adapter, promise, id=f"{adapter.__name__}") for adapter, promise in GMAIL],
    *[pytest.param(Outlook, make(GraphProvider), promise, id=f"{make.__name__}-graph") for make, promise in BOTH],
    *[
        pytest.param(Gmail, make(GmailProvider), promise, id=f"{make.__name__}-gmail")
        for make, promise in BOTH
        if (make, promise) != (dropping, whole)  # what is there is listed, not told as changes
    ],
]

CAUGHT = (AssertionError, pytest.fail.Exception, BrainstemError, KeyError)
"""How a promise that is broken shows; a KeyError is a message that should be known and is not."""


@pytest.mark.parametrize(("build", "adapter", "promise"), MUTANTS)
def test_a_broken_adapter_is_caught(build: Any, adapter: Any, promise: Promise, tmp_path: Path) -> None:
    world = build(tmp_path, adapter)
    try:
        with pytest.raises(CAUGHT):
            promise(world)
    finally:
        world.close()


def test_changes_that_are_filtered_are_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deltas, "FILTERED_AT_MOST", 5)
    world = Outlook(tmp_path, FilteredDelta)
    with pytest.raises(AssertionError):
        promises.test_changes_are_whole_however_many_there_are(world, monkeypatch)
    world.close()


def without_immutable_ids(headers: dict[str, str]) -> dict[str, str]:
    pages = [part for part in headers.get("prefer", "").split(", ") if "IdType" not in part]
    return headers | {"prefer": ", ".join(pages)}


def test_ids_that_change_with_the_folder_are_caught(tmp_path: Path) -> None:
    world = Outlook(tmp_path)
    world.wire.rewrite = without_immutable_ids
    with pytest.raises(AssertionError, match="whatever folder it is in"):
        promises.test_an_id_is_for_life(world)
    world.close()

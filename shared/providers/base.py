"""What every mail provider yields, whatever it calls it; the engine knows this module and no adapter.

Labels are the provider's own strings, except that these well-known names mean the same everywhere:
INBOX, SENT, DRAFT, SPAM, TRASH, CHAT, UNREAD, STARRED, IMPORTANT.

Versions are opaque strings. Where all of them are decimal they are ordered as integers (Gmail history ids; they can
exceed 64 bits); otherwise they can only be told apart. ``newer`` and ``older`` are
the only places that compare them.

A provider tells of changes for the mailbox as a whole, or for each folder apart (``MailProvider.per_folder``). Then every
message carries exactly one label ``folder:<id>``, beside a well-known one where its folder has such a name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

PROVIDERS = {"google": "GOOGLE", "microsoft": "MICROSOFT"}
"""What the API calls a provider, and what mailbox ids and events call it."""


@dataclass(frozen=True, slots=True)
class Message:
    """The metadata of one mail, normalised: every string is valid UTF-8 without NUL and bounded in length.

    ``labels`` are sorted and distinct. ``received_at`` is when the provider received it (seconds since the epoch).
    Addresses are bare (``ann@example.org``), in header order. ``headers`` holds the allow-listed headers, decoded, by
    their canonical names. ``truncated`` names the fields that were cut because the provider's value was over its bound.
    """

    id: str
    thread_id: str
    version: str
    labels: tuple[str, ...]
    received_at: float
    subject: str
    sender: str
    to: tuple[str, ...]
    cc: tuple[str, ...]
    bcc: tuple[str, ...]
    snippet: str
    headers: dict[str, str]
    truncated: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Upsert:
    """The whole current metadata of a message."""

    message: Message

    @property
    def id(self) -> str:
        """The provider's id of the message."""
        return self.message.id


@dataclass(frozen=True, slots=True)
class LabelsChanged:
    """Labels were added or removed; nothing else changed."""

    id: str
    version: str
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Deleted:
    """The provider says that the message was permanently deleted."""

    id: str
    version: str


@dataclass(frozen=True, slots=True)
class Left:
    """The message is no longer in the folder of this label: moved, or deleted; which of the two only reading it can tell."""

    id: str
    folder: str


@dataclass(frozen=True, slots=True)
class Missing:
    """The provider answered 404 for an id that it had named: deleted since, or not to be read yet.

    ``certain``: it has said that the message was deleted, so time will not bring it (docs/graph.md, 23).
    """

    id: str
    certain: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """The provider keeps refusing this one message, or what it serves cannot be normalised; ``reason`` says which."""

    id: str
    reason: str


Change: TypeAlias = Upsert | LabelsChanged | Deleted | Left | Missing | Refused
Fetched: TypeAlias = Upsert | Missing | Refused


@dataclass(frozen=True, slots=True)
class Page:
    """Changes in the provider's order, the cursor that follows them, and whether more are waiting behind it now."""

    changes: tuple[Change, ...]
    cursor: str
    more: bool = False


FOLDER = "folder:"
"""What the label of a folder begins with; the provider's id of the folder follows."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder as the provider has it now: its id, its name, the id of the one it is in, how many messages it holds."""

    id: str
    name: str
    parent: str
    total: int


@dataclass(frozen=True, slots=True)
class Folders:
    """Folders that are new or changed, ids of those that are gone, and the cursor that follows; all there is to know now."""

    changed: tuple[Folder, ...]
    gone: tuple[str, ...]
    cursor: str


@dataclass(frozen=True, slots=True)
class Span:
    """A span of time, both ends included, in seconds since the epoch; ``until`` None is open."""

    since: float
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """One page of message ids, newest first; ``next`` is the token of the following page, None at the end.

    ``threads`` names the thread of each id, ``versions`` the version, in the same order; empty where the provider does not
    say.
    """

    ids: tuple[str, ...]
    next: str | None
    estimate: int | None = None
    threads: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Profile:
    """Who the mailbox belongs to, the cursor of this moment, and how many messages it holds.

    ``folders`` maps the provider's ids of the folders that have a well-known name to that name; RECOVERABLE are those of
    deleted messages, which no change tells of and no message is in. Where changes are told of
    by folder, ``cursor`` is '': the folders have yet to be read.
    """

    address: str
    cursor: str
    total: int
    folders: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Channel:
    """A push arrangement: the provider's id for it ('' where it has none) and when it ends."""

    id: str
    expires_at: float


@dataclass(frozen=True, slots=True)
class Tokens:
    """What the token endpoint answered; ``refresh`` is None where the old refresh token stays in use."""

    access: str
    expires_at: float
    refresh: str | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one mailbox may ask of its provider: units that come back each second, and how many may go at once."""

    per_second: float
    burst: float


class Meter(Protocol):
    """Keeps the calls for one mailbox below its provider's limit, in the provider's own units."""

    def room(self) -> float:
        """How many units may be spent at this moment without waiting."""

    def spend(self, units: float) -> None:
        """Ask before each request: waits until its price may be spent, and counts it. Raises ``errors.Paced``."""


@dataclass(frozen=True, slots=True)
class Access:
    """What a call for a mailbox goes out with: a fresh access token, and the meter that it is counted on.

    ``address`` and ``folders`` are what ``Profile`` has told of the mailbox; '' and empty as long as it has not been asked.
    """

    token: str = field(repr=False)
    meter: Meter
    address: str = ""
    folders: Mapping[str, str] = field(default_factory=dict)


class MailProvider(Protocol):
    """One provider. Every call has a timeout, and is asked of the meter before it is made.

    All calls raise ``errors.RateLimited``, ``Paced``, ``ReauthRequired`` (401), ``ProviderUnavailable`` (5xx, timeout,
    cut connection) and ``ProviderRefused`` (any other refusal of the whole call).
    """

    name: str
    """``GOOGLE`` or ``MICROSOFT``, as in mailbox ids and events."""

    limits: Limits | None
    """What one mailbox may ask for; None where there is no limit to keep."""

    per_folder: bool
    """Whether changes are told of for each folder apart."""

    def profile(self, access: Access) -> Profile:
        """Read who and where the mailbox is."""

    def list_ids(
        self, access: Access, page: str | None, limit: int, label: str | None = None, within: Span | None = None
    ) -> Listing:
        """List message ids, newest first, spam and trash included, of one label or of all. Raises ``PageExpired``.

        At most ``limit``; of all messages fewer where the limits would keep so many from being read in one step. With
        ``within`` those received in a span of time; a few from beside it may be among them.
        """

    def labels(self, access: Access) -> tuple[str, ...]:
        """The ids of all labels that ``list_ids`` can be asked for; none where its listings tell the versions."""

    def fetch(self, access: Access, ids: Sequence[str], threads: Sequence[str] = ()) -> tuple[Fetched, ...]:
        """Read the metadata of messages, one answer per id in the given order.

        With ``threads``, the thread of each id, whole threads are read where that is cheaper; what else is in them
        follows behind the answers for the ids.
        """

    def changes(self, access: Access, cursor: str, folder: str = "") -> Page:
        """Read the next page of changes after a cursor, fetching what was added. Raises ``CursorExpired``.

        The page ends early, with ``more``, where reading all that was added would take more than the meter has room for.
        ``folder`` is the provider's id of one, where changes are told of by folder; then the cursor '' begins with all
        messages that the folder holds, newest first, and raises ``FolderAbsent`` where there is no such folder.
        """

    def folders(self, access: Access, cursor: str) -> Folders:
        """Read which folders have changed after a cursor; with '' all there are, but none of them as gone.

        Raises ``CursorExpired``. A provider that tells of changes for the mailbox as a whole has none.
        """

    def open_channel(self, access: Access, current: str, secret: str) -> Channel | None:
        """Ask the provider to ring; None where no channel is configured.

        ``current`` is the id of the channel in place ('' where there is none or it has no id): it is prolonged, and if the
        provider no longer knows it a new one is opened. Where channels have ids, the provider will show ``secret`` (at
        most 128 printable characters) whenever it rings by one that this call has opened.
        """

    def close_channel(self, access: Access, channel: Channel) -> None:
        """Ask the provider to stop ringing; a channel that is already gone is no error."""

    def refresh(self, refresh_token: str, extra: Sequence[str] = ()) -> Tokens:
        """Trade the refresh token for an access token. Raises ``ReauthRequired`` when the grant is dead.

        ``extra`` are the scopes that were granted beyond what every mailbox needs; without any it may be left out.
        """


def older(candidate: str, current: str) -> bool:
    """Whether a version surely comes before another; never where versions have no order."""
    return candidate.isdecimal() and newer(current, candidate)


def newer(candidate: str, current: str) -> bool:
    """Whether a version follows another: as integers where both are decimal, else whether they differ at all."""
    if candidate.isdecimal() and current.isdecimal():
        return int(candidate) > int(current)
    return candidate != current

"""What Firestore's errors mean to the Store port.

A commit that got no clear answer is ``Unknown``: it may have been applied. Our calls are not repeated by the library, which
otherwise sends a commit again after UNAVAILABLE, and then the repetition of an applied commit fails its own expectations:
the caller would see a ``Conflict`` with itself. gRPC alone still repeats what has provably not reached any server.

What only an operator can cure, a missing role, index or database, is a ``Retry`` as with the other services (``faults``): it
concerns no mailbox, so no mailbox may come to rest over it, and the message names it in every log line meanwhile.
"""

from __future__ import annotations

import re

from google.api_core import exceptions as google

from shared.errors import BrainstemError, Conflict, Retry, TooLarge, Unknown

_SIZE = re.compile(r"size|longer than|too (?:big|large|many)|exceeds|larger than", re.IGNORECASE)
_MESSAGE_SIZE = re.compile(r"message (?:exceeds|larger)|larger than max", re.IGNORECASE)
_NO_DATABASE = re.compile(r"The database .{1,200} does not exist")

_CONFLICTS = (google.AlreadyExists, google.FailedPrecondition, google.NotFound)
_NOT_APPLIED = (google.Aborted, google.ResourceExhausted)


def of_commit(error: google.GoogleAPICallError) -> BrainstemError | ValueError:
    """What to raise when a commit fails."""
    plain = _plain(error)
    if plain:
        return plain
    if isinstance(error, _CONFLICTS):
        return Conflict()
    if isinstance(error, _NOT_APPLIED):
        return Retry("Firestore cannot take the commit right now.")
    return Unknown("Firestore gave no clear answer to a commit.")


def of_read(error: google.GoogleAPICallError) -> BrainstemError | ValueError:
    """What to raise when a read fails."""
    plain = _plain(error)
    if plain:
        return plain
    if isinstance(error, google.FailedPrecondition):
        return Retry("Firestore lacks an index: deploy infra/firestore.indexes.json.")
    return Retry("Firestore cannot be read right now.")


def _plain(error: google.GoogleAPICallError) -> BrainstemError | ValueError | None:
    """What means the same to a commit and to a read: it was certainly not served, and why is known."""
    said = str(error.message)
    if isinstance(error, google.Unauthenticated | google.Forbidden):
        return Retry("Firestore refuses our credentials: the service account needs roles/datastore.user.")
    if isinstance(error, google.NotFound) and _NO_DATABASE.match(said):
        return Retry("The Firestore database does not exist: create it first.")
    if isinstance(error, google.ResourceExhausted) and _MESSAGE_SIZE.search(said):
        return TooLarge("A commit is over Firestore's limit.")
    if isinstance(error, google.InvalidArgument):
        if _SIZE.search(said):
            return TooLarge("A document or a commit is over Firestore's limit.")
        return ValueError("Firestore refuses a document or a query as malformed.")
    return None

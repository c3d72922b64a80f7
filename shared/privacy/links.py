"""Links to archives: good for a while, for one archive of one person, for whoever has them, without a token.

``key`` is the first version of the secret ``link-key``, provided by the cloud's deployment and made for the first link on the
laptop; of two that make it at once, both go by the first.
"""

from __future__ import annotations

import base64
import hmac
from urllib.parse import urlencode

from shared.errors import Forbidden
from shared.ports import Clock, Secrets
from shared.privacy.keys import LastingKey

SECRET = "link-key"  # noqa: S105 - the name of the secret

LINK_SECONDS = 3600.0
"""For how long a link is good, if the archive is there for as long; a download that has begun goes on."""


class LinkKey(LastingKey):
    """The key that links are signed with."""

    name = SECRET


class ArchiveLinks:
    """Makes links and checks them; ``may_create`` allows the key to be made."""

    def __init__(self, secrets: Secrets, clock: Clock, *, may_create: bool) -> None:
        self._clock = clock
        self._key = LinkKey(secrets, clock, may_create=may_create)

    def make(self, uid: str, export_id: str, until: float) -> tuple[str, int]:
        """A path with its query, and when it ends, ``until`` at the latest. Raises ``ConfigurationError``, ``Retry``."""
        expires = int(min(self._clock.now() + LINK_SECONDS, until))
        query = {"user": uid, "expires": expires, "signature": self._signature(uid, export_id, str(expires))}
        return f"/me/exports/{export_id}/archive?{urlencode(query)}", expires

    def check(self, uid: str, export_id: str, expires: str, signature: str) -> None:
        """Raise ``Forbidden`` for what is no link of ours, or no longer; which of the two is said only of ours."""
        wanted = self._signature(uid, export_id, expires)
        if not hmac.compare_digest(signature.encode("utf-8", "surrogatepass"), wanted.encode()):
            raise Forbidden("The link is not one that was given out.")
        if int(expires) <= self._clock.now():
            raise Forbidden("The link has expired; ask for the export again.")

    def _signature(self, uid: str, export_id: str, expires: str) -> str:
        text = "\n".join(("archive", uid, export_id, expires)).encode("utf-8", "surrogatepass")
        return base64.urlsafe_b64encode(hmac.digest(self._key.find_or_make(), text, "sha256")).decode().rstrip("=")

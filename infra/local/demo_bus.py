"""The emulators' part in a demo: subscriptions on them, what lies in them at the end, and an outage of Pub/Sub.

The emulator keeps everything in its memory, and the real Pub/Sub never forgets what it has accepted. So before it is taken
away the functions stand still until the subscribers have all that it holds, and when it is back they stand still until its
topics and subscriptions are there again. Everything else goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from google.api_core.exceptions import GoogleAPICallError

from infra.local.child import Child
from infra.local.emulators import Unavailable, bring_back, take_away
from infra.local.infrastructure import Emulated, Infrastructure, count_messages, delivery_of_pulled
from infra.local.pubsub_emulator import Push
from infra.local.sentences import CannotRun
from infra.local.subscriber import Recorder
from infra.local.verify import Beside
from infra.local.verify_delivery import Delivery
from shared.errors import Retry
from shared.events.publish import EVENTS_TOPIC

PUSHED, PULLED = "verify", "verify-pull"
DRAIN_SECONDS = 60.0
LAST_WORDS_SECONDS = 0.5
"""How long what the functions said before they stood still may be on its way to the emulator."""


class DemoBus:
    """The bus of one demo on the emulators."""

    def __init__(
        self, emulated: Emulated, child: Child, secret: str, recorder: Recorder, endpoint: str, seconds: int
    ) -> None:
        """``endpoint`` is where the ``recorder`` listens; ``seconds`` is how long the outage lasts."""
        if seconds and emulated.folder is None:
            raise CannotRun("OUTAGE takes the Pub/Sub emulator away, and the one in PUBSUB_EMULATOR_HOST is not ours.")
        self._emulated = emulated
        self._child = child
        self._recorder = recorder
        self._seconds = seconds
        self._infrastructure = Infrastructure(
            emulated, child.url, secret, [Push(PUSHED, EVENTS_TOPIC, endpoint)], [(PULLED, EVENTS_TOPIC)]
        )
        self._pulled: list[Delivery] = []
        self._until: float | None = None
        self._deepest = 0

    def start(self) -> None:
        """Make topics and subscriptions. Raises ``CannotRun``."""
        self._infrastructure.start()

    def stop(self) -> None:
        """Let go of the emulators."""
        self._infrastructure.stop()

    def beside(self) -> Beside:
        """What lies in the emulators now. Raises ``CannotRun``."""
        self._pull()
        try:
            return Beside(count_messages(self._emulated), tuple(self._pulled))
        except GoogleAPICallError as error:
            raise CannotRun(f"The Firestore emulator could not be asked: {type(error).__name__}.") from error

    @property
    def outage(self) -> tuple[int, int] | None:
        """How long Pub/Sub was away, and how many events waited for it at most; None if it was there all the time."""
        return (self._seconds, self._deepest) if self._seconds else None

    def begin_outage(self) -> None:
        """Take Pub/Sub away. Raises ``CannotRun``."""
        folder = self._emulated.folder
        assert folder is not None
        self._child.wait_until_healthy()
        self._child.pause()
        self._drain()
        _move(take_away, folder)
        self._child.resume()
        self._until = time.monotonic() + self._seconds

    def tend(self, outbox: int) -> bool:
        """Note how many events wait, and bring Pub/Sub back when it is time; answers whether it is away.

        Raises ``CannotRun``.
        """
        if self._until is None:
            return False
        self._deepest = max(self._deepest, outbox)
        if time.monotonic() < self._until:
            return True
        folder = self._emulated.folder
        assert folder is not None
        self._child.pause()
        _move(bring_back, folder)
        self._prepare()
        self._child.resume()
        self._until = None
        return False

    def _prepare(self) -> None:
        latest = time.monotonic() + DRAIN_SECONDS
        while True:
            try:
                return self._infrastructure.prepare()
            except (Retry, GoogleAPICallError) as error:  # the connection is found again within seconds
                if time.monotonic() > latest:
                    raise CannotRun("The Pub/Sub emulator is back and does not work.") from error
                time.sleep(0.2)

    def _drain(self) -> None:
        latest = time.monotonic() + DRAIN_SECONDS
        while time.monotonic() < latest:
            time.sleep(LAST_WORDS_SECONDS)
            self._pull()
            delivered = {push.attributes.get("ce-id") for push in self._recorder.deliveries()}
            if {push.attributes.get("ce-id") for push in self._pulled} <= delivered:
                return
        raise CannotRun(f"The Pub/Sub emulator did not deliver what it holds within {DRAIN_SECONDS:.0f} seconds.")

    def _pull(self) -> None:
        try:
            pulled = self._infrastructure.pull(PULLED)
        except (Retry, GoogleAPICallError) as error:
            raise CannotRun(f"The Pub/Sub emulator could not be asked: {type(error).__name__}.") from error
        self._pulled += [delivery_of_pulled(one) for one in pulled]


def _move(how: Callable[[Path, str], None], folder: Path) -> None:
    try:
        how(folder, "pubsub")
    except Unavailable as error:
        raise CannotRun(f"The Pub/Sub emulator cannot be taken away and brought back: {error}.") from error

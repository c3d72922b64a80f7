"""The topics that Gmail may publish to: all, except where its permission has been withdrawn."""

from __future__ import annotations

from collections.abc import Callable

from infra.local.google.state import State

_SETTING = "denied_topics"


class PublishDenied(Exception):
    """Gmail may not publish to this topic."""


class Topics:
    """Remembers which topics refuse Gmail; a restart does not change that."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._denied = frozenset(state.setting(_SETTING) or ())

    def deny(self, topic: str) -> None:
        """Withdraw the permission to publish."""
        self._remember(self._denied | {topic})

    def allow(self, topic: str) -> None:
        """Give the permission back."""
        self._remember(self._denied - {topic})

    def denied(self, topic: str) -> bool:
        """Whether Gmail may not publish to a topic."""
        return topic in self._denied

    def guard(self, publish: Callable[[str, bytes], None]) -> Callable[[str, bytes], None]:
        """Publish only where it is allowed; anything else raises ``PublishDenied``."""

        def guarded(topic: str, data: bytes) -> None:
            if self.denied(topic):
                raise PublishDenied(topic)
            publish(topic, data)

        return guarded

    def _remember(self, denied: frozenset[str]) -> None:
        self._denied = denied
        self._state.remember(_SETTING, sorted(denied))

"""Mutants of connecting, disconnecting and erasing mailboxes, of their channels and grants."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.chaos.mutants.registry import mutant


@mutant("shared.mail.accounts:_slot", "Every mailbox of a user has the first slot's id, also after an erasure.")
def stream_restarted_at_1(original: Any) -> Any:
    return lambda *_: "primary"


@mutant("shared.mail.accounts:_connecting", "Connecting again leaves the epoch as it is.")
def epoch_not_raised_on_reconnect(original: Any) -> Any:
    def connecting(state: Any, *args: Any) -> Any:
        after = original(state, *args)
        return replace(after, epoch=state.epoch) if state.address is not None else after

    return connecting


@mutant(
    "shared.mail.channel:renew", "A watch that was opened for a mailbox which was left meanwhile is not stopped again."
)
def watch_not_undone(original: Any) -> Any:
    def renew(ctx: Any, loaded: Any, task: Any) -> bool:
        providers = {name: _Deaf(provider) for name, provider in ctx.providers.items()}
        return bool(original(replace(ctx, providers=providers), loaded, task))

    return renew


class _Deaf:
    """A provider that cannot be asked to stop."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def close_channel(self, *_: Any) -> None:
        return None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


@mutant("shared.vault.grants:Grants._claim", "Whoever finds a token old refreshes it, whoever else is doing so.")
def refresh_without_a_claim(original: Any) -> Any:
    return lambda _, row: row


@mutant("shared.mail.channel:_own", "A watch is written down for a mailbox that has been left meanwhile.")
def watch_written_down_after_all(original: Any) -> Any:
    return lambda _current, _seen, wanted: wanted

"""Gmail: listing, history, single messages, watches and tokens, over any server that speaks its API."""

from shared.providers.gmail.provider import GmailProvider

__all__ = ["GmailProvider"]

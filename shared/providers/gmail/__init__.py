"""Gmail: listing, history, single messages, watches and tokens, over any server that speaks its API."""

from shared.providers.gmail.provider import GmailProvider
from shared.providers.gmail.wire import HttpAnswer, HttpFactory, HttpLike, Reply

__all__ = ["GmailProvider", "HttpAnswer", "HttpFactory", "HttpLike", "Reply"]

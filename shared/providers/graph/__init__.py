"""Outlook through Microsoft Graph: folders, changes by folder, messages, subscriptions and tokens."""

from shared.providers.graph.provider import GraphProvider

__all__ = ["GraphProvider"]

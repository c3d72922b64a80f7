"""A Microsoft of one's own: the mail part of Microsoft Graph, its subscriptions and its sign-in, as far as a client can tell.

It is written from Microsoft's public description of the API and knows nothing of the product that talks to it.
"""

"""A Google of one's own: the Gmail API, its token endpoint and its pushes, as far as a mail client can tell.

It is written from Google's public description of the API and knows nothing of the product that talks to it.
"""

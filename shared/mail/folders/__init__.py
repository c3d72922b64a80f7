"""Mailboxes whose provider tells of changes for each folder apart: one cursor a folder, one walk over all of them."""

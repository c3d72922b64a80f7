"""The importer: a person's own mail, from whatever file it is in, into the simulator; nothing in it can stop it."""

from infra.local.importer.load import load
from infra.local.importer.read import Imported, NoMailHere, Unreadable, read

__all__ = ["Imported", "NoMailHere", "Unreadable", "load", "read"]

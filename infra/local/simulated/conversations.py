"""Which conversation a mail belongs to: the one that its own id, or the id of a mail that it answers, leads to."""

from __future__ import annotations

import sqlite3

from infra.local.simulated.reading import Mail


def conversation(db: sqlite3.Connection, address: str, mail: Mail, usual: str, named: str = "") -> str:
    """The conversation of a new mail: the named one, else the first that one of its keys leads to, else ``usual``.

    Inside a transaction: later mail finds it by the keys.
    """
    keys = (*mail.thread_keys, mail.own_key)  # its own id as well: an answer may have come before it
    known = next(filter(None, (_known(db, address, key) for key in keys)), "")
    thread = named or known or usual
    for key in dict.fromkeys((*mail.thread_keys[:1], mail.own_key)):
        if key:
            db.execute("INSERT OR IGNORE INTO threads VALUES (?, ?, ?)", (address, key, thread))
    return thread


def _known(db: sqlite3.Connection, address: str, key: str) -> str:
    found = db.execute("SELECT thread FROM threads WHERE address = ? AND key = ?", (address, key)).fetchone()
    return "" if found is None else str(found["thread"])

"""The simulated mailboxes of a data folder, each filled once in its life."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Console

from infra.local.sides import Side, file_of
from infra.local.tokens import write_private

_NOTES = {"google": "mailbox.json", "microsoft": "mailbox-microsoft.json"}


class Mailbox:
    """What was loaded into the mailbox of one provider."""

    def __init__(self, folder: Path, provider: str) -> None:
        self._note = folder / _NOTES[provider]
        self._file = file_of(folder, provider)

    @property
    def loaded(self) -> int:
        """How many mails the first start loaded."""
        return int(self._read()["mails"]) if self._note.exists() else 0

    def drop_half_filled(self) -> None:
        """Forget a mailbox whose filling was interrupted; nothing was connected to it yet."""
        if not self._note.exists():
            for path in self._file.parent.glob(f"{self._file.name}*"):
                path.unlink()

    def fill(self, side: Side, mbox: str, mails: int, console: Console) -> None:
        """Fill it at the first start; later ones only say what is there. Raises ``CannotRun``."""
        if self._note.exists():
            note = self._read()
            console.print(
                f"Resuming with the {note['mails']:,} mails from {note['source']} in {side.title}; nothing is loaded again.",
                markup=False,
                soft_wrap=True,
            )
            if mbox and mbox != note["source"]:
                console.print("To load other mail, choose another folder: make run MBOX=... DATA=...", markup=False)
            return
        count = side.fill(mbox, mails, 1, console)
        write_private(self._note, json.dumps({"source": mbox or "the generator", "mails": count}).encode())

    def _read(self) -> dict[str, Any]:
        note: dict[str, Any] = json.loads(self._note.read_text(encoding="utf-8"))
        return note

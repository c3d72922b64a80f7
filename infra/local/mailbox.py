"""The simulated mailbox of a data folder, filled once in its life."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Console

from infra.local.google.simulator import GoogleSimulator
from infra.local.loading import fill
from infra.local.tokens import write_private

ADDRESS = "demo@example.org"


class Mailbox:
    """Where the simulator keeps its file, and what was loaded into it."""

    def __init__(self, folder: Path) -> None:
        self._note = folder / "mailbox.json"
        self.path = folder / "google.sqlite"

    @property
    def loaded(self) -> int:
        """How many mails the first start loaded."""
        return int(self._read()["mails"]) if self._note.exists() else 0

    def drop_half_filled(self) -> None:
        """Forget a mailbox whose filling was interrupted; nothing was connected to it yet."""
        if not self._note.exists():
            for path in self.path.parent.glob(f"{self.path.name}*"):
                path.unlink()

    def fill(self, simulator: GoogleSimulator, mbox: str, mails: int, console: Console) -> None:
        """Fill it at the first start; later ones only say what is there. Raises ``CannotRun``."""
        if self._note.exists():
            note = self._read()
            console.print(
                f"Resuming with the {note['mails']:,} mails from {note['source']}; nothing is loaded again.",
                markup=False,
            )
            if mbox and mbox != note["source"]:
                console.print("To load other mail, choose another folder: make run MBOX=... DATA=...", markup=False)
            return
        simulator.add_mailbox(ADDRESS)
        count = fill(simulator, ADDRESS, mbox, mails, 1, console)
        write_private(self._note, json.dumps({"source": mbox or "the generator", "mails": count}).encode())

    def _read(self) -> dict[str, Any]:
        note: dict[str, Any] = json.loads(self._note.read_text(encoding="utf-8"))
        return note

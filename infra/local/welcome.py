"""What a newcomer reads first: where everything is, and three commands that work as printed."""

from __future__ import annotations

import shlex
from pathlib import Path

from rich.console import Console


def welcome(console: Console, url: str, token: str, folder: Path, sentence: str) -> None:
    """Print it; no line is wrapped or marked up, so that each can be copied whole."""
    header = f'-H "Authorization: Bearer $(cat {shlex.quote(str(folder / "token"))})"'
    post = '-H \'Content-Type: application/json\' -d \'{"type": "note.written", "data": {"text": "hello"}}\''
    lines = [
        "",
        f"Brainstem is running at {url}",
        "",
        f"Token   {token}",
        f"Data    {folder}",
        f"Logs    {folder / 'log.jsonl'} (one JSON object per line)",
        "",
        "Try, in another terminal:",
        f"  curl -s {header} {url}/mail/status",
        f"  curl -s {header} '{url}/events?limit=3'",
        f"  curl -s {header} {post} {url}/events",
        "",
        f"{sentence} Ctrl-C ends it.",
        "",
    ]
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)

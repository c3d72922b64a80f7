"""``make demo`` as the tests run it: what its functions have logged is looked through before the folder is gone."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from infra.local import demo
from tests.canaries import Watch

LEAKED = 9
"""The exit status of a run that has logged a secret."""


def main() -> int:
    """Run the demo with the arguments of this process."""
    watch = Watch()

    def look_and_remove(folder: Path, **options: Any) -> None:
        watch.look_through(Path(folder))
        shutil.rmtree(folder, **options)

    demo.shutil = SimpleNamespace(rmtree=look_and_remove)  # type: ignore[attr-defined]
    status = demo.main()
    if watch.found:
        print(f"Secrets were logged: {'; '.join(watch.found)}.", file=sys.stderr)
        return LEAKED
    if status == 0 and not watch.lines:
        print("The functions have logged nothing, so nothing was looked at.", file=sys.stderr)
        return LEAKED
    return status


if __name__ == "__main__":
    sys.exit(main())

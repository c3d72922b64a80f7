"""``python -m infra.local.serve``: the functions alone, as a child of ``demo``; it ends when its parent does.

Settings come from the environment. The parent holds the other end of standard input; when that closes, whatever way the
parent ended, the process stops as it does on SIGINT and SIGTERM.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from pathlib import Path

from infra.local.lock import DataLock
from infra.local.sentences import CannotRun, disk_full, is_disk_full


def main() -> int:
    """Serve until told to stop; the exit status is 0, or 2 after a sentence on standard error."""
    parser = argparse.ArgumentParser(prog="python -m infra.local.serve")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--data", type=Path, required=True)
    options = parser.parse_args()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    threading.Thread(target=_wait_for_parent, args=(stop,), name="parent", daemon=True).start()
    try:
        with DataLock(options.data):
            from infra.local.machine import Machine

            machine = Machine(options.data, options.port)
            machine.start()
            stop.wait()
            machine.stop()
    except CannotRun as error:
        print(error, file=sys.stderr)
        return 2
    except Exception as error:
        if not is_disk_full(error):
            raise
        print(disk_full(str(options.data)), file=sys.stderr)
        return 2
    return 0


def _wait_for_parent(stop: threading.Event) -> None:
    while os.read(0, 4096):
        pass
    stop.set()


if __name__ == "__main__":
    sys.exit(main())

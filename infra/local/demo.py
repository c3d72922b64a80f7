"""``make demo``: run a trial as asked, show its verdict, and answer with it."""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from infra.local import quota_demo
from infra.local.options import Options, read_options
from infra.local.report import as_json, show
from infra.local.sentences import CannotRun, DiskFull, disk_full, is_disk_full
from infra.local.trial import Trial


def main() -> int:
    """Run the demo; the exit status is 0 only if everything is right, 2 if it could not run."""
    options = read_options()
    console = Console(stderr=options.json, highlight=False)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if options.quota:
        return _quota(options, console)
    folder = Path(tempfile.mkdtemp(prefix="brainstem-demo-"))
    try:
        result = Trial(options, console, folder).run()
    except CannotRun as error:
        console.print(str(error), markup=False, soft_wrap=True)
        if isinstance(error, DiskFull) or not (folder / "data" / "log.jsonl").exists():
            shutil.rmtree(folder, ignore_errors=True)
        return 2
    except KeyboardInterrupt:
        console.print("Stopped; nothing is left running.")
        shutil.rmtree(folder, ignore_errors=True)
        return 130
    except Exception as error:
        if not is_disk_full(error):
            raise
        console.print(str(disk_full(str(folder))), markup=False, soft_wrap=True)
        shutil.rmtree(folder, ignore_errors=True)
        return 2
    show(console, result)
    if result.ok:
        shutil.rmtree(folder)
    else:
        console.print(
            f"Everything is kept in {folder}; log.jsonl is what the functions said.", markup=False, soft_wrap=True
        )
    if options.json:
        print(as_json(result), flush=True)
    return 0 if result.ok else 1


def _quota(options: Options, console: Console) -> int:
    try:
        result = quota_demo.run(options, console)
    except CannotRun as error:
        console.print(str(error), markup=False, soft_wrap=True)
        return 2
    except KeyboardInterrupt:
        console.print("Stopped; nothing is left running.")
        return 130
    quota_demo.show(console, result)
    if options.json:
        print(quota_demo.as_json(result), flush=True)
    return 0 if result.ok else 1


if __name__ == "__main__":
    sys.exit(main())

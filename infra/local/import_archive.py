"""``python -m infra.local.import_archive FILE --data FOLDER``: an export as the beginning of a data folder of your own.

``make import-archive FILE=... DATA=...`` does the same. The folder may be new, or one that does not know the archive's person;
a server may run on it meanwhile. An import that was killed is repeated with the same archive. Should the server see the person
before the end, the import ends there: they keep what was written of their own stream and trail, and of mailboxes nothing.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from shared.errors import BrainstemError
from shared.sets import embedded
from shared.settings import Settings
from shared.wiring import Brainstem


def main(arguments: list[str] | None = None) -> int:
    """Put an archive into a data folder; the exit status is 0 once all of it is there."""
    parser = argparse.ArgumentParser(prog="make import-archive", description="Put an export into a data folder.")
    parser.add_argument("file", type=Path, help="the archive: .ndjson.gz, or unpacked")
    parser.add_argument("--data", required=True, help="the data folder")
    wanted = parser.parse_args(arguments)
    try:
        settings = Settings(data_dir=wanted.data)
        restored = Brainstem(settings, embedded(settings)).restore(wanted.file)
    except BrainstemError as error:
        print(error.message, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{wanted.file} cannot be read: {error.strerror}.", file=sys.stderr)
        return 1
    held = ", ".join(f"{count:,} {kind}" for kind, count in restored.counts.items())
    print(f"{restored.uid} is in {wanted.data}: {held}.")
    for name, said in restored.streams.items():
        print(f"  {name}: up to {said['head']:,}, {said['hash']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
